"""LSTM and GRU over a whole sequence, as composites: the input projection is one contraction before
the loop, the loop is a `scan` of what depends on the state.

Refuses to hold masks, dropout inside the loop and other activations: layers trace a scan of their
own for those. Gradients are those of the bodies. Gate order and formulas are those of Keras 3.
"""

from __future__ import annotations

from ir.dims import divide
from ir.graph import Value, graph_of
from ir.op import Attr, Op, op
from ir.ops.contract import contract
from ir.ops.create import full_like
from ir.ops.elementwise import add, mul, sigmoid, sub, tanh
from ir.ops.movement import broadcast, reshape, slice_, split, transpose
from ir.ops.rules import floating, require
from ir.ops.scan import scan
from ir.types import Type


def _sequence_types(x: Type, w: Type, u: Type, h0: Type, gates: int) -> tuple[Type, Type]:
    """The types of (hs, h), after checking the sequence, the two kernels and the state."""
    require(floating(x).rank == 3, f"x must be [N, T, F], not {x}")
    require(h0.rank == 2 and h0.shape[0] == x.shape[0], f"h0 must be [N, U], not {h0}")
    units = h0.shape[1]
    want_w = x.with_shape((x.shape[2], gates * units))
    want_u = x.with_shape((units, gates * units))
    require(w is want_w and u is want_u, f"kernels must be {want_w} and {want_u}, not {w} and {u}")
    require(h0.dtype == x.dtype, f"the state is {h0.dtype}, the sequence {x.dtype}")
    return x.with_shape((*x.shape[:2], units)), h0


def _biased(v: Value, bias: Value) -> Value:
    """v plus the vector `bias` along the last axis."""
    out: Value = add(v, broadcast(bias, shape=v.shape, axes=(v.type.rank - 1,)))
    return out


def _project(x: Value, w: Value, bias: Value) -> Value:
    """x w + bias for all steps at once, time first: [T, N, gates * U]."""
    return _biased(contract(x, w, spec="ntf,fg->tng"), bias)


def _row(bias: Value, k: int) -> Value:
    n = bias.shape[1]
    return reshape(slice_(bias, start=(k, 0), stop=(k + 1, n), step=(1, 1)), shape=(n,))  # type: ignore[no-any-return]


def _input(t: Type, name: str) -> Value:
    return Value(t, name=name)


# -- LSTM -----------------------------------------------------------------------------------------


def _lstm_type(
    x: Type, w: Type, u: Type, b: Type, h0: Type, c0: Type, reverse: bool
) -> tuple[Type, Type, Type]:
    hs, h = _sequence_types(x, w, u, h0, 4)
    want = x.with_shape((w.shape[1],))
    require(b is want and c0 is h0, f"the bias must be {want}, c0 {h0}, not {b} and {c0}")
    return hs, h, h


def _lstm_body(
    x: Value, w: Value, u: Value, b: Value, h0: Value, c0: Value, reverse: bool
) -> tuple[Value, Value, Value]:
    xs = _project(x, w, b)
    units = h0.shape[1]
    h, c = _input(h0.type, "h"), _input(c0.type, "c")
    z, kernel = _input(xs.type.with_shape(xs.shape[1:]), "z"), _input(u.type, "u")
    gates = add(z, contract(h, kernel, spec="nu,ug->ng"))
    i, f, candidate, o = split(gates, axis=1, sizes=(units,) * 4)
    c1 = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(candidate)))
    h1 = mul(sigmoid(o), tanh(c1))
    step = graph_of("lstm_step", [h, c, z, kernel], [h1, c1, h1])
    hn, cn, hs = scan(h0, c0, xs, u, body=step, carries=2, xs=1, length=x.shape[1], reverse=reverse)
    return transpose(hs, perm=(1, 0, 2)), hn, cn


lstm: Op = op(
    "lstm",
    "x [N, T, F], w [F, 4U], u [U, 4U], b [4U], h0, c0 [N, U] -> states [N, T, U], last h, last c; "
    "gates i, f, c, o; `reverse` starts at the last step, results stay at their own step.",
    arity=6,
    attrs=(Attr("reverse", "bool", False),),
    type=_lstm_type,
    body=_lstm_body,
)

# -- GRU ------------------------------------------------------------------------------------------


def _gru_type(
    x: Type, w: Type, u: Type, b: Type, h0: Type, reset_after: bool, reverse: bool
) -> tuple[Type, Type]:
    hs, h = _sequence_types(x, w, u, h0, 3)
    columns = w.shape[1]
    want = x.with_shape((2, columns) if reset_after else (columns,))
    require(b is want, f"the bias must be {want}, not {b}")
    require(divide(columns, 3) == h.shape[1], f"{columns} columns for three gates of {h.shape[1]}")
    return hs, h


def _gru_body(
    x: Value, w: Value, u: Value, b: Value, h0: Value, reset_after: bool, reverse: bool
) -> tuple[Value, Value]:
    xs = _project(x, w, _row(b, 0) if reset_after else b)
    units = h0.shape[1]
    h, z = _input(h0.type, "h"), _input(xs.type.with_shape(xs.shape[1:]), "z")
    # slices of weights stay outside the loop
    halves = {"axis": 1, "sizes": (2 * units, units)}
    weights = [u, _row(b, 1)] if reset_after else split(u, **halves)
    first, second = (_input(v.type, name) for v, name in zip(weights, "uv", strict=True))
    of_input, candidate = split(z, **halves)
    of_state = contract(h, first, spec="nu,ug->ng")
    if reset_after:
        of_state, recalled = split(_biased(of_state, second), **halves)
    update, reset = split(sigmoid(add(of_input, of_state)), axis=1, sizes=(units, units))
    if reset_after:
        recalled = mul(reset, recalled)
    else:
        recalled = contract(mul(reset, h), second, spec="nu,ug->ng")
    candidate = tanh(add(candidate, recalled))
    h1 = add(mul(update, h), mul(_one_minus(update), candidate))
    step = graph_of("gru_step", [h, z, first, second], [h1, h1])
    hn, hs = scan(h0, xs, *weights, body=step, carries=1, xs=1, length=x.shape[1], reverse=reverse)
    return transpose(hs, perm=(1, 0, 2)), hn


def _one_minus(v: Value) -> Value:
    out: Value = sub(full_like(v, 1.0), v)
    return out


gru: Op = op(
    "gru",
    "x [N, T, F], w [F, 3U], u [U, 3U], b [2, 3U] if `reset_after` else [3U], h0 [N, U] -> states "
    "[N, T, U], last h; gates z, r, h; `reverse` as in lstm.",
    arity=5,
    attrs=(Attr("reset_after", "bool", True), Attr("reverse", "bool", False)),
    type=_gru_type,
    body=_gru_body,
)
