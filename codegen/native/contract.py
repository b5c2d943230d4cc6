"""Matrix products in C: which axes are rows, columns, summed and batch, how it is cut into blocks, and the call for a block.

Refuses windows (convolutions), operands that are not memory, and what else a block computes (`blocks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codegen.loops import Aff, Axis, E, Region, Store, axis_aff, load
from codegen.native.atoms import Cut, Host, given, is_memory, stored_order
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.values import Frame, Span
from codegen.native.ways import PANELS, RULE, Way

BLOCK = (
    65536  # elements of a block: its result and what is computed from it stay in the second cache
)
LEAST = 32  # rows that a packed panel serves, columns of a block
UNITS = 8  # blocks of a product that is worth cutting
ENOUGH = 4  # blocks from which its sum is not cut
PARTS = 8  # of a sum that is
LONG = 512  # numbers of such a sum at least
GRAIN = 150_000  # multiplications of a block at least: some microseconds


@dataclass(frozen=True)
class Line:
    """Axes that are walked as one: how many positions (a C text), at most, and the step in each of two arrays."""

    count: str
    most: int
    steps: tuple[int, int]


class Product:
    """The sum of products `e` of operands without windows. Raises Unprintable for one that tiles cannot compute."""

    kind = "product"

    def __init__(self, e: E, way: Way = RULE):
        x, y = e.args
        over = [a for a in e.attr[1] if a.size > 1]
        if e.dtype not in ("f32", "f64") or {x.dtype, y.dtype} != {e.dtype}:
            raise Unprintable(f"a product of {x.dtype} and {y.dtype} in {e.dtype}")
        if any(a.size == 0 for a in {*x.axes, *y.axes, *e.attr[1]}):
            raise Unprintable("nothing to add")
        if any(a not in x.axes or a not in y.axes for a in over):
            raise Unprintable("a sum within an operand")
        own = [a for a in e.axes if a.size > 1]
        self.e, self.deep, self.way = e, over, way
        self.operands: tuple[E, ...] = (x, y)
        self.batch = [a for a in own if a in x.axes and a in y.axes]
        self.rows = [a for a in own if a not in y.axes]
        self.cols = [a for a in own if a not in x.axes]

    @property
    def flops(self) -> int:
        """Operations of all of it."""
        return 2 * math.prod(a.size for a in {*self.operands[0].axes, *self.operands[1].axes})

    def over(self, operands: Sequence[E]) -> E:
        """The product of other operands."""
        return replaced(self.e, dict(zip(self.operands, operands, strict=True)))

    def order(self, stored: Sequence[Axis]) -> list[Axis]:
        """The axes of a result in memory, outermost first: as `stored`, but for batch axes, which come before the last."""
        axes = [*(a for a in stored if a in self.e.axes), *(a for a in self.e.axes if a not in stored)]  # fmt: skip
        while axes and axes[-1] in self.batch and (self.rows or self.cols):
            axes.insert(0, axes.pop())
        return axes

    def cuts(self, order: Sequence[Axis], legal: Callable[[Axis], bool]) -> list[Cut]:
        """The blocks of a result whose axes lie in this order: axes that are `legal` to cut and the size of a part."""
        m, n = (math.prod(a.size for a in axes) for axes in (self.rows, self.cols))
        deep = math.prod(a.size for a in self.deep)
        every = m * n * deep * math.prod(a.size for a in self.batch)
        by = self.way.grain
        if every < 2 * GRAIN * by:
            return []
        most = int(max(every // UNITS, GRAIN) * by)  # multiplications of a block
        if any(map(legal, self.batch)):
            room = min(BLOCK // (2 * m * n), most // (m * n * deep))  # others may follow
            return _parts([a for a in order if a in self.batch], room, legal, 1)
        ways = []
        for mine, across, grain in ((self.rows, n, 8), (self.cols, m, LEAST)):
            room = max(min(int(BLOCK * by) // across, most // (across * deep)), LEAST)
            found = _parts([a for a in order if a in mine], room, legal, grain)
            if found:  # each part reads the other operand again
                count = math.prod(c.parts for c in found)
                ways.append(
                    (count < UNITS, (count * across + every // (across * deep)) * deep, found)
                )
        ways.sort(key=lambda w: w[:2])
        return ways[-1 if self.way.across else 0][2] if ways else []

    def lines(
        self,
        frame: Frame,
        operands: Sequence[E],
        out: str,
        steps: Mapping[Axis, int],
        spans: Mapping[Axis, Span],
    ) -> list[str]:
        """The C lines that compute the part `spans` of the result at `out`, whose axes have these steps in memory.

        operands: loads in the place of `self.operands`.
        """
        x, y = operands
        rows, cols = self.rows, self.cols
        if any(steps[a] == 1 for a in rows):
            x, y, rows, cols = y, x, cols, rows
        forms = [flat_form(x.attr[0], x.attr[1]), flat_form(y.attr[0], y.attr[1])]
        sx, sy = (dict(f.terms) for f in forms)
        down = _lines(rows, (sx, steps), spans)
        along = _lines(cols, (sy, steps), spans)
        deep = _lines(self.deep, (sx, sy), {})
        if along and along[-1].steps[1] != 1:
            raise Unprintable("a product into columns apart")
        if len(deep) > 2:
            raise Unprintable("a product whose summed axes do not merge")
        down.sort(key=lambda line: line.most)
        loops: list[str] = []
        at = [_at(frame.param(x.attr[0]), forms[0], spans), _at(frame.param(y.attr[0]), forms[1], spans),
              _at(out, Aff([(a, s) for a, s in steps.items() if a.size > 1]), spans)]  # fmt: skip

        def loop(count: str, moves: tuple[int, int, int]) -> None:
            i = f"i{len(loops)}"
            loops.append(f"for (long {i} = 0; {i} < {count}; {i}++)")
            for k, step in enumerate(moves):
                at[k] += f" + {step} * {i}" if step else ""

        for a in self.batch:
            loop(_count(a, spans), (sx.get(a, 0), sy.get(a, 0), steps[a]))
        for line in along[:-1]:
            loop(line.count, (0, line.steps[0], line.steps[1]))
        for line in down[:-2]:
            loop(line.count, (line.steps[0], 0, line.steps[1]))
        one = Line("1", 1, (0, 0))
        m1, m = ([one, one] + down)[-2:]
        k1, k = ([one, one] + sorted(deep, key=lambda line: line.most))[-2:]
        n = along[-1] if along else Line("1", 1, (1, 1))
        call = (
            f"{'library' if self.way.blas else 'gemm'}_{self.e.dtype}({m1.count}, {m.count}, {n.count}, {k1.count}, {k.count}, "
            f"{at[0]}, {m1.steps[0]}, {m.steps[0]}, {k1.steps[0]}, {k.steps[0]}, "
            f"{at[1]}, {k1.steps[1]}, {k.steps[1]}, {n.steps[0]}, {at[2]}, {m1.steps[1]}, {m.steps[1]}, "
            f"{PANELS.index(self.way.panels)});"
        )
        return [*("  " * d + text for d, text in enumerate(loops)), "  " * len(loops) + call]


def replaced(e: E, new: Mapping[E, E]) -> E:
    """An expression over other operands."""
    if e in new:
        return new[e]
    args = tuple(replaced(a, new) for a in e.args)
    return E(e.op, args, e.attr, e.dtype, e.axes)


def product(e: E, way: Way = RULE) -> Product | None:
    """The product an expression is, laid out in this way; None for another expression or one with windows. Raises Unprintable."""
    if e.op != "dot" or any(_windowed(a) for a in e.args):
        return None
    return Product(e, way)


def summed(region: Region, host: Host) -> list[Region] | None:
    """A region around a long sum with a small result as two: sums over parts of it, side by side, then their sum and what follows.

    None where blocks of the result are enough. Raises Unprintable.
    """
    dots = [e for e in region.nodes() if e.op == "dot"]
    made = product(dots[0]) if len(dots) == 1 else None
    if made is None or made.batch or not made.deep or not all(map(is_memory, made.operands)):
        return None
    e, over = made.e, max(made.deep, key=lambda a: a.size)
    parts = next((n for n in range(PARTS, 1, -1) if over.size % n == 0), 1)
    own = [a for a in made.order(stored_order(region, e)) if a.size > 1]
    units = math.prod(c.parts for c in made.cuts(own, lambda a: True))
    result = math.prod(a.size for a in own)
    if parts == 1 or units >= ENOUGH or made.flops // 2 < max(2 * PARTS * GRAIN, LONG * result):
        return None
    part, rest = Axis("p", parts), Axis(over.name, over.size // parts)
    place = {over: Aff(((part, rest.size), (rest, 1)))}
    x, y = (load(a.attr[0], tuple(i.subst(place) for i in a.attr[1])) for a in made.operands)
    attr = (e.attr[0], tuple(rest if a is over else a for a in e.attr[1]), *e.attr[2:])
    each = E("dot", (x, y), attr, e.dtype, (part, *e.axes))
    sums = host.fresh([parts, *(a.size for a in own)], e.dtype)
    store = Store(sums, (axis_aff(part), *map(axis_aff, own)), each)
    total = E("red", (load(sums, store.idx),), ("sum", (part,)), e.dtype, tuple(own))
    return [Region([store], (part, *own)), given(region, e, total)]


def _windowed(e: E) -> bool:
    return e.op == "load" and any(
        isinstance(i, Aff) and len(i.terms) > 1 and not _split(i) for i in e.attr[1]
    )


def _split(i: Aff) -> bool:
    """Whether a form is the position along an axis that was split, not a window."""
    terms = sorted(i.terms, key=lambda t: t[1])
    step = terms[0][1]
    for a, c in terms:
        if c != step:
            return False
        step = c * a.size
    return True


def _parts(axes: Sequence[Axis], room: int, legal: Callable[[Axis], bool], grain: int) -> list[Cut]:
    """Cuts of axes, outermost first, so that about `room` positions are in a block; sizes of whole grains if they can be."""
    room, out = max(room, 1), []
    inner = math.prod(a.size for a in axes)
    for a in axes:
        inner //= a.size
        if not legal(a):
            continue
        if inner >= room:
            out.append(Cut(a, 1))
            continue
        most = max(1, room // inner)
        if most < a.size:
            out.append(Cut(a, _even(a.size, most, grain)))
        break
    return out


def _even(n: int, most: int, grain: int) -> int:
    """A size of parts of n: one that divides it and is of whole grains, or of whole grains, or divides it, up to `most`."""
    sizes = range(most, max(most // 2, 1) - 1, -1)
    for size in sizes:
        if n % size == 0 and size % grain == 0:
            return size
    return next((s for s in sizes if s % grain == 0), next((s for s in sizes if n % s == 0), most))


def _count(a: Axis, spans: Mapping[Axis, Span]) -> str:
    span = spans.get(a)
    return str(a.size) if span is None else span.count


def _at(pointer: str, form: Aff, spans: Mapping[Axis, Span]) -> str:
    """The address at the beginning of every axis."""
    text = pointer + (f" + {form.const}" if form.const else "")
    return text + "".join(f" + {c} * {spans[a].low}" for a, c in form.terms if a in spans)


def _lines(
    axes: Sequence[Axis], forms: Sequence[Mapping[Axis, int]], spans: Mapping[Axis, Span]
) -> list[Line]:
    """Axes as few lines, the one of the smallest steps in the second array last."""
    first, second = forms
    out: list[Line] = []
    for a in sorted(axes, key=lambda a: -abs(second.get(a, 0))):
        steps = (first.get(a, 0), second.get(a, 0))
        if (
            out
            and a not in spans
            and all(p == q * a.size for p, q in zip(out[-1].steps, steps, strict=True))
        ):
            last = out.pop()
            count = (
                str(int(last.count) * a.size)
                if last.count.isdigit()
                else f"{last.count} * {a.size}"
            )
            out.append(Line(count, last.most * a.size, steps))
        else:
            out.append(Line(_count(a, spans), spans[a].most if a in spans else a.size, steps))
    return out
