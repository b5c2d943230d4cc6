"""`keras.saving`: the public names. What reads models is imported when it is first asked for: it knows
every layer and model, and models import the rest of this package."""

import importlib
from typing import Any

from kcompile.saving.archive import save_model as save_model
from kcompile.serialization import CustomObjectScope as CustomObjectScope
from kcompile.serialization import custom_object_scope as custom_object_scope
from kcompile.serialization import deserialize_keras_object as deserialize_keras_object
from kcompile.serialization import get_custom_objects as get_custom_objects
from kcompile.serialization import get_registered_name as get_registered_name
from kcompile.serialization import get_registered_object as get_registered_object
from kcompile.serialization import register_keras_serializable as register_keras_serializable
from kcompile.serialization import serialize_keras_object as serialize_keras_object

_LATER = {"load_model": "kcompile.saving.loading"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"kcompile.saving has no {name!r}")
    module = importlib.import_module(_LATER[name])
    found = globals()[name] = getattr(module, name)
    return found
