"""`keras.backend`: the public names that are left of it in Keras 3."""

from kcompile.absent import of as _absent
from kcompile.config import backend as backend
from kcompile.config import epsilon as epsilon
from kcompile.config import floatx as floatx
from kcompile.config import image_data_format as image_data_format
from kcompile.config import set_epsilon as set_epsilon
from kcompile.config import set_floatx as set_floatx
from kcompile.config import set_image_data_format as set_image_data_format
from kcompile.dtypes import is_float as is_float_dtype
from kcompile.dtypes import is_int as is_int_dtype
from kcompile.dtypes import result_type as result_type
from kcompile.dtypes import standardize_dtype as standardize_dtype
from kcompile.session import clear_session as clear_session
from kcompile.session import get_uid as get_uid
from kcompile.tensor import is_keras_tensor as is_keras_tensor

__all__ = [
    "backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format", "is_float_dtype", "is_int_dtype",
    "is_keras_tensor", "result_type", "set_epsilon", "set_floatx", "set_image_data_format", "standardize_dtype",
]  # fmt: skip

__getattr__ = _absent(__name__)
