"""Layers that move elements: Flatten, Reshape, Permute, RepeatVector.

Refuses to hold padding, cropping and resampling of space (`resizing.py`).
"""

from __future__ import annotations

import math
from typing import Any

import kcompile.ops as ops
from kcompile.arguments import data_format, is_int, owner, positive_int, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import configured

_format = data_format


class Flatten(Layer):
    """(N, ...) -> (N, product of the others), channels last in memory order."""

    def __init__(self, data_format: Any = None, **kwargs: Any):
        form = _format(type(self), data_format)
        super().__init__(**kwargs)
        self.data_format = form
        self.input_spec = InputSpec(min_ndim=1)
        self.built = True

    def call(self, inputs: Any) -> Any:
        rank = len(inputs.shape)
        if self.data_format == "channels_first" and rank > 2:
            inputs = ops.transpose(inputs, (0, *range(2, rank), 1))
        shape = ops.shape(inputs)
        return ops.reshape(inputs, (shape[0], math.prod(shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "data_format")


class Reshape(Layer):
    """(N, ...) -> (N, *target_shape); one entry of the target may be -1."""

    def __init__(self, target_shape: Any, **kwargs: Any):
        shape = tuple(target_shape) if isinstance(target_shape, (tuple, list)) else (target_shape,)
        if not all(is_int(d) and (d >= 0 or d == -1) for d in shape) or shape.count(-1) > 1:
            refuse(
                f"{type(self).__name__} was given target_shape={target_shape!r}",
                "A target shape is a tuple of integers without the batch, of which one may be -1",
                "Pass for example target_shape=(7, -1)",
            )
        super().__init__(**kwargs)
        self.target_shape = shape
        self.built = True

    def _resolved(self, shape: Any) -> tuple[Any, ...]:
        """The target with -1 worked out, from the input's shape without the batch; None where unknown."""
        rest = tuple(shape)
        fixed = math.prod(d for d in self.target_shape if d != -1)
        if None in rest:
            return tuple(None if d == -1 else d for d in self.target_shape)
        size = math.prod(rest)
        fits = size == fixed if -1 not in self.target_shape else fixed != 0 and size % fixed == 0
        if not fits:
            refuse(
                f"{owner(self)} has target_shape={self.target_shape} and an input of shape (None, "
                f"{', '.join(map(str, rest))}), {size} elements a sample",
                "Reshaping keeps the number of elements",
                f"Choose a target of {size} elements",
                code="KC201",
            )
        return tuple(size // fixed if d == -1 else d for d in self.target_shape)

    def call(self, inputs: Any) -> Any:
        target = self._resolved(inputs.shape[1:])
        return ops.reshape(
            inputs, (ops.shape(inputs)[0], *(-1 if d is None else d for d in target))
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *self._resolved(input_shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "target_shape")


class Permute(Layer):
    """Axes in the order `dims`, counted from 1 (the batch stays first)."""

    def __init__(self, dims: Any, **kwargs: Any):
        order = tuple(dims)
        if not all(map(is_int, order)) or sorted(order) != list(range(1, len(order) + 1)):
            refuse(
                f"{type(self).__name__} was given dims={dims!r}",
                "`dims` holds each axis from 1 (the batch is axis 0 and stays) once",
                "Pass for example dims=(2, 1)",
            )
        super().__init__(**kwargs)
        self.dims = order
        self.input_spec = InputSpec(ndim=len(order) + 1)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return ops.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(input_shape[d] for d in self.dims))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "dims")


class RepeatVector(Layer):
    """(N, d) -> (N, n, d)."""

    def __init__(self, n: int, **kwargs: Any):
        n = positive_int(type(self), "n", n)
        super().__init__(**kwargs)
        self.n = n
        self.input_spec = InputSpec(ndim=2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        shape = ops.shape(inputs)
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (shape[0], self.n, shape[1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n, input_shape[1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "n")
