"""Keras's `utils` by its names."""

from kcompile.absent import of as _absent
from kcompile.fit.batch import pack as pack_x_y_sample_weight
from kcompile.fit.batch import parts as unpack_x_y_sample_weight
from kcompile.fit.py_dataset import PyDataset as PyDataset
from kcompile.fit.py_dataset import PyDataset as Sequence
from kcompile.serialization import CustomObjectScope as CustomObjectScope
from kcompile.serialization import custom_object_scope as custom_object_scope
from kcompile.serialization import deserialize_keras_object as deserialize_keras_object
from kcompile.serialization import get_custom_objects as get_custom_objects
from kcompile.serialization import get_registered_name as get_registered_name
from kcompile.serialization import get_registered_object as get_registered_object
from kcompile.serialization import register_keras_serializable as register_keras_serializable
from kcompile.serialization import serialize_keras_object as serialize_keras_object
from kcompile.session import clear_session as clear_session
from kcompile.utils.files import get_file as get_file
from kcompile.utils.labels import normalize as normalize
from kcompile.utils.labels import to_categorical as to_categorical
from kcompile.utils.seeds import set_random_seed as set_random_seed
from kcompile.utils.sequences import pad_sequences as pad_sequences

__getattr__ = _absent(__name__)
