"""The loops around the tiles of a convolution: which axes are units, tiles, vectors and sums, and the copy with zeros.

All problems of a nest (see `windows`) share their operands and the result. Refuses to hold which kernels there
are (`convolution`) and the C of a tile (`tiles`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from codegen.loops import Aff, Axis
from codegen.native.resolve import Unprintable
from codegen.native.sweep import Step, Sweep
from codegen.native.windows import Problem
from ir.types import NUMPY

ROOM = 256 * 1024  # bytes of a stretch of the image with zeros around it
FEW = 4  # images: with fewer, blocks of rows are units
BLOCKS = 8  # of the rows of one image
ROW = 16  # positions of a tile that takes a whole row, each tap with the rows it has
TAPS = 5  # of such a row, which are written out
DEEP = 8  # numbers that one tap at least sums for such a tile
LONG = 96  # numbers that a tile sums at least, where images are small
SHORT = 4  # rows: a tile's axis so short takes another along


class Nest:
    """Steps (images, or blocks of their rows) over loops over tiles.

    image, tall: the axes of the images and of their rows, where a step may be one of the first and some of the
    second. summed: whether the steps add up to one result. choice: which tile of registers, 0 the best by estimate.
    """

    def __init__(self, problems: Sequence[Problem], lanes: Axis | None, choice: int = 0):
        self.problems, self.choice = problems, choice
        self.p = p = next((q for q in problems if not q.empty), problems[0])
        self.itemsize = int(np.dtype(NUMPY[p.dtype]).itemsize)
        self.lanes = lanes if lanes is not None and _contiguous(p, lanes) else None
        self.image = self._image()
        self.summed = self._summed()
        self.tiles = [self._tile(q) for q in problems]
        outside = [self._outside(q, t) for q, t in zip(problems, self.tiles, strict=True)]
        self.taps = [self._taps(q, t) for q, t in zip(problems, self.tiles, strict=True)]
        self.zeros: tuple[int, ...] = ()
        if any(found - {t} for found, t in zip(outside, self.taps, strict=True)):
            self.zeros = tuple(sorted(set().union(*outside)))
            self.taps = [None for _ in problems]
        self.tall = self._tall()
        self.flops = sum(q.flops for q in problems if not q.empty)

    # -- which axis is what -----------------------------------------------------------------------

    def _image(self) -> Axis | None:
        """The axis of the images, if the result has others of its rows."""
        terms = self.p.dims[0].at.terms if self.p.dims else ()
        if len(terms) != 1 or terms[0][1] != 1 or not self.p.dims[0].inside:
            return None
        if any(q.dims[0].at.const for q in self.problems if not q.empty):
            return None  # rows of one image, from another than its first on
        if any(q.dims[0].at.terms != terms for q in self.problems if not q.empty):
            return None  # rows of one image, which other residues look at through a window
        a = terms[0][0]
        if a in self.p.deep:
            return a
        return a if a in self.p.rows and len(self.p.rows) > 1 else None

    def _summed(self) -> bool:
        if self.image is not None:
            return self.image in self.p.deep
        pairs = [d.at.terms for d in self.p.dims if len(d.at.terms) == 2]
        return bool(pairs) and max(pairs[0], key=lambda t: t[0].size)[0] in self.p.deep

    def _tile(self, p: Problem) -> list[Axis]:
        """The axes of a tile's rows, the outer first: the innermost, and the next where that is short."""
        step = dict(p.fo.terms)
        rows = sorted((a for a in p.rows if a is not self.image), key=lambda a: step[a])
        found = rows[:1]
        while found and found[0].size < SHORT and len(found) < min(len(rows), 2):
            found.insert(0, rows[len(found)])
        return found

    def _outside(self, p: Problem, tile: Sequence[Axis]) -> set[int]:
        """The dimensions with positions outside that no range of one sum leaves out."""
        found: set[int] = set()
        for d, dim in enumerate(() if p.empty else p.dims):
            deep = [c for a, c in dim.at.terms if a in p.deep and a is not self.image]
            cut = len(deep) == 1 and deep[0] > 0 and not any(a in tile for a, _ in dim.at.terms)
            if not dim.inside and not cut:
                found.add(d)
        return found

    def _taps(self, p: Problem, tile: Sequence[Axis]) -> int | None:
        """The dimension along which a tile takes a whole row, and each tap only the positions inside."""
        if p.empty or len(tile) != 1 or tile[0].size > ROW:
            return None
        deep = sorted((a for a in p.deep if a is not self.image), key=lambda a: _step(p, a))
        for d, dim in enumerate(p.dims):
            terms = dict(dim.at.terms)
            taps = [a for a in terms if a is not tile[0]]
            if dim.inside or len(terms) != 2 or tile[0] not in terms or terms[taps[0]] < 0:
                continue
            if taps[0] in deep[1:] and taps[0].size <= TAPS and deep[0].size >= DEEP:
                return d
        return None

    def _tall(self) -> Axis | None:
        p = self.p
        if len(self.problems) > 1 or len(p.dims) < 4 or self.zeros[-1:] in ((0,), (1,)):
            return None
        kind = p.deep if self.summed else p.rows
        found = [a for a, c in p.dims[1].at.terms if a in kind and c > 0 and a not in self.tiles[0]]
        return found[0] if len(found) == 1 and found[0] is not self.image else None

    @property
    def stretch(self) -> int:
        """Bytes of one image."""
        return math.prod(d.extent for d in self.p.dims[self.image is not None :]) * self.itemsize

    def together(self) -> int:
        """Images that one step of a sum over them should take: enough that a tile is not written for a few numbers each."""
        if not self.summed or self.image is None or self.zeros or len(self.problems) > 1:
            return 1
        each = math.prod(a.size for a in self.p.deep if a is not self.image)
        return min(max(1, LONG // max(each, 1)), self.image.size)

    def rows(self) -> int:
        """Rows of an image that a step should take at most."""
        assert self.tall is not None
        few = self.image is None or self.image.size < FEW
        room = max(1, -(-self.stretch // ROOM)) if self.zeros or self.summed else 1
        return -(-self.tall.size // min(self.tall.size, max(room, BLOCKS if few else 1)))

    # -- the copy ---------------------------------------------------------------------------------

    def _local(self, f: Aff, tall: Axis | None, most: int) -> Aff:
        """Positions within a step: of the image none, of its rows those of a block."""
        out = Aff((), f.const)
        for a, c in f.terms:
            if a is not self.image:
                out = out + Aff((((Axis("b", most) if a is tall else a), c),))
        return out

    def _stretch(self, tall: Axis | None, most: int) -> tuple[list[int], list[int]]:
        """The first position (at the block's start) and the extent, per dimension, of the copy with zeros."""
        first, extent = [], []
        for d, dim in enumerate(self.p.dims):
            low, high = dim.extent, -1
            for q in self.problems:
                if not q.empty:
                    a, z = self._local(q.dims[d].at, tall, most).interval()
                    low, high = min(low, a), max(high, z)
            moving = any(a is tall for a, _ in dim.at.terms)
            if d > self.zeros[-1]:
                low, high = 0, dim.extent - 1
            elif d not in self.zeros and not moving:
                low, high = max(low, 0), min(high, dim.extent - 1)
            first.append(low)
            extent.append(high - low + 1)
        return first, extent

    def _copy(
        self, a: str, to: str, tall: Axis | None, first: Sequence[int], extent: Sequence[int], strides: Sequence[int]
    ) -> list[str]:  # fmt: skip
        """The C that fills `to` with a stretch of the image and zeros around it."""
        last, dims = self.zeros[-1], self.p.dims
        for d in range(last, len(dims) - 1):
            if dims[d].extent > 1 and dims[d].stride != math.prod(x.extent for x in dims[d + 1 :]):
                raise Unprintable("an image whose rows are apart")
        if last == len(dims) - 1 and dims[last].extent > 1 and dims[last].stride != 1:
            raise Unprintable("an image whose rows are apart")
        source, target, tests, text, pad = [], [], [], ["{"], "  "
        for d in range(last):
            n, step, c = dims[d].extent, dims[d].stride, dict(dims[d].at.terms)
            if self.image is not None and self.image in c:
                source.append(f" + n * {step}L")
                continue
            at = f"c{d} + {first[d]}" if first[d] else f"c{d}"
            at += f" + top * {c[tall]}" if tall is not None and tall in c else ""
            text.append(f"{pad}for (long c{d} = 0; c{d} < {extent[d]}; c{d}++) {{")
            pad += "  "
            text.append(f"{pad}const long r{d} = {at};")
            if first[d] < 0 or first[d] + extent[d] > n or tall in c:
                tests.append(f"r{d} < 0 || r{d} >= {n}")
            source.append(f" + r{d} * {step}L")
            target.append(f" + c{d} * {strides[d]}")
        text.append(f"{pad}{self.p.dtype} *to = {to}{''.join(target)};")
        size = math.prod(extent[last + 1 :])
        row, low = extent[last] * size, max(first[last], 0)
        before = max(0, -first[last]) * size
        inside = (min(first[last] + extent[last], dims[last].extent) - low) * size
        if inside <= 0:
            before, inside = row, 0
        copy = f"padded_{self.p.dtype}(to, {before}, {a}{''.join(source)} + {low * size}, {inside}, {row - before - inside});"
        if tests:
            text.append(f"{pad}if ({' || '.join(tests)}) memset(to, 0, {row * self.itemsize});")
            copy = f"else {copy}"
        text.append(pad + copy)
        while pad:
            pad = pad[2:]
            text.append(f"{pad}}}")
        return text

    # -- the C ------------------------------------------------------------------------------------

    def step(
        self, a: str, b: str, c: str, room: Callable[[int], str], most: int = 0, images: int = 1
    ) -> list[str]:
        """The C of the step `n`, or of `images` at most, those from first to last; of its rows from top to end, `most` of them, where that is not 0.

        a, b, c: pointers to element 0 of each array. room: gives the pointer (`char *`) to so many bytes of scratch.
        """
        dims, tall = self.p.dims, self.tall if most else None
        strides, first = [d.stride for d in dims], [0] * len(dims)
        a += f" + {self.p.origin}" if self.p.origin else ""
        out: list[str] = []
        if self.zeros:
            first, extent = self._stretch(tall, most)
            for d in reversed(range(len(dims))):
                strides[d] = strides[d + 1] * extent[d + 1] if d + 1 < len(dims) else 1
            at = room(math.prod(extent) * self.itemsize)
            out.append(f"{self.p.dtype} *x = ({self.p.dtype} *){at};")
            out += self._copy(a, "x", tall, first, extent, strides)
            a = "x"
        step = Step(self.image, tall, self.zeros, self.summed, self.lanes, self.choice, images)
        for q, tile, taps in zip(self.problems, self.tiles, self.taps, strict=True):
            lines = Sweep(step, q, tile, taps, a, strides, first, b, c).lines()
            out += ["{", *(f"  {t}" for t in lines), "}"]
        return out


def _step(p: Problem, a: Axis) -> int:
    """The elements of `a` from one position of an axis to the next."""
    return abs(sum(d.stride * dict(d.at.terms).get(a, 0) for d in p.dims))


def _contiguous(p: Problem, lanes: Axis) -> bool:
    """Whether everything that has an axis has it next to each other."""
    if lanes in p.rows or dict(p.fo.terms).get(lanes) != 1 or dict(p.fb.terms).get(lanes) != 1:
        return False
    steps = [d.stride * dict(d.at.terms)[lanes] for d in p.dims if lanes in dict(d.at.terms)]
    return steps in ([], [1])
