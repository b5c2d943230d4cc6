"""Rows of the elementwise ops: operands keep their order of axes and their repeated axes.

Refuses to hold anything that moves elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from codegen.onnx.builder import Builder, Ref, broadcast_shape
from ir.graph import Node

Row = Callable[[Builder, Node, list[Ref]], "Ref | list[Ref]"]
# ONNX Runtime's kernels know these; smaller and unsigned integers are widened around the op
_WIDER = {"i8": "i32", "i16": "i32", "u8": "i32", "u16": "i32", "u32": "i64"}


def aligned(b: Builder, refs: Sequence[Ref], rank: int) -> tuple[list[Ref], tuple[int, ...] | None]:
    """Operands brought to one order of axes: that of the first one that lies in another than the IR's."""
    perm = next((r.perm for r in refs if r.perm is not None), None)
    return [b.arranged(r, perm, rank) for r in refs], perm


def apply(b: Builder, op: str, refs: Sequence[Ref], dtype: str, rank: int, **attrs: Any) -> Ref:
    """One elementwise ONNX op on operands of any layout."""
    refs, perm = aligned(b, refs, rank)
    shape = broadcast_shape([r.shape for r in refs])
    out = b.node(op, refs, dtype, shape, **attrs)
    return Ref(out.name, dtype, shape, perm)


class Ops:
    """Elementwise arithmetic on Refs of one rank, for rows made of several ONNX ops."""

    def __init__(self, b: Builder, rank: int):
        self.b, self.rank = b, rank

    def __call__(self, op: str, *refs: Ref, dtype: str = "", **attrs: Any) -> Ref:
        return apply(self.b, op, refs, dtype or refs[0].dtype, self.rank, **attrs)

    def const(self, value: float, like: Ref) -> Ref:
        """A scalar constant of the dtype of `like`."""
        return self.b.const(value, like.dtype)


def simple(op: str, **attrs: Any) -> Row:
    """The row of an IR op that is one ONNX op of the same operands."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        dtype, rank = n.outs[0].dtype, n.outs[0].type.rank
        wide = _WIDER.get(refs[0].dtype)
        if wide is None:
            return apply(b, op, refs, dtype, rank, **attrs)
        out = apply(b, op, [b.cast(r, wide) for r in refs], wide, rank, **attrs)
        return b.cast(out, dtype)

    return row


def compare(op: str, negate: bool = False) -> Row:
    """The row of a comparison."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        rank = n.outs[0].type.rank
        wide = _WIDER.get(refs[0].dtype)
        given = refs if wide is None else [b.cast(r, wide) for r in refs]
        out = apply(b, op, given, "bool", rank)
        return apply(b, "Not", [out], "bool", rank) if negate else out

    return row


def with_attrs(op: str, **spell: str) -> Row:
    """One ONNX op whose attributes are IR attributes under other names."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        attrs = {theirs: n.attr(ours) for theirs, ours in spell.items()}
        return apply(b, op, refs, n.outs[0].dtype, n.outs[0].type.rank, **attrs)

    return row


def composed(fn: Callable[..., Ref]) -> Row:
    """A row from a function (ops, *refs) of several ONNX ops."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        return fn(Ops(b, n.outs[0].type.rank), *refs)

    return row


def _expm1(o: Ops, x: Ref) -> Ref:
    # exp(x) - 1 = tanh(x / 2) * (exp(x) + 1), which loses nothing near 0
    half = o("Tanh", o("Mul", x, o.const(0.5, x)))
    return o("Where", o("Greater", x, o.const(20.0, x), dtype="bool"), o("Exp", x),
             o("Mul", half, o("Add", o("Exp", o("Min", x, o.const(20.0, x))), o.const(1.0, x))),
             dtype=x.dtype)  # fmt: skip


def _log1p(o: Ops, x: Ref) -> Ref:
    # log(1 + x) * x / ((1 + x) - 1), where the rounding of 1 + x cancels (Goldberg 1991, theorem 4)
    one = o.const(1.0, x)
    u = o("Add", x, one)
    d = o("Sub", u, one)
    same = o("Equal", d, o.const(0.0, x), dtype="bool")
    safe = o("Where", same, one, d, dtype=x.dtype)
    big = o("Greater", o("Abs", x), one, dtype="bool")
    exact = o("Div", o("Mul", o("Log", u), x), safe)
    return o("Where", same, x, o("Where", big, o("Log", u), exact, dtype=x.dtype), dtype=x.dtype)


