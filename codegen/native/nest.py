"""The loops around the tiles of a convolution: which axes are units, tiles, vectors and sums, and the copy with zeros.

All problems of a nest (see `windows`) share their operands and the result. Refuses to hold which kernels there
are (`convolution`) and the C of a tile (`tiles`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.loops import Aff, Axis, Buf
from codegen.native.render import Kernel
from codegen.native.sweep import Step, Sweep
from codegen.native.windows import Problem
from ir.types import NUMPY

ROOM = 256 * 1024  # bytes of a stretch of the image with zeros around it
FEW = 4  # images: with fewer, blocks of rows are units
BLOCKS = 8  # of the rows of one image
SHORT = 4  # rows: a tile's axis so short takes another along


class Nest:
    """Steps (images, or blocks of their rows) over loops over tiles.

    summed: whether the steps add up to one result. steps: how many there are.
    """

    def __init__(self, problems: Sequence[Problem]):
        self.problems = problems
        self.p = p = next((q for q in problems if not q.empty), problems[0])
        self.dtype = p.out.dtype
        self.itemsize = int(np.dtype(NUMPY[self.dtype]).itemsize)
        self.result_bytes = math.prod(p.out.shape) * self.itemsize
        self.lanes = p.lanes
        self.image = self._image()
        self.summed = self._summed()
        self.tiles = {q: self._tile(q) for q in problems}
        self.zeros = sorted({d for q in problems for d in q.guarded if not self._cut(q, d)})
        self.tall = self._tall()
        self.block, self.blocks = self._blocks()
        self.steps = (self.image.size if self.image is not None else 1) * self.blocks

    # -- which axis is what -----------------------------------------------------------------------

    def _image(self) -> Axis | None:
        """The axis of the images, if the result has others of its rows."""
        terms = self.p.ia[0].terms
        if len(terms) != 1 or terms[0][1] != 1 or 0 in self.p.guarded:
            return None
        a = terms[0][0]
        if a in self.p.deep:
            return a
        return a if a in self.p.rows and len(self.p.rows) > 1 else None

    def _summed(self) -> bool:
        if self.image is not None:
            return self.image in self.p.deep
        pairs = [f.terms for f in self.p.ia if len(f.terms) == 2]
        return bool(pairs) and max(pairs[0], key=lambda t: t[0].size)[0] in self.p.deep

    def _tile(self, p: Problem) -> list[Axis]:
        """The axes of a tile's rows, the outer first: the innermost, and the next where that is short."""
        step = dict(p.fo.terms)
        rows = sorted((a for a in p.rows if a is not self.image), key=lambda a: step[a])
        found = rows[:1]
        while found and found[0].size < SHORT and len(found) < min(len(rows), 2):
            found.insert(0, rows[len(found)])
        return found

    def _cut(self, p: Problem, d: int) -> bool:
        """Whether positions outside along a dimension are left out by the range of one sum."""
        deep = [(a, c) for a, c in p.ia[d].terms if a in p.deep and a is not self.image]
        if len(deep) != 1 or deep[0][1] < 0:
            return False
        return not any(a in self.tiles[p] for a, _ in p.ia[d].terms)

    def _tall(self) -> Axis | None:
        """The axis of the rows of an image, of which a step may take a block."""
        p = self.p
        if len(self.problems) > 1 or len(p.ia) < 4 or self.zeros[-1:] in ([0], [1]):
            return None
        kind = p.deep if self.summed else p.rows
        found = [a for a, c in p.ia[1].terms if a in kind and c > 0 and a not in self.tiles[p]]
        return found[0] if len(found) == 1 and found[0] is not self.image else None

    def _blocks(self) -> tuple[int, int]:
        """Rows of an image that a step takes, and how many such blocks an image has."""
        if self.tall is None:
            return 0, 1
        n = self.tall.size
        image = math.prod(self.p.a.shape[1:]) * self.itemsize
        least = max(1, -(-image // ROOM)) if self.zeros or self.summed else 1
        few = self.image is None or self.image.size < FEW
        rows = -(-n // min(n, max(least, BLOCKS if few else 1)))
        return rows, -(-n // rows)

    # -- where `a` is read ------------------------------------------------------------------------

    def _stretch(self) -> tuple[list[int], list[int]]:
        """The first position (at the block's start) and the extent, per dimension, of the copy with zeros."""
        first, extent = [], []
        for d, n in enumerate(self.p.a.shape):
            low, high = n, -1
            for q in self.problems:
                if not q.empty:
                    a, z = self._local(q.ia[d]).interval()
                    low, high = min(low, a), max(high, z)
            moving = self.blocks > 1 and any(a is self.tall for a, _ in self.p.ia[d].terms)
            if d > self.zeros[-1]:
                low, high = 0, n - 1
            elif d not in self.zeros and not moving:
                low, high = max(low, 0), min(high, n - 1)
            first.append(low)
            extent.append(high - low + 1)
        return first, extent

    def _local(self, f: Aff) -> Aff:
        """Positions within a step: of the image none, of its rows those of a block."""
        out = Aff((), f.const)
        for a, c in f.terms:
            if a is self.tall:
                a = Axis("b", self.block)
            if a is not self.image:
                out = out + Aff(((a, c),))
        return out

    def _copy(
        self, first: Sequence[int], extent: Sequence[int], strides: Sequence[int]
    ) -> list[str]:
        """The C that fills the scratch with a stretch of the image and zeros around it."""
        p, last = self.p, self.zeros[-1]
        size = math.prod(extent[last + 1 :])
        source: list[str] = []
        target: list[str] = []
        tests: list[str] = []
        text, pad = ["{"], "  "
        for d in range(last):
            n, c = p.a.shape[d], dict(p.ia[d].terms)
            if self.image is not None and self.image in c:
                source.append(f"n * {p.a.strides[d]}L")
                continue
            at = f"c{d} + {first[d]}" if first[d] else f"c{d}"
            if self.blocks > 1 and self.tall in c:
                at += f" + h0 * {c[self.tall]}"
            text.append(f"{pad}for (long c{d} = 0; c{d} < {extent[d]}; c{d}++) {{")
            pad += "  "
            text.append(f"{pad}const long r{d} = {at};")
            if first[d] < 0 or first[d] + extent[d] > n or (self.blocks > 1 and self.tall in c):
                tests.append(f"r{d} < 0 || r{d} >= {n}")
            source.append(f"r{d} * {p.a.strides[d]}L")
            target.append(f" + c{d} * {strides[d]}")
        text.append(f"{pad}{self.dtype} *to = x{''.join(target)};")
        row = extent[last] * size
        before = max(0, -first[last]) * size
        inside = (min(first[last] + extent[last], p.a.shape[last]) - max(first[last], 0)) * size
        if inside <= 0:
            before, inside = row, 0
        source.append(str(max(first[last], 0) * size))
        copy = f"padded_{self.dtype}(to, {before}, p{{a}} + {' + '.join(source)}, {inside}, {row - before - inside});"
        if tests:
            text.append(
                f"{pad}if ({' || '.join(tests)}) __builtin_memset(to, 0, {row * self.itemsize});"
            )
            copy = f"else {copy}"
        text.append(pad + copy)
        while pad:
            pad = pad[2:]
            text.append(f"{pad}}}")
        return text

    # -- the C ------------------------------------------------------------------------------------

    def kernel(self, places: Callable[[Buf], Any], out: Buf, parts: int = 1) -> Kernel:
        """The function: into `out`, or, of a sum over steps, `parts` partial sums next to each other."""
        p = self.p
        bufs: list[Buf] = []
        for b in (p.a, p.b, out):
            if all(places(b) != places(k) for k in bufs):
                bufs.append(b)
        names = {
            b: next(k for k, x in enumerate(bufs) if places(x) == places(b))
            for b in (p.a, p.b, out)
        }
        body: list[str] = []
        own, strides, first = 0, list(p.a.strides), [0] * len(p.ia)
        if self.zeros:
            first, extent = self._stretch()
            for d in reversed(range(len(extent) - 1)):
                strides[d] = strides[d + 1] * extent[d + 1]
            own = -(-math.prod(extent) * self.itemsize // 64) * 64
            copy = [t.replace("p{a}", f"p{names[p.a]}") for t in self._copy(first, extent, strides)]
        else:
            copy = []
        size = math.prod(p.out.shape)
        step = "s" if self.summed else "u"
        if self.summed:
            at = [f"{self.steps}L * u / {parts}", f"{self.steps}L * (u + 1) / {parts}"]
            body.append(
                f"for (long u = lo; u < hi; u++) for (long s = {at[0]}; s < {at[1]}; s++) {{"
            )
            body.append(f"  const int add = s > {at[0]};")
        else:
            body.append("for (long u = lo; u < hi; u++) {")
        if self.blocks > 1:
            assert self.tall is not None
            body.append(
                f"  const long n = {step} / {self.blocks}, h0 = {step} % {self.blocks} * {self.block};"
            )
            body.append(f"  const long h1 = least(h0 + {self.block}, {self.tall.size});")
        else:
            body.append(f"  const long n = {step};")
        if self.zeros:
            body.append(f"  {self.dtype} *x = ({self.dtype} *)own;")
            body += [f"  {t}" for t in copy]
            origin = "x"
        else:
            origin = f"p{names[p.a]}"
        step_of = Step(
            self.image,
            self.tall if self.blocks > 1 else None,
            tuple(self.zeros),
            self.summed,
            self.lanes,
        )
        result = f"p{names[out]}" + (f" + u * {size}L" if self.summed and parts > 1 else "")
        for q in self.problems:
            lines = Sweep(
                step_of, q, self.tiles[q], origin, strides, first, f"p{names[p.b]}", result
            ).lines()
            body += ["  {", *(f"    {t}" for t in lines), "  }"]
        body.append("}")
        flops = sum(q.flops for q in self.problems if not q.empty)
        moved = sum(math.prod(b.shape) for b in (p.a, p.b, p.out)) * self.itemsize
        units = parts if self.summed else self.steps
        notes = {"convolution": [q.flops for q in self.problems], "units": units}
        written = {names[out]}
        cost = max(flops / (80 if self.dtype == "f32" else 40), moved / 15)
        return Kernel([f"  {t}" for t in body], bufs, written, notes, units, cost, own)
