"""Triton's interpreter, put right in one place: a comparison of single numbers gives a truth value.

It keeps the dtype of what was compared, and fails where such a value meets a tile of truth values. Compiled kernels are
not concerned.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder

_binary_op = InterpreterBuilder.binary_op


def _typed(self: Any, *args: Any) -> Any:
    out = _binary_op(self, *args)
    if out.data.dtype == bool:
        out.dtype = tl.int1
    return out


InterpreterBuilder.binary_op = _typed
