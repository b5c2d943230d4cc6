"""Areas under curves (`AUC`), and the best of one rate at a bound on another.

Refuses to hold the counting (`kcompile.metrics.confusion`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile.config as config
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.metrics.confusion import above, counts, evenly_spaced, prepare
from kcompile.metrics.metric import Metric
from kcompile.serialization import deserialize_keras_object
from kcompile.variable import Variable

_CURVES = {"roc": "ROC", "pr": "PR", "prgain": "PRGAIN"}
_METHODS = ("interpolation", "majoring", "minoring")
_COUNTED = ("true_positives", "false_positives", "true_negatives", "false_negatives")


class _FourCounts(Metric):
    """All four counts at thresholds."""

    true_positives: Variable
    false_positives: Variable
    true_negatives: Variable
    false_negatives: Variable

    def _make_states(self, shape: tuple[int, ...]) -> None:
        for what in _COUNTED:
            setattr(self, what, self.add_variable(shape, name=what))

    def _add(self, tp: Any, fp: Any, positives: Any, negatives: Any) -> None:
        self.true_positives.assign_add(tp)
        self.false_positives.assign_add(fp)
        self.true_negatives.assign_add(negatives - fp)
        self.false_negatives.assign_add(positives - tp)

    def _recall(self) -> Any:
        return ops.divide_no_nan(self.true_positives, self.true_positives + self.false_negatives)

    def _precision(self) -> Any:
        return ops.divide_no_nan(self.true_positives, self.true_positives + self.false_positives)

    def _specificity(self) -> Any:
        return ops.divide_no_nan(self.true_negatives, self.true_negatives + self.false_positives)


class AUC(_FourCounts):
    """The area under a curve of rates over thresholds, approximated by a Riemann sum.

    Args:
        num_thresholds: how many thresholds, spread evenly; or `thresholds`, in [0, 1].
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation", "minoring" or "majoring".
        multi_label: each label is a problem of its own; the mean, weighted by `label_weights`.
        num_labels: the number of labels, where states are made before data are seen.
        from_logits: predictions go through a sigmoid first.

    Raises KCValueError KC305.
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ):
        super().__init__(name=name, dtype=dtype)
        if str(curve).lower() not in _CURVES:
            raise _refused("curve", curve, "is one of ROC, PR, PRGAIN")
        if str(summation_method).lower() not in _METHODS:
            raise _refused("summation_method", summation_method, f"is one of {', '.join(_METHODS)}")
        if thresholds is None and num_thresholds <= 1:
            raise _refused("num_thresholds", num_thresholds, "is an int above 1")
        if num_labels and not multi_label:
            raise _refused("num_labels", num_labels, "goes with multi_label=True")
        self.curve, self.summation_method = (
            _CURVES[str(curve).lower()],
            str(summation_method).lower(),
        )
        self.multi_label, self.num_labels, self._from_logits = multi_label, num_labels, from_logits
        self.label_weights = (
            None if label_weights is None else np.asarray(label_weights, np.float32)
        )
        self._given_thresholds = None if thresholds is None else sorted(thresholds)
        if self._given_thresholds is not None:
            inner = [float(t) for t in self._given_thresholds]
            self._even = evenly_spaced([0.0, *inner, 1.0])
        else:
            inner = [(i + 1) * 1.0 / (num_thresholds - 1) for i in range(num_thresholds - 2)]
            self._even = True
        self.num_thresholds = len(inner) + 2
        self._thresholds = [0.0 - config.epsilon(), *inner, 1.0 + config.epsilon()]
        self._built = False
        if not multi_label or num_labels:
            self._build((None, num_labels) if multi_label else ())

    @property
    def thresholds(self) -> list[float]:
        """All thresholds, the outermost just beyond 0 and 1."""
        return list(self._thresholds)

    def _build(self, shape: tuple[Any, ...]) -> None:
        if self.multi_label and len(shape) != 2:
            raise KCValueError(
                "KC304",
                f"predictions of shape {shape}",
                "with multi_label=True they are (samples, labels)",
                "reshape them",
            )
        self._make_states(
            (self.num_thresholds, shape[1]) if self.multi_label else (self.num_thresholds,)
        )
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in labels (0 or 1) and scores in [0, 1] of a batch."""
        y_pred = ops.convert_to_tensor(y_pred)
        if not self._built:
            self._build(tuple(y_pred.shape))
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        labels, scores, weight = prepare(y_true, y_pred, sample_weight, self.dtype)
        if self.multi_label:
            positive, negative = labels, 1.0 - labels
            if weight is not None:
                positive, negative = positive * weight, negative * weight
            over = above(ops.expand_dims(scores, -1), self._thresholds, self._even)
            tp = ops.transpose(ops.sum(over * ops.expand_dims(positive, -1), axis=0))
            fp = ops.transpose(ops.sum(over * ops.expand_dims(negative, -1), axis=0))
            self._add(tp, fp, ops.sum(positive, axis=0), ops.sum(negative, axis=0))
            return
        if self.label_weights is not None:
            by_label = ops.broadcast_to(ops.cast(self.label_weights, self.dtype), ops.shape(scores))
            weight = by_label if weight is None else weight * by_label
        self._add(*counts(labels, scores, weight, self._thresholds, self._even))

    def result(self) -> Any:
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._over_labels(self._interpolated_pr())
        x, y = self._axes()
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2.0
        elif self.summation_method == "minoring":
            heights = ops.minimum(y[:-1], y[1:])
        else:
            heights = ops.maximum(y[:-1], y[1:])
        return self._over_labels((x[:-1] - x[1:]) * heights)

    def _axes(self) -> tuple[Any, Any]:
        if self.curve == "ROC":
            return ops.divide_no_nan(
                self.false_positives, self.false_positives + self.true_negatives
            ), self._recall()
        if self.curve == "PR":
            return self._recall(), self._precision()
        tp, fp = self.true_positives.value, self.false_positives.value
        tn, fn = self.true_negatives.value, self.false_negatives.value
        odds = ops.divide_no_nan(tp + fn, tn + fp)
        none = ops.equal(tp, 0.0)
        recall_gain = ops.where(none, 0.0, 1.0 - odds * ops.divide_no_nan(fn, tp))
        precision_gain = ops.where(none, 1.0, 1.0 - odds * ops.divide_no_nan(fp, tp))
        return ops.maximum(recall_gain, 0.0), precision_gain

    def _interpolated_pr(self) -> Any:
        """The area between two thresholds with true positives linear in all positives. Davis & Goadrich, 2006."""
        tp, fn = self.true_positives.value, self.false_negatives.value
        found = tp + self.false_positives
        d_tp, d_found = tp[:-1] - tp[1:], found[:-1] - found[1:]
        slope = ops.divide_no_nan(d_tp, ops.maximum(d_found, 0.0))
        intercept = tp[1:] - slope * found[1:]
        both = ops.logical_and(found[:-1] > 0, found[1:] > 0)
        ratio = ops.where(both, ops.divide_no_nan(found[:-1], found[1:]), ops.ones_like(d_tp))
        return ops.divide_no_nan(
            slope * (d_tp + intercept * ops.log(ratio)), ops.maximum(tp[1:] + fn[1:], 0.0)
        )

    def _over_labels(self, terms: Any) -> Any:
        if not self.multi_label:
            return ops.sum(terms)
        areas = ops.sum(terms, axis=0)
        if self.label_weights is None:
            return ops.mean(areas)
        weights = ops.cast(self.label_weights, self.dtype)
        return ops.divide_no_nan(ops.sum(areas * weights), ops.sum(weights))

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_thresholds": self.num_thresholds, "curve": self.curve, "summation_method": self.summation_method,
            "multi_label": self.multi_label, "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self._from_logits,
        }  # fmt: skip
        if self._given_thresholds is not None:
            own["thresholds"] = self._thresholds[1:-1]
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        weights = deserialize_keras_object(config.get("label_weights"))  # Keras writes a tensor
        return cls(**{**config, "label_weights": weights})


def _refused(name: str, value: Any, rule: str) -> KCValueError:
    return KCValueError("KC305", f"{name}={value!r}", f"{name} {rule}", "pass such a value")


class _BestAt(_FourCounts):
    """The largest value of one rate over the thresholds where another is at least `value`."""

    _direction = "up"
    _bound = ""

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if not 0 <= value <= 1:
            raise _refused(self._bound, value, "lies between 0 and 1")
        if num_thresholds <= 0:
            raise _refused("num_thresholds", num_thresholds, "is an int above 0")
        self.value, self.num_thresholds, self.class_id = value, num_thresholds, class_id
        setattr(self, self._bound, value)
        steps = max(num_thresholds - 1, 1)
        self.thresholds = (
            [0.5]
            if num_thresholds == 1
            else [0.0, *((i + 1) / steps for i in range(steps - 1)), 1.0]
        )
        self._make_states((num_thresholds,))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in labels (0 or 1) and scores in [0, 1] of a batch."""
        labels, scores, weight = prepare(
            y_true, y_pred, sample_weight, self.dtype, class_id=self.class_id
        )
        self._add(*counts(labels, scores, weight, self.thresholds, self.num_thresholds > 1))

    def _best(self, bounded: Any, wanted: Any) -> Any:
        return ops.maximum(
            ops.max(ops.where(bounded >= self.value, wanted, ops.zeros_like(wanted))), 0.0
        )

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_thresholds": self.num_thresholds,
            "class_id": self.class_id,
            self._bound: self.value,
        }
        return {**super().get_config(), **own}


class SensitivityAtSpecificity(_BestAt):
    """The best sensitivity (recall) where the specificity is at least `specificity`."""

    _bound = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best(self._specificity(), self._recall())


class SpecificityAtSensitivity(_BestAt):
    """The best specificity where the sensitivity (recall) is at least `sensitivity`."""

    _bound = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best(self._recall(), self._specificity())


class PrecisionAtRecall(_BestAt):
    """The best precision where the recall is at least `recall`."""

    _bound = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best(self._recall(), self._precision())


class RecallAtPrecision(_BestAt):
    """The best recall where the precision is at least `precision`."""

    _bound = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best(self._precision(), self._recall())
