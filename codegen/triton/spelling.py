"""How each pointwise op is written in Triton: one row an op.

A row is a text with {0}, {1}, .. for operands, or a function of the operands' texts and the dtype.
Every spelling works in Triton's interpreter and compiled, so nothing of libdevice is used. Refuses to
hold what moves or mixes axes; what has no row is in UNSUPPORTED with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from codegen.program import NoProgram

DTYPES = {
    "f16": "tl.float16", "bf16": "tl.bfloat16", "f32": "tl.float32", "f64": "tl.float64", "bool": "tl.int1",
    "i8": "tl.int8", "i16": "tl.int16", "i32": "tl.int32", "i64": "tl.int64",
    "u8": "tl.uint8", "u16": "tl.uint16", "u32": "tl.uint32", "u64": "tl.uint64",
}  # fmt: skip

Spelling = str | Callable[[Sequence[str], str, tuple[Any, ...]], str]


def _extreme(name: str) -> Spelling:
    def spell(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
        if dtype == "bool":
            return f"({a[0]} {'|' if name == 'maximum' else '&'} {a[1]})"
        nan = ", propagate_nan=tl.PropagateNan.ALL" if dtype[0] in "fb" else ""
        return f"tl.{name}({a[0]}, {a[1]}{nan})"

    return spell


def _round(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    big, magic = (
        ("4503599627370496.0", "6755399441055744.0")
        if dtype == "f64"
        else ("4194304.0", "12582912.0")
    )
    return f"tl.where(tl.abs({a[0]}) < {big}, ({a[0]} + {magic}) - {magic}, {a[0]})"


def _power(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    if a[1] in ("2", "2.0"):
        return f"({a[0]} * {a[0]})"
    if a[1] in ("1", "1.0"):
        return a[0]
    if dtype[0] in "iu":
        base, exponent = (f"({x})" if x.lstrip("-").isdigit() else x for x in a)
        call = "_multiplied" if dtype[0] == "u" else "_whole_power"
        return f"{call}({base} + {exponent} * 0, {exponent} + {base} * 0, {dtype[1:]})"
    return f"_power({a[0]}, {a[1]})"


def _tanh(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    return f"_long_tanh({a[0]})" if dtype == "f64" else f"_tanh({a[0]})"


def _quotient(a: Sequence[str], dtype: str) -> str:
    """x / y rounded as IEEE 754 says: compiled, "/" of f32 may be less than the whole number that it is."""
    return f"{a[0]} / {a[1]}" if dtype == "f64" else f"tl.div_rn({a[0]}, {a[1]})"


def _floordiv(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    if dtype[0] in "fb":
        return f"_whole({a[0]}, {a[1]}, {_quotient(a, dtype)})"
    return f"({a[0]} // {a[1]})" if dtype[0] == "u" else f"_floordiv({a[0]}, {a[1]})"


def _mod(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    if dtype[0] in "fb":
        return f"_rest({a[0]}, {a[1]}, {_quotient(a, dtype)})"
    return f"({a[0]} - {_floordiv(a, dtype, attrs)} * {a[1]})"


def _finite(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    return f"(tl.abs({a[0]}) < float('inf'))"


def _sign(a: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    x, one = a[0], "1.0" if dtype[0] in "fb" else "1"
    if dtype[0] == "u":
        return f"({x} > 0).to({DTYPES[dtype]})"
    return f"tl.where({x} > 0, {one}, tl.where({x} < 0, -{one}, {x} * 0)).to({DTYPES[dtype]})"


class Unsupported(NoProgram):
    """An op, or a shape of it, that the Triton target cannot express: which, and why."""


SPELLING: dict[str, Spelling] = {
    "neg": "(-{0})", "absolute": "tl.abs({0})", "sign": _sign, "floor": "tl.floor({0})",
    "ceil": "tl.ceil({0})", "round_even": _round, "exp": "tl.exp({0})", "expm1": "_expm1({0})",
    "log": "tl.log({0})", "log1p": "_log1p({0})", "sqrt": "tl.sqrt({0})", "rsqrt": "tl.rsqrt({0})",
    "sin": "tl.sin({0})", "cos": "tl.cos({0})", "tan": "(tl.sin({0}) / tl.cos({0}))",
    "asin": "_atan2({0}, tl.sqrt((1 - {0}) * (1 + {0})))", "acos": "_atan2(tl.sqrt((1 - {0}) * (1 + {0})), {0})",
    "atan": "_atan({0})", "atan2": "_atan2({0}, {1})", "sinh": "_sinh({0})",
    "cosh": "_cosh({0})", "tanh": _tanh, "asinh": "_asinh({0})",
    "acosh": "_acosh({0})", "atanh": "_atanh({0})", "erf": "tl.erf({0})",
    "sigmoid": "(1 / (1 + tl.exp(-{0})))", "logical_not": "({0} == 0)",
    "is_finite": _finite, "is_nan": "({0} != {0})", "cast": "",  # written by the renderer
    "add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})", "div": "({0} / {1})",
    "power": _power, "maximum": _extreme("maximum"), "minimum": _extreme("minimum"), "mod": _mod,
    "floordiv": _floordiv, "eq": "({0} == {1})", "ne": "({0} != {1})", "lt": "({0} < {1})",
    "le": "({0} <= {1})", "gt": "({0} > {1})", "ge": "({0} >= {1})", "logical_and": "({0} & {1})",
    "logical_or": "({0} | {1})", "logical_xor": "({0} ^ {1})", "select": "tl.where({0}, {1}, {2})",
    "stop_gradient": "{0}", "uniform": "tl.uint_to_uniform_float({0})",
}  # fmt: skip

# ops of the graph that the renderer or the regions express by index maps, reductions and products
STRUCTURAL = frozenset({
    "full", "size", "iota", "broadcast", "reshape", "transpose", "slice", "flip", "pad", "concat", "unfold",
    "fold", "gather", "take_along", "scatter_add", "scatter_along", "reduce_sum", "reduce_max", "reduce_min",
    "reduce_prod", "argmax", "argmin", "cumsum", "cumprod", "contract", "random_bits", "random_uniform", "fused",
    "scan", "sort", "argsort",
})  # fmt: skip

UNSUPPORTED: dict[str, str] = {}


def spell(op: str, args: Sequence[str], dtype: str, attrs: tuple[Any, ...]) -> str:
    """The Triton text of a pointwise op. Raises Unsupported, naming the op."""
    row = SPELLING.get(op)
    if row is None:
        raise Unsupported(
            f"op {op!r} on the Triton target: {UNSUPPORTED.get(op, 'it has no spelling')}"
        )
    return row.format(*args) if isinstance(row, str) else row(args, dtype, attrs)


def literal(value: Any, dtype: str) -> str:
    """A constant of the graph as Triton text."""
    if dtype == "bool":
        return "True" if value else "False"
    if dtype[0] in "iu":
        return str(int(value))
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return f"float('{value}')"
