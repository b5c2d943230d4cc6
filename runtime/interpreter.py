"""Triton's interpreter, put right where it is not what compiled kernels are. Those are not concerned.

A comparison of single numbers gives a truth value: it keeps the dtype of what was compared, and fails where such a value
meets a tile of truth values. A loop's bounds may be computed: Triton 3.6 asks NumPy for the only number of an array of one
axis, which NumPy no longer gives. bf16 is kept as bits, with which the interpreter would compute: it is rounded to the nearest,
and multiplied as what it means; any other arithmetic of it, which kernels leave to f32, is an error, and
before 3.9 it had no constants, and `fma` rounded twice (f64's still does). Extremes that keep NaN, and products, are one call of NumPy each, not
one of Python for each element. Refuses to run anything.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ir.types import round_bf16

# by the function that combines two
REDUCED: dict[str, Any] = {"_higher": np.max, "_lower": np.min, "_mul": np.prod}


@functools.cache
def mend() -> None:
    """Put Triton's interpreter right in this process, once."""
    import triton.language as tl
    import triton.runtime.interpreter as interpreter

    builder: Any = interpreter.InterpreterBuilder
    reducer: Any = interpreter.ReduceOps
    handle: Any = interpreter.TensorHandle
    binary_op, unary_op, patch_tensor = (
        builder.binary_op,
        builder.unary_op,
        interpreter._patch_lang_tensor,
    )
    fma = builder.create_fma
    cast, dot, reduce = builder.cast_impl, builder.create_dot, reducer.apply_impl

    def halved(x: Any) -> bool:
        return bool(x.dtype.scalar == tl.bfloat16)

    def no_bits(*args: Any) -> None:
        if any(map(halved, args)):
            raise TypeError("arithmetic of bf16: cast it to f32")

    def typed(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        no_bits(lhs, rhs)
        out = binary_op(self, lhs, rhs, op)
        if out.data.dtype == bool:
            out.dtype = tl.int1
        return out

    def unary(self: Any, arg: Any, op: Any) -> Any:
        no_bits(arg)
        return unary_op(self, arg, op)

    def rounded(self: Any, given: Any, to: Any, *how: Any) -> Any:
        if halved(given):
            bits = np.asarray(given.data).astype(np.uint32) << np.uint32(16)
            given = handle(bits.view(np.float32), tl.float32)
        if to.scalar != tl.bfloat16:
            return cast(self, given, to)
        bits = round_bf16(np.asarray(given.data, np.float32)).view(np.uint32) >> np.uint32(16)
        return handle(bits.astype(np.uint16), tl.bfloat16)

    def number(self: Any, value: float) -> Any:
        return rounded(self, self.get_fp32(value), tl.bfloat16)

    def joined(self: Any, x: Any, y: Any, z: Any) -> Any:
        if z.dtype.scalar != tl.float32:
            return fma(self, x, y, z)
        return handle((x.data.astype("f8") * y.data + z.data).astype("f4"), tl.float32)

    def product(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        a, b = (rounded(self, x, tl.float32) if halved(x) else x for x in (a, b))
        return dot(self, a, b, *rest)

    def reduced(self: Any, given: Any) -> Any:
        no_bits(*(x.handle for x in given))
        quick = REDUCED.get(getattr(getattr(self.combine_fn, "fn", None), "__name__", ""))
        if quick is None:
            return reduce(self, given)
        (x,) = given
        found = quick(x.handle.data, axis=self.axis, keepdims=self.keep_dims)
        return self.to_tensor(found, x.dtype)

    def indexed(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    builder.binary_op, builder.unary_op, builder.create_dot = typed, unary, product
    builder.cast_impl = builder.create_fp_to_fp = rounded
    builder.get_bf16, builder.create_fma = number, joined
    reducer.apply_impl = reduced
    interpreter._patch_lang_tensor = indexed
