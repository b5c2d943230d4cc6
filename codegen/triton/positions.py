"""Writing lines, and where things are: the indices of axes, their masks, affine forms.

A `Val` is a written value, an `Index` a written position. Refuses to hold what is computed there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from codegen.loops import Aff, Axis, Buf, Region, Schedule
from codegen.triton.schedule import size
from codegen.triton.spelling import Unsupported

LARGE = 2**31 - 1  # above, a position or an offset needs 64 bits


def is_large(buf: Buf) -> bool:
    """Whether the offset of an element may need 64 bits."""
    return math.prod(buf.shape) > LARGE


class Val(NamedTuple):
    """A written value: its text, the groups that are its dimensions, its dtype; `const` if it is a literal."""

    text: str
    dims: tuple[int, ...]
    dtype: str
    const: bool = False


class Index(NamedTuple):
    """The position along an axis: text, dimensions, least and greatest value, conditions for it to be one."""

    text: str
    dims: tuple[int, ...]
    low: int
    high: int
    guards: tuple[Val, ...] = ()


Env: TypeAlias = Mapping[Axis, Index]


class Positions:
    """The lines of a kernel while it is written, and the positions of its axes."""

    def __init__(self, region: Region, schedule: Schedule, names: Mapping[Buf, str], barrier: bool):
        self.region, self.schedule, self.names = region, schedule, names
        self.groups = schedule.groups
        self.lines: list[str] = []
        self.depth = 1
        self.memo: list[dict[Any, Any]] = [{}]
        self.count = 0
        self.env: dict[Axis, Index] = {}
        self.masks: dict[int, Val | None] = {}
        self.pids: dict[int, str] = {}
        self.barrier = barrier
        self.starts: dict[int, str] = {}  # of a group: what a fourth of its positions begins with

    # -- writing ----------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self, text: str, stem: str = "v") -> str:
        made = f"{stem}{self.count}"
        self.count += 1
        self.line(f"{made} = {text}")
        return made

    def recall(self, key: Any) -> Any:
        for scope in reversed(self.memo):
            if key in scope:
                return scope[key]
        return None

    def keep(self, key: Any, value: Any) -> Any:
        self.memo[-1][key] = value
        return value

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.memo.append({})
        self.depth += 1
        env, masks = dict(self.env), dict(self.masks)
        yield
        self.env, self.masks = env, masks
        self.depth -= 1
        self.memo.pop()

    def shown(self, text: str, dims: Sequence[int], over: Sequence[int]) -> str:
        """A value over `dims` so that it broadcasts over `over`."""
        if not dims or tuple(dims) == tuple(over):
            return text
        return f"{text}[{', '.join(':' if d in dims else 'None' for d in over)}]"

    def block(self, dims: Iterable[int]) -> str:
        sizes = [str(self.groups[d].tile) for d in dims]
        return f"({', '.join(sizes)},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def joined(self, parts: Sequence[Val], op: str = "&") -> Val | None:
        """Conditions taken together."""
        unique = list(dict.fromkeys(parts))
        if not unique:
            return None
        dims = tuple(sorted({d for p in unique for d in p.dims}))
        return Val(f" {op} ".join(self.shown(p.text, p.dims, dims) for p in unique), dims, "bool")

    # -- positions --------------------------------------------------------------------------------

    def header(self) -> None:
        grid = [k for k, g in enumerate(self.groups) if g.role in ("grid", "split")]
        counts = [self.programs(k) for k in grid]
        active = [k for k, n in zip(grid, counts, strict=True) if n > 1]
        for k in grid:
            if k not in active:
                self.pids[k] = "0"
        if active:
            wide = (
                ".to(tl.int64)" if any(size(g.axes) + g.tile > LARGE for g in self.groups) else ""
            )
            self.line(f"pid = tl.program_id(0){wide}")
            step = 1
            for k in reversed(active):
                n = self.programs(k)
                text = "pid" if step == 1 else f"pid // {step}"
                if k != active[0]:
                    text = f"{text} % {n}"
                self.pids[k] = text if text == "pid" else self.name(f"{text}", "p")
                step *= n
        for k, g in enumerate(self.groups):
            if g.role == "grid":
                p = self.pids[k]
                first = "" if p == "0" else f"{p} * {g.tile} + " if g.tile > 1 else p
                self.place(k, first)
                self.starts[k] = "" if p == "0" else f"{p} * {g.tile // 4} + "
            elif g.role == "tile":
                self.place(k, "")
                self.starts[k] = ""
        for new, x in self.schedule.notes.get("residues", {}).items():
            q, r = self.index(x.q, self.env), self.index(x.r, self.env)
            text = self.name(f"{q.text} * {x.step} + {r.text}", "a")
            at = Index(text, q.dims, 0, x.q.size * x.step - 1)
            tests = tuple(self.within(at, new.size))
            self.env[new] = Index(text, q.dims, 0, new.size - 1, tests)

    def programs(self, k: int) -> int:
        g = self.groups[k]
        if g.role == "split":
            return int(self.schedule.notes["parts"])
        return -(-size(g.axes) // g.tile)

    def place(self, k: int, first: str, stop: str = "") -> None:
        """Write where group k is, and make that known to its axes."""
        g = self.groups[k]
        n = size(g.axes)
        if g.tile == n == 1:
            return
        if g.tile == 1:
            dims: tuple[int, ...] = ()
            text = self.name(first or "0", "i")
        else:
            text, dims = self.name(f"{first}tl.arange(0, {g.tile})", "i"), (k,)
        tail = n % g.tile != 0 or bool(stop)
        self.masks[k] = Val(self.name(f"{text} < {stop or n}", "m"), dims, "bool") if tail else None
        self.axes_of(k, text, dims)

    def axes_of(self, k: int, text: str, dims: tuple[int, ...]) -> None:
        """Make a position of group k known to its axes."""
        g = self.groups[k]
        step = size(g.axes)
        for a in g.axes:
            step //= a.size
            at = text if step == 1 else f"{text} // {step}"
            if a is not g.axes[0]:
                at = f"{at} % {a.size}"
            self.env[a] = Index(text if at == text else self.name(at, "a"), dims, 0, a.size - 1)

    def form(self, form: Aff, env: Env) -> Index:
        """The value of an affine form."""
        if not form.terms:
            return Index(str(form.const), (), form.const, form.const)
        parts, low, high = [], form.const, form.const
        guards: list[Val] = []
        found = [(self.index(a, env), c) for a, c in form.terms]
        dims = tuple(sorted({d for i, _ in found for d in i.dims}))
        wide = form.const + sum(max(c * i.low, c * i.high) for i, c in found) > LARGE
        for i, c in found:
            own = f"({i.text}).to(tl.int64)" if wide and not i.text.isdigit() else i.text
            text = self.shown(own, i.dims, dims)
            parts.append(text if c == 1 else f"{text} * {c}")
            low, high = low + min(c * i.low, c * i.high), high + max(c * i.low, c * i.high)
            guards += i.guards
        if form.const:
            parts.append(str(form.const))
        if len(parts) == 1 and parts[0] == found[0][0].text:
            return found[0][0]
        if low == high and not dims:
            return Index(str(low), (), low, high, tuple(dict.fromkeys(guards)))
        text = " + ".join(parts).replace("+ -", "- ")
        key = ("form", text)
        name = self.recall(key) or self.keep(key, self.name(text, "a"))
        return Index(name, dims, low, high, tuple(dict.fromkeys(guards)))

    def index(self, a: Axis, env: Env) -> Index:
        if a in env:
            return env[a]
        if a.size == 1:
            return Index("0", (), 0, 0)
        raise Unsupported(f"axis {a!r} has no position in this kernel")

    def within(self, i: Index, extent: int) -> list[Val]:
        """Conditions for an index to be inside an extent, as far as they are not sure."""
        out = []
        for sure, test in (
            (i.low >= 0, f"{i.text} >= 0"),
            (i.high < extent, f"{i.text} < {extent}"),
        ):
            if not sure:
                key = ("test", test)
                text = self.recall(key) or self.keep(key, self.name(test, "m"))
                out.append(Val(text, i.dims, "bool"))
        return out

    def tails(self, dims: Iterable[int]) -> list[Val]:
        return [m for d in dims if (m := self.masks.get(d)) is not None]
