"""LSTMCell and GRUCell. Formulas and gate order are those of Keras 3.

Refuses to hold what all cells share (`cells.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile.activations as activations
import kcompile.ops as ops
from kcompile.layers.cells import Cell
from kcompile.layers.settings import resolve, weight


class LSTMCell(Cell):
    """Long short-term memory: gates i, f, c, o; states h and c."""

    gates = 4
    more_settings = ("recurrent_activation", "unit_forget_bias")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ):
        units = self._prepare(units, dropout, recurrent_dropout, kwargs)
        super().__init__(**kwargs)
        self._set(units, use_bias, dropout, recurrent_dropout, seed)
        self.state_size = [units, units]
        self.unit_forget_bias = unit_forget_bias
        resolve(
            self,
            activation=activation,
            recurrent_activation=recurrent_activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        self._add_kernels(input_shape)
        if self.use_bias:
            start = self._forgetful if self.unit_forget_bias else self.bias_initializer
            self.bias = weight(self, "bias", (4 * self.units,), initializer=start)
        self.built = True

    def _forgetful(self, shape: Any, dtype: Any = None) -> Any:
        """The bias initializer, but 1 for the forget gate."""
        u = self.units
        parts = (
            self.bias_initializer((u,), dtype=dtype),
            np.ones((u,), "float32"),
            self.bias_initializer((2 * u,), dtype=dtype),
        )
        return np.concatenate([np.asarray(p) for p in parts])

    def advance(self, z: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h, c = states
        i, f, g, o = ops.split(ops.add(z, self._recur(h)), 4, axis=-1)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]


class GRUCell(Cell):
    """Gated recurrent unit: gates z, r, h; h' = z * h + (1 - z) * candidate."""

    gates = 3
    more_settings = ("recurrent_activation", "reset_after")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        **kwargs: Any,
    ):
        units = self._prepare(units, dropout, recurrent_dropout, kwargs)
        super().__init__(**kwargs)
        self._set(units, use_bias, dropout, recurrent_dropout, seed)
        self.reset_after = reset_after
        resolve(
            self,
            activation=activation,
            recurrent_activation=recurrent_activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        self._add_kernels(input_shape)
        if self.use_bias:
            shape = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
            self.bias = weight(self, "bias", shape)
        self.built = True

    def _input_bias(self) -> Any:
        return self.bias[0] if self.bias is not None and self.reset_after else self.bias

    def advance(self, z: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h, u = states[0], self.units
        gate = self.recurrent_activation
        if self.reset_after:
            inner = self._recur(h)
            if self.bias is not None:
                inner = ops.add(inner, self.bias[1])
            both = gate(ops.add(z[:, : 2 * u], inner[:, : 2 * u]))
            update, reset = both[:, :u], both[:, u:]
            candidate = self.activation(ops.add(z[:, 2 * u :], reset * inner[:, 2 * u :]))
        else:
            both = gate(ops.add(z[:, : 2 * u], self._recur(h, 0, 2)))
            update, reset = both[:, :u], both[:, u:]
            candidate = self.activation(ops.add(z[:, 2 * u :], self._recur(reset * h, 2, 3)))
        h = update * h + (1.0 - update) * candidate
        return h, [h]


def usual(cell: Any) -> bool:
    """Whether a cell has the activations of the composites: tanh and sigmoid."""
    return cell.activation is activations.tanh and cell.recurrent_activation is activations.sigmoid
