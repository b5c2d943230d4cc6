"""`keras.config`: the public names."""

from kcompile.policy import dtype_policy as dtype_policy
from kcompile.policy import set_dtype_policy as set_dtype_policy
from kcompile.settings import VERSION as VERSION
from kcompile.settings import backend as backend
from kcompile.settings import disable_interactive_logging as disable_interactive_logging
from kcompile.settings import disable_op_determinism as disable_op_determinism
from kcompile.settings import disable_traceback_filtering as disable_traceback_filtering
from kcompile.settings import enable_interactive_logging as enable_interactive_logging
from kcompile.settings import enable_op_determinism as enable_op_determinism
from kcompile.settings import enable_traceback_filtering as enable_traceback_filtering
from kcompile.settings import epsilon as epsilon
from kcompile.settings import float32_matmul_precision as float32_matmul_precision
from kcompile.settings import floatx as floatx
from kcompile.settings import gpu_choices as gpu_choices
from kcompile.settings import image_data_format as image_data_format
from kcompile.settings import is_interactive_logging_enabled as is_interactive_logging_enabled
from kcompile.settings import is_op_determinism_enabled as is_op_determinism_enabled
from kcompile.settings import is_traceback_filtering_enabled as is_traceback_filtering_enabled
from kcompile.settings import max_epochs as max_epochs
from kcompile.settings import max_steps_per_epoch as max_steps_per_epoch
from kcompile.settings import set_epsilon as set_epsilon
from kcompile.settings import set_float32_matmul_precision as set_float32_matmul_precision
from kcompile.settings import set_floatx as set_floatx
from kcompile.settings import set_image_data_format as set_image_data_format
from kcompile.settings import set_max_epochs as set_max_epochs
from kcompile.settings import set_max_steps_per_epoch as set_max_steps_per_epoch
from kcompile.settings import set_target as set_target
from kcompile.settings import standardize_data_format as standardize_data_format
from kcompile.settings import target as target
from kcompile.settings import version as version

__all__ = [
    "backend", "disable_interactive_logging", "disable_op_determinism", "disable_traceback_filtering",
    "dtype_policy", "enable_interactive_logging", "enable_op_determinism", "enable_traceback_filtering", "epsilon",
    "float32_matmul_precision", "floatx", "gpu_choices", "image_data_format", "is_interactive_logging_enabled",
    "is_op_determinism_enabled", "is_traceback_filtering_enabled", "max_epochs", "max_steps_per_epoch",
    "set_dtype_policy", "set_epsilon", "set_float32_matmul_precision", "set_floatx", "set_image_data_format",
    "set_max_epochs", "set_max_steps_per_epoch", "set_target", "standardize_data_format", "target", "version",
]  # fmt: skip
