"""Fills the table behind Python's operators on tensors.

Refuses to hold anything else.
"""

from __future__ import annotations

import kcompile.ops.core as core
import kcompile.ops.linalg as linalg
import kcompile.ops.numpy_compare as compare
import kcompile.ops.numpy_elementwise as elementwise
import kcompile.ops.numpy_index as index
import kcompile.ops.numpy_shape as shape
from kcompile.tensor import OPERATORS

_ELEMENTWISE = (
    "add",
    "subtract",
    "multiply",
    "true_divide",
    "floor_divide",
    "mod",
    "power",
    "negative",
    "absolute",
    "round",
)
_COMPARE = (
    "logical_and", "logical_or", "logical_xor", "logical_not", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
)  # fmt: skip
OPERATORS.update({name: getattr(elementwise, name) for name in _ELEMENTWISE})
OPERATORS.update({name: getattr(compare, name) for name in _COMPARE})
OPERATORS.update(
    matmul=linalg.matmul,
    get_item=index.get_item,
    transpose=shape.transpose,
    reshape=shape.reshape,
    squeeze=shape.squeeze,
    cast=core.cast,
)
