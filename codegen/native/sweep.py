"""The loops of one problem of a convolution around its tiles, from the batch down to the rows and vectors of a tile.

Refuses to hold what the steps of a kernel are (`nest`), and the C of a tile (`tiles`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.loops import Aff, Axis
from codegen.native.resolve import Unprintable
from codegen.native.tiles import Level, Piece, Shape, constant, shapes, tile
from codegen.native.windows import Dim, Problem


@dataclass(frozen=True)
class Step:
    """What one step of a kernel is: one position of `image` (C: n), those of `tall` from top to end where it is given.

    zeros: the dimensions along which `a` is read from a copy with zeros around it. summed: whether the steps
    add up. lanes: the axis of the vectors. choice: which tile of registers (see `tiles.shapes`).
    images: with more than one, a tile sums positions `first` to before `last` of `image` (C), so many of them at most.
    """

    image: Axis | None
    tall: Axis | None
    zeros: tuple[int, ...]
    summed: bool
    lanes: Axis | None
    choice: int = 0
    images: int = 1


class Sweep:
    """The C of one problem in a step; `strides`, `first`: of what `a` is read from, per dimension of it."""

    def __init__(
        self, step: Step, p: Problem, inside: Sequence[Axis], taps: int | None, origin: str,
        strides: Sequence[int], first: Sequence[int], b: str, c: str,
    ):  # fmt: skip
        self.step, self.p, self.inside = step, p, inside
        self.origin, self.b, self.c = origin, b, c
        local = bool(step.zeros)
        self.a: dict[Axis, int] = {}
        self.const = 0
        for f, n, low in zip((d.at for d in p.dims), strides, first, strict=True):
            for axis, k in f.terms:
                if not (local and axis is step.image):
                    self.a[axis] = self.a.get(axis, 0) + k * n
            self.const += (f.const - low) * n
        self.of_b, self.of_c = dict(p.fb.terms), dict(p.fo.terms)
        self.cuts: dict[
            Axis, tuple[int, Aff, int]
        ] = {}  # a sum's axis: its step, the rest, the extent
        self.vars: dict[Axis, str] = {}
        if step.image is not None and step.images == 1:
            self.vars[step.image] = "n"
        for d, dim in enumerate(() if p.empty else p.dims):
            if d not in step.zeros and d != taps and not dim.inside:
                deep, k = next(t for t in dim.at.terms if t[0] in p.deep and t[0] is not step.image)
                if deep in self.cuts:
                    raise Unprintable("taps that two windows share")
                rest = Aff([t for t in dim.at.terms if t[0] is not deep], dim.at.const)
                self.cuts[deep] = (k, rest, dim.extent)
        self.apart = {
            a for k, (_, r, _) in self.cuts.items() for a in (k, *(t for t, _ in r.terms))
        }
        if step.tall is not None:
            self.apart.add(step.tall)
        self.pieces: list[Piece] = []
        self.tap: Axis | None = None
        if taps is not None:
            self._cut_rows(p.dims[taps], inside[0])
            self.apart.update(a for a, _ in p.dims[taps].at.terms)

    def _cut_rows(self, dim: Dim, over: Axis) -> None:
        """For each tap the rows whose positions are inside."""
        ((tap, far),) = [t for t in dim.at.terms if t[0] is not over]
        near, self.tap = dict(dim.at.terms)[over], tap
        for k in range(tap.size):
            at = dim.at.const + far * k
            low, high = -(at // near), (dim.extent - 1 - at) // near + 1
            low, high = max(low, 0), min(high, over.size)
            if low < high:
                self.pieces.append(
                    Piece(str(low), str(high), k * self.a.get(tap, 0), k * self.of_b.get(tap, 0))
                )

    def merged(self, axes: Sequence[Axis]) -> list[Axis]:
        """Axes with those that everything walks as one made one."""
        left = list(axes)
        while True:
            pair = next(((x, y) for x in left for y in left if self.in_line(x, y)), None)
            if pair is None:
                return left
            x, y = pair
            m = Axis("m", x.size * y.size)
            for form in (self.a, self.of_b, self.of_c):
                if y in form:
                    form[m] = form[y]
            left = [m if v is y else v for v in left if v is not x]

    def in_line(self, x: Axis, y: Axis) -> bool:
        """Whether two axes can be walked as one, x the outer."""
        if x is y or x in self.apart or y in self.apart:
            return False
        return all(f.get(x, 0) == f.get(y, 0) * y.size for f in (self.a, self.of_b, self.of_c))

    def at(self, f: Mapping[Axis, int]) -> str:
        """The C of the part of a form that the open loops' variables make."""
        return "".join(f" + {v} * {f[a]}" for a, v in self.vars.items() if f.get(a))

    def lines(self) -> list[str]:
        step, p, inside = self.step, self.p, self.inside
        tall, lanes = step.tall, step.lanes
        rows = self.merged([a for a in p.rows if a is not step.image and a not in inside])
        inner = self.merged(inside)
        if len(inner) == 1 and inner[0].size > 0:
            taken = [a for a in rows if self.in_line(a, inner[0])]
            while taken:
                inner, rows = (
                    self.merged([taken[0], inner[0]]),
                    [a for a in rows if a is not taken[0]],
                )
                taken = [a for a in rows if self.in_line(a, inner[0])]
        batch = self.merged([a for a in p.batch if a is not lanes])
        cols = self.merged([a for a in p.cols if a is not lanes])
        deep = self.merged([a for a in p.deep if a is not step.image and a is not self.tap])
        rows.sort(key=lambda a: -self.of_c[a])
        deep.sort(key=lambda a: -abs(self.a.get(a, 0)))
        out: list[str] = []
        for k, a in enumerate([*batch, *cols]):
            out.append(f"for (long g{k} = 0; g{k} < {a.size}; g{k}++)")
            self.vars[a] = f"g{k}"
        width = lanes.size if lanes is not None else 1
        over = inner[0] if inner else Axis("one", 1)
        extra = inner[1].size if len(inner) > 1 else 1
        wide = lanes is not None and lanes in p.batch
        length = math.prod(a.size for a in deep) * max(len(self.pieces), 1) * step.images
        sizes = [int(piece.high) - int(piece.low) for piece in self.pieces]
        whole = sum(sizes) / len(sizes) if sizes else 0
        picked = shapes(over.size * extra, width, length, p.dtype, extra, wide, whole, step.choice)
        m = {w: s[0] for w, s in picked.items()}
        n = {w: s[1] for w, s in picked.items()}
        head = [f"enum {{ M = {constant(m)}, N = {constant(n)} }};"]
        outer: list[str] = []
        for k, a in enumerate(rows):
            low, high = ("top", "end") if a is tall else ("0", str(a.size))
            outer.append("  " * k + f"for (long i{k} = {low}; i{k} < {high}; i{k}++)")
            self.vars[a] = f"i{k}"
        outer.append("  " * len(rows) + "{")
        pad = "  " * (len(rows) + 1)
        levels: list[Level] = []
        if step.image is not None and step.images > 1:
            each = step.image
            levels.append(Level("n", "first", "last", self.a.get(each, 0), self.of_b.get(each, 0)))
        for k, a in enumerate(deep):
            low, high = ("top", "end") if a is tall else ("0", str(a.size))
            if a in self.cuts:
                many, rest, extent = self.cuts[a]
                where = self.text(rest)
                outer.append(pad + f"const long from{k} = most({low}, reach(-({where}), {many})), "
                             f"till{k} = least({high}, reach({extent} - ({where}), {many}));")  # fmt: skip
                low, high = f"from{k}", f"till{k}"
            levels.append(Level(f"k{k}", low, high, self.a.get(a, 0), self.of_b.get(a, 0)))
        base_a = f"{self.origin} + {self.const}" + self.at(self.a)
        if step.zeros and tall is not None:
            base_a += f" - top * {self.a[tall]}"
        base_b = (
            f"{self.b} + {p.fb.const}" + self.at(self.of_b) + (" + q" if lanes is not None else "")
        )
        base_c = (
            f"{self.c} + {p.fo.const}" + self.at(self.of_c) + (" + q" if lanes is not None else "")
        )
        if wide:
            base_a += " + q"
        step_a, step_c = self.a.get(over, 0), self.of_c.get(over, 0)
        if extra > 1:
            ja, jc = self.a.get(inner[1], 0), self.of_c[inner[1]]
            row_a, row_c = (
                f"r / {extra} * {step_a} + r % {extra} * {ja}",
                f"r / {extra} * {step_c} + r % {extra} * {jc}",
            )
        else:
            row_a, row_c = f"r * {step_a}", f"r * {step_c}"
        add = "add" if step.summed else ""

        def tiles(vectors: str, last: str) -> list[str]:
            def one(count: str) -> list[str]:
                text = [] if p.empty else [
                    f"const {p.dtype} *a = {base_a} + r0 * {step_a}, *b = {base_b};"
                ]  # fmt: skip
                text.append(f"{p.dtype} *c = {base_c} + r0 * {step_c};")
                times = f" * {extra}" if extra > 1 else ""
                shape = Shape(f"({count}){times}", vectors)
                return [
                    *text,
                    *tile(
                        p.dtype,
                        shape,
                        last,
                        row_a,
                        row_c,
                        None if p.empty else levels,
                        wide,
                        add,
                        self.pieces,
                    ),
                ]

            found: list[str] = []
            if any(over.size >= k for k in m.values()):
                found += [
                    f"for (long r0 = 0; r0 + M <= {over.size}; r0 += M) {{",
                    *(f"  {t}" for t in one("M")),
                    "}",
                ]
            if any(over.size % k for k in m.values()):
                found += [f"if ({over.size} % M) {{", f"  const long r0 = {over.size} / M * M;",
                          *(f"  {t}" for t in one(f"{over.size} % M")), "}"]  # fmt: skip
            return [*outer, *(pad + t for t in found), "  " * len(rows) + "}"]

        panels: list[str] = []
        if any(width >= n[w] * w for w in n):
            panels += [
                f"for (long q = 0; q + N * W <= {width}; q += N * W)",
                *(f"  {t}" for t in ["{", *tiles("N", "W"), "}"]),
            ]
        if any(width % (n[w] * w) for w in n):
            left = f"{width} % (N * W)"
            last = f"(({left} - 1) % W + 1)"
            panels += [f"if ({left}) {{", f"  const long q = {width} / (N * W) * (N * W);",
                       *(f"  {t}" for t in tiles(f"(({left} + W - 1) / W)", last)), "}"]  # fmt: skip
        return [*head, *out, "{", *(f"  {t}" for t in panels), "}"]

    def text(self, f: Aff) -> str:
        """The C of a form over open loops."""
        parts = [f"{self.vars[a]} * {c}" for a, c in f.terms]
        return " + ".join([*parts, str(f.const)])
