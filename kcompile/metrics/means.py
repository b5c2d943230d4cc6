"""The losses as metrics: means over an epoch of errors, crossentropies, hinges; and correlations.

Refuses to hold the formulas of losses (`kcompile.losses`) and averaging (`kcompile.metrics.reduction`).
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.losses.margin as margin
import kcompile.losses.probabilistic as probabilistic
import kcompile.losses.regression as regression
import kcompile.ops as ops
from kcompile.metrics.reduction import Mean, NamedMean


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The cosine of the angle between targets and predictions: 1 is best."""
    y_true, y_pred = regression.paired(y_true, y_pred)
    return ops.sum(regression.unit(y_true, axis) * regression.unit(y_pred, axis), axis=axis)


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Covariance over the product of standard deviations, along `axis`."""
    y_true, y_pred = regression.paired(y_true, y_pred)
    y_true = y_true - ops.mean(y_true, axis=axis, keepdims=True)
    y_pred = y_pred - ops.mean(y_pred, axis=axis, keepdims=True)
    y_true = y_true / ops.std(y_true, axis=axis, keepdims=True)
    y_pred = y_pred / ops.std(y_pred, axis=axis, keepdims=True)
    return ops.mean(y_true * y_pred, axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Agreement in value, not in trend only, along `axis`."""
    y_true, y_pred = regression.paired(y_true, y_pred)
    mean_true = ops.mean(y_true, axis=axis, keepdims=True)
    mean_pred = ops.mean(y_pred, axis=axis, keepdims=True)
    spread = ops.var(y_true, axis=axis, keepdims=True) + ops.var(y_pred, axis=axis, keepdims=True)
    shared = (y_true - mean_pred) * (y_pred - mean_pred)
    norm = spread + ops.square(mean_true - mean_pred) + config.epsilon()
    return ops.mean(2.0 * shared / norm, axis=axis)


class MeanSquaredError(NamedMean):
    """The mean squared error."""

    _direction = "down"

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(regression.mean_squared_error, name, dtype)


class MeanAbsoluteError(NamedMean):
    """The mean absolute error."""

    _direction = "down"

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(regression.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(NamedMean):
    """The mean absolute error in percent of the target."""

    _direction = "down"

    def __init__(self, name: str = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(regression.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(NamedMean):
    """The mean squared error of logarithms."""

    _direction = "down"

    def __init__(self, name: str = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(regression.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(NamedMean):
    """The mean logarithm of the hyperbolic cosine of the error."""

    _direction = "down"

    def __init__(self, name: str = "logcosh", dtype: Any = None):
        super().__init__(regression.log_cosh, name, dtype)


class RootMeanSquaredError(Mean):
    """The root of the mean squared error."""

    _direction = "down"

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        y_true, y_pred = regression.paired(y_true, ops.convert_to_tensor(y_pred, dtype=self.dtype))
        super().update_state(ops.square(y_pred - y_true), sample_weight=sample_weight)

    def result(self) -> Any:
        return ops.sqrt(super().result())


class CosineSimilarity(NamedMean):
    """See `cosine_similarity`."""

    _direction = "up"

    def __init__(self, name: str = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(cosine_similarity, name, dtype, axis=axis)


class PearsonCorrelation(NamedMean):
    """See `pearson_correlation`."""

    _direction = "up"

    def __init__(self, name: str = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(NamedMean):
    """See `concordance_correlation`."""

    _direction = "up"

    def __init__(self, name: str = "concordance_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(concordance_correlation, name, dtype, axis=axis)


class KLDivergence(NamedMean):
    """The mean Kullback-Leibler divergence."""

    _direction = "down"

    def __init__(self, name: str = "kl_divergence", dtype: Any = None):
        super().__init__(probabilistic.kl_divergence, name, dtype)


class Poisson(NamedMean):
    """The mean Poisson loss."""

    _direction = "down"

    def __init__(self, name: str = "poisson", dtype: Any = None):
        super().__init__(probabilistic.poisson, name, dtype)


class BinaryCrossentropy(NamedMean):
    """The mean binary crossentropy."""

    _direction = "down"

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(
            probabilistic.binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


class CategoricalCrossentropy(NamedMean):
    """The mean crossentropy of one-hot targets."""

    _direction = "down"

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(
            probabilistic.categorical_crossentropy, name, dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class SparseCategoricalCrossentropy(NamedMean):
    """The mean crossentropy of class indices."""

    _direction = "down"

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(
            probabilistic.sparse_categorical_crossentropy, name, dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip


class Hinge(NamedMean):
    """The mean hinge loss."""

    _direction = "down"

    def __init__(self, name: str = "hinge", dtype: Any = None):
        super().__init__(margin.hinge, name, dtype)


class SquaredHinge(NamedMean):
    """The mean squared hinge loss."""

    _direction = "down"

    def __init__(self, name: str = "squared_hinge", dtype: Any = None):
        super().__init__(margin.squared_hinge, name, dtype)


class CategoricalHinge(NamedMean):
    """The mean categorical hinge loss."""

    _direction = "down"

    def __init__(self, name: str = "categorical_hinge", dtype: Any = None):
        super().__init__(margin.categorical_hinge, name, dtype)
