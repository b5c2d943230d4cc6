"""Accuracies: how often a prediction hits its target. Functions of values per sample, and metrics.

Refuses to hold averaging (`kcompile.metrics.reduction`).
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.losses.loss import same_rank
from kcompile.metrics.reduction import NamedMean


def _hits(equal: Any) -> Any:
    return ops.cast(equal, config.floatx())


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_true == y_pred, else 0."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true, y_pred = same_rank(ops.convert_to_tensor(y_true, dtype=y_pred.dtype), y_pred)
    return _hits(ops.equal(y_true, y_pred))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where y_true is 1 and y_pred > threshold, or y_true is 0 and it is not."""
    y_true, y_pred = same_rank(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
    return _hits(ops.equal(y_true, ops.cast(ops.greater(y_pred, threshold), y_true.dtype)))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest of the one-hot target and of the prediction are at one place."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    return _hits(ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1)))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest prediction is at the index that the target gives."""
    y_true, y_pred = _indices(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    hits = _hits(ops.equal(y_true, ops.argmax(y_pred, axis=-1)))
    if len(hits.shape) > 1 and hits.shape[-1] == 1:
        hits = ops.squeeze(hits, -1)
    return hits


def _indices(y_true: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(y_true), "int32")


def _among_best(y_true: Any, y_pred: Any, k: int) -> Any:
    """1 where fewer than k predictions exceed that of the index y_true. Both of any equal leading shape."""
    score = ops.take_along_axis(y_pred, ops.expand_dims(y_true, -1), axis=-1)
    classes = y_pred.shape[-1]
    not_above = ops.sum(ops.cast(ops.less_equal(y_pred, score), "int32"), axis=-1)
    return _hits(ops.greater(not_above, classes - min(k, classes)))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the class of the one-hot target is among the k largest predictions."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    return _among_best(ops.cast(ops.argmax(y_true, axis=-1), "int32"), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """1 where the index y_true is among the k largest predictions.

    With `from_sorted_ids`, y_pred holds class indices, best first, instead of scores.
    """
    y_true, y_pred = _indices(y_true), ops.convert_to_tensor(y_pred)
    shape = ops.shape(y_true)
    column = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1
    if column:
        y_true = ops.squeeze(y_true, -1)
    if from_sorted_ids:
        found = ops.equal(ops.cast(ops.expand_dims(y_true, -1), y_pred.dtype), y_pred[..., :k])
        hits = _hits(ops.any(found, axis=-1))
    else:
        hits = _among_best(y_true, y_pred, k)
    return ops.reshape(hits, shape) if column else hits


class Accuracy(NamedMean):
    """See `accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(NamedMean):
    """See `binary_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(NamedMean):
    """See `categorical_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(NamedMean):
    """See `sparse_categorical_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(NamedMean):
    """See `top_k_categorical_accuracy`."""

    _direction = "up"

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(NamedMean):
    """See `sparse_top_k_categorical_accuracy`."""

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        extra = {"from_sorted_ids": True} if from_sorted_ids else {}
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, **extra)
        self.from_sorted_ids = from_sorted_ids
