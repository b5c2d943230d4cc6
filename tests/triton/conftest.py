"""Triton's interpreter, put right in two places. Compiled kernels are not concerned.

A comparison of single numbers gives a truth value: it keeps the dtype of what was compared, and fails where such a value
meets a tile of truth values. A loop's bounds may be computed: Triton 3.6 asks NumPy for the only number of an array of one
axis, which NumPy no longer gives.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

import triton.language as tl
import triton.runtime.interpreter as interpreter
from triton.runtime.interpreter import InterpreterBuilder

_binary_op = InterpreterBuilder.binary_op
_patch_tensor = interpreter._patch_lang_tensor


def _typed(self: Any, *args: Any) -> Any:
    out = _binary_op(self, *args)
    if out.data.dtype == bool:
        out.dtype = tl.int1
    return out


def _indexed(tensor: Any, scope: Any) -> None:
    _patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


InterpreterBuilder.binary_op = _typed
interpreter._patch_lang_tensor = _indexed
