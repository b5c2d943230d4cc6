"""Rows of composites that are one ONNX op with weights: normalisations, LSTM, GRU.

Each says in `ACCEPTS` which of its forms ONNX has; the others are opened into primitives. Refuses to hold
loops in general (`codegen.onnx.loops`).
"""

from __future__ import annotations

from collections.abc import Callable

from codegen.onnx.builder import Builder, Ref
from codegen.onnx.elementwise import Row
from ir.graph import Node


def _layer_norm(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    axes, epsilon = n.attrs
    x, gamma, beta = (b.full(r, v.shape) for r, v in zip(refs, n.inputs, strict=True))
    return b.node(
        "LayerNormalization",
        [x, gamma, beta],
        x.dtype,
        x.shape,
        axis=min(axes),
        epsilon=float(epsilon),
    )


def _trailing(n: Node) -> bool:
    axes, rank = n.attr("axes"), n.inputs[0].type.rank
    return bool(axes) and tuple(axes) == tuple(range(min(axes), rank))


def _batch_norm(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    axis, epsilon = n.attrs
    v = n.inputs[0]
    rank = v.type.rank
    x = refs[0]
    if x.perm is None or x.perm[1] != axis:
        order = [a for a in range(rank) if a != axis]
        order.insert(1, axis)
        perm = tuple(order)
        x = b.arranged(x, None if perm == tuple(range(rank)) else perm, rank)
    x = b.expanded(x, tuple(v.shape[a] for a in x.perm or range(rank)))
    mean, var, gamma, beta = (
        b.full(r, w.shape) for r, w in zip(refs[1:], n.inputs[1:], strict=True)
    )
    made = b.node(
        "BatchNormalization", [x, gamma, beta, mean, var], x.dtype, x.shape, epsilon=float(epsilon)
    )
    return Ref(made.name, made.dtype, made.shape, x.perm)


def _blocks(b: Builder, w: Ref, units: int, order: list[int] | None) -> Ref:
    """A kernel [F, gates * U] as ONNX's [1, gates * U, F], its gates in another order."""
    rows = b.transpose(w, (1, 0))
    if order is not None:
        rows = _reordered(b, rows, units, order)
    return b.reshape(rows, (1, *rows.shape))


def _reordered(b: Builder, ref: Ref, units: int, order: list[int]) -> Ref:
    index = [g * units + k for g in order for k in range(units)]
    if ref.value is not None:
        return Ref("", ref.dtype, ref.shape, None, ref.value[index], f"{ref.label}|g")
    return b.node("Gather", [ref, b.const(index)], ref.dtype, ref.shape, axis=0)


def _bias(b: Builder, own: Ref, recurrent: Ref | None) -> Ref:
    """Biases of the input and of the state as ONNX's [1, 2 * gates * U]."""
    size = own.shape[0]
    if own.value is not None and (recurrent is None or recurrent.value is not None):
        other = own.value * 0 if recurrent is None else recurrent.value
        assert other is not None
        both = [*own.value.tolist(), *other.tolist()]
        return b.const([both], own.dtype, own.label)
    if recurrent is None:
        recurrent = b.const([0.0] * int(size), own.dtype)
    joined = b.node("Concat", [own, recurrent], own.dtype, (size + size,), axis=0)
    return b.reshape(joined, (1, size + size))


def _state(b: Builder, ref: Ref, shape: tuple[object, ...]) -> Ref | None:
    """An initial state as [1, N, U]; None where it is all zero, which ONNX assumes."""
    if ref.value is not None and not ref.value.any():
        return None
    return b.reshape(b.full(ref, shape), (1, *shape))  # type: ignore[arg-type]


def _lstm(b: Builder, n: Node, refs: list[Ref]) -> list[Ref]:
    x, w, u, bias = (b.full(r, v.shape) for r, v in zip(refs[:4], n.inputs[:4], strict=True))
    batch, units = n.inputs[4].shape
    time = n.inputs[0].shape[1]
    order = [0, 3, 1, 2]  # i, f, c, o to ONNX's i, o, f, c
    h0, c0 = (_state(b, r, (batch, units)) for r in refs[4:])
    hs, h, c = b.nodes(
        "LSTM",
        [b.transpose(x, (1, 0, 2)), _blocks(b, w, units, order), _blocks(b, u, units, order),
         _bias(b, _reordered(b, bias, units, order), None), None, h0, c0],
        [(x.dtype, (time, 1, batch, units))] + [(x.dtype, (1, batch, units))] * 2,
        hidden_size=units, direction="reverse" if n.attr("reverse") else "forward",
    )  # fmt: skip
    return [_by_time(b, hs, time, batch, units), *(b.reshape(s, (batch, units)) for s in (h, c))]


def _by_time(b: Builder, hs: Ref, time: object, batch: object, units: object) -> Ref:
    """[T, 1, N, U] as the IR's [N, T, U], time lying first."""
    flat = b.node("Squeeze", [hs, b.const([1])], hs.dtype, (time, batch, units))  # type: ignore[arg-type]
    return Ref(flat.name, flat.dtype, flat.shape, (1, 0, 2))


def _gru(b: Builder, n: Node, refs: list[Ref]) -> list[Ref]:
    reset_after, reverse = n.attrs
    x, w, u, bias = (b.full(r, v.shape) for r, v in zip(refs[:4], n.inputs[:4], strict=True))
    batch, units = n.inputs[4].shape
    time = n.inputs[0].shape[1]
    if not reset_after:
        joined = _bias(b, bias, None)
    elif bias.value is not None:
        joined = b.const(bias.value.reshape(1, -1), bias.dtype, bias.label)
    else:
        joined = b.reshape(bias, (1, 6 * units))
    h0 = _state(b, refs[4], (batch, units))
    hs, h = b.nodes(
        "GRU",
        [b.transpose(x, (1, 0, 2)), _blocks(b, w, units, None), _blocks(b, u, units, None), joined, None, h0],
        [(x.dtype, (time, 1, batch, units)), (x.dtype, (1, batch, units))],
        hidden_size=units, linear_before_reset=int(reset_after),
        direction="reverse" if reverse else "forward",
    )  # fmt: skip
    return [_by_time(b, hs, time, batch, units), b.reshape(h, (batch, units))]


def _known_units(n: Node) -> bool:
    return isinstance(n.inputs[-1].shape[1], int)


ROWS: dict[str, Row] = {
    "layer_norm": _layer_norm, "batch_norm": _batch_norm, "lstm": _lstm, "gru": _gru,
}  # fmt: skip
ACCEPTS: dict[str, Callable[[Node], bool]] = {
    "layer_norm": _trailing, "batch_norm": lambda n: n.inputs[0].type.rank >= 2,
    "lstm": _known_units, "gru": _known_units,
}  # fmt: skip
