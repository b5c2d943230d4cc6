"""Rows of pooling and unfold: windows without products.

Refuses to hold convolutions (`codegen.onnx.contract`).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from codegen.onnx.builder import Builder, Ref
from codegen.onnx.contract import high_pad, trim
from codegen.onnx.elementwise import Row
from codegen.onnx.errors import ExportError
from ir.dims import DimLike, product
from ir.graph import Node

_MOST_TAPS = 256


def pool(op: str, **fixed: int) -> Row:
    """The row of a pooling op: windowed axes last, the others as batch and channels."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        v, out = n.inputs[0], n.outs[0]
        rank = v.type.rank
        windows = n.attr("windows")
        spatial = [w[0] for w in windows]
        rest = [a for a in range(rank) if a not in spatial]
        order = (*rest, *spatial)
        x = b.expanded(b.arranged(refs[0], order if order != tuple(range(rank)) else None, rank),
                       tuple(v.shape[a] for a in order))  # fmt: skip
        lead, outs = tuple(v.shape[a] for a in rest), tuple(w[5] for w in windows)
        flat = (lead[0] if lead else 1, product(lead[1:]))
        x = b.reshape(
            Ref(x.name, x.dtype, x.shape, None, x.value, x.label),
            (*flat, *(v.shape[a] for a in spatial)),
        )
        lows, highs, cut = [], [], []
        for k, (axis, size, stride, dilation, low, outputs) in enumerate(windows):
            reach = dilation * (size - 1) + 1
            extent = v.shape[axis]
            high = high_pad(extent, outputs, stride, reach, low)
            lows.append(low)
            highs.append(max(high, 0))
            if high < 0 and (extent + low - reach) // stride + 1 != outputs:
                cut.append((k, outputs))
        attrs: dict[str, Any] = {
            "kernel_shape": [w[1] for w in windows], "strides": [w[2] for w in windows],
            "pads": [*lows, *highs], **fixed,
        }  # fmt: skip
        if any(w[3] != 1 for w in windows):
            attrs["dilations"] = [w[3] for w in windows]
        if op == "AveragePool":
            attrs["count_include_pad"] = int(n.attr("count_padding"))
        made = trim(b, b.node(op, [x], x.dtype, (*flat, *outs), **attrs), cut)
        made = b.reshape(made, (*lead, *outs))
        assert product(lead + outs) == out.type.size
        return Ref(
            made.name, made.dtype, made.shape, order if order != tuple(range(rank)) else None
        )

    return row


def _unfold(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    """A strided slice for each tap, stacked along new last axes."""
    v, out = n.inputs[0], n.outs[0]
    windows, fill = n.attrs
    rank = v.type.rank
    counts = [w[1] for w in windows]
    if math.prod(counts) > _MOST_TAPS:
        raise ExportError(
            f"an unfold of {product(counts)} taps", f"an export writes at most {_MOST_TAPS} slices for it",
            "use a convolution or pooling layer",
        )  # fmt: skip
    x = b.full(refs[0], v.shape)
    low, high = [0] * rank, [0] * rank
    for axis, size, stride, dilation, before, outputs in windows:
        low[axis] = before
        high[axis] = max(
            0, high_pad(v.shape[axis], outputs, stride, dilation * (size - 1) + 1, before)
        )
    if any(low) or any(high):
        padded = tuple(d + p + q for d, p, q in zip(v.shape, low, high, strict=True))
        x = b.node(
            "Pad",
            [x, b.const([*low, *high]), b.const(fill, x.dtype)],
            x.dtype,
            padded,
            mode="constant",
        )
    axes = b.const([w[0] for w in windows])
    shape = out.shape[:rank]
    parts = []
    for taps in itertools.product(*(range(c) for c in counts)):
        starts = [w[3] * t for w, t in zip(windows, taps, strict=True)]
        ends: tuple[DimLike, ...] = tuple(
            s + w[2] * (w[5] - 1) + 1 for s, w in zip(starts, windows, strict=True)
        )
        steps = b.const([w[2] for w in windows])
        part = b.node("Slice", [x, b.const(starts), b.extents(ends), axes, steps], x.dtype, shape)
        parts.append(b.reshape(part, (*shape, 1)))
    made = parts[0]
    if len(parts) > 1:
        made = b.node("Concat", parts, x.dtype, (*shape, len(parts)), axis=rank)
    return b.reshape(made, out.shape)


ROWS: dict[str, Row] = {
    "max_pool": pool("MaxPool"), "avg_pool": pool("AveragePool"), "unfold": _unfold,
}  # fmt: skip
