"""The loop IR: an expression DAG over named axes, stores of its values, and the schedule beside it.

A value's type is its set of axes: mapping and broadcasting are implicit, and so are masks (a load outside
its buffer gives the fill, a store outside is dropped). "Reduced" is a matter of the expression, grid, loop and
tile of the schedule. Refuses to hold how regions are made (`codegen.regions`), how they are laid out
as statements (`codegen.lower`), and any target.

The expressions (`E.op`, what `args` are, what `attr` holds):

    const                            (value,)
    iota                             (Aff,)  the value of an affine form, as the dtype says
    load      computed indices       (Buf, idx, fill)  idx: per dimension an Aff, or the int k: args[k]
    <op>      operands               a pointwise op of the graph, with the op's attributes
    red       x                      (fn, over)  fn: sum, max, min, prod; over: tuple of axes
    argred    x                      (fn, axis)  position (i32) of the first max or min
    first     x                      (fn, over)  bool: whether this is the first max or min along `over`
    dot       x, y                   (precision, over)  sum of products over `over`
    cum       x                      (fn, axis, reverse, exclusive)  fn: sum, prod
    sort, argsort  x                 (axis,)
    at        x                      (((axis, Aff), ...), fill)  x with axes replaced by affine forms; fill outside
    concat    parts                  (axis, ((part's axis, offset), ...))
    spread    x                      (((new axis, old axis, low, step), ...), fill)  transpose of a strided slice
    fold      x                      ((new axis, o, t, stride, dilation, low), ...)  new = stride*o + dilation*t - low, adding
    scatter   idx, x                 (new axis, over, atomic)  adds x at [idx] into zeros; over: the axes idx consumes; atomic: in any order
    random    seed, step             (stream, Aff)  word number Aff of the Philox stream
    uniform   x                      a u32 word as an f32 in [0, 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias


class Axis:
    """A named range 0 .. size-1. Identity is the only equality; it has no kind."""

    __slots__ = ("name", "size")

    def __init__(self, name: str, size: int):
        self.name, self.size = name, size

    def __repr__(self) -> str:
        return f"{self.name}:{self.size}"


class Aff:
    """An affine form: the sum of coefficient * axis, plus a constant."""

    __slots__ = ("terms", "const")

    def __init__(self, terms: Iterable[tuple[Axis, int]] = (), const: int = 0):
        total: dict[Axis, int] = {}
        for a, c in terms:
            total[a] = total.get(a, 0) + c
        self.terms = tuple((a, c) for a, c in total.items() if c and a.size != 1)
        self.const = const

    def __add__(self, other: Aff | int) -> Aff:
        if isinstance(other, int):
            return Aff(self.terms, self.const + other)
        return Aff(self.terms + other.terms, self.const + other.const)

    def __mul__(self, k: int) -> Aff:
        return Aff(((a, c * k) for a, c in self.terms), self.const * k)

    def interval(self) -> tuple[int, int]:
        """The least and the greatest value it takes."""
        low = high = self.const
        for a, c in self.terms:
            reach = c * max(a.size - 1, 0)
            low, high = low + min(0, reach), high + max(0, reach)
        return low, high

    def subst(self, env: Mapping[Axis, Aff]) -> Aff:
        """With axes replaced by affine forms."""
        if not any(a in env for a, _ in self.terms):
            return self
        out = Aff((), self.const)
        for a, c in self.terms:
            out = out + (env[a] * c if a in env else Aff(((a, c),)))
        return out

    def value(self, env: Mapping[Axis, Any]) -> Any:
        """Its value where `env` gives the axes'."""
        return sum((env[a] * c for a, c in self.terms), self.const)

    def inside(self, extent: int) -> bool:
        """Whether it is always in [0, extent); so it is where it has no position at all."""
        if extent == 0 or any(a.size == 0 for a, _ in self.terms):
            return True
        low, high = self.interval()
        return low >= 0 and high < extent

    def __repr__(self) -> str:
        parts = [a.name if c == 1 else f"{c}*{a.name}" for a, c in self.terms]
        return " + ".join(parts + ([str(self.const)] if self.const or not parts else []))


def axis_aff(a: Axis) -> Aff:
    """The form that is the axis itself."""
    return Aff(((a, 1),))


