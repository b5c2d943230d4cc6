"""The row of contract: MatMul, Conv, ConvTranspose, or Einsum, by what the spec and its windows say.

Weights are brought into ONNX's layout while exporting. Refuses to hold pooling (`codegen.onnx.windows`).
"""

from __future__ import annotations

from typing import Any

from codegen.onnx.builder import Builder, Dims, Ref
from codegen.onnx.elementwise import Row
from codegen.onnx.errors import ExportError
from ir.dims import DimLike, product
from ir.graph import Node
from ir.ops.contract import Window, extents, letters, windows_of

Sizes = dict[str, DimLike]


def _contract(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    spec, windows, out, _ = n.attrs
    sizes = extents(n.inputs[0].type, n.inputs[1].type, spec, windows, out)
    lx, ly, lr = letters(spec)
    x, y = (
        _lettered(b, r, v.shape, part) for r, v, part in zip(refs, n.inputs, (lx, ly), strict=True)
    )
    if not windows:
        return _product(b, x, y, lr, sizes)
    wins = windows_of(spec, windows)
    # a convolution has its taps in one operand; positions in the other, or in the result
    if all(w.t in lx for w in wins):
        x, y = y, x
    taps = all(w.t in y.letters for w in wins)
    if taps and all(w.i in x.letters for w in wins):
        return _conv(b, x, y, lr, sizes, wins)
    if taps and all(w.o in x.letters for w in wins):
        return _conv_transpose(b, x, y, lr, sizes, wins)
    raise ExportError(
        f"a contraction {spec!r} with windows {windows} that gives taps",
        "ONNX has convolutions and transposed ones, not the gradient of their weights",
        "export the model's forward pass",
    )


class _Lettered:
    """An operand with a letter for each axis, in the order in which it lies."""

    def __init__(self, ref: Ref, spelled: str):
        self.ref, self.letters = ref, spelled


def _lettered(b: Builder, ref: Ref, shape: Dims, part: str) -> _Lettered:
    perm = ref.perm
    if perm is not None:
        ref = b.expanded(ref, tuple(shape[a] for a in perm))
        spelled = "".join(part[a] for a in perm)
        return _Lettered(Ref(ref.name, ref.dtype, ref.shape, None, ref.value, ref.label), spelled)
    return _Lettered(b.full(ref, shape), part)


def _ordered(b: Builder, x: _Lettered, want: str) -> Ref:
    """The operand with its axes in the order `want`."""
    return b.transpose(x.ref, [x.letters.index(c) for c in want])


def _grouped(b: Builder, x: _Lettered, groups: list[str], sizes: Sizes) -> Ref:
    """The operand with the letters of each group as one axis."""
    ref = _ordered(b, x, "".join(groups))
    return b.reshape(ref, tuple(product(sizes[c] for c in g) for g in groups))


def _ungrouped(b: Builder, ref: Ref, groups: list[str], lr: str, sizes: Sizes) -> Ref:
    """A result whose axes are `groups`, as a Ref whose perm leads to `lr`."""
    have = "".join(groups)
    ref = b.reshape(ref, tuple(sizes[c] for c in have))
    perm = tuple(lr.index(c) for c in have)
    return Ref(ref.name, ref.dtype, ref.shape, None if have == lr else perm)


# -- products -------------------------------------------------------------------------------------


def _product(b: Builder, x: _Lettered, y: _Lettered, lr: str, sizes: Sizes) -> Ref:
    lx, ly = x.letters, y.letters
    dtype = x.ref.dtype
    batch = "".join(c for c in lr if c in lx and c in ly)
    summed = "".join(c for c in lx if c in ly and c not in lr)
    rows = "".join(c for c in lr if c in lx and c not in ly)
    columns = "".join(c for c in lr if c in ly and c not in lx)
    if not summed or any(c not in lr + summed for c in lx + ly) or dtype[0] != "f":
        shape = tuple(sizes[c] for c in lr)
        return b.node("Einsum", [x.ref, y.ref], dtype, shape, equation=f"{lx},{ly}->{lr}")
    m, s, k = (product(sizes[c] for c in g) for g in (rows, summed, columns))
    outer: Dims
    if not batch:
        # N-d by 2-d: the rows need not be one axis
        left = b.reshape(_ordered(b, x, rows + summed), (*(sizes[c] for c in rows), s))
        right = b.reshape(_ordered(b, y, summed + columns), (s, k))
        outer = tuple(sizes[c] for c in rows)
        groups = [*rows, columns]
    else:
        outer = (*(sizes[c] for c in batch), m)
        left = b.reshape(_ordered(b, x, batch + rows + summed), (*outer, s))
        right = b.reshape(
            _ordered(b, y, batch + summed + columns), (*(sizes[c] for c in batch), s, k)
        )
        groups = [*batch, rows, columns]
    made = b.node("MatMul", [left, right], dtype, (*outer, k))
    return _ungrouped(b, made, groups, lr, sizes)


# -- convolutions ---------------------------------------------------------------------------------


def _conv(
    b: Builder, x: _Lettered, w: _Lettered, lr: str, sizes: Sizes, wins: tuple[Window, ...]
) -> Ref:
    """The forward convolution: positions in x, taps in w, outputs in the result."""
    spatial, outs, taps = ("".join(str(win[k]) for win in wins) for k in range(3))
    lx, lw = x.letters, w.letters
    batch = "".join(c for c in lr if c in lx and c not in lw)
    group = "".join(c for c in lr if c in lx and c in lw)
    inner = "".join(c for c in lx if c in lw and c not in lr)
    outer = "".join(c for c in lr if c in lw and c not in lx and c not in outs)
    data = _grouped(b, x, [batch, group + inner, *spatial], sizes)
    kernel = _grouped(b, w, [group + outer, inner, *taps], sizes)
    lows, highs, cut = pads(wins, sizes)
    shape = (data.shape[0], kernel.shape[0], *(sizes[o] for o in outs))
    made = b.node(
        "Conv", [data, kernel], data.dtype, shape,
        kernel_shape=[int(d) for d in kernel.shape[2:]],
        strides=[win.stride for win in wins], dilations=[win.dilation for win in wins],
        pads=[*lows, *highs], group=int(product(sizes[c] for c in group)),
    )  # fmt: skip
    made = trim(b, made, cut)
    return _ungrouped(b, made, [batch, group + outer, *outs], lr, sizes)


def _conv_transpose(
    b: Builder, x: _Lettered, w: _Lettered, lr: str, sizes: Sizes, wins: tuple[Window, ...]
) -> Ref:
    """The input gradient of a convolution: outputs in x, taps in w, positions in the result."""
    places, taps, outs = ("".join(str(win[k]) for win in wins) for k in (0, 2, 1))
    lx, lw = x.letters, w.letters
    batch = "".join(c for c in lr if c in lx and c not in lw)
    group = "".join(c for c in lr if c in lx and c in lw)
    inner = "".join(c for c in lx if c in lw and c not in lr)
    outer = "".join(c for c in lr if c in lw and c not in lx and c not in places)
    data = _grouped(b, x, [batch, group + inner, *outs], sizes)
    kernel = _grouped(b, w, [group + inner, outer, *taps], sizes)
    begin, end, extra = [], [], []
    for win in wins:
        reach = win.stride * (sizes[win.o] - 1) + win.dilation * (sizes[win.t] - 1) + 1
        over = reach - win.low - sizes[win.i]
        if not isinstance(over, int):
            raise ExportError(
                f"a transposed convolution whose padding depends on {over}", "ONNX's padding is a number",
                "give the model's input a fixed size",
            )  # fmt: skip
        begin.append(win.low)
        end.append(max(over, 0))
        extra.append(max(-over, 0))
    groups = int(product(sizes[c] for c in group))
    spill = [0 if e < max(w.stride, w.dilation) else e for e, w in zip(extra, wins, strict=True)]
    inside = tuple(sizes[p] - e for p, e in zip(places, spill, strict=True))
    attrs: dict[str, Any] = (
        {"output_padding": [e - s for e, s in zip(extra, spill, strict=True)]} if any(extra) else {}
    )
    made = b.node(
        "ConvTranspose", [data, kernel], data.dtype,
        (data.shape[0], product((groups, kernel.shape[1])), *inside),
        kernel_shape=[int(d) for d in kernel.shape[2:]],
        strides=[win.stride for win in wins], dilations=[win.dilation for win in wins],
        pads=[*begin, *end], group=groups, **attrs,
    )  # fmt: skip
    if any(spill):  # positions that no output reaches
        zeros = [0] * (len(wins) + 2)
        pad = b.const([*zeros, 0, 0, *spill])
        full = (*made.shape[:2], *(sizes[p] for p in places))
        made = b.node(
            "Pad", [made, pad, b.const(0.0, made.dtype)], made.dtype, full, mode="constant"
        )
    return _ungrouped(b, made, [batch, group + outer, *places], lr, sizes)


def pads(
    wins: tuple[Window, ...], sizes: Sizes
) -> tuple[list[int], list[int], list[tuple[int, DimLike]]]:
    """Low and high padding, and (window, extent) where the ONNX result is longer and must be cut.

    Raises ExportError where the padding depends on a dimension that is not known.
    """
    lows, highs, cut = [], [], []
    for k, w in enumerate(wins):
        reach = w.dilation * (sizes[w.t] - 1) + 1
        high = high_pad(sizes[w.i], sizes[w.o], w.stride, reach, w.low)
        lows.append(w.low)
        highs.append(max(high, 0))
        known = isinstance(sizes[w.i], int)
        if high < 0 and (not known or (sizes[w.i] + w.low - reach) // w.stride + 1 != sizes[w.o]):
            cut.append((k, sizes[w.o]))
    return lows, highs, cut


def high_pad(extent: DimLike, outputs: DimLike, stride: int, reach: DimLike, low: int) -> int:
    """The padding at the end that gives exactly `outputs`; negative: the last input is not read."""
    high = stride * (outputs - 1) + reach - low - extent
    if isinstance(high, int):
        return high
    if isinstance(reach, int):  # an unknown extent: try what pads there are
        for guess in range(reach):
            if (extent + low + guess - reach) // stride + 1 == outputs:
                return guess
    raise ExportError(
        f"a window over an axis of extent {extent} with {outputs} outputs, stride {stride}",
        "ONNX's padding is a number", "give the model's input a fixed size",
    )  # fmt: skip


def trim(b: Builder, ref: Ref, cut: list[tuple[int, DimLike]]) -> Ref:
    """`ref` (batch, channels, spatial axes) without what a window gives beyond its outputs."""
    if not cut:
        return ref
    shape = list(ref.shape)
    for k, extent in cut:
        shape[k + 2] = extent
    ends = b.extents(tuple(extent for _, extent in cut))
    axes = b.const([k + 2 for k, _ in cut])
    return b.node("Slice", [ref, b.const([0] * len(cut)), ends, axes], ref.dtype, tuple(shape))


ROWS: dict[str, Row] = {"contract": _contract}
