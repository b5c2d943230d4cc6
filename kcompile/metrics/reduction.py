"""Metrics that reduce values: `Sum`, `Mean`, and the mean of a function of targets and predictions.

Refuses to hold the functions (see the modules beside it, and `kcompile.losses`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kcompile.ops as ops
from kcompile.losses.loss import apply_mask, get_mask, same_rank
from kcompile.metrics.metric import Metric
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


def samplewise(
    values: Any, sample_weight: Any, reduce: Callable[..., Any], dtype: str
) -> tuple[Any, Any]:
    """Values times weights, reduced to one for each sample; and the weights, likewise."""
    mask = get_mask(values)
    values = ops.cast(values, dtype)
    if sample_weight is not None:
        sample_weight = ops.cast(ops.convert_to_tensor(sample_weight, dtype=dtype), dtype)
        if mask is not None:
            sample_weight = apply_mask(sample_weight, mask, dtype, "sum")
        values, sample_weight = same_rank(values, sample_weight)
        rank = len(sample_weight.shape)
        if len(values.shape) > rank:
            values = reduce(values, axis=tuple(range(rank, len(values.shape))))
        if tuple(sample_weight.shape) != tuple(values.shape) or None in values.shape:
            sample_weight = ops.broadcast_to(sample_weight, ops.shape(values))
        values = values * sample_weight
        if rank > 1:
            sample_weight = reduce(sample_weight, axis=tuple(range(1, rank)))
    if len(values.shape) > 1:
        values = reduce(values, axis=tuple(range(1, len(values.shape))))
    return values, sample_weight


class Sum(Metric):
    """The (weighted) sum of all values."""

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in values (N, ...) with weights (N,), (N, ...) or a scalar."""
        values, _ = samplewise(ops.convert_to_tensor(values), sample_weight, ops.sum, self.dtype)
        self.total.assign_add(ops.sum(values))

    def result(self) -> Any:
        return ops.cast(self.total, self.dtype)


class Mean(Metric):
    """The (weighted) mean of all values."""

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")
        self.count = self.add_variable((), name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in values (N, ...) with weights (N,), (N, ...) or a scalar."""
        values, sample_weight = samplewise(
            ops.convert_to_tensor(values), sample_weight, ops.mean, self.dtype
        )
        if sample_weight is not None:
            count = ops.sum(sample_weight)
        else:
            count = ops.shape(values)[0] if values.shape else 1
        self.total.assign_add(ops.sum(values))
        self.count.assign_add(ops.cast(count, self.dtype))

    def result(self) -> Any:
        return ops.divide_no_nan(self.total, self.count)


class MeanMetricWrapper(Mean):
    """The mean of `fn(y_true, y_pred, **kwargs)`, which gives a value for each sample."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ):
        super().__init__(name=name, dtype=dtype)  # type: ignore[arg-type]
        self._fn, self._fn_kwargs = fn, kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in targets and predictions of a batch."""
        mask = get_mask(y_pred)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        super().update_state(
            values, sample_weight=apply_mask(sample_weight, mask, self.dtype, "sum")
        )

    def get_config(self) -> dict[str, Any]:
        config = {"fn": serialize_keras_object(self._fn), **serialize_keras_object(self._fn_kwargs)}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if "fn" in config:
            config = deserialize_keras_object(config)
        return cls(**config)


class NamedMean(MeanMetricWrapper):
    """A built-in mean metric: its config is name, dtype and the settings, which are attributes too."""

    def __init__(self, fn: Callable[..., Any], name: str, dtype: Any, **kwargs: Any):
        super().__init__(fn, name=name, dtype=dtype, **kwargs)
        for key, value in kwargs.items():
            setattr(self, key, value)

    def get_config(self) -> dict[str, Any]:
        return {**Metric.get_config(self), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)
