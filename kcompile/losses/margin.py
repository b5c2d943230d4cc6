"""Losses of margins and overlaps: hinge and its kin, Dice, Tversky, and the circle loss.

Refuses to hold weighting and reduction (`kcompile.losses.loss`).
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.losses.loss import NamedLoss


def _signed(y_true: Any) -> Any:
    """Labels as -1 and 1: those that are all 0 or 1 are converted."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


def _margin(y_true: Any, y_pred: Any) -> Any:
    y_pred = ops.convert_to_tensor(y_pred)
    return ops.maximum(1.0 - _signed(ops.cast(y_true, y_pred.dtype)) * y_pred, 0.0)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)) over the last axis; labels -1 and 1 (or 0 and 1)."""
    return ops.mean(_margin(y_true, y_pred), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)^2) over the last axis; labels -1 and 1 (or 0 and 1)."""
    return ops.mean(ops.square(_margin(y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(0, best wrong score - true score + 1); targets are one-hot."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    pos = ops.sum(y_true * y_pred, axis=-1)
    neg = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(neg - pos + 1.0, 0.0)


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 - 2 |overlap| / (|y_true| + |y_pred|), sums over `axis` (all axes when None)."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axis)
    return 1.0 - 2.0 * overlap / (
        ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + config.epsilon()
    )


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Any:
    """1 - overlap / (overlap + alpha * missed + beta * wrongly found). arXiv:1706.05721."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axis)
    missed = ops.sum((1.0 - y_pred) * y_true, axis=axis)
    wrong = ops.sum(y_pred * (1.0 - y_true), axis=axis)
    return 1.0 - overlap / (overlap + missed * alpha + wrong * beta + config.epsilon())


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Circle loss of unit embeddings `y_pred` (N, D) with labels (N,) or (N, 1). arXiv:2002.10857.

    Samples without any positive pair, or any negative one, count nothing.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, "int32")
    others = y_pred if ref_embeddings is None else ops.convert_to_tensor(ref_embeddings)
    labels = y_true if ref_labels is None else ops.cast(ref_labels, "int32")
    distance = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(others)), 0.0)
    same = ops.equal(ops.reshape(y_true, (-1, 1)), ops.reshape(labels, (1, -1)))
    different = ops.logical_not(same)
    if remove_diagonal:
        rows, columns = (
            ops.cumsum(ops.ones_like(distance), axis=0),
            ops.cumsum(ops.ones_like(distance), axis=1),
        )
        same = ops.logical_and(same, ops.not_equal(rows, columns))
    near = ops.maximum((margin + distance) * ops.cast(same, distance.dtype), 0.0)
    far = ops.maximum((1 + margin - distance) * ops.cast(different, distance.dtype), 0.0)
    positive = -gamma * near * (margin - distance)
    negative = gamma * far * (1 - margin - distance)
    values = ops.softplus(_log_sum(positive, same) + _log_sum(negative, different))
    values._keras_mask = values > 0
    return values


_ABSENT = -1e30  # stands for minus infinity, whose differences would be NaN


def _log_sum(x: Any, present: Any) -> Any:
    return ops.logsumexp(ops.where(present, x, ops.full_like(x, _ABSENT)), axis=1)


class Hinge(NamedLoss):
    """See `hinge`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "hinge", dtype: Any = None
    ):
        super().__init__(hinge, name=name, reduction=reduction, dtype=dtype)


class SquaredHinge(NamedLoss):
    """See `squared_hinge`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "squared_hinge",
        dtype: Any = None,
    ):
        super().__init__(squared_hinge, name=name, reduction=reduction, dtype=dtype)


class CategoricalHinge(NamedLoss):
    """See `categorical_hinge`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_hinge",
        dtype: Any = None,
    ):
        super().__init__(categorical_hinge, name=name, reduction=reduction, dtype=dtype)


class Dice(NamedLoss):
    """See `dice`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
        axis: Any = None,
        dtype: Any = None,
    ):
        super().__init__(dice, name=name, reduction=reduction, dtype=dtype, axis=axis)


class Tversky(NamedLoss):
    """See `tversky`."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            tversky, name=name, reduction=reduction, dtype=dtype, alpha=alpha, beta=beta, axis=axis
        )


class Circle(NamedLoss):
    """See `circle`."""

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "circle",
        dtype: Any = None,
    ):
        super().__init__(
            circle, name=name, reduction=reduction, dtype=dtype,
            gamma=gamma, margin=margin, remove_diagonal=remove_diagonal,
        )  # fmt: skip
        self.integer_targets = True
