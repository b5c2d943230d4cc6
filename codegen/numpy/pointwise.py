"""Pointwise expressions as NumPy ufuncs with `out`: the target's spelling of each op.

Refuses to hold anything that changes or mixes axes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from codegen.loops import Axis, E
from codegen.numpy.emit import Emitter
from codegen.numpy.stretch import filled, stretched
from codegen.numpy.views import Const, Operand, Tile, View, aligned

UNARY = {
    "neg": "negative", "absolute": "absolute", "sign": "sign", "floor": "floor", "ceil": "ceil",
    "round_even": "rint", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt",
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "logical_not": "logical_not", "is_finite": "isfinite", "is_nan": "isnan",
}  # fmt: skip
BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "maximum": "maximum",
    "minimum": "minimum", "mod": "remainder", "floordiv": "floor_divide", "atan2": "arctan2",
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "logical_and": "logical_and", "logical_or": "logical_or", "logical_xor": "logical_xor",
}  # fmt: skip
OTHERS = ("power", "rsqrt", "sigmoid", "erf", "select", "cast", "uniform")
UFUNCS = sorted(
    {
        *UNARY.values(),
        *BINARY.values(),
        "power",
        "reciprocal",
        "bitwise_and",
        "bitwise_xor",
        "right_shift",
    }
)
_BITS = {
    "f32": "i32",
    "f64": "i64",
    "bf16": "i32",
    "i32": "i32",
    "u32": "i32",
    "i64": "i64",
    "u64": "i64",
}
_PACK = {"f32": ("<f", "<i"), "f64": ("<d", "<q"), "bf16": ("<f", "<i"), "i32": ("<i", "<i"), "u32": ("<I", "<i"),
         "i64": ("<q", "<q"), "u64": ("<Q", "<q")}  # fmt: skip
REPEATS = 16  # readers of a divisor, from which its reciprocal pays
SMALL = 1024  # elements: below, a masked copy is quicker than bit masks


def pointwise(em: Emitter, e: E, out: View, args: Sequence[Tile], axes: Sequence[Axis]) -> None:
    """out = e, elementwise over `axes`, from the values of its operands."""
    if e.op in UNARY:
        em.map(f"{UNARY[e.op]}({{1}}, {{0}})", out, args, axes)
    elif e.op in ("maximum", "minimum"):
        if all(em.extent(a) for a in axes):
            ops = filled(stretched(em, aligned([out, *args], axes, em.extent)))
            em.call(f"{e.op}({{1}}, {{2}}, out={{0}})", ops, [0], same=True)
    elif e.op == "div" and _repeats(em, args[1], axes) and e.dtype in ("f32", "f64"):
        assert isinstance(args[1], View)
        own = [a for a in axes if a in args[1].strides]
        once = em.scratch(own, e.dtype)
        em.map("reciprocal({1}, {0})", once, [args[1]], own)
        ops = stretched(em, aligned([out, args[0], once], axes, em.extent))
        em.call("multiply({1}, {2}, {0})", ops, [0], same=True)
    elif e.op in BINARY:
        if all(em.extent(a) for a in axes):
            ops = stretched(em, aligned([out, *args], axes, em.extent))
            em.call(f"{BINARY[e.op]}({{1}}, {{2}}, {{0}})", ops, [0], same=True)
    elif e.op == "rsqrt":
        em.map("sqrt({1}, {0})", out, args, axes)
        em.map("reciprocal({1}, {0})", out, [out], axes)
    elif e.op == "sigmoid":
        one = Const(1.0, e.dtype)
        em.map("negative({1}, {0})", out, args, axes)
        em.map("exp({1}, {0})", out, [out], axes)
        em.map("add({1}, {2}, {0})", out, [out, one], axes)
        em.map("reciprocal({1}, {0})", out, [out], axes)
    elif e.op == "power":
        _power(em, e, out, args, axes)
    elif e.op == "erf":
        _erf(em, out, args[0], axes)
    elif e.op == "select":
        _select(em, e, out, args, axes)
    elif e.op == "cast":
        _cast(em, e, out, args[0], axes)
    elif e.op == "uniform":
        _uniform(em, out, args[0], axes)
    else:
        raise NotImplementedError(f"{e.op} has no spelling in NumPy")
    if e.dtype == "bf16":
        round_bf16(em, out, out, axes)


def _repeats(em: Emitter, x: Tile, axes: Sequence[Axis]) -> bool:
    """Whether each number of x stands in many places of the result."""
    if not isinstance(x, View) or any(em.extent(a) == 0 for a in axes):
        return False
    missing = math.prod(em.extent(a) for a in axes if a not in x.strides)
    return missing >= REPEATS


def _power(em: Emitter, e: E, out: View, args: Sequence[Tile], axes: Sequence[Axis]) -> None:
    x, y = args
    if isinstance(y, Const) and y.value == 2:
        em.map("multiply({1}, {1}, {0})", out, [x], axes)
    elif isinstance(y, Const) and y.value == 1:
        em.copy(out, x, axes)
    elif e.dtype.startswith("i"):
        em.map("tools.int_power({1}, {2}, {0})", out, args, axes)
    else:
        em.map("power({1}, {2}, {0})", out, args, axes)


def _erf(em: Emitter, out: View, x: Tile, axes: Sequence[Axis]) -> None:
    src = em.scratch(axes, out.slot.dtype)
    em.copy(src, x, axes)
    s, t = em.scratch(axes, out.slot.dtype), em.scratch(axes, out.slot.dtype)
    flat = em.scratch(axes, out.slot.dtype)
    em.call(
        "tools.erf({0}, {1}, {2}, {3}, None)",
        aligned([src, flat, s, t], axes, em.extent),
        [1, 2, 3],
    )
    em.copy(out, flat, axes)


def _bits(c: Const, kind: str) -> Const:
    a, b = _PACK[c.dtype]
    value = c.value
    if a in ("<f", "<d"):
        value = float(value)
    return Const(struct.unpack(b, struct.pack(a, value))[0], kind)


def _select(em: Emitter, e: E, out: View, args: Sequence[Tile], axes: Sequence[Axis]) -> None:
    pred, x, y = args
    size = 1
    for a in axes:
        size *= em.extent(a)
    if isinstance(pred, Const):
        em.copy(out, x if pred.value else y, axes)
        return
    kind = _BITS.get(e.dtype)
    if kind is None or size <= SMALL:
        if x is out or (isinstance(x, View) and x.slot is out.slot):
            raise AssertionError("a branch of select shares the memory of the result")
        em.map(_spread_text(y), out, [y], axes, same=False)
        if isinstance(x, Const):
            em.map("copyto({0}, {1}, where={2})", out, [x, pred], axes, same=False)
        else:
            em.map("copyto({0}, {1}, where={2})", out, [x, pred], axes, same=False)
        return
    own = [a for a in axes if a in pred.strides]
    mask = em.scratch(own, kind)
    zero_y = isinstance(y, Const) and y.value == 0 and str(y.value) != "-0.0"
    zero_x = isinstance(x, Const) and x.value == 0 and str(x.value) != "-0.0"
    m, p = aligned([mask, pred], own, em.extent)
    assert not isinstance(p, (Const,)) and hasattr(p, "variant")
    p8 = p.variant("i8")
    if zero_x:
        em.call("subtract({1}, {2}, {0})", [m, p8, Const(1, "i8")], [0], same=False)
        _masked(em, "bitwise_and({1}, {2}, {0})", out, [y, mask], axes, kind)
    elif zero_y:
        em.call("negative({1}, {0})", [m, p8], [0], same=False)
        _masked(em, "bitwise_and({1}, {2}, {0})", out, [x, mask], axes, kind)
    else:
        em.call("negative({1}, {0})", [m, p8], [0], same=False)
        t = em.scratch(axes, kind)
        _masked(em, "bitwise_xor({1}, {2}, {0})", t, [x, y], axes, kind)
        _masked(em, "bitwise_and({1}, {2}, {0})", t, [t, mask], axes, kind)
        _masked(em, "bitwise_xor({1}, {2}, {0})", out, [t, y], axes, kind)


def _masked(
    em: Emitter, text: str, out: View, ins: Sequence[Tile], axes: Sequence[Axis], kind: str
) -> None:
    ops: list[Operand] = aligned([out, *ins], axes, em.extent)
    plain = [_bits(o, kind) if isinstance(o, Const) else o.variant(kind) for o in ops]  # type: ignore[union-attr]
    em.call(text, plain, [0], same=True)


def _spread_text(x: Tile) -> str:
    return "{0}.fill({1})" if isinstance(x, Const) else "copyto({0}, {1})"


def _cast(em: Emitter, e: E, out: View, x: Tile, axes: Sequence[Axis]) -> None:
    src = x.dtype if isinstance(x, Const) else x.slot.dtype
    if e.dtype == "bool" and src != "bool":
        zero: Any = 0.0 if src.startswith(("f", "b")) else 0
        em.map("not_equal({1}, {2}, {0})", out, [x, Const(zero, src)], axes)
    else:
        em.map('copyto({0}, {1}, casting="unsafe")', out, [x], axes)


def round_bf16(em: Emitter, out: View, x: View, axes: Sequence[Axis]) -> None:
    """out = x rounded to bf16, half to even; NaN stays NaN."""
    t = em.scratch(axes, "u32")
    nan = em.scratch(axes, "bool")
    em.map("isnan({1}, {0})", nan, [x], axes)
    ops = aligned([t, x], axes, em.extent)
    bits = [o.variant("u32") for o in ops]  # type: ignore[union-attr]
    em.call("right_shift({1}, {2}, {0})", [*bits, Const(16, "u32")], [0])
    em.map("bitwise_and({1}, {2}, {0})", t, [t, Const(1, "u32")], axes)
    em.map("add({1}, {2}, {0})", t, [t, Const(0x7FFF, "u32")], axes)
    em.call("add({0}, {1}, {0})", bits, [0])
    em.map("bitwise_and({1}, {2}, {0})", t, [t, Const(0xFFFF0000, "u32")], axes)
    flat = aligned([t, x, nan], axes, em.extent)
    rounded = flat[0].variant("f32")  # type: ignore[union-attr]
    em.call("copyto({0}, {1}, where={2})", [rounded, flat[1], flat[2]], [0])
    target = aligned([out, t], axes, em.extent)
    em.call("copyto({0}, {1})", [target[0], target[1].variant("f32")], [0])  # type: ignore[union-attr]


def _uniform(em: Emitter, out: View, x: Tile, axes: Sequence[Axis]) -> None:
    """u32 words to f32 in [0, 1): i = word as i32; (i if i >= 0 else -i - 1) * 2**-31, rounded."""
    assert isinstance(x, View)
    t = em.scratch(axes, "i32")
    u = em.scratch(axes, "i32")
    ops = aligned([t, u, x], axes, em.extent)
    word = ops[2].variant("i32")  # type: ignore[union-attr]
    em.call("right_shift({1}, {2}, {0})", [ops[0], word, Const(31, "i32")], [0])
    em.call("bitwise_xor({1}, {2}, {0})", [ops[1], ops[0], word], [0])
    em.map('copyto({0}, {1}, casting="unsafe")', out, [u], axes)
    em.map("multiply({1}, {2}, {0})", out, [out, Const(4.6566127342e-10, "f32")], axes)
