"""Products in a loop's kernel: rows by matrices that are the same at each step, tile by tile.

Tiles that fit are held from before the loop, others are read again at each step. Products are of matrix units (`tl.dot`), or of terms
that are summed up. Refuses to hold what else a step does (`codegen.triton.scan`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from codegen.loops import Buf
from codegen.triton.columns import Matrix, Segment
from codegen.triton.positions import Val
from codegen.triton.reductions import wide
from codegen.triton.spelling import DTYPES, literal
from codegen.triton.tiles import Tiles
from ir.graph import Node, Value


class Weights(Tiles):
    """Writes the products of a step."""

    here = ""  # what the address of a tile that is read at each step has besides

    def part(self, v: Value, s: Segment) -> Val:
        """A segment of an operand that is mapped position by position."""
        raise NotImplementedError

    def matrix(self, w: Value, k: Segment, s: Segment, over: Matrix, out: Matrix) -> Val:
        """A tile of a matrix, summed axis first: held from before the loop where all of them fit."""
        key = ("matrix", w, k, s, over.step)
        if key in self.done:
            return self.done[key]
        lines, depth = self.lines, self.depth
        if self.resident:
            self.lines, self.depth = self.head, 1
        buf = self.ins[w]
        if isinstance(buf, Buf):
            text, dims, conditions = self.here, [], []
            for d, side, part in ((1, over, k), (2, out, s)):
                if part[0]:
                    text += f" + {part[0] * side.step}"
                if part[1] - part[0] > 1:
                    dims.append(d)
            for d, side, part in ((1, over, k), (2, out, s)):
                if d in dims:
                    width = self.padded(part)
                    self.columns_of(width)
                    text += f" + {self.shown(f'cols_{width}', (d,), dims)} * {side.step}"
                    test = self.inside(part)
                    if test is not None:
                        conditions.append(Val(test.text, (d,), "bool"))
            mask = self.joined(conditions)
            more = (
                ""
                if mask is None
                else f", mask={self.shown(f'({mask.text})', mask.dims, dims)}, other=0"
            )
            made = Val(
                self.name(f"tl.load({self.names[buf]}{text}{more})", "w"), tuple(dims), w.dtype
            )
        else:
            made = Val(literal(buf, w.dtype), (), w.dtype, True)
        self.lines, self.depth = lines, depth
        self.done[key] = made
        return made

    def contracted(self, n: Node, s: Segment) -> Val:
        """The columns `s` of rows times a matrix; those of all other segments are written with them."""
        _, _, over, out = self.plan.weight(n)
        ks, ms = self.plan.parts(over.axis), self.plan.parts(out.axis)
        totals = self.by_units(n, ks, ms) if self.dot else self.by_sums(n, ks, ms)
        for m, total in totals.items():
            self.done[n.outs[0], m] = self.cast(total, n.outs[0].dtype)
        return self.done[n.outs[0], s]

    def factor(self, x: Value, k: Segment) -> Val:
        """Rows as the left operand of a product: 0 beyond the segment."""
        key = ("factor", x, k)
        if key not in self.done:
            a, test = self.part(x, k), self.inside(k)
            if test is not None:
                a = self.filled(self.across(a, tuple(sorted({*a.dims, 1})), k), [test], 0)
            self.done[key] = a
        return self.done[key]

    def by_units(self, n: Node, ks: Sequence[Segment], ms: Sequence[Segment]) -> dict[Segment, Val]:
        """A segment of the summed axis for all columns before the next, for the layout that matrix units want of it takes many
        registers; each tile of the matrix is asked for while the one before it is multiplied by."""
        x, w, over, out = self.plan.weight(n)
        totals: dict[Segment, Val] = {}
        pairs = list(itertools.product(ks, ms))
        for (k, m), following in itertools.zip_longest(pairs, pairs[1:]):
            b = self.matrix(w, k, m, over, out)
            if following is not None:
                self.matrix(w, following[0], following[1], over, out)
            total = totals.get(m)
            if self.rows >= 16 and b.dims == (1, 2):
                totals[m] = self.unit(n, self.across(self.factor(x, k), (0, 1), k), b, total)
            else:
                made = self.summed(self.terms(self.factor(x, k), b))
                totals[m] = made if total is None else self.plus(total, made)
        return totals

    def unit(self, n: Node, a: Val, b: Val, total: Val | None) -> Val:
        """Rows by a tile of a matrix, by matrix units, added to `total`."""
        how, dtype = n.attr("precision"), wide(n.outs[0].dtype)
        if how == "bf16" and a.dtype == "f32":
            a, b = self.cast(a, "bf16"), self.cast(b, "bf16")
        how = how if a.dtype == "f32" else "ieee"
        acc = f", {total.text}" if total is not None and total.dims == (0, 1) else ""
        text = (
            f'tl.dot({a.text}, {b.text}{acc}, input_precision="{how}", out_dtype={DTYPES[dtype]})'
        )
        made = Val(self.name(text), (0, 1), dtype)
        return made if acc or total is None else self.plus(total, made)

    def by_sums(self, n: Node, ks: Sequence[Segment], ms: Sequence[Segment]) -> dict[Segment, Val]:
        """The terms of segments of equal width position by position, and then one sum over the positions."""
        x, w, over, out = self.plan.weight(n)
        totals: dict[Segment, Val] = {}
        for m in ms:
            parts: dict[int, Val] = {}
            for k in ks:
                made = self.terms(self.factor(x, k), self.matrix(w, k, m, over, out))
                width = self.padded(k)
                parts[width] = self.plus(parts[width], made) if width in parts else made
            totals[m] = functools.reduce(self.plus, map(self.summed, parts.values()))
        return totals

    def terms(self, a: Val, b: Val) -> Val:
        """Rows times a tile of a matrix (dimensions 1 and 2), not summed."""
        a, b = (self.cast(v, "f32") if v.dtype in ("f16", "bf16") else v for v in (a, b))
        dims = tuple(sorted({*a.dims, *b.dims}))
        shown = (self.shown(v.text, v.dims, dims) for v in (a, b))
        return Val(self.name(" * ".join(shown)), dims, a.dtype)

    def summed(self, terms: Val) -> Val:
        """Terms summed over dimension 1."""
        dims = terms.dims
        left = tuple(0 if d == 0 else 1 for d in dims if d != 1)
        text = f"tl.sum({terms.text}, {dims.index(1)})" if 1 in dims else terms.text
        return Val(self.name(text), left, terms.dtype)

    def plus(self, a: Val, b: Val) -> Val:
        dims = tuple(sorted({*a.dims, *b.dims}))
        return Val(
            self.name(f"{self.shown(a.text, a.dims, dims)} + {self.shown(b.text, b.dims, dims)}"),
            dims,
            a.dtype,
        )
