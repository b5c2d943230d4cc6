"""The body of a scan as rows and columns: which values have the batch as an axis, and where their other axis is cut.

A body whose rows never meet can run its whole loop in one kernel, a block of rows in each program. That is a property of
the body, checked here. Slices and concatenations along the columns cut them into segments, so that each gate is a tile of its
own. Refuses to write kernels, and bodies with more than one axis beside the rows.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from codegen.triton.spelling import SPELLING, Unsupported
from ir.graph import Graph, Node, Value
from ir.ops.contract import letters
from ir.passes.fuse import FREE
from ir.spaces import Extent, Mismatch, Spaces, free_of_axes

Segment = tuple[int, int]  # positions start .. stop of the columns

REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min"}
KNOWN = frozenset({*SPELLING, *FREE, *REDUCTIONS, "full", "size", "iota", "broadcast", "transpose", "slice", "concat",
                   "pad", "contract"})  # fmt: skip


class Matrix(NamedTuple):
    """One side of a matrix: the axis, None for one position, and elements from one position to the next."""

    axis: Extent | None
    step: int


class Columns:
    """The rows and the columns of the values of `body`, whose first `carries` inputs go from step to step.

    `cap`: no segment is wider. Raises Unsupported where rows meet or a value has two axes beside them.
    """

    def __init__(self, body: Graph, carries: int, xs: int, cap: int):
        self.body, self.spaces = body, Spaces()
        self.constants = set(body.inputs[carries + xs :])
        try:
            for n in body.nodes:
                if n.op.name not in KNOWN:
                    raise Unsupported(f"op {n.op.name!r} inside a loop over time")
                self.spaces.tie(n, [self._given(v) for v in n.inputs])
            for old, new in zip(body.inputs[:carries], body.outputs, strict=False):
                if old.type.rank:
                    self.spaces.unify(self._given(old)[0], self._given(new)[0])
        except Mismatch as e:
            raise Unsupported(f"the axes of a loop's body: {e}") from e
        # other axes of a carry and of its next value may be the two of one matrix: they share their cuts alone
        self.loop = list(zip(body.inputs[:carries], body.outputs, strict=False))
        self.row = self._row(carries)
        self.cuts: dict[Extent, set[int]] = {}
        for v in (*body.inputs, *(v for n in body.nodes for v in n.outs)):
            self.column(v)
        for n in body.nodes:
            self._apart(n)
        tiles = {*body.inputs[:carries], *body.outputs}  # what is no matrix is read as a tile
        for n in body.nodes:
            tiles.update(set(n.inputs) - (self.constants if n.op.name == "contract" else set()))
        if any(len(self.columns(v)) > 1 for v in tiles):
            raise Unsupported("a value of a loop with two axes beside the batch")
        self._settle()
        for axis, cuts in self.cuts.items():
            marks = sorted({0, *cuts, axis.size})
            for a, b in itertools.pairwise(marks):
                cuts.update(range(a, b, cap))
        self._settle()

    def _given(self, v: Value) -> list[Extent]:
        return [Extent(d) for d in v.shape] if free_of_axes(v) else self.spaces.dims(v)

    def _row(self, carries: int) -> Extent | None:
        """The axis of the batch: the first of the first carry; None where it has one position."""
        for v in self.body.inputs[:carries]:
            if v.type.rank:
                e = self.spaces.find(self.spaces.dims(v)[0])
                if e.parts is not None:
                    raise Unsupported("a loop whose batch axis is split")
                return e if e.size > 1 else None
        return None

    def _leaves(self, v: Value) -> list[Extent]:
        return [leaf for e in self.spaces.dims(v) for leaf in self.spaces.leaves(e)]

    def has_rows(self, v: Value) -> bool:
        """Whether a value differs from row to row."""
        return self.row is not None and not free_of_axes(v) and self.row in self._leaves(v)

    def columns(self, v: Value) -> list[Extent]:
        """The axes of a value beside the rows."""
        return [] if free_of_axes(v) else [e for e in self._leaves(v) if e is not self.row]

    def column(self, v: Value) -> Extent | None:
        """The axis of a value beside the rows; None where it has one position."""
        found = self.columns(v)
        if len(found) > 1 and v not in self.body.inputs:
            raise Unsupported("a value of a loop with two axes beside the batch")
        if len(found) != 1:
            return None
        self.cuts.setdefault(found[0], set())
        return found[0]

    def segments(self, v: Value) -> list[Segment]:
        """The segments of a value's columns, in order."""
        return self.parts(self.column(v))

    def parts(self, e: Extent | None) -> list[Segment]:
        """The segments of an axis."""
        if e is None:
            return [(0, 1)]
        marks = sorted({0, *self.cuts.setdefault(e, set()), e.size})
        return list(itertools.pairwise(marks))

    def steps(self, v: Value) -> dict[Extent | None, int]:
        """Elements from one position to the next in memory, by axis."""
        out: dict[Extent | None, int] = {}
        step = 1
        for e, n in zip(reversed(self.spaces.dims(v)), reversed(v.shape), strict=True):
            found = self.spaces.leaves(e)
            if len(found) > 1:
                raise Unsupported("a value of a loop whose axis is split")
            if found:
                out[found[0]] = step
            step *= n
        return out

    def weight(self, n: Node) -> tuple[Value, Value, Matrix, Matrix]:
        """Of a product: the operand with rows, the matrix, its summed axis and the one of the result."""
        x, w = n.inputs
        if self.has_rows(w) or w not in self.constants:
            x, w = w, x
        lx, ly, lr = letters(n.attrs[0])
        alone = (set(lx) ^ set(ly)) - set(lr)
        if n.attrs[1] or self.has_rows(w) or w not in self.constants or alone:
            raise Unsupported("a product inside a loop that is not rows by a constant matrix")
        sides = [Matrix(None, 0), Matrix(None, 0)]
        step = 1
        mine = lx if w is n.inputs[0] else ly
        for c, e in zip(reversed(mine), reversed(self.spaces.dims(w)), strict=True):
            for leaf in self.spaces.leaves(e):
                k = int(c in lr)
                if sides[k].axis is not None or leaf.size != e.size:
                    raise Unsupported("a product inside a loop with more than two axes")
                sides[k] = Matrix(leaf, step)
                self.cuts.setdefault(leaf, set())
            step *= int(self.spaces.find(e).size)
        return x, w, sides[0], sides[1]

    def _apart(self, n: Node) -> None:
        """Raise Unsupported where a node lets rows meet."""
        if any(map(self.has_rows, n.inputs)) and not all(map(self.has_rows, n.outs)):
            raise Unsupported("the rows of a loop exchange data")
        if n.op.name == "contract":
            self.weight(n)
        elif n.op.name == "iota" and self.row is not None:
            if self.spaces.find(self.spaces.dims(n.outs[0])[n.attrs[1]]) is self.row:
                raise Unsupported("the number of a row inside a loop")
        elif n.op.name == "slice" and any(s != 1 for s in n.attrs[2]):
            raise Unsupported("a slice with steps inside a loop")
        elif n.op.name == "pad" and (any(n.attrs[2]) or min(*n.attrs[0], *n.attrs[1]) < 0):
            raise Unsupported("a pad between elements inside a loop")

    def moves(self, n: Node) -> list[tuple[Value, int, int]]:
        """Of a slice, a concatenation or a pad: operands, where each lies in the result, and its first position there."""
        name = n.op.name
        if name == "concat":
            out, at = [], 0
            for v in n.inputs:
                out.append((v, at, 0))
                at += v.shape[n.attrs[0]]
            return out
        (v,) = n.inputs
        inner, outer = self.column(v), self.column(n.outs[0])
        if inner is outer:
            return [(v, 0, 0)]
        for k, (a, b) in enumerate(zip(v.shape, n.outs[0].shape, strict=True)):
            if a != b:
                return [(v, 0, n.attrs[0][k])] if name == "slice" else [(v, n.attrs[0][k], 0)]
        return [(v, 0, 0)]

    def _settle(self) -> None:
        """Carry cuts through slices, concatenations and pads until none is new."""
        while True:
            before = sum(map(len, self.cuts.values()))
            for n in self.body.nodes:
                if n.op.name not in ("slice", "concat", "pad"):
                    continue
                outer = self.column(n.outs[0])
                for v, at, first in self.moves(n):
                    shift = at - first
                    self._across(
                        self.column(v), outer, shift, self._width(v), self._width(n.outs[0])
                    )
            for old, new in self.loop:
                if not free_of_axes(new):
                    self._across(
                        self.column(old), self.column(new), 0, self._width(old), self._width(new)
                    )
            if sum(map(len, self.cuts.values())) == before:
                return

    def _width(self, v: Value) -> int:
        e = self.column(v)
        return 1 if e is None else int(e.size)

    def _across(
        self, inner: Extent | None, outer: Extent | None, shift: int, n: int, m: int
    ) -> None:
        """Position p of the inner axis is p + shift of the outer: each has the other's cuts."""
        if inner is outer:
            return
        here = {0, n, *(self.cuts[inner] if inner else ()), -shift, m - shift}
        there = {0, m, *(self.cuts[outer] if outer else ()), shift, n + shift}
        if inner is not None:
            self.cuts[inner] |= {p - shift for p in there if 0 < p - shift < n} | {
                p for p in here if 0 < p < n
            }
        if outer is not None:
            self.cuts[outer] |= {p + shift for p in here if 0 < p + shift < m} | {
                p for p in there if 0 < p < m
            }
