"""Losses of probabilities: the crossentropies, focal or not, divergence, Poisson, generalised.

Probabilities are clipped to [epsilon, 1 - epsilon], categorical ones after renormalising, as in Keras.
Refuses to hold weighting and reduction (`kcompile.losses.loss`).
"""

from __future__ import annotations

import warnings
from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.losses.loss import NamedLoss


def _check_axis(axis: Any) -> None:
    if isinstance(axis, bool):
        raise KCValueError(
            "KC104",
            f"axis={axis!r}",
            "an axis is an int",
            "write the arguments by name, as axis=-1",
        )


def _warn_single(y_pred: Any, name: str) -> None:
    if y_pred.shape[-1] == 1:
        warnings.warn(
            f"{name} got predictions of shape {y_pred.shape}: with one class its value is constant. "
            "For two classes use binary_crossentropy.",
            SyntaxWarning,
            stacklevel=3,
        )


def _smooth(y_true: Any, label_smoothing: float, share: float) -> Any:
    return y_true * (1.0 - label_smoothing) + label_smoothing * share if label_smoothing else y_true


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(y_true * log(y_pred)) along `axis`; targets are one-hot or distributions."""
    _check_axis(axis)
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    _warn_single(y_pred, "categorical_crossentropy")
    if label_smoothing:
        y_true = _smooth(y_true, label_smoothing, 1.0 / y_true.shape[-1])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Crossentropy in which easy samples weigh less: times alpha * (1 - p)^gamma. arXiv:1708.02002."""
    _check_axis(axis)
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    _warn_single(y_pred, "categorical_focal_crossentropy")
    if label_smoothing:
        y_true = _smooth(y_true, label_smoothing, 1.0 / y_true.shape[-1])
    if from_logits:
        y_pred = ops.softmax(y_pred, axis=axis)
    p = y_pred / ops.sum(y_pred, axis=axis, keepdims=True)
    p = ops.clip(p, config.epsilon(), 1.0 - config.epsilon())
    weight = ops.power(1.0 - p, gamma) * alpha
    return ops.sum(weight * (-y_true * ops.log(p)), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """-log(y_pred[y_true]) along `axis`; targets are class indices. `ignore_class` counts nothing."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis=axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=from_logits, axis=axis
        )
    valid = ops.not_equal(y_true, ops.cast(ignore_class, y_true.dtype))
    y_true = ops.where(valid, y_true, ops.zeros_like(y_true))
    y_pred = ops.where(ops.expand_dims(valid, axis), y_pred, ops.zeros_like(y_pred))
    values = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)
    values = ops.where(valid, values, ops.zeros_like(values))
    values._keras_mask = valid
    return values


sparse_categorical_crossentropy.integer_targets = True  # type: ignore[attr-defined]


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-(y log p + (1 - y) log(1 - p)), mean along `axis`."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = _smooth(ops.cast(y_true, y_pred.dtype), label_smoothing, 0.5)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Binary crossentropy in which easy samples weigh less: times (1 - p_t)^gamma. arXiv:1708.02002."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = _smooth(ops.cast(y_true, y_pred.dtype), label_smoothing, 0.5)
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    value = ops.binary_crossentropy(y_true, y_pred, from_logits=False)
    p_true = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    value = ops.power(1.0 - p_true, gamma) * value
    if apply_class_balancing:
        value = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * value
    return ops.mean(value, axis=axis)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y_true * log(y_true / y_pred)) over the last axis, both clipped to [epsilon, 1]."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.clip(ops.convert_to_tensor(y_true, dtype=y_pred.dtype), config.epsilon(), 1.0)
    y_pred = ops.clip(y_pred, config.epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(y_pred - y_true * log(y_pred + epsilon)) over the last axis."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.convert_to_tensor(y_true, dtype=y_pred.dtype)
    return ops.mean(y_pred - y_true * ops.log(y_pred + config.epsilon()), axis=-1)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p^q) / q of the true class's probability p: less moved by wrong labels. arXiv:1805.07836."""
    y_pred = ops.convert_to_tensor(y_pred)
    hot = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
    return (1.0 - ops.power(ops.sum(y_pred * hot, axis=-1), q)) / q


class CategoricalCrossentropy(NamedLoss):
    """See `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            categorical_crossentropy, name=name, reduction=reduction, dtype=dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class CategoricalFocalCrossentropy(NamedLoss):
    """See `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            categorical_focal_crossentropy, name=name, reduction=reduction, dtype=dtype, alpha=alpha,
            gamma=gamma, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class SparseCategoricalCrossentropy(NamedLoss):
    """See `sparse_categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            sparse_categorical_crossentropy, name=name, reduction=reduction, dtype=dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip


class BinaryCrossentropy(NamedLoss):
    """See `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            binary_crossentropy, name=name, reduction=reduction, dtype=dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class BinaryFocalCrossentropy(NamedLoss):
    """See `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            binary_focal_crossentropy, name=name, reduction=reduction, dtype=dtype,
            apply_class_balancing=apply_class_balancing, alpha=alpha, gamma=gamma,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class KLDivergence(NamedLoss):
    """See `kl_divergence`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "kl_divergence",
        dtype: Any = None,
    ):
        super().__init__(kl_divergence, name=name, reduction=reduction, dtype=dtype)


class Poisson(NamedLoss):
    """See `poisson`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "poisson",
        dtype: Any = None,
    ):
        super().__init__(poisson, name=name, reduction=reduction, dtype=dtype)


class CategoricalGeneralizedCrossEntropy(NamedLoss):
    """See `categorical_generalized_cross_entropy`. Raises KCValueError KC304 unless 0 < q < 1."""

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        if not 0 < q < 1:
            raise KCValueError(
                "KC304", f"q={q!r}", "q lies strictly between 0 and 1", "pass for example q=0.5"
            )
        super().__init__(
            categorical_generalized_cross_entropy, name=name, reduction=reduction, dtype=dtype, q=q
        )
