"""Triton's interpreter, put right in two places. Compiled kernels are not concerned.

A comparison of single numbers gives a truth value: it keeps the dtype of what was compared, and fails where such a value
meets a tile of truth values. A loop's bounds may be computed: Triton 3.6 asks NumPy for the only number of an array of one
axis, which NumPy no longer gives. Refuses to run anything.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def mend() -> None:
    """Put Triton's interpreter right in this process, once."""
    import triton.language as tl
    import triton.runtime.interpreter as interpreter

    builder: Any = interpreter.InterpreterBuilder
    binary_op, patch_tensor = builder.binary_op, interpreter._patch_lang_tensor

    def typed(self: Any, *args: Any) -> Any:
        out = binary_op(self, *args)
        if out.data.dtype == bool:
            out.dtype = tl.int1
        return out

    def indexed(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    builder.binary_op = typed
    interpreter._patch_lang_tensor = indexed
