"""The loop over time of recurrent layers: one scan with masks, and the composites `lstm` and `gru`.

Sequences are (N, T, ...), masks bool (N, T), states (N, ...). Refuses to hold cells and layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kcompile.ops as ops
from ir.ops import gru as gru_op
from ir.ops import lstm as lstm_op
from kcompile.tensor import Tensor

Step = Callable[[Any, list[Any]], tuple[Any, list[Any]]]


def lstm(
    x: Any, states: list[Any], kernel: Any, recurrent_kernel: Any, bias: Any, backwards: bool
) -> tuple[Any, Any, list[Any]]:
    """(last output, outputs, last states) of an LSTM with tanh and sigmoid, gates i, f, c, o."""
    parts = (ops.convert_to_tensor(v).value for v in (x, kernel, recurrent_kernel, bias, *states))
    hs, h, c = (Tensor(v) for v in lstm_op(*parts, reverse=backwards))
    return h, _in_order(hs, backwards), [h, c]


def gru(
    x: Any,
    states: list[Any],
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    reset_after: bool,
    backwards: bool,
) -> tuple[Any, Any, list[Any]]:
    """(last output, outputs, last states) of a GRU with tanh and sigmoid, gates z, r, h."""
    parts = (ops.convert_to_tensor(v).value for v in (x, kernel, recurrent_kernel, bias, *states))
    hs, h = (Tensor(v) for v in gru_op(*parts, reset_after=reset_after, reverse=backwards))
    return h, _in_order(hs, backwards), [h]


def _in_order(outputs: Any, backwards: bool) -> Any:
    """Outputs in the order they were made: a layer that goes backwards gives the last step first."""
    return ops.flip(outputs, axis=1) if backwards else outputs


def run(
    step: Step,
    inputs: list[Any],
    states: list[Any],
    mask: Any = None,
    backwards: bool = False,
    zero_output_for_mask: bool = False,
    output_is_state: bool = False,
    return_all: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """(last output, outputs or None, last states) of `step` over time.

    A masked step carries the states on and repeats the last output (zeros before the first, or always
    with `zero_output_for_mask`). `output_is_state` says that the output is the first state and that this
    starts at zeros, so that it need not be carried twice.
    """
    xs = [_time_first(x) for x in inputs]
    if mask is None:
        return _run_plain(step, xs, states, backwards, return_all)
    mask = ops.cast(mask, "bool")
    xs.append(_time_first(mask if len(mask.shape) > 2 else ops.expand_dims(mask, -1)))
    last: list[Any] = []
    if not output_is_state:
        probe, _ = step(*_first(xs[:-1], backwards), list(states))
        last = [ops.zeros_like(probe)]

    def body(carry: list[Any], at: list[Any]) -> tuple[list[Any], Any]:
        before = list(carry)
        old = before.pop(0) if last else before[0]
        output, new = step(*_inputs(at[:-1]), before)
        kept = at[-1]
        zero = ops.zeros_like(output)
        output = _choose(kept, output, zero if zero_output_for_mask else old)
        after = [_choose(kept, n, b) for n, b in zip(new, before, strict=True)]
        return ([output] if last else []) + after, output if return_all else None

    carry, ys = ops.scan(body, last + list(states), xs, reverse=backwards)
    final = list(carry)[len(last) :]
    if last:
        output = carry[0]
    elif zero_output_for_mask:
        # the last step's output is zero where that step is masked
        edge = xs[-1][0] if backwards else xs[-1][-1]
        output = _choose(edge, final[0], ops.zeros_like(final[0]))
    else:
        output = final[0]
    return output, _batch_first(ys, backwards) if return_all else None, final


def _run_plain(
    step: Step, xs: list[Any], states: list[Any], backwards: bool, return_all: bool
) -> tuple[Any, Any, list[Any]]:
    # the last output is a carry only where it is not wanted step by step
    probe = None if return_all else ops.zeros_like(step(*_first(xs, backwards), list(states))[0])

    def body(carry: list[Any], at: list[Any]) -> tuple[list[Any], Any]:
        before = list(carry)
        if not return_all:
            before.pop(0)
        output, new = step(*_inputs(at), before)
        return (list(new), output) if return_all else ([output, *new], None)

    start = list(states) if return_all else [probe, *states]
    carry, ys = ops.scan(body, start, xs, reverse=backwards)
    if not return_all:
        return carry[0], None, list(carry)[1:]
    return ys[0] if backwards else ys[-1], _batch_first(ys, backwards), list(carry)


def _inputs(at: list[Any]) -> tuple[Any]:
    return (at[0] if len(at) == 1 else list(at),)


def _first(xs: list[Any], backwards: bool) -> tuple[Any]:
    return _inputs([x[-1] if backwards else x[0] for x in xs])


def _choose(kept: Any, new: Any, old: Any) -> Any:
    for _ in range(len(new.shape) - len(kept.shape)):
        kept = ops.expand_dims(kept, -1)
    return ops.where(kept, new, old)


def _time_first(x: Any) -> Any:
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _batch_first(ys: Any, backwards: bool) -> Any:
    return _in_order(_time_first(ys), backwards)
