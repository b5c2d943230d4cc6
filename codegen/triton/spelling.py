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

PRELUDE = """
@triton.jit
def _mul(a, b):
    return a * b


@triton.jit
def _higher(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _lower(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _expm1(x):
    near = x * (1 + x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720))))))
    return tl.where(tl.abs(x) < 0.25, near, tl.exp(x) - 1)


@triton.jit
def _log1p(x):
    u = x + 1
    return tl.where(u == 1, x, tl.log(u) * (x / tl.where(u == 1, 1.0, u - 1)))


@triton.jit
def _tanh(x):
    s = x * x
    near = x * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    e = tl.exp(-2 * tl.abs(x))
    far = (1 - e) / (1 + e)
    return tl.where(s < 0.04, near, tl.where(x < 0, -far, far))


@triton.jit
def _sinh(x):
    e = _expm1(tl.abs(x))
    y = 0.5 * (e + e / (e + 1))
    return tl.where(x < 0, -y, y)


@triton.jit
def _asinh(x):
    a = tl.abs(x)
    y = _log1p(a + a * a / (1 + tl.sqrt(a * a + 1)))
    return tl.where(x < 0, -y, y)


@triton.jit
def _atan(x):
    a = tl.abs(x)
    inverse = a > 2.414213562373095
    middle = (a > 0.4142135623730950) & ~inverse
    t = tl.where(inverse, -1 / tl.where(a == 0, 1.0, a), tl.where(middle, (a - 1) / (a + 1), a))
    z = t * t
    p = t + t * z * (-0.333329491539 + z * (0.199777106478 + z * (-0.138776856032 + z * 0.0805374449538)))
    y = p + tl.where(inverse, 1.5707963267948966, tl.where(middle, 0.7853981633974483, 0.0))
    return tl.where(x < 0, -y, y)


@triton.jit
def _atan2(y, x):
    a = _atan(y / tl.where(x == 0, 1.0, x))
    turned = tl.where(y < 0, a - 3.141592653589793, a + 3.141592653589793)
    upright = tl.where(y > 0, 1.5707963267948966, tl.where(y < 0, -1.5707963267948966, 0.0))
    return tl.where(x > 0, a, tl.where(x < 0, turned, upright))


@triton.jit
def _power(x, y):
    a = tl.abs(x)
    size = tl.exp2(y * tl.log2(tl.where(a == 0, 1.0, a)))
    odd = tl.floor(y * 0.5) * 2 != y
    whole = tl.floor(y) == y
    signed = tl.where((x < 0) & odd, -size, size)
    defined = tl.where((x < 0) & ~whole, float("nan"), signed)
    at_zero = tl.where(y > 0, 0.0, tl.where(y == 0, 1.0, float("inf")))
    return tl.where(a == 0, at_zero, defined)


@triton.jit
def _multiplied(x, y, bits: tl.constexpr):
    total = x * 0 + 1
    power = x
    left = y
    for _ in range(bits):
        total = tl.where(left & 1 != 0, total * power, total)
        power = power * power
        left = left >> 1
    return total


@triton.jit
def _whole_power(x, y, bits: tl.constexpr):
    odd = y & 1 != 0
    turned = tl.where(x == 1, x * 0 + 1, tl.where(x == -1, tl.where(odd, x, x * x), x * 0))
    return tl.where(y < 0, turned, _multiplied(x, y, bits))


@triton.jit
def _floordiv(x, y):
    q = x // y
    r = x - q * y
    return tl.where((r != 0) & ((r < 0) != (y < 0)), q - 1, q)


@triton.jit
def _behind(x, y, near):
    q = tl.floor(near)
    r = tl.fma(-q, y, x)
    return q, r, (r != 0) & ((r < 0) != (y < 0))


@triton.jit
def _whole(x, y, near):
    q, r, over = _behind(x, y, near)
    return tl.where(over, q - 1, q)


@triton.jit
def _rest(x, y, near):
    q, r, over = _behind(x, y, near)
    return tl.where(over, r + y, r)
"""


def prelude(text: str) -> str:
    """The functions that a program calls, and those that they call."""
    parts = {
        p.split("(")[0]: f"@triton.jit\ndef {p}"
        for p in PRELUDE.strip().split("@triton.jit\ndef ")[1:]
    }
    wanted: dict[str, None] = {}
    todo = [text]
    while todo:
        seen = todo.pop()
        for name, part in parts.items():
            if name not in wanted and (f"{name}(" in seen or f", {name})" in seen):
                wanted[name] = None
                todo.append(part)
    return "".join(f"\n\n{part.rstrip()}\n" for name, part in parts.items() if name in wanted)


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
    "cosh": "(0.5 * (tl.exp({0}) + tl.exp(-{0})))", "tanh": "_tanh({0})", "asinh": "_asinh({0})",
    "acosh": "tl.log({0} + tl.sqrt(({0} - 1) * ({0} + 1)))",
    "atanh": "(0.5 * _log1p(2 * {0} / (1 - {0})))", "erf": "tl.erf({0})",
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
