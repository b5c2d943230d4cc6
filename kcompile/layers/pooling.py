"""Pooling: maximum and average over windows, and over all of space.

Inputs (N, *space, C) or (N, C, *space) by `data_format`. Refuses to hold the arithmetic of windows.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import choice, data_format, gone, int_tuple
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import configured


class _Pooling(Layer):
    """Windows of `pool_size`, one every `strides` (by default `pool_size`)."""

    rank: int
    _op: Any

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: Any = None,
        name: Any = None,
        **kwargs: Any,
    ):
        of = type(self)
        gone(
            of,
            kwargs,
            border_mode="padding=",
            dim_ordering="data_format=",
            pool_length="pool_size=",
        )
        pool = int_tuple(of, "pool_size", pool_size, self.rank)
        step = pool if strides is None else int_tuple(of, "strides", strides, self.rank)
        pad = choice(of, "padding", padding, ("valid", "same"))
        form = _format(of, data_format)
        super().__init__(name=name, **kwargs)
        self.pool_size, self.strides, self.padding, self.data_format = pool, step, pad, form
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return type(self)._op(inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(
            self, "pool_size", "padding", "strides", "data_format"
        )


_format = data_format


class _MaxPooling(_Pooling):
    _op = staticmethod(ops.max_pool)


class _AveragePooling(_Pooling):
    """Positions outside the input are not counted."""

    _op = staticmethod(ops.average_pool)


class MaxPooling1D(_MaxPooling):
    """Maximum over windows of one axis."""

    rank = 1


class MaxPooling2D(_MaxPooling):
    """Maximum over windows of two axes."""

    rank = 2


class MaxPooling3D(_MaxPooling):
    """Maximum over windows of three axes."""

    rank = 3


class AveragePooling1D(_AveragePooling):
    """Mean over windows of one axis."""

    rank = 1


class AveragePooling2D(_AveragePooling):
    """Mean over windows of two axes."""

    rank = 2


class AveragePooling3D(_AveragePooling):
    """Mean over windows of three axes."""

    rank = 3


class _GlobalPooling(Layer):
    """Over all of space: (N, *space, C) -> (N, C), or (N, 1.., C) with `keepdims`."""

    rank: int
    _op: Any

    def __init__(self, data_format: Any = None, keepdims: bool = False, **kwargs: Any):
        form = _format(type(self), data_format)
        super().__init__(**kwargs)
        self.data_format, self.keepdims = form, keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    @property
    def _space(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))

    def call(self, inputs: Any) -> Any:
        return type(self)._op(inputs, axis=self._space, keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "data_format", "keepdims")


class _GlobalMax(_GlobalPooling):
    _op = staticmethod(ops.max)


class _GlobalAverage(_GlobalPooling):
    _op = staticmethod(ops.mean)


class GlobalMaxPooling1D(_GlobalMax):
    """Maximum over time."""

    rank = 1


class GlobalMaxPooling2D(_GlobalMax):
    """Maximum over an image."""

    rank = 2


class GlobalMaxPooling3D(_GlobalMax):
    """Maximum over a volume."""

    rank = 3


class GlobalAveragePooling1D(_GlobalAverage):
    """Mean over time; over the steps that a mask (N, T) keeps."""

    rank = 1

    def __init__(self, data_format: Any = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(data_format=data_format, keepdims=keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        kept = ops.expand_dims(
            ops.cast(mask, "bool"), 2 if self.data_format == "channels_last" else 1
        )
        total = ops.sum(
            ops.where(kept, inputs, ops.zeros_like(inputs)),
            axis=self._space,
            keepdims=self.keepdims,
        )
        count = ops.sum(ops.cast(kept, inputs.dtype), axis=self._space, keepdims=self.keepdims)
        return total / count

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None


class GlobalAveragePooling2D(_GlobalAverage):
    """Mean over an image."""

    rank = 2


class GlobalAveragePooling3D(_GlobalAverage):
    """Mean over a volume."""

    rank = 3
