"""`RNN`, which runs any cell over time. A cell of ours has its input projected for all steps at once.

Refuses to hold the loop (`recurrence.py`), the cells, and the layers that bring their own (`recurrent.py`).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

import kcompile.layers.recurrence as recurrence
import kcompile.ops as ops
from kcompile.arguments import owner, refuse
from kcompile.layer import Layer
from kcompile.layers.cells import SimpleRNNCell
from kcompile.layers.gated_cells import GRUCell, LSTMCell
from kcompile.layers.settings import build_child, configured
from kcompile.layers.stacked_cells import StackedRNNCells, call_cell, initial_state
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.variable import Variable

FLAGS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
)


class _Kept:
    """Holds the states of a stateful layer, which are no weights."""

    states: Any = None


class RNN(Layer):
    """A cell over the steps of (N, T, ...): its last output, or all with `return_sequences`.

    With `return_state` the last states follow. `stateful` starts each batch where the last ended.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
            refuse(
                f"{type(self).__name__} was given the cell {cell!r}",
                "A cell has a method `call` and an attribute `state_size`",
                "Pass a cell such as LSTMCell(32), or use LSTM(32)",
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self._kept = _Kept()
        self._batch: int | None = None
        size = cell.state_size
        self.single_state = not isinstance(size, (list, tuple))
        self.state_size = [size] if self.single_state else list(size)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        build_child(self.cell, (sequences_shape[0], *sequences_shape[2:]))
        if self.stateful and self.states is None:
            if sequences_shape[0] is None:
                refuse(
                    f"{owner(self)} is stateful and was built for an input of shape {tuple(sequences_shape)}",
                    "A stateful layer keeps one state per sample, so the batch size must be known",
                    "Use Input(batch_shape=...) or Input(..., batch_size=...)",
                    code="KC201",
                )
            self._batch = int(sequences_shape[0])
            start = initial_state(self.cell, self._batch, self.compute_dtype)
            self._kept.states = _map(
                lambda v: Variable(
                    np.array(v), trainable=False, dtype=self.variable_dtype, name="rnn_state"
                ),
                start,
            )
        self.built = True

    @property
    def states(self) -> Any:
        """The states of a stateful layer, variables in a list; None before it is built."""
        return self._kept.states

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states a sequence starts from."""
        return initial_state(self.cell, batch_size, self.compute_dtype)

    def reset_state(self) -> None:
        """Set the states of a stateful layer to 0."""
        for v in _flat(self.states):
            v.assign(np.zeros(v.shape, "float32"))

    reset_states = reset_state

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        batch = ops.shape(sequences)[0]
        self._check_batch(sequences.shape[0])
        given = initial_state is not None or self.stateful
        if initial_state is None:
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        elif not isinstance(initial_state, (list, tuple)):
            initial_state = [initial_state]
        states = _map(lambda v: ops.cast(v, self.compute_dtype), list(initial_state))
        if len(states) != len(self.state_size):
            refuse(
                f"{owner(self)} was given {len(states)} initial states",
                f"Its cell has {len(self.state_size)}",
                "Pass a list of that many tensors, for example the states a layer with return_state gives",
                code="KC201",
            )
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        drawn = getattr(self.cell, "masks_drawn", None)
        with nullcontext() if drawn is None else drawn(batch, training):
            last, outputs, new = self._run(sequences, states, mask, training, given)
        if self.stateful:
            for kept, now in zip(_flat(self.states), _flat(new), strict=True):
                kept.assign(ops.cast(now, kept.dtype))
        output = outputs if self.return_sequences else last
        return (output, *new) if self.return_state else output

    def _check_batch(self, batch: Any) -> None:
        if self.stateful and self._batch is not None and batch is not None and batch != self._batch:
            refuse(
                f"{owner(self)} is stateful for batches of {self._batch} and got a batch of {batch}",
                "A stateful layer keeps one state per sample, so every batch has the same size",
                f"Use batch_size={self._batch} and a number of samples it divides",
                code="KC201",
            )

    def _run(
        self, x: Any, states: Any, mask: Any, training: Any, given: bool
    ) -> tuple[Any, Any, Any]:
        cell = self.cell
        if type(cell) in (SimpleRNNCell, LSTMCell, GRUCell):
            return recurrence.run(
                cell.advance,
                [cell.project(x)],
                states,
                mask,
                self.go_backwards,
                self.zero_output_for_mask,
                output_is_state=not given,
                return_all=self.return_sequences,
            )
        layout = [len(_flat(s)) if isinstance(s, (list, tuple)) else None for s in states]

        def step(inputs: Any, flat: list[Any]) -> tuple[Any, list[Any]]:
            output, new = call_cell(cell, inputs, _pack(flat, layout))
            return output, _flat(new)

        last, outputs, new = recurrence.run(
            step,
            [x],
            _flat(states),
            mask,
            self.go_backwards,
            self.zero_output_for_mask,
            return_all=self.return_sequences,
        )
        return last, outputs, _pack(new, layout)

    def compute_mask(self, sequences: Any, previous_mask: Any = None) -> Any:
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        kept = mask if self.return_sequences else None
        return [kept] + [None] * len(self.state_size) if self.return_state else kept

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        batch, length = sequences_shape[0], sequences_shape[1]
        size = getattr(self.cell, "output_size", None) or _flat(self.state_size)[0]
        output = (batch, length, size) if self.return_sequences else (batch, size)
        if not self.return_state:
            return output
        states = _map(lambda s: (batch, s), self.state_size)
        return (output, *states)

    def get_config(self) -> dict[str, Any]:
        cell = {"cell": serialize_keras_object(self.cell)}
        return super().get_config() | configured(self, *FLAGS) | cell

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        cell = deserialize_keras_object(config.pop("cell"), custom_objects=custom_objects)
        return cls(cell, **config)


def _map(fn: Any, x: Any) -> Any:
    return [_map(fn, v) for v in x] if isinstance(x, (list, tuple)) else fn(x)


def _flat(x: Any) -> list[Any]:
    if x is None:
        return []
    return [leaf for v in x for leaf in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def _pack(flat: list[Any], layout: list[int | None]) -> list[Any]:
    """`flat` in groups: a list of n where the layout says n, a bare value where it says None."""
    out: list[Any] = []
    todo = list(flat)
    for n in layout:
        taken, todo = (todo[:1], todo[1:]) if n is None else (todo[:n], todo[n:])
        out.append(taken[0] if n is None else taken)
    return out
