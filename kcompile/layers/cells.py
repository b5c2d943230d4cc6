"""What the cells of recurrent layers share, and the simplest of them, SimpleRNNCell.

A cell splits its step in two: `project`, the part of the input, which a layer hoists out of the loop as
one product, and `advance`, the part of the state. Refuses to hold the loop (`recurrence.py`) and the
cells with gates (`gated_cells.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kcompile.ops as ops
import kcompile.random as random
from kcompile.arguments import gone, positive_int
from kcompile.layer import Layer
from kcompile.layers.core import known_dim
from kcompile.layers.regularization import generator
from kcompile.layers.settings import configured, resolve, weight

SETTINGS = (
    "units", "activation", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer",
    "kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "kernel_constraint",
    "recurrent_constraint", "bias_constraint", "dropout", "recurrent_dropout", "seed",
)  # fmt: skip


class Cell(Layer):
    """What the three cells share: weights for `gates` gates side by side, and dropout masks."""

    gates: int
    more_settings: tuple[str, ...] = ()

    def _prepare(
        self, units: Any, dropout: float, recurrent_dropout: float, kwargs: dict[str, Any]
    ) -> int:
        """Checked units; takes `implementation` out of `kwargs` and refuses spellings of Keras 1."""
        gone(
            type(self), kwargs, input_length="Input(shape=(length, features))", init="kernel_initializer=",
            inner_init="recurrent_initializer=", dropout_W="dropout=", dropout_U="recurrent_dropout=",
        )  # fmt: skip
        self._implementation = kwargs.pop("implementation", 2)
        return positive_int(type(self), "units", units)

    def _set(
        self, units: int, use_bias: bool, dropout: float, recurrent_dropout: float, seed: Any
    ) -> None:
        self.units, self.use_bias, self.seed = units, use_bias, seed
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = 1 if self.recurrent_dropout else self._implementation
        self.seed_generator = generator(seed) if self.dropout or self.recurrent_dropout else None
        self.state_size: Any = units
        self.output_size = units
        self.bias: Any = None
        self._masks: Any = None

    def _add_kernels(self, input_shape: Any) -> None:
        d, width = known_dim(self, input_shape, -1), self.gates * self.units
        self.kernel = weight(self, "kernel", (d, width))
        self.recurrent_kernel = weight(self, "recurrent_kernel", (self.units, width), "recurrent")

    # dropout: one mask for all steps

    def _draw(self, batch: Any, training: Any) -> tuple[Any, Any]:
        """Masks for the input and the state: lists of one, or of one per gate, or None."""
        if not training or self.seed_generator is None:
            return None, None
        count = self.gates if self.implementation == 1 else 1

        def masks(rate: float, extent: int) -> Any:
            if rate == 0:
                return None
            ones = ops.ones((batch, extent), dtype=self.compute_dtype)
            return [random.dropout(ones, rate, seed=self.seed_generator) for _ in range(count)]

        return masks(self.dropout, self.kernel.shape[0]), masks(self.recurrent_dropout, self.units)

    @contextmanager
    def masks_drawn(self, batch: Any, training: Any) -> Iterator[None]:
        """Inside, every step uses the same dropout masks."""
        self._masks = self._draw(batch, training)
        try:
            yield
        finally:
            self._masks = None

    def project(self, inputs: Any) -> Any:
        """The input's part of the gates, (N, d) or (N, T, d) -> (.., gates * units), with the bias."""
        masks = self._masks[0] if self._masks else None
        if masks is None:
            z = ops.matmul(inputs, self.kernel)
        else:
            masks = [ops.expand_dims(m, 1) if len(inputs.shape) == 3 else m for m in masks]
            kernels = (
                [self.kernel] if len(masks) == 1 else ops.split(self.kernel, self.gates, axis=1)
            )
            z = [ops.matmul(inputs * m, k) for m, k in zip(masks, kernels, strict=True)]
            z = z[0] if len(z) == 1 else ops.concatenate(z, axis=-1)
        bias = self._input_bias()
        return z if bias is None else ops.add(z, bias)

    def _input_bias(self) -> Any:
        return self.bias

    def _recur(self, h: Any, first: int = 0, last: int | None = None) -> Any:
        """h @ recurrent_kernel for the gates from `first` to `last`, under the dropout masks."""
        last = self.gates if last is None else last
        masks = self._masks[1] if self._masks else None
        u = self.recurrent_kernel
        if masks is None or len(masks) == 1:
            part = (
                u
                if (first, last) == (0, self.gates)
                else u[:, first * self.units : last * self.units]
            )
            return ops.matmul(h if masks is None else h * masks[0], part)
        parts = [
            ops.matmul(h * masks[g], u[:, g * self.units : (g + 1) * self.units])
            for g in range(first, last)
        ]
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def advance(self, z: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """One step from the projected input `z`: (output, new states)."""
        raise NotImplementedError

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        nested = isinstance(states, (list, tuple))
        states = list(states) if nested else [states]
        if self._masks is None:
            with self.masks_drawn(ops.shape(inputs)[0], training):
                output, new = self.advance(self.project(inputs), states)
        else:
            output, new = self.advance(self.project(inputs), states)
        return output, new if nested else new[0]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, (batch_size, extent) for each state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, d), dtype=self.compute_dtype) for d in sizes]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, *SETTINGS, *self.more_settings)


class SimpleRNNCell(Cell):
    """h' = activation(x @ kernel + bias + h @ recurrent_kernel)."""

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
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
        seed: Any = None,
        **kwargs: Any,
    ):
        units = self._prepare(units, dropout, recurrent_dropout, kwargs)
        super().__init__(**kwargs)
        self._set(units, use_bias, dropout, recurrent_dropout, seed)
        resolve(
            self,
            activation=activation,
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
            self.bias = weight(self, "bias", (self.units,))
        self.built = True

    def advance(self, z: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h = self.activation(ops.add(z, self._recur(states[0])))
        return h, [h]
