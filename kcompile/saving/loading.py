"""`load_model`: a model from a `.keras` file, made of our own classes, registered ones and `custom_objects`.

Importing this module imports every class that a file may name; no file makes anything be imported. Sizes are
checked before memory is taken. Refuses to write (`kcompile.saving.archive`).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import kcompile.layers as layers
import kcompile.losses as losses
import kcompile.metrics as metrics
import kcompile.model as model_module
import kcompile.optimizers as optimizers
import kcompile.saving.weights as weights
import kcompile.sequential as sequential
import kcompile.serialization as serialization
from kcompile.errors import KCValueError
from kcompile.fit.build import build_optimizer
from kcompile.saving.archive import CONFIG, WEIGHTS, existing, member, no_bomb, read_member

# what a file may name, besides what the user registers
KNOWN = (layers, losses, metrics, model_module, optimizers, sequential)
_MOST_JSON = 256 << 20  # bytes


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """The model in a `.keras` file. A file can only name our own classes, registered ones and `custom_objects`.

    compile: whether it is compiled as it was. safe_mode changes nothing: code from a file is never
    run. Raises KCFileNotFoundError KC402, KCValueError KC401 to KC405.
    """
    if not hasattr(filepath, "read"):
        path = existing(filepath)
        if not path.endswith(".keras"):
            raise KCValueError(
                "KC402", f"filepath={path!r}", "a model is in a file ending in .keras",
                "save it from Keras 3 with model.save('model.keras'); for weights alone use load_weights",
            )  # fmt: skip
    try:
        with zipfile.ZipFile(filepath) as z:
            config = json.loads(read_member(z, CONFIG, _MOST_JSON))
            if not compile and isinstance(config, dict):
                config["compile_config"] = None
            model = serialization.deserialize_keras_object(config, custom_objects, safe_mode)
            info = member(z, WEIGHTS)
            no_bomb(info)
            # variables first: what the optimizer keeps is part of what is read
            build_optimizer(model)
            with z.open(info) as f, weights.open_h5(f, "r") as h5:
                weights.read(h5, model, optimizer=compile)
    except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as e:
        raise KCValueError(
            "KC402",
            f"{filepath}: {e}",
            "a .keras file is a ZIP of a config and weights",
            "use another copy of the file",
        ) from e
    return model
