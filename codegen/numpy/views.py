"""Arrays as the NumPy renderer sees them: slots of memory, strided views of slots, and calls on views.

A `View` is over named axes; a `Shaped` is what stands in the text: shape and strides. Refuses to
hold what is computed and how text is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from codegen.loops import Axis
from ir.types import NUMPY

NUMPY_NAMES = {
    "bool": "bool_", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
    "u32": "uint32", "u64": "uint64", "f16": "float16", "bf16": "float32", "f32": "float32", "f64": "float64",
}  # fmt: skip


def exact(fill: Any, dtype: str) -> Any:
    if dtype == "bool":
        return bool(fill)
    return float(fill) if dtype.startswith(("f", "b")) else int(fill)


class Slot:
    """A stretch of memory with a fixed dtype: a buffer of the program, or scratch.

    role: "state", "data", "result" or "temp". first, last: the first and the last call that uses it.
    """

    __slots__ = ("dtype", "shape", "role", "path", "first", "last", "name", "offset", "value")

    def __init__(self, dtype: str, shape: tuple[int, ...], role: str = "temp", path: str = ""):
        self.dtype, self.shape, self.role, self.path = dtype, shape, role, path
        self.first, self.last = -1, -1
        self.name, self.offset = "", -1

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def itemsize(self) -> int:
        return int(np.dtype(NUMPY[self.dtype]).itemsize)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize


class Loop:
    """A loop of the program over `count` passes, inside `parent`.

    apart: its passes are blocks of rows, which depend on each other by sums alone.
    """

    __slots__ = ("count", "parent", "first", "last", "apart")

    def __init__(self, count: int, parent: Loop | None):
        self.count, self.parent = count, parent
        self.first = self.last = -1
        self.apart = False

    def child_of(self, outer: Loop | None) -> Loop:
        """This loop, or the one around it, that stands directly in `outer`."""
        found = self
        while found.parent is not outer:
            assert found.parent is not None
            found = found.parent
        return found


class Section:
    """A stretch of a program whose parts may run at the same time."""

    __slots__ = ()


@dataclass(eq=False)
class View:
    """A view of a slot over axes: element strides by axis and by loop, and an offset in elements.

    `first`: what stands in its place in the first pass of the one loop in `loops` (a carry's start).
    """

    slot: Slot
    offset: int
    strides: dict[Axis, int]
    loops: dict[Loop, int] = field(default_factory=dict)
    alternate: tuple[Loop, int] | None = None
    first: View | None = None


@dataclass(frozen=True)
class Shaped:
    """A view as text has it. strides in elements; dtype may differ from the slot's (same item size)."""

    slot: Slot
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    loops: tuple[tuple[Loop, int], ...] = ()
    dtype: str = ""
    alternate: tuple[Loop, int] | None = None
    first: Shaped | None = None

    def variant(self, dtype: str) -> Shaped:
        """The same memory as another dtype of the same item size."""
        first = self.first.variant(dtype) if self.first else None
        return Shaped(
            self.slot,
            self.offset,
            self.shape,
            self.strides,
            self.loops,
            dtype,
            self.alternate,
            first,
        )

    def reshaped(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Shaped:
        first = self.first.reshaped(shape, strides) if self.first else None
        return Shaped(
            self.slot, self.offset, shape, strides, self.loops, self.dtype, self.alternate, first
        )

    @property
    def slots(self) -> tuple[Slot, ...]:
        return (self.slot,) if self.first is None else (self.slot, *self.first.slots)


@dataclass(frozen=True)
class Const:
    """A 0-d array made once: its value and dtype."""

    value: Any
    dtype: str


@dataclass(frozen=True)
class Extra:
    """An object made once in `build`: its expression (e.g. a vector of ones, a Philox stream)."""

    text: str


@dataclass(frozen=True)
class Bound:
    """A function without arguments, made once: a tool of the runtime and the arrays it is for."""

    tool: str
    args: tuple[Shaped | Const, ...]

    @property
    def loops(self) -> tuple[tuple[Loop, int], ...]:
        """The loops that its arrays move with: the same for all that move."""
        return next((a.loops for a in self.args if isinstance(a, Shaped) and a.loops), ())


Operand: TypeAlias = Shaped | Const | Extra | Bound
Tile: TypeAlias = View | Const


@dataclass(eq=False)
class Call:
    """One line of the program: `text` with {0}.. for `args`; writes[k] tells whether args[k] is written.

    same: element i of what is written depends on element i of the operands alone, so memory may be shared.
    kernel: the number of the kernel it belongs to. bound: see `codegen.numpy.bound`. section: the section it is in, and the part of it.
    """

    text: str
    args: tuple[Operand, ...]
    writes: tuple[bool, ...]
    same: bool
    loop: Loop | None
    at: int = 0
    kernel: int = -1
    bound: Bound | None = None  # what runs in its stead, made for these arrays
    section: tuple[Section, int] | None = None


Extents: TypeAlias = Callable[[Axis], int]


def spanned(v: View, axes: Sequence[Axis], extent: Extents) -> Shaped:
    """The view with its axes in the given order, repeated along missing ones."""
    shape = tuple(map(extent, axes))
    strides = tuple(v.strides.get(a, 0) for a in axes)
    first = spanned(v.first, axes, extent) if v.first is not None else None
    return Shaped(v.slot, v.offset, shape, strides, tuple(v.loops.items()), "", v.alternate, first)


def shaped(v: View, axes: Sequence[Axis], extent: Extents) -> Shaped:
    """The view with its axes in the given order (missing ones have extent 1)."""
    shape = tuple(extent(a) if a in v.strides else 1 for a in axes)
    strides = tuple(v.strides.get(a, 0) for a in axes)
    first = shaped(v.first, axes, extent) if v.first is not None else None
    return Shaped(v.slot, v.offset, shape, strides, tuple(v.loops.items()), "", v.alternate, first)


def merged(v: View, groups: Sequence[Sequence[Axis]], extent: Extents) -> Shaped | None:
    """The view with one dimension per group of axes, row-major within; None where strides forbid it."""
    shape, strides = [], []
    for group in groups:
        size, stride, last = 1, 0, None
        for a in reversed(group):
            n = extent(a)
            if n == 1:
                continue
            s = v.strides.get(a, 0)
            if last is None:
                stride = s
            elif s != last:
                return None
            last = s * n
            size *= n
        shape.append(size)
        strides.append(stride if last is not None else 0)
    out = Shaped(
        v.slot, v.offset, tuple(shape), tuple(strides), tuple(v.loops.items()), "", v.alternate
    )
    if v.first is not None:
        first = merged(v.first, groups, extent)
        if first is None or first.strides != out.strides:
            return None
        return Shaped(
            out.slot, out.offset, out.shape, out.strides, out.loops, "", out.alternate, first
        )
    return out


def aligned(views: Sequence[Tile], axes: Sequence[Axis], extent: Extents) -> list[Operand]:
    """Operands of one elementwise call over `axes`: as few dimensions as all strides allow."""
    real = [v for v in views if isinstance(v, View)]
    plain = [*real, *(v.first for v in real if v.first is not None)]
    dims: list[tuple[int, list[int]]] = []
    lead = real[0]
    for a in sorted(
        (a for a in axes if extent(a) != 1), key=lambda a: -abs(lead.strides.get(a, 0))
    ):
        n, steps = extent(a), [v.strides.get(a, 0) for v in plain]
        if dims and all(s0 == s * n for s0, s in zip(dims[-1][1], steps, strict=True)):
            dims[-1] = (dims[-1][0] * n, steps)
        else:
            dims.append((n, steps))
    made: dict[int, Shaped] = {}
    for k in reversed(range(len(plain))):
        v = plain[k]
        used = [(n if steps[k] else 1, steps[k]) for n, steps in dims]
        if v is not lead:
            while used and used[0] == (1, 0):
                used.pop(0)
        shape, strides = tuple(n for n, _ in used), tuple(s for _, s in used)
        first = made.get(id(v.first)) if v.first is not None else None
        made[id(v)] = Shaped(
            v.slot, v.offset, shape, strides, tuple(v.loops.items()), "", v.alternate, first
        )
    return [made[id(v)] if isinstance(v, View) else v for v in views]


def contiguous(axes: Sequence[Axis], extent: Extents) -> tuple[dict[Axis, int], int]:
    """Row-major strides over the axes, and the number of elements."""
    strides, step = {}, 1
    for a in reversed(axes):
        strides[a] = step
        step *= extent(a)
    return strides, step
