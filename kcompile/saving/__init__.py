"""`keras.saving`: the public names."""

from kcompile.saving.archive import save_model as save_model
from kcompile.saving.from_keras import from_keras as from_keras
from kcompile.saving.loading import load_model as load_model
from kcompile.serialization import CustomObjectScope as CustomObjectScope
from kcompile.serialization import custom_object_scope as custom_object_scope
from kcompile.serialization import deserialize_keras_object as deserialize_keras_object
from kcompile.serialization import get_custom_objects as get_custom_objects
from kcompile.serialization import get_registered_name as get_registered_name
from kcompile.serialization import get_registered_object as get_registered_object
from kcompile.serialization import register_keras_serializable as register_keras_serializable
from kcompile.serialization import serialize_keras_object as serialize_keras_object