class Buf:
    """An array in memory: row-major, `dtype` as in `ir.types`. Identity is the only equality.

    `state` names the graph's role: "", "state" or "data".
    """

    __slots__ = ("name", "shape", "dtype", "role", "path")

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: str, role: str = "", path: str = ""
    ):
        self.name, self.shape, self.dtype, self.role, self.path = name, shape, dtype, role, path

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one position to the next, per dimension."""
        out, step = [], 1
        for n in reversed(self.shape):
            out.append(step)
            step *= n
        return tuple(reversed(out))

    def __repr__(self) -> str:
        return f"{self.name}{list(self.shape)}"


Index: TypeAlias = Aff | int  # an int k stands for args[k], a computed index


class E:
    """An expression; see the module's text. `axes` in the order in which they were first seen."""

    __slots__ = ("op", "args", "attr", "dtype", "axes")

    def __init__(
        self,
        op: str,
        args: tuple[E, ...],
        attr: tuple[Any, ...],
        dtype: str,
        axes: tuple[Axis, ...],
    ):
        self.op, self.args, self.attr, self.dtype, self.axes = op, args, attr, dtype, axes

    def __repr__(self) -> str:
        return f"{self.op}{list(self.axes)}"


def union_axes(args: Iterable[E], without: Iterable[Axis] = ()) -> tuple[Axis, ...]:
    """The axes of several expressions, each once, less some."""
    drop = set(without)
    return tuple(dict.fromkeys(a for e in args for a in e.axes if a not in drop))


def load(buf: Buf, idx: tuple[Index, ...], args: tuple[E, ...] = (), fill: Any = None) -> E:
    """A load at affine or computed indices."""
    direct = (a for i in idx if isinstance(i, Aff) for a, _ in i.terms)
    axes = tuple(dict.fromkeys([*direct, *union_axes(args)]))
    return E("load", args, (buf, idx, fill), buf.dtype, axes)


@dataclass(eq=False)
class Store:
    """`buf[idx] = value` at every position of the value's axes."""

    buf: Buf
    idx: tuple[Aff, ...]
    value: E


@dataclass(eq=False)
class Region:
    """Stores that are computed together. `order`: every axis, in the order in which values are laid out."""

    stores: Sequence[Store]
    order: tuple[Axis, ...] = ()

    @cached_property
    def _nodes(self) -> list[E]:
        seen: set[E] = set()
        out: list[E] = []
        for s in self.stores:
            todo: list[tuple[E, bool]] = [(s.value, False)]
            while todo:
                e, done = todo.pop()
                if done:
                    out.append(e)
                elif e not in seen:
                    seen.add(e)
                    todo.append((e, True))
                    todo.extend((a, False) for a in reversed(e.args) if a not in seen)
        return out

    def nodes(self) -> Sequence[E]:
        """Every expression once, operands first; found once, so the stores must not change."""
        return self._nodes


def below(e: E) -> set[E]:
    """Every expression that a value is made of, itself left out."""
    seen: set[E] = set()
    todo = list(e.args)
    while todo:
        a = todo.pop()
        if a not in seen:
            seen.add(a)
            todo.extend(a.args)
    return seen


def compared(nodes: Sequence[E]) -> frozenset[E]:
    """Sums below an extreme or a comparison for equality: what another kernel compares with them is to be the same number,
    so how often they are rounded must not be left to a compiler."""
    kept: set[E] = set()
    for e in nodes:
        extreme = e.op == "red" and e.attr[0] in ("max", "min")
        if extreme or (e.op in ("eq", "ne") and e.args[0].dtype in ("f32", "f64")):
            kept |= {a for a in below(e) if a.op in ("add", "sub") and a.dtype in ("f32", "f64")}
    return frozenset(kept)


@dataclass(frozen=True)
class Group:
    """A group of axes with a role: "grid", "loop" (one pass after another) or "tile" (at once).

    `tile`: how much of the (single) axis one pass of a loop takes; 0 is one position.
    """

    axes: tuple[Axis, ...]
    role: str
    tile: int = 0


@dataclass(frozen=True)
class Schedule:
    """Ordered groups, the outermost first; axes in no group are tiles. `notes` is for the reader."""

    groups: tuple[Group, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def outer(self) -> Iterator[Group]:
        return (g for g in self.groups if g.role != "tile")