def _atan2(o: Ops, y: Ref, x: Ref) -> Ref:
    zero, pi = o.const(0.0, x), o.const(3.141592653589793, x)
    flat = o("Equal", x, zero, dtype="bool")
    angle = o("Atan", o("Div", y, o("Where", flat, o.const(1.0, x), x, dtype=x.dtype)))
    below = o("Less", y, zero, dtype="bool")
    turn = o("Where", below, o("Neg", pi), pi, dtype=x.dtype)
    left = o("Where", o("Less", x, zero, dtype="bool"), o("Add", angle, turn), angle, dtype=x.dtype)
    upright = o("Mul", o("Sign", y), o.const(1.5707963267948966, x))
    return o("Where", flat, upright, left, dtype=x.dtype)


def _mod(o: Ops, x: Ref, y: Ref) -> Ref:
    if x.dtype[0] in "iu":
        return o("Mod", x, y, fmod=0)
    return o("Sub", x, o("Mul", o("Floor", o("Div", x, y)), y))


def _floordiv(o: Ops, x: Ref, y: Ref) -> Ref:
    if x.dtype[0] in "iu":
        return o("Div", o("Sub", x, o("Mod", x, y, fmod=0)), y)
    return o("Floor", o("Div", x, y))


def _power(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    out = n.outs[0]
    if out.dtype[0] == "f":
        return apply(b, "Pow", refs, out.dtype, out.type.rank)
    # kernels differ on negative integer exponents, whose result is truncated here
    wide = [b.cast(r, "f64") for r in refs]
    return b.cast(apply(b, "Pow", wide, "f64", out.type.rank), out.dtype)


def _is_finite(o: Ops, x: Ref) -> Ref:
    bad = o("Or", o("IsNaN", x, dtype="bool"), o("IsInf", x, dtype="bool"), dtype="bool")
    return o("Not", bad)


def _select(o: Ops, p: Ref, x: Ref, y: Ref) -> Ref:
    if x.dtype == "bool":
        return o("Or", o("And", p, x), o("And", o("Not", p), y))
    return o("Where", p, x, y, dtype=x.dtype)


def _cast(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return b.cast(refs[0], n.attr("dtype"))


def _same(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return refs[0]


def _gelu(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    kind = "tanh" if n.attr("approximate") else "none"
    return apply(b, "Gelu", refs, n.outs[0].dtype, n.outs[0].type.rank, approximate=kind)


_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}

ROWS: dict[str, Row] = {
    "add": simple("Add"), "sub": simple("Sub"), "mul": simple("Mul"), "div": simple("Div"),
    "power": _power, "maximum": simple("Max"), "minimum": simple("Min"),
    "floordiv": composed(_floordiv), "mod": composed(_mod), "atan2": composed(_atan2),
    "eq": compare("Equal"), "ne": compare("Equal", negate=True), "lt": compare("Less"),
    "le": compare("LessOrEqual"), "gt": compare("Greater"), "ge": compare("GreaterOrEqual"),
    "logical_and": simple("And"), "logical_or": simple("Or"), "logical_xor": simple("Xor"),
    "logical_not": simple("Not"), "is_nan": compare("IsNaN"), "is_finite": composed(_is_finite),
    "select": composed(_select), "cast": _cast, "stop_gradient": _same,
    "neg": simple("Neg"), "absolute": simple("Abs"), "sign": simple("Sign"), "floor": simple("Floor"),
    "ceil": simple("Ceil"), "round_even": simple("Round"), "exp": simple("Exp"), "expm1": composed(_expm1),
    "log": simple("Log"), "log1p": composed(_log1p), "sqrt": simple("Sqrt"),
    "rsqrt": composed(lambda o, x: o("Reciprocal", o("Sqrt", x))),
    "sin": simple("Sin"), "cos": simple("Cos"), "tan": simple("Tan"), "asin": simple("Asin"),
    "acos": simple("Acos"), "atan": simple("Atan"), "sinh": simple("Sinh"), "cosh": simple("Cosh"),
    "tanh": simple("Tanh"), "asinh": simple("Asinh"), "acosh": simple("Acosh"), "atanh": simple("Atanh"),
    "erf": simple("Erf"), "sigmoid": simple("Sigmoid"),
    "relu": simple("Relu"), "leaky_relu": with_attrs("LeakyRelu", alpha="slope"),
    "elu": with_attrs("Elu", alpha="alpha"), "selu": simple("Selu", **_SELU), "gelu": _gelu,
    "silu": composed(lambda o, x: o("Mul", x, o("Sigmoid", x))), "softplus": simple("Softplus"),
    "softsign": simple("Softsign"),
}  # fmt: skip
