"""Convolutions in C, forward and both gradients: register tiles straight over the image, without im2col.

A tile's rows are positions along the innermost axis that the result shares with the image (for a weight gradient: taps and
input channels), its vectors are along the result's last axis. Where positions along the tile's axis may be outside, the image's
rows are copied once into scratch with zeros around them; along other axes the range of taps is cut. Images, or blocks
of their rows, are the units; a weight gradient sums blocks of images apart, then the blocks. Refuses to hold
what a convolution is (`windows`), the nest of one problem (`nest`) and the C of a tile (`tiles`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from codegen.loops import Axis, Buf, E, Region, Store, axis_aff, load
from codegen.native.nest import Nest
from codegen.native.render import Kernel, render
from codegen.native.resolve import Unprintable
from codegen.native.windows import Problem, problems

PARTS = 8  # blocks of images that a weight gradient is summed in
PART = 1_500_000  # operations from which another block pays
WIDE = 1 << 20  # bytes of a weight from which its blocks cost more than they bring

Places = Callable[[Buf], Any]
Scratch = Callable[[tuple[int, ...], str], Buf]


def convolution(region: Region, places: Places, scratch: Scratch) -> list[Kernel] | None:
    """The functions of a region that is one convolution, in order; None where it is none. Raises Unprintable."""
    found = problems(region)
    if found is None:
        return None
    p = found[0]
    if places(p.out) in (places(p.a), places(p.b)):
        raise Unprintable("a convolution onto its own operand")
    kernels: list[Kernel] = []
    found = _packed(found, places, scratch, kernels)
    nest = Nest(found)
    parts = 1
    if nest.summed:
        most = min(nest.steps, PARTS if nest.result_bytes <= WIDE else 2)
        parts = max(1, min(most, p.flops // PART))
    if parts == 1:
        return [*kernels, nest.kernel(places, p.out)]
    sums = scratch((parts, *p.out.shape), p.out.dtype)
    part = Axis("p", parts)
    axes = [Axis("o", n) for n in p.out.shape]
    idx = tuple(axis_aff(a) for a in axes)
    each = load(sums, (axis_aff(part), *idx))
    total = E("red", (each,), ("sum", (part,)), p.out.dtype, tuple(a for a in axes if a.size > 1))
    second = render(Region([Store(p.out, idx, total)]), places, lambda n: scratch((n,), "u32"))
    return [*kernels, nest.kernel(places, sums, parts), second]


def _packed(
    found: list[Problem], places: Places, scratch: Scratch, kernels: list[Kernel]
) -> list[Problem]:
    """The problems with a `b` whose vectors are contiguous: a copy, where they are not."""
    p = found[0]
    lanes = p.lanes
    if lanes is None or all(dict(q.fb.terms).get(lanes, 0) == 1 or q.empty for q in found):
        return found
    dim = next((d for d, i in enumerate(p.ib) if i.terms == ((lanes, 1),) and not i.const), None)
    if dim is None:
        raise Unprintable("a convolution whose channels are apart")
    order = [d for d in range(len(p.ib)) if d != dim] + [dim]
    axes = [Axis("w", n) for n in p.b.shape]
    made = scratch(tuple(p.b.shape[d] for d in order), p.b.dtype)
    value = load(p.b, tuple(axis_aff(a) for a in axes))
    copy = Store(made, tuple(axis_aff(axes[d]) for d in order), value)
    kernels.append(render(Region([copy]), places, lambda n: scratch((n,), "u32")))
    return [replace(q, b=made, ib=tuple(q.ib[d] for d in order)) for q in found]
