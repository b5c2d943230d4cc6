"""Counts of true and false positives and negatives at thresholds, and what follows from them directly.

One matrix product counts for all thresholds at once. Refuses to hold areas under curves
(`kcompile.metrics.areas`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.losses.loss import same_rank
from kcompile.metrics.metric import Metric
from kcompile.variable import Variable

NEVER = -1e10  # the score of predictions that are not among the best k


def thresholds_of(given: Any, default: float = 0.5) -> list[float]:
    """`given` as a list of thresholds. Raises KCValueError KC305 outside [0, 1]."""
    if given is None:
        return [default]
    found = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
    if any(t is None or not 0 <= t <= 1 for t in found):
        raise KCValueError(
            "KC305", f"thresholds={given!r}", "a threshold lies between 0 and 1", "pass such ones"
        )
    return found


def evenly_spaced(thresholds: Any) -> bool:
    """Whether the thresholds are 0, 1/(n-1), ..., 1 (up to epsilon)."""
    n = len(thresholds)
    return n >= 3 and bool(np.allclose(thresholds, np.arange(n) / (n - 1), atol=1e-7))


def prepare(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    dtype: str,
    top_k: int | None = None,
    class_id: int | None = None,
) -> tuple[Any, Any, Any]:
    """Labels as 0 and 1, scores, and weights (None, or of the scores' shape), all of `dtype`."""
    y_true, y_pred = (
        ops.cast(ops.convert_to_tensor(y_true), dtype),
        ops.cast(ops.convert_to_tensor(y_pred), dtype),
    )
    y_pred, y_true = same_rank(y_pred, y_true)
    if sample_weight is not None:
        sample_weight = ops.expand_dims(ops.cast(ops.convert_to_tensor(sample_weight), dtype), -1)
        _, sample_weight = same_rank(y_true, sample_weight, expand_rank_1=False)
    if top_k is not None:
        y_pred = only_best(y_pred, top_k)
    if class_id is not None:
        if len(y_pred.shape) == 1:
            raise KCValueError(
                "KC304", f"class_id={class_id} with predictions of shape {tuple(y_pred.shape)}",
                "class_id needs one score for each class", "predict (samples, classes)",
            )  # fmt: skip
        y_true = y_true[..., class_id : class_id + 1]
        y_pred = y_pred[..., class_id : class_id + 1]
    if sample_weight is not None:
        sample_weight = ops.broadcast_to(sample_weight, ops.shape(y_pred))
    return ops.cast(ops.not_equal(y_true, 0), dtype), y_pred, sample_weight


def only_best(y_pred: Any, k: int) -> Any:
    """Scores, with all but the k largest of each sample replaced by one below every threshold."""
    _, best = ops.top_k(y_pred, k)
    mask = ops.sum(ops.one_hot(best, y_pred.shape[-1], dtype=y_pred.dtype), axis=-2)
    return y_pred * mask + NEVER * (1.0 - mask)


def counts(
    y_true: Any, y_pred: Any, weight: Any, thresholds: list[float], even: bool
) -> tuple[Any, Any, Any, Any]:
    """(true positives, false positives, sum of positives, sum of negatives), at each threshold the first two.

    `y_pred` counts as positive above a threshold. `even`: the thresholds are `evenly_spaced`, and
    scores fall into buckets between them, as in Keras.
    """
    positive, negative = y_true, 1.0 - y_true
    if weight is not None:
        positive, negative = positive * weight, negative * weight
    labels = ops.stack([ops.reshape(positive, (-1,)), ops.reshape(negative, (-1,))], axis=1)
    scores = ops.reshape(y_pred, (-1, 1))
    found = ops.matmul(ops.transpose(above(scores, thresholds, even)), labels)
    total = ops.sum(labels, axis=0)
    return found[:, 0], found[:, 1], total[0], total[1]


def above(scores: Any, thresholds: list[float], even: bool) -> Any:
    """1 where a score (..., 1) exceeds a threshold, else 0: (..., thresholds)."""
    n = len(thresholds)
    if not even:
        limits = np.asarray(thresholds, dtype=np.float32)
        return ops.cast(ops.greater(scores, ops.cast(limits, scores.dtype)), scores.dtype)
    bucket = ops.ceil(ops.clip(scores, 0.0, 1.0) * float(n - 1))
    if thresholds[0] < 0.0 or thresholds[-1] > 1.0:
        bucket = ops.maximum(bucket, 1.0)
    return ops.cast(ops.greater(bucket, ops.arange(n, dtype=scores.dtype)), scores.dtype)


class _Counts(Metric):
    """Some of the four counts, at thresholds."""

    _counted: tuple[str, ...] = ()

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self.thresholds = thresholds_of(thresholds, 0.5 if top_k is None else NEVER)
        self._make_states(len(self.thresholds))

    def _make_states(self, n: int) -> None:
        self._even = evenly_spaced(self.thresholds)
        self._states: dict[str, Variable] = {}
        for what in self._counted:
            self._states[what] = self.add_variable((n,), name=what)
            setattr(self, what, self._states[what])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in labels (0 or 1) and scores of a batch."""
        labels, scores, weight = prepare(
            y_true, y_pred, sample_weight, self.dtype, self.top_k, self.class_id
        )
        tp, fp, positives, negatives = counts(labels, scores, weight, self.thresholds, self._even)
        found = {
            "true_positives": lambda: tp,
            "false_positives": lambda: fp,
            "true_negatives": lambda: negatives - fp,
            "false_negatives": lambda: positives - tp,
        }
        for what, state in self._states.items():
            state.assign_add(found[what]())

    def _one(self, values: Any) -> Any:
        return values[0] if len(self.thresholds) == 1 else values

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class _Condition(_Counts):
    """One of the four counts."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(thresholds, name=name, dtype=dtype)

    def _make_states(self, n: int) -> None:
        self._even = evenly_spaced(self.thresholds)
        self.accumulator = self.add_variable((n,), name="accumulator")
        self._states = {self._counted[0]: self.accumulator}

    def result(self) -> Any:
        return self._one(self.accumulator.value)

    def get_config(self) -> dict[str, Any]:
        return {**Metric.get_config(self), "thresholds": self.init_thresholds}


class TruePositives(_Condition):
    """How many with label 1 score above the threshold."""

    _counted = ("true_positives",)
    _direction = "up"


class TrueNegatives(_Condition):
    """How many with label 0 do not score above the threshold."""

    _counted = ("true_negatives",)
    _direction = "up"


class FalsePositives(_Condition):
    """How many with label 0 score above the threshold."""

    _counted = ("false_positives",)
    _direction = "down"


class FalseNegatives(_Condition):
    """How many with label 1 do not score above the threshold."""

    _counted = ("false_negatives",)
    _direction = "down"


class Precision(_Counts):
    """Of those above the threshold (or among the best `top_k`), the share with label 1."""

    _counted = ("true_positives", "false_positives")
    _direction = "up"
    true_positives: Variable
    false_positives: Variable

    def result(self) -> Any:
        tp = self.true_positives.value
        return self._one(ops.divide_no_nan(tp, tp + self.false_positives))


class Recall(_Counts):
    """Of those with label 1, the share above the threshold (or among the best `top_k`)."""

    _counted = ("true_positives", "false_negatives")
    _direction = "up"
    true_positives: Variable
    false_negatives: Variable

    def result(self) -> Any:
        tp = self.true_positives.value
        return self._one(ops.divide_no_nan(tp, tp + self.false_negatives))
