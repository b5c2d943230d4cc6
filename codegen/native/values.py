"""The values of a C function: the names they have, the C text that computes each, and the parameters they touch.

Refuses to hold the loops around them and stores (`render`), and the spelling of single ops (`table`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codegen.loops import Aff, Axis, Buf, E
from codegen.native.forms import Guard, Quotient, form_key, real_axes
from codegen.native.resolve import Unprintable
from codegen.native.table import COMPARE, FLOAT_FUNCTIONS, FUNCTIONS, INFIX, LOGIC
from ir.types import FLOATS, INTS

HALVES = (
    "f16",
    "bf16",
)  # in registers f32 that is rounded after each operation; bf16 in memory too
EXACT = frozenset({  # operations on halves whose result is one
    "neg", "absolute", "sign", "floor", "ceil", "round_even", "maximum", "minimum", "select", "stop_gradient", "load", "const",
})  # fmt: skip

# what may end in a product, to which a compiler adds without rounding it first
PRODUCTS = frozenset({"mul", "neg", "power", "stop_gradient"}) | FLOAT_FUNCTIONS


def counter(k: int) -> str:
    """The name of the variable of loop `k`: none that a type has."""
    return f"i{k}_" if f"i{k}" in INTS else f"i{k}"


def element(dtype: str) -> str:
    """The C type of an element in memory."""
    return "bool8" if dtype == "bool" else dtype


def lane(dtype: str) -> str:
    """The C type of a value in a register."""
    return "mask" if dtype == "bool" else "f32" if dtype in HALVES else dtype


def stored(dtype: str) -> str:
    """What the names of loads and stores of vectors end with."""
    return {"bool": "u8", "bf16": "f32"}.get(dtype, dtype)


def read(text: str, dtype: str) -> str:
    """One element in memory as a value in a register."""
    return f"-(mask){text}" if dtype == "bool" else f"widen_one_f16({text})" if dtype == "f16" else text  # fmt: skip


def written(text: str, dtype: str) -> str:
    """A value in a register as one element in memory."""
    return f"-({text})" if dtype == "bool" else f"narrow_one_f16({text})" if dtype == "f16" else text  # fmt: skip


def rounded(text: str, dtype: str, wide: bool) -> str:
    """A value of f32 as one of a half."""
    return f"round_{'v' if wide else ''}{dtype}({text})"


def literal(value: Any, dtype: str) -> str:
    """A constant of a dtype in C, exact."""
    if dtype == "bool":
        return "-1" if value else "0"
    if dtype not in FLOATS:
        return (
            f"(({dtype}){int(value)}{'ull' if dtype.startswith('u') else 'll'})"
            if int(value) > -(2**63)
            else "((i64)1 << 63)"
        )
    x = float(value)
    if dtype != "f64":
        kind = "e" if dtype == "f16" else "f"
        try:
            x = struct.unpack(f"<{kind}", struct.pack(f"<{kind}", x))[0]
        except OverflowError:
            x = math.copysign(math.inf, x)
    if dtype == "bf16" and math.isfinite(x):
        (bits,) = struct.unpack("<I", struct.pack("<f", x))
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        (x,) = struct.unpack("<f", struct.pack("<I", bits))
    dtype = lane(dtype)
    if math.isnan(x):
        return f"(({dtype})NAN)"
    if math.isinf(x):
        return f"(({dtype}){'-' if x < 0 else ''}INFINITY)"
    return f"(({dtype}){x.hex()}{'f' if dtype == 'f32' else ''})"


class Aliased(Exception):
    """The region writes memory that it still reads: its results must go elsewhere first."""


@dataclass(frozen=True)
class Span:
    """The part of an axis that is computed: from `low` to before `high` (C texts), never more than `most`.

    lanes: whether the vector may go along it. even: whether every part has `most`. whole: whether all are whole vectors.
    """

    low: str
    high: str
    most: int
    lanes: bool = True
    even: bool = False
    whole: bool = False

    @property
    def count(self) -> str:
        """How many positions there are, in C."""
        return str(self.most) if self.even else f"({self.high} - {self.low})"


class Frame:
    """The parameters p0, p1, .. of one C function, and the pointers s0, s1, .. that it makes itself.

    places: equal for buffers in the same memory. inner: the buffers behind the pointers of its own.
    """

    def __init__(self, places: Callable[[Buf], Any]):
        self.outer = places
        self.bufs: list[Buf] = []
        self.params: dict[Any, int] = {}
        self.written: set[int] = set()
        self.inner: dict[Buf, int] = {}
        self.rooms: list[int] = []

    def room(self, size: int) -> str:
        """The name of a pointer (`char *`) that the function makes, to so many bytes of scratch."""
        self.rooms.append(size)
        return f"t{len(self.rooms) - 1}"

    def own(self, buf: Buf) -> str:
        """The name of a pointer that the function makes itself."""
        return f"s{self.inner.setdefault(buf, len(self.inner))}"

    def places(self, buf: Buf) -> Any:
        return self.inner[buf] if buf in self.inner else self.outer(buf)

    def param(self, buf: Buf, written: bool = False) -> str:
        """The name of the pointer to a buffer."""
        if buf in self.inner:
            return self.own(buf)
        key = (self.outer(buf), buf.dtype)
        k = self.params.get(key)
        if k is None:
            k = self.params[key] = len(self.bufs)
            self.bufs.append(buf)
        if written:
            self.written.add(k)
        return f"p{k}"


class Values:
    """Names and texts of values, in a function with the parameters of `frame`."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.names: dict[E, int] = {}
        self.vars: dict[Axis, str] = {}
        self.vector: Axis | None = None  # the axis in lanes
        self.lanes = ""  # how many lanes the vector loop has now: "W", or the tail's count
        self.puts: list[tuple[Any, Any]] = []  # (slot, flat form) stored so far
        self.reads: list[tuple[Any, Any]] = []
        self.compared: frozenset[E] = frozenset()  # see `codegen.loops.compared`

    def number(self, e: E) -> int:
        return self.names.setdefault(e, len(self.names))

    def name(self, e: E) -> str:
        return literal(e.attr[0], e.dtype) if e.op == "const" else f"e{self.number(e)}"

    def is_wide(self, e: E) -> bool:
        return self.vector is not None and self.vector in e.axes

    def wide(self, e: E) -> str:
        return self.name(e) if self.is_wide(e) else f"splat_{lane(e.dtype)}({self.name(e)})"

    def type(self, e: E) -> str:
        return f"{'v' if self.is_wide(e) else ''}{lane(e.dtype)}"

    def form(self, f: Aff, lane_offset: str = "") -> str:
        """An affine form; with `lane_offset`, that many lanes further along the vector axis."""
        parts = []
        for a, c in f.terms:
            if isinstance(a, Quotient):
                text = f"({self.form(a.form, lane_offset)}) / {a.div}"
                parts.append(f"({text})" if c == 1 else f"{c} * ({text})")
                continue
            i = self.vars[a]
            if a is self.vector and lane_offset:
                i = f"({i} + {lane_offset})"
            parts.append(i if c == 1 else f"{c} * {i}")
        if f.const or not parts:
            parts.append(str(f.const))
        return " + ".join(parts).replace("+ -", "- ")

    def test(self, guards: Sequence[Guard], lane_offset: str = "") -> str:
        """A C condition for guards, 1 or 0."""
        out = []
        for g in guards:
            f = f"({self.form(g.form, lane_offset)})"
            low, high = (
                g.form.interval()
                if not any(isinstance(a, Quotient) for a, _ in g.form.terms)
                else (-1, 1 << 62)
            )
            if low < 0:
                out.append(f"{f} >= 0")
            if high >= g.div * g.size:
                out.append(f"{f} < {g.div * g.size}")
            if g.div > 1:
                out.append(f"{f} % {g.div} == 0")
        return " && ".join(out) or "1"

    def along(self, guards: Sequence[Guard]) -> bool:
        return self.vector is not None and any(self.vector in real_axes(g.form) for g in guards)

    def value(self, e: E) -> str:
        """The C expression of a value from its operands' names."""
        text = self.raw(e)
        if (
            e.dtype in HALVES
            and e.op not in EXACT
            and (e.op != "cast" or e.args[0].dtype != e.dtype)
        ):
            return rounded(text, e.dtype, self.is_wide(e))
        return text

    def raw(self, e: E) -> str:
        """The same before a half is rounded."""
        wide, t = self.is_wide(e), lane(e.dtype)
        suffix = f"v{t}" if wide else t
        args = [self.wide(a) if wide else self.name(a) for a in e.args]
        op = e.op
        if op == "const":
            return literal(e.attr[0], e.dtype)
        if op == "load":
            return self.loaded(e)
        if op == "iota":
            return self.counted(e)
        if op == "inside":
            if not self.along(e.attr[0]):
                return f"-({self.test(e.attr[0])})"
            return f"({{ vmask r; for (int k = 0; k < W; k++) r[k] = -({self.test(e.attr[0], 'k')}); r; }})"
        if op == "stop_gradient":
            return args[0]
        if op in LOGIC:
            return LOGIC[op].format(*args)
        if op == "select":
            return f"select_{suffix}({', '.join(args)})"
        if op in COMPARE:
            kind = lane(e.args[0].dtype)
            text = f"{args[0]} {COMPARE[op]} {args[1]}"
            if not wide:
                return f"-({text})"
            return text if kind == "mask" else f"narrow_{kind}({text})"
        if op == "cast":
            return self.cast(e, args[0], wide)
        if op == "uniform":
            return f"uniform_{'vf32' if wide else 'f32'}({args[0]})"
        if e.dtype == "bool" and op not in FUNCTIONS:
            raise Unprintable(f"{op} of bool")
        if op in INFIX:
            if e in self.compared:
                args = [f"sealed_{suffix}({a})" if x.op in PRODUCTS else a for a, x in zip(args, e.args, strict=True)]  # fmt: skip
            text = INFIX[op].format(*args)
            return text if wide or t not in ("i8", "i16", "u8", "u16") else f"({t})({text})"
        if op == "power" and e.args[1].op == "const" and e.args[1].attr[0] == 2:
            return f"{args[0]} * {args[0]}"
        if op in FUNCTIONS:
            kind = lane(e.args[0].dtype)
            if kind == "mask":
                raise Unprintable(f"{op} of bool")
            return f"{op}_{'v' if wide else ''}{kind}({', '.join(args)})"
        raise Unprintable(op)

    def cast(self, e: E, x: str, wide: bool) -> str:
        src, dst = lane(e.args[0].dtype), lane(e.dtype)
        if src == dst:
            return x
        if src == "f64" and e.dtype == "f16":
            return f"odd_{'v' if wide else ''}f64({x})"
        if dst == "mask":
            return f"narrow_{src}({x} != 0)" if wide else f"-({x} != 0)"
        x = f"-{x}" if src == "mask" else x
        return f"__builtin_convertvector({x}, v{dst})" if wide else f"({dst})({x})"

    def counted(self, e: E) -> str:
        (f,) = e.attr
        t = lane(e.dtype)
        if not self.is_wide(e):
            return f"({t})({self.form(f)})"
        if any(isinstance(a, Quotient) and self.vector in real_axes(a.form) for a, _ in f.terms):
            return (
                f"({{ v{t} r; for (int k = 0; k < W; k++) r[k] = ({t})({self.form(f, 'k')}); r; }})"
            )
        step = dict(f.terms)[self.vector]
        if t == "i32":
            return f"ramp_i32({self.form(f)}, (i32){step})"
        return f"__builtin_convertvector(ramp({self.form(f)}, {step}), v{t})"

    def loaded(self, e: E) -> str:
        buf, flat, fill, guards, clip = e.attr
        key = self.frame.places(buf)
        flat_key = (form_key(flat), bool(e.args))
        if any(k == key for k, _ in self.puts):
            raise Aliased
        self.reads.append((key, form_key(flat) if not e.args else flat_key))
        p, t = self.frame.param(buf), lane(buf.dtype)
        kind = stored(buf.dtype)
        idx = ""
        if e.args:
            idx = f" + {clip[0]} * clip({{}}, {clip[1]})"
        wide = self.is_wide(e)
        wide_idx = bool(e.args) and self.is_wide(e.args[0])
        lines_up = self.vector is not None and any(
            isinstance(a, Quotient) and self.vector in real_axes(a.form) for a, _ in flat.terms
        )
        empty = literal(0 if fill is None else fill, buf.dtype)
        if not wide:
            at = f"{p}[{self.form(flat)}{idx.format(self.name(e.args[0])) if e.args else ''}]"
            text = read(at, buf.dtype)
            return f"({self.test(guards)}) ? {text} : {empty}" if guards else text
        if wide_idx or lines_up or self.along(guards):
            at = f"{p}[{self.form(flat, 'k')}"
            if e.args:
                at += idx.format(f"{self.name(e.args[0])}[k]" if wide_idx else self.name(e.args[0]))
            text = read(f"{at}]", buf.dtype)
            if guards:
                text = f"({self.test(guards, 'k')}) ? {text} : {empty}"
            return f"({{ v{t} r = splat_{t}({empty}); for (int k = 0; k < {self.lanes}; k++) r[k] = {text}; r; }})"
        at = f"{p} + {self.form(flat)}{idx.format(self.name(e.args[0])) if e.args else ''}"
        step = dict(flat.terms).get(self.vector, 0)
        text = (
            f"ld_{kind}({at}, {self.lanes})"
            if step == 1
            else f"ldg_{kind}({at}, {step}, {self.lanes})"
        )
        text = f"tomask({text})" if buf.dtype == "bool" else text
        return f"({self.test(guards)}) ? {text} : splat_{t}({empty})" if guards else text
