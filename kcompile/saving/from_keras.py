"""`from_keras`: a model of real Keras as one of ours, by its config and its weights.

Works on any backend of Keras: only the config and arrays are taken. Refuses to keep a link to the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kcompile.saving.loading as loading
import kcompile.serialization as serialization
from kcompile.errors import KCTypeError
from kcompile.fit.build import build_optimizer


def from_keras(model: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A copy of a `keras.Model`: layers, weights, and how it was compiled, the optimizer's state included.

    Raises KCTypeError KC401 for something else, KCValueError KC401 for a layer that is not known.
    """
    if not (
        hasattr(model, "get_config") and hasattr(model, "get_weights") and hasattr(model, "layers")
    ):
        raise KCTypeError(
            "KC401",
            f"from_keras of a {type(model).__name__}",
            "it takes a keras.Model",
            "pass the model itself",
        )
    import keras

    assert loading.KNOWN  # the classes its config names
    config = keras.saving.serialize_keras_object(model)
    made = serialization.deserialize_keras_object(config, custom_objects)
    made.set_weights([np.asarray(w) for w in model.get_weights()])
    theirs = getattr(model, "optimizer", None)
    if theirs is not None and getattr(made, "optimizer", None) is not None and theirs.built:
        build_optimizer(made)
        ours = made.optimizer.variables
        values = [np.asarray(v.numpy()) for v in theirs.variables]
        if len(ours) == len(values) and all(
            o.shape == v.shape for o, v in zip(ours, values, strict=True)
        ):
            for o, v in zip(ours, values, strict=True):
                o.assign(v)
    return made
