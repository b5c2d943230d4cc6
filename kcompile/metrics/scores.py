"""Scores made of sums over classes or outputs: F-beta, F1 and R2.

Refuses to hold thresholded counts (`kcompile.metrics.confusion`).
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.losses.loss import same_rank
from kcompile.metrics.metric import Metric
from kcompile.variable import Variable


def _refused(name: str, value: Any, rule: str) -> KCValueError:
    return KCValueError("KC305", f"{name}={value!r}", f"{name} {rule}", "pass such a value")


def _two_axes(metric: Metric, y_true: Any, y_pred: Any) -> int:
    """The number of outputs. Raises KCValueError KC304 unless both are (samples, outputs)."""
    if len(y_pred.shape) != 2 or len(y_true.shape) != 2 or y_pred.shape[-1] is None:
        raise KCValueError(
            "KC304", f"targets {tuple(y_true.shape)} and predictions {tuple(y_pred.shape)}",
            f"{type(metric).__name__} takes (samples, outputs)", "reshape them",
        )  # fmt: skip
    return int(y_pred.shape[-1])


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), for each class.

    Args:
        average: None (a value for each class), "micro", "macro" or "weighted" by class size.
        threshold: above it a class counts as predicted; None: the largest one does.
    """

    _direction = "up"
    true_positives: Variable
    false_positives: Variable
    false_negatives: Variable
    intermediate_weights: Variable

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise _refused("average", average, "is None, 'micro', 'macro' or 'weighted'")
        if not isinstance(beta, float) or beta <= 0.0:
            raise _refused("beta", beta, "is a float above 0")
        if threshold is not None and not (isinstance(threshold, float) and 0.0 < threshold <= 1.0):
            raise _refused("threshold", threshold, "is a float above 0 and at most 1")
        self.average, self.beta, self.threshold = average, beta, threshold
        self._built = False

    def _build(self, classes: int) -> None:
        shape = () if self.average == "micro" else (classes,)
        for what in (
            "true_positives",
            "false_positives",
            "false_negatives",
            "intermediate_weights",
        ):
            setattr(self, what, self.add_variable(shape, name=what))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in 0/1 labels and scores, both (samples, classes), and weights (samples,)."""
        y_true = ops.cast(ops.convert_to_tensor(y_true), self.dtype)
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), self.dtype)
        classes = _two_axes(self, y_true, y_pred)
        if not self._built:
            self._build(classes)
        if self.threshold is None:
            largest = ops.max(y_pred, axis=-1, keepdims=True)
            y_pred = ops.logical_and(y_pred >= largest, ops.abs(y_pred) > 1e-9)
        else:
            y_pred = y_pred > self.threshold
        y_pred = ops.cast(y_pred, self.dtype)
        if sample_weight is not None:
            sample_weight = ops.expand_dims(
                ops.cast(ops.convert_to_tensor(sample_weight), self.dtype), 1
            )
        axis = None if self.average == "micro" else 0

        def add(state: Variable, values: Any) -> None:
            state.assign_add(
                ops.sum(values if sample_weight is None else values * sample_weight, axis=axis)
            )

        add(self.true_positives, y_pred * y_true)
        add(self.false_positives, y_pred * (1.0 - y_true))
        add(self.false_negatives, (1.0 - y_pred) * y_true)
        add(self.intermediate_weights, y_true)

    def result(self) -> Any:
        tiny, tp = config.epsilon(), self.true_positives.value
        precision = tp / (tp + self.false_positives + tiny)
        recall = tp / (tp + self.false_negatives + tiny)
        square = self.beta**2
        score = precision * recall / (square * precision + recall + tiny) * (1 + square)
        if self.average == "weighted":
            sizes = self.intermediate_weights.value
            return ops.sum(score * (sizes / (ops.sum(sizes) + tiny)))
        return score if self.average is None else ops.mean(score)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall, see `FBetaScore`."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config


class R2Score(Metric):
    """1 - squared error / variance of the targets, for each output.

    Args:
        class_aggregation: "uniform_average", "variance_weighted_average" or None (a value for each).
        num_regressors: the number of predictors, for the adjusted score; 0: not adjusted.
    """

    _direction = "up"
    squared_sum: Variable
    sum: Variable
    total_mse: Variable
    count: Variable

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise _refused(
                "class_aggregation",
                class_aggregation,
                "is None, 'uniform_average' or 'variance_weighted_average'",
            )
        if num_regressors < 0:
            raise _refused("num_regressors", num_regressors, "is not below 0")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable((), name="num_samples")
        self._built = False

    def _build(self, outputs: int) -> None:
        for what, name in (
            ("squared_sum",) * 2,
            ("sum",) * 2,
            ("total_mse", "residual"),
            ("count",) * 2,
        ):
            setattr(self, what, self.add_variable((outputs,), name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in targets and predictions, both (samples, outputs)."""
        y_true, y_pred = same_rank(
            ops.cast(ops.convert_to_tensor(y_true), self.dtype),
            ops.cast(ops.convert_to_tensor(y_pred), self.dtype),
        )
        outputs = _two_axes(self, y_true, y_pred)
        if not self._built:
            self._build(outputs)
        weight = ops.ones_like(y_true)
        if sample_weight is not None:
            given = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
            weight = weight * (ops.expand_dims(given, 1) if len(given.shape) == 1 else given)
        weighted = y_true * weight
        self.sum.assign_add(ops.sum(weighted, axis=0))
        self.squared_sum.assign_add(ops.sum(y_true * weighted, axis=0))
        self.total_mse.assign_add(ops.sum(ops.square(y_true - y_pred) * weight, axis=0))
        self.count.assign_add(ops.sum(weight, axis=0))
        self.num_samples.assign_add(ops.cast(ops.shape(y_true)[0] * outputs, self.dtype))

    def result(self) -> Any:
        mean = self.sum.value / self.count
        total = self.squared_sum - self.sum * mean
        raw = 1.0 - self.total_mse / total
        raw = ops.where(ops.isinf(raw), ops.zeros_like(raw), raw)
        score = raw
        if self.class_aggregation == "uniform_average":
            score = ops.mean(raw)
        elif self.class_aggregation == "variance_weighted_average":
            score = ops.sum(total * raw) / ops.sum(total)
        if not self.num_regressors:
            return score
        left = self.num_samples.value - (self.num_regressors + 1.0)
        adjusted = 1.0 - (1.0 - score) * (self.num_samples - 1.0) / ops.where(
            left > 0, left, ops.ones_like(left)
        )
        return ops.where(left > 0, adjusted, score)

    def get_config(self) -> dict[str, Any]:
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}
