"""Convolutions in C, forward and both gradients: register tiles straight over the image, without im2col.

A tile's rows are positions along the innermost axis that the result shares with the image (for a weight gradient: taps and
input channels), its vectors are along the result's channels. Where positions along the tile's axis may be outside, the image's
rows are copied once into scratch with zeros around them; along other axes the range of taps is cut. Images, or blocks
of their rows, are what blocks are cut from (`blocks`); a weight gradient sums some images at a time, then those sums.
Refuses to hold what a convolution is (`windows`), the loops of a step (`nest`) and the C of a tile (`tiles`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from codegen.loops import Aff, Axis, Buf, E, Region, Store, axis_aff, load
from codegen.native.atoms import Cut, Host, given
from codegen.native.nest import FEW, Nest
from codegen.native.render import Kernel
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.values import Frame, Span
from codegen.native.ways import RULE, Way
from codegen.native.windows import Windows, steps_form, windows

PARTS = 8  # blocks of images that a weight gradient is summed in
PART = 1_500_000  # operations from which another block pays
ADDED = 60  # operations of a block for each byte of its sum from which more than two pay
WIDE = 1 << 20  # bytes of a weight from which no more than two do
GRAIN = 400_000  # operations of a block at least: some microseconds
TALL = 64 * 1024  # elements of an image's result from which its rows are cut


class Convolution:
    """A forward convolution or an input gradient, as an atom of `blocks`. Raises Unprintable."""

    kind = "convolution"

    def __init__(self, found: Windows, way: Way = RULE):
        self.found, self.e, self.operands, self.way = found, found.e, found.operands, way
        self.draft = self.nest([_draft(x) for x in found.operands], self._form([]))

    def nest(self, operands: Sequence[E], form: Aff) -> Nest:
        """The loops over operands in memory, into elements `form` of the result."""
        found = self.found
        return Nest(found.problems(operands, form), found.lanes, self.way.tile)

    def _form(self, order: Sequence[Axis]) -> Aff:
        """The result's elements, its axes in some order, the lanes last."""
        axes = [a for a in (order or self.e.axes) if a is not self.found.lanes and a.size > 1]
        axes += [self.found.lanes] if self.found.lanes is not None else []
        buf = Buf("", tuple(a.size for a in axes), self.e.dtype)
        return flat_form(buf, [axis_aff(a) for a in axes])

    @property
    def flops(self) -> int:
        return self.draft.flops

    def over(self, operands: Sequence[E]) -> E:
        return self.found.over(operands)

    def order(self, stored: Sequence[Axis]) -> list[Axis]:
        """As the region stores them, but the lanes last."""
        axes = [a for a in (*stored, *self.e.axes) if a in self.e.axes]
        lanes = self.found.lanes
        return [*(a for a in dict.fromkeys(axes) if a is not lanes), *([lanes] if lanes else [])]

    def cuts(self, order: Sequence[Axis], legal: Callable[[Axis], bool]) -> list[Cut]:
        """Some images, or rows of one."""
        nest, image, tall = self.draft, self.draft.image, self.draft.tall
        grain = int(GRAIN * self.way.grain)
        if nest.flops < 2 * grain:
            return []
        out = []
        images = 1
        if image is not None and legal(image):
            images = image.size
            each = max(nest.flops // images, 1)
            size = max(1, min(grain // each, images // FEW))
            out.append(Cut(image, size))
        inside = any(a is tall for x in self.operands for a in x.axes)
        if (
            tall is not None
            and legal(tall)
            and not inside
            and (image is None or image in {c.axis for c in out})
        ):
            rows = nest.rows()
            result = math.prod(a.size for a in self.e.axes) // images
            rows = min(rows, max(1, int(tall.size * TALL * self.way.grain) // max(result, 1)))
            if rows < tall.size and (not out or out[0].size == 1):
                out.append(Cut(tall, rows))
        return out

    def lines(
        self, frame: Frame, operands: Sequence[E], out: str, steps: Mapping[Axis, int], spans: Mapping[Axis, Span]
    ) -> list[str]:  # fmt: skip
        """The C that sets a block (see `atoms.Atom`)."""
        for x in operands:
            if x.op != "load" or x.args:
                raise Unprintable("an operand of a convolution that is computed")
        form = steps_form({a: n for a, n in steps.items() if a.size > 1})
        nest = self.nest(operands, form)
        image, tall = nest.image, nest.tall
        if any(a is not image and a is not tall for a in spans if a in self.e.axes):
            raise Unprintable("a convolution cut along channels")
        a, b = (frame.param(x.attr[0]) for x in operands)
        text, most = ["{"], 0
        if tall is not None and tall in spans:
            most = spans[tall].most
            text.append(f"  const long top = {spans[tall].low}, end = {spans[tall].high};")
        if image is not None:
            low, high = "0", str(image.size)
            if image in spans:
                low, high = spans[image].low, spans[image].high
            text.append(f"  for (long n = {low}; n < {high}; n++) {{")
        else:
            text.append("  {")
        text += [f"    {t}" for t in nest.step(a, b, out, frame.room, most)]
        return [*text, "  }", "}"]


def product(e: E, way: Way = RULE) -> Convolution | None:
    """The convolution an expression is, laid out in this way, if it is no sum over images; None for another. Raises Unprintable."""
    found = windows(e)
    if found is None:
        return None
    made = Convolution(found, way)
    return None if made.draft.summed else made


def _draft(x: E) -> E:
    """An operand as if it lay in memory."""
    if x.op == "load" and not x.args and all(isinstance(i, Aff) for i in x.attr[1]):
        return x
    return load(Buf("", tuple(a.size for a in x.axes), x.dtype), tuple(map(axis_aff, x.axes)))


# -- weight gradients -------------------------------------------------------------------------------


def summed(region: Region, host: Host, way: Way = RULE) -> list[Kernel | Region] | None:
    """What computes a region with weight gradients: sums over some images each, and a region that adds them up.

    None where it has none. Raises Unprintable.
    """
    found = next(
        (
            c
            for e in region.nodes()
            if e.op == "dot"
            and (w := windows(e)) is not None
            and (c := Convolution(w, way)).draft.summed
        ),
        None,
    )
    if found is None:
        return None
    before: list[Kernel | Region] = []
    operands = [_in_memory(x, host, before) for x in found.operands]
    nest = found.draft
    size = math.prod(a.size for a in found.e.axes) * nest.itemsize
    few = size > WIDE or nest.flops // 4 < ADDED * size
    most = 2 if few else 4 if nest.flops // PARTS < ADDED * size else PARTS
    parts = max(1, min(int(most / way.grain), _steps(nest), nest.flops // PART))
    order = [a for a in found.order(_stored(region, found.e)) if a.size > 1]
    sums = host.fresh([parts, *(a.size for a in order)], found.e.dtype)
    before.append(_gradient(found, operands, sums, order, parts, host))
    part, idx = Axis("p", parts), tuple(map(axis_aff, order))
    each = load(sums, (axis_aff(part), *idx))
    total = each if parts == 1 else E("red", (each,), ("sum", (part,)), found.e.dtype, tuple(order))
    return [*before, given(region, found.e, total)]


def _steps(nest: Nest) -> int:
    blocks = -(-nest.tall.size // nest.rows()) if nest.tall is not None else 1
    return (nest.image.size if nest.image is not None else 1) * blocks


def _in_memory(x: E, host: Host, before: list[Kernel | Region]) -> E:
    """An operand as a load; what is computed is computed before."""
    if (
        x.op == "load"
        and not x.args
        and x.attr[2] is None
        and all(isinstance(i, Aff) for i in x.attr[1])
    ):
        return x
    axes = [a for a in x.axes if a.size > 1]
    buf, idx = host.fresh([a.size for a in axes], x.dtype), tuple(map(axis_aff, axes))
    before.append(Region([Store(buf, idx, x)], tuple(axes)))
    return load(buf, idx)


def _stored(region: Region, e: E) -> list[Axis]:
    """The axes of a value in the order of the largest store that has all of them."""
    for s in sorted(region.stores, key=lambda s: -math.prod(s.buf.shape)):
        if set(e.axes) <= set(s.value.axes):
            form = flat_form(s.buf, s.idx)
            return [a for a, _ in sorted(form.terms, key=lambda t: -t[1]) if a in e.axes]
    return list(e.axes)


def _gradient(
    found: Convolution, operands: Sequence[E], sums: Buf, order: Sequence[Axis], parts: int, host: Host
) -> Kernel:  # fmt: skip
    """The function of which each unit adds up some steps."""
    size = math.prod(sums.shape[1:])
    form = flat_form(Buf("", sums.shape[1:], sums.dtype), [axis_aff(a) for a in order])
    nest = found.nest(operands, form)
    frame = Frame(host.place_key)
    a, b = (frame.param(x.attr[0]) for x in operands)
    c = frame.param(sums, True)
    steps, most = _steps(nest), nest.rows() if nest.tall is not None else 0
    blocks = -(-nest.tall.size // most) if nest.tall is not None else 1
    images = nest.together() if blocks == 1 else 1
    body = [
        "for (long u = lo; u < hi; u++) {",
        f"  const long from = {steps}L * u / {parts}, to = {steps}L * (u + 1) / {parts};",
        f"  for (long s = from; s < to; s += {images}) {{",
        "    const int add = s > from;",
    ]
    if blocks > 1:
        assert nest.tall is not None
        body.append(f"    const long n = s / {blocks}, top = s % {blocks} * {most};")
        body.append(f"    const long end = least(top + {most}, {nest.tall.size});")
    else:
        most = 0
        if images > 1:
            body.append(f"    const long first = s, last = least(s + {images}, to);")
        else:
            body.append("    const long n = s;")
    rooms: list[int] = []

    def room(n: int) -> str:
        rooms.append(n)
        return "own"

    if parts > 1:
        c += f" + u * {size}L"
    body += [f"    {t}" for t in nest.step(a, b, c, room, most, images)]
    body += ["  }", "}"]
    notes = {"convolution": nest.flops, "sums": parts, "images": images}
    own = -(-sum(rooms) // 64) * 64
    return Kernel(
        [f"  {t}" for t in body], frame.bufs, frame.written, notes, parts, nest.flops / 80, own
    )
