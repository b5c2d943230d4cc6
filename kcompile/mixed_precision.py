"""`keras.mixed_precision`: the public names."""

from kcompile.optimizers import LossScaleOptimizer as LossScaleOptimizer
from kcompile.policy import DTypePolicy as DTypePolicy
from kcompile.policy import DTypePolicy as Policy
from kcompile.policy import dtype_policy as dtype_policy
from kcompile.policy import dtype_policy as global_policy
from kcompile.policy import set_dtype_policy as set_dtype_policy
from kcompile.policy import set_dtype_policy as set_global_policy

__all__ = [
    "DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy", "set_dtype_policy", "set_global_policy",
]  # fmt: skip
