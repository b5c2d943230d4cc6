"""Intersection over union of classes, from a confusion matrix.

Refuses to hold thresholded counts (`kcompile.metrics.confusion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import kcompile.config as config
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.metrics.metric import Metric


class IoU(Metric):
    """The mean over `target_class_ids` of intersection / union of predicted and true samples.

    Args:
        num_classes: samples of a class outside [0, num_classes) count nothing.
        target_class_ids: the classes averaged over; those that never occur are left out.
        ignore_class: a class whose samples count nothing.
        sparse_y_true, sparse_y_pred: class indices if true, else scores along `axis`.

    Raises KCValueError KC305 for a target class out of range.
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(name=name, dtype=dtype or "int32")
        if max(target_class_ids) >= num_classes:
            raise KCValueError(
                "KC305",
                f"target_class_ids={target_class_ids!r}",
                f"a class lies in [0, {num_classes})",
                "pass such ones",
            )
        self.num_classes, self.ignore_class, self.axis = num_classes, ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.target_class_ids = list(target_class_ids)
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in the classes of a batch, of any equal shape."""
        n = self.num_classes
        true = self._classes(y_true, self.sparse_y_true)
        pred = self._classes(y_pred, self.sparse_y_pred)
        valid = ops.logical_and(
            ops.logical_and(true >= 0, true < n), ops.logical_and(pred >= 0, pred < n)
        )
        if self.ignore_class is not None:
            valid = ops.logical_and(valid, ops.not_equal(true, self.ignore_class))
        weight = ops.cast(valid, "float32")
        if sample_weight is not None:
            given = ops.cast(ops.cast(ops.convert_to_tensor(sample_weight), self.dtype), "float32")
            weight = weight * (given if not given.shape else ops.reshape(given, (-1,)))
        rows = ops.one_hot(true, n, dtype="float32") * ops.expand_dims(weight, -1)
        matrix = ops.matmul(ops.transpose(rows), ops.one_hot(pred, n, dtype="float32"))
        self.total_cm.assign_add(ops.cast(matrix, self.dtype))

    def _classes(self, y: Any, sparse: bool) -> Any:
        y = ops.convert_to_tensor(y)
        if not sparse:
            y = ops.argmax(y, axis=self.axis)
        return ops.reshape(ops.cast(y, "int32"), (-1,))

    def result(self) -> Any:
        counts = ops.cast(self.total_cm.value, "float32")
        hits = ops.sum(counts * np.eye(self.num_classes, dtype=np.float32), axis=0)
        union = ops.sum(counts, axis=0) + ops.sum(counts, axis=1) - hits
        wanted = np.zeros(self.num_classes, np.float32)
        for c in self.target_class_ids:
            wanted[c] += 1
        seen = ops.cast(union > 1e-9, "float32") * wanted
        return ops.sum(hits / (union + config.epsilon()) * seen) / (
            ops.sum(seen) + config.epsilon()
        )

    def get_config(self) -> dict[str, Any]:
        own = (
            "num_classes",
            "target_class_ids",
            "ignore_class",
            "sparse_y_true",
            "sparse_y_pred",
            "axis",
        )
        return {**super().get_config(), **{k: getattr(self, k) for k in own}}

    def _config(self, *keys: str) -> dict[str, Any]:
        return {**Metric.get_config(self), **{k: getattr(self, k) for k in keys}}


class BinaryIoU(IoU):
    """IoU of the classes "below" and "at or above" `threshold`."""

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in 0/1 labels and scores of a batch."""
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        super().update_state(y_true, ops.cast(y_pred >= self.threshold, "int32"), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return self._config("target_class_ids", "threshold")


class MeanIoU(IoU):
    """IoU averaged over all classes."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        ids = range(num_classes)
        super().__init__(
            num_classes, ids, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis
        )

    def get_config(self) -> dict[str, Any]:
        return self._config("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


class OneHotIoU(IoU):
    """IoU of one-hot targets."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )

    def get_config(self) -> dict[str, Any]:
        return self._config(
            "num_classes", "target_class_ids", "ignore_class", "sparse_y_pred", "axis"
        )


class OneHotMeanIoU(MeanIoU):
    """IoU of one-hot targets, averaged over all classes."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return self._config("num_classes", "ignore_class", "sparse_y_pred", "axis")
