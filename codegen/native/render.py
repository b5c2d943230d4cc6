"""A resolved region as one C function: a loop nest from `codegen.lower`, one axis of it in vector lanes.

Each axis is a loop of single positions but one, which goes W lanes at a time with a masked tail. A sum along the vector
axis keeps W partial sums. Refuses to hold the spelling of ops (`table`), C's preamble (`prelude`) and memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule, Store
from codegen.lower import Acc, Fin, For, Init, Let, Put, Stmt, lower
from codegen.native.forms import Guard, Quotient, form_key, real_axes
from codegen.native.resolve import Resolver, Unprintable
from codegen.native.table import COMPARE, FUNCTIONS, INFIX, LOGIC, spelled

_FLOATS = ("f32", "f64")


@dataclass
class Kernel:
    """A C function: its body, the buffers of its parameters, and which of those it writes."""

    body: list[str]
    bufs: list[Buf]
    written: set[int]
    notes: dict[str, Any] = field(default_factory=dict)


def element(dtype: str) -> str:
    """The C type of an element in memory."""
    return "bool8" if dtype == "bool" else dtype


def lane(dtype: str) -> str:
    """The C type of a value in a register."""
    return "mask" if dtype == "bool" else dtype


def literal(value: Any, dtype: str) -> str:
    """A constant of a dtype in C, exact."""
    if dtype == "bool":
        return "-1" if value else "0"
    if dtype not in _FLOATS:
        return (
            f"(({dtype}){int(value)}{'ull' if dtype.startswith('u') else 'll'})"
            if int(value) > -(2**63)
            else "((i64)1 << 63)"
        )
    x = float(value)
    if dtype == "f32":
        try:
            x = struct.unpack("<f", struct.pack("<f", x))[0]
        except OverflowError:
            x = math.copysign(math.inf, x)
    if math.isnan(x):
        return f"(({dtype})NAN)"
    if math.isinf(x):
        return f"(({dtype}){'-' if x < 0 else ''}INFINITY)"
    return f"(({dtype}){x.hex()}{'f' if dtype == 'f32' else ''})"


def render(region: Region, places: Callable[[Buf], Any], scratch: Callable[[int], Buf]) -> Kernel:
    """The function of a region. `places`: equal for buffers in the same memory. Raises Unprintable."""
    resolver = Resolver(scratch)
    flat = resolver.run(region)
    return _Renderer(flat, resolver, places).run()


class _Renderer:
    def __init__(self, region: Region, resolver: Resolver, places: Callable[[Buf], Any]):
        self.region, self.resolver, self.places = region, resolver, places
        self.nodes = region.nodes()
        self.lines: list[str] = []
        self.bufs: list[Buf] = []
        self.params: dict[Any, int] = {}
        self.written: set[int] = set()
        self.names: dict[E, int] = {}
        self.vars: dict[Axis, str] = {}
        self.lanes = ""  # how many lanes the vector loop has now: "W", or the tail's count
        self.scopes: list[set[E]] = []
        self.puts: list[tuple[Any, Any]] = []  # (slot, flat form) stored so far
        self.reads: list[tuple[Any, Any]] = []
        for e in self.nodes:
            if e.op not in ("load", "const", "iota", "red", "inside") and not spelled(e.op):
                raise Unprintable(e.op)

    def run(self) -> Kernel:
        axes = list(dict.fromkeys([*(a for e in self.nodes for a in e.axes),
                                   *(a for s in self.region.stores for a in real_axes(s.idx[0]))]))  # fmt: skip
        if any(a.size == 0 for a in axes) or any(0 in s.buf.shape for s in self.region.stores):
            raise Unprintable("nothing to compute")
        self.vector = self._vector(axes)
        order = self._order(axes)
        self.vars = {a: f"i{k}" for k, a in enumerate(order)}
        groups = tuple(Group((a,), "loop") for a in order)
        try:
            tree = lower(self.region, Schedule(groups))
        except ValueError as e:
            raise Unprintable(str(e)) from e
        self._streams()
        self.block(tree, 1)
        notes = {
            "loops": [a.size for a in order],
            "lanes": self.vars.get(self.vector) if self.vector else None,
        }
        return Kernel(self.lines, self.bufs, self.written, notes)

    # -- schedule ---------------------------------------------------------------------------------

    def _accesses(self) -> list[tuple[Aff, int]]:
        found = [
            (e.attr[1], math.prod(a.size for a in e.axes)) for e in self.nodes if e.op == "load"
        ]
        return found + [
            (s.idx[0], 2 * math.prod(a.size for a in real_axes(s.idx[0])))
            for s in self.region.stores
        ]

    def _vector(self, axes: Sequence[Axis]) -> Axis | None:
        """The axis for the lanes: the one along which most of the memory is contiguous."""
        best: tuple[float, Axis] | None = None
        guarded = {a for e in self.nodes if e.op in ("load", "inside")
                   for g in (e.attr[3] if e.op == "load" else e.attr[0]) for a in real_axes(g.form)}  # fmt: skip
        divided = {
            a
            for e in self.nodes
            for f in _all_forms(e)
            for q, _ in f.terms
            if isinstance(q, Quotient)
            for a in real_axes(q.form)
        }
        for a in axes:
            if a.size < 2:
                continue
            score = 0.0
            for f, weight in self._accesses():
                step = abs(dict(f.terms).get(a, 0))
                score += weight if step == 1 else -weight if step else 0
            score *= min(1.0, a.size / 16) if score > 0 else 1.0
            if a in guarded:
                score *= 0.25 if score > 0 else 4
            if a in divided:
                continue
            if best is None or score > best[0]:
                best = (score, a)
        return best[1] if best else None

    def _order(self, axes: Sequence[Axis]) -> list[Axis]:
        """Outer to inner: results of a sum before what is summed, else as the largest store lies in memory."""
        rank: dict[Axis, int] = {}
        for s in sorted(self.region.stores, key=lambda s: -math.prod(s.buf.shape)):
            for a, _ in sorted(s.idx[0].terms, key=lambda t: -abs(t[1])):
                rank.setdefault(a, len(rank))
        for e in self.nodes:
            for f in _all_forms(e):
                for a, _ in sorted(f.terms, key=lambda t: -abs(t[1])):
                    if not isinstance(a, Quotient):
                        rank.setdefault(a, len(rank))
        for a in axes:
            rank.setdefault(a, len(rank))
        if self.vector is not None:
            rank[self.vector] = len(rank) + 1
        before: dict[Axis, set[Axis]] = {a: set() for a in axes}
        for e in self.nodes:
            if e.op == "red":
                for a in e.attr[1]:
                    before[a].update(e.axes)
        out: list[Axis] = []
        left = sorted(axes, key=rank.__getitem__)
        while left:
            nxt = next((a for a in left if before[a] <= set(out)), None)
            if nxt is None:
                raise Unprintable("sums along axes that need one another")
            out.append(nxt)
            left.remove(nxt)
        return out

    # -- statements -------------------------------------------------------------------------------

    def put(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def block(self, tree: Sequence[Stmt], depth: int) -> None:
        self.scopes.append(set())
        self.statements(tree, depth)
        self.scopes.pop()

    def need(self, e: E, depth: int) -> None:
        """See to it that a value has its name in this scope: what another loop computed is computed again."""
        if e.op == "const" or any(e in scope for scope in self.scopes):
            return
        if e.op == "red":
            raise Unprintable("a sum that is out of reach")
        for a in e.args:
            self.need(a, depth)
        self.put(depth, f"const {self.type(e)} {self.name(e)} = {self.value(e)};")
        self.scopes[-1].add(e)

    def statements(self, tree: Sequence[Stmt], depth: int) -> None:
        for stmt in tree:
            if isinstance(stmt, For):
                self.loop(stmt, depth)
            elif isinstance(stmt, Let):
                self.need(stmt.e, depth)
            elif isinstance(stmt, Init):
                e = stmt.e
                wide = self.is_wide(e) or self.vector in e.attr[1]
                unit = _unit(e)
                text = f"splat_{lane(e.dtype)}({unit})" if wide else unit
                self.put(depth, f"{'v' if wide else ''}{lane(e.dtype)} a{self.number(e)} = {text};")
            elif isinstance(stmt, Acc):
                self.need(stmt.e.args[0], depth)
                self.accumulate(stmt.e, depth)
            elif isinstance(stmt, Fin):
                e = stmt.e
                text = f"a{self.number(e)}"
                if self.vector in e.attr[1]:
                    text = f"whole_{e.attr[0]}_{lane(e.dtype)}({text})"
                self.put(depth, f"const {self.type(e)} {self.name(e)} = {text};")
                self.scopes[-1].add(e)
            elif isinstance(stmt, Put):
                self.need(stmt.store.value, depth)
                self.store(stmt.store, depth)

    def loop(self, stmt: For, depth: int) -> None:
        (a,) = stmt.group.axes
        i = self.vars[a]
        if a is not self.vector:
            self.put(depth, f"for (long {i} = 0; {i} < {a.size}; {i}++) {{")
            self.block(stmt.body, depth + 1)
            self.put(depth, "}")
            return
        n = a.size
        reads, puts = list(self.reads), list(self.puts)
        if n >= 4:
            self.put(depth, f"for (long {i} = 0; {i} + W <= {n}; {i} += W) {{")
            self.lanes = "W"
            self.block(stmt.body, depth + 1)
            self.put(depth, "}")
            self.reads, self.puts = reads, puts
        if n % 16:
            self.put(depth, f"if ({n} % W) {{")
            self.put(depth + 1, f"const long {i} = {n} / W * W;")
            self.lanes = f"{n} % W"
            self.block(stmt.body, depth + 1)
            self.put(depth, "}")
        self.lanes = ""

    def accumulate(self, e: E, depth: int) -> None:
        fn, over = e.attr
        x, t = e.args[0], lane(e.dtype)
        wide = self.is_wide(e) or self.vector in over
        text = self.wide(x) if wide else self.name(x)
        if self.vector in over and self.lanes != "W":
            text = f"select_v{t}(lanes({self.lanes}), {text}, splat_{t}({_unit(e)}))"
        a = f"a{self.number(e)}"
        if e.dtype == "bool":
            self.put(depth, f"{a} = {a} {'|' if fn == 'max' else '&'} {text};")
            return
        name = {"max": "maximum", "min": "minimum"}.get(fn, fn)
        self.put(depth, f"{a} = {name}_{'v' if wide else ''}{t}({a}, {text});")

    def store(self, s: Store, depth: int) -> None:
        flat, dtype = s.idx[0], element(s.buf.dtype)
        p = self.param(s.buf, True)
        key = self.places(s.buf)
        for k, form in [*self.reads]:
            if k == key and form != form_key(flat):
                raise Aliased
        self.puts.append((key, form_key(flat)))
        step = dict(flat.terms).get(self.vector, 0) if self.vector else 0
        at = f"p{p} + {self.form(flat)}"
        if not step:
            value = self.name(s.value)
            if self.is_wide(s.value):
                raise Unprintable("lanes without a place")
            self.put(depth, f"*({at}) = {f'-({value})' if s.buf.dtype == 'bool' else value};")
            return
        value = self.wide(s.value)
        value = f"tobytes({value})" if s.buf.dtype == "bool" else value
        kind = "u8" if s.buf.dtype == "bool" else dtype
        if step == 1:
            self.put(depth, f"st_{kind}({at}, {value}, {self.lanes});")
        else:
            self.put(depth, f"stg_{kind}({at}, {step}, {value}, {self.lanes});")

    # -- values -----------------------------------------------------------------------------------

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

    def param(self, buf: Buf, written: bool = False) -> int:
        key = (self.places(buf), buf.dtype)
        k = self.params.get(key)
        if k is None:
            k = self.params[key] = len(self.bufs)
            self.bufs.append(buf)
        if written:
            self.written.add(k)
        return k

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
        return f"__builtin_convertvector(ramp({self.form(f)}, {dict(f.terms)[self.vector]}), v{t})"

    def loaded(self, e: E) -> str:
        buf, flat, fill, guards, clip = e.attr
        key = self.places(buf)
        flat_key = (form_key(flat), bool(e.args))
        if any(k == key for k, _ in self.puts):
            raise Aliased
        self.reads.append((key, form_key(flat) if not e.args else flat_key))
        p, t = f"p{self.param(buf)}", lane(buf.dtype)
        kind = "u8" if buf.dtype == "bool" else t
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
            text = f"-(mask){at}" if buf.dtype == "bool" else at
            return f"({self.test(guards)}) ? {text} : {empty}" if guards else text
        if wide_idx or lines_up or self.along(guards):
            at = f"{p}[{self.form(flat, 'k')}"
            if e.args:
                at += idx.format(f"{self.name(e.args[0])}[k]" if wide_idx else self.name(e.args[0]))
            text = f"-(mask){at}]" if buf.dtype == "bool" else f"{at}]"
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

    def _streams(self) -> None:
        """Random words are made before the loops, all four of each counter at once."""
        for buf, stream, seed, step, n in self.resolver.streams:
            keys = []
            for e in (seed, step):
                if e.op != "load":
                    raise Unprintable("a key that is computed")
                keys.append(f"p{self.param(e.attr[0])}[{self.form(e.attr[1])}]")
            k0 = f"{keys[0]} + {stream * 0x9E3779B9 & 0xFFFFFFFF}u"
            self.put(1, f"philox({k0}, {keys[1]}, p{self.param(buf, True)}, {n});")


class Aliased(Exception):
    """The region writes memory that it still reads: its results must go elsewhere first."""


def _all_forms(e: E) -> list[Aff]:
    if e.op == "load":
        return [e.attr[1], *(g.form for g in e.attr[3])]
    if e.op == "inside":
        return [g.form for g in e.attr[0]]
    return [e.attr[0]] if e.op == "iota" else []


def _unit(e: E) -> str:
    fn, t = e.attr[0], e.dtype
    if fn in ("sum", "prod"):
        return literal(0 if fn == "sum" else 1, t)
    if t == "bool":
        return literal(fn == "min", t)
    if t in _FLOATS:
        return literal(-math.inf if fn == "max" else math.inf, t)
    bits, signed = int(t[1:]), t[0] == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return literal(low if fn == "max" else high, t)
