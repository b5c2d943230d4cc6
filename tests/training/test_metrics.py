"""Each metric against real Keras: several updates, with and without weights, eager and traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.metrics as metrics
import kcompile.ops as ops
from tests.training.oracle import close, keras, one_hot, probabilities, traced

N, C, BATCHES = 8, 4, 3
R = np.random.default_rng(11)


def batches(kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    r = np.random.default_rng(5)
    out: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(BATCHES):
        labels = r.integers(0, C, N)
        if kind == "numbers":
            pair = r.normal(size=(N, 3)), r.normal(size=(N, 3))
        elif kind == "positive":
            pair = r.random((N, 3)) + 0.1, r.random((N, 3)) + 0.1
        elif kind == "sparse":
            pair = labels, probabilities(r, N, C)
        elif kind == "column":
            pair = labels[:, None], probabilities(r, N, C)
        elif kind == "steps":
            pair = r.integers(0, C, (N, 5)), probabilities(r, N, 5, C)
        elif kind == "hot":
            pair = one_hot(labels, C), probabilities(r, N, C)
        elif kind == "hot_steps":
            pair = one_hot(r.integers(0, C, (N, 5)), C), probabilities(r, N, 5, C)
        elif kind == "binary":
            pair = r.integers(0, 2, N), r.random((N, 1))
        elif kind == "flat":
            pair = r.integers(0, 2, N), r.random(N)
        elif kind == "bits":
            pair = r.integers(0, 2, (N, 3)), r.random((N, 3))
        elif kind == "equal":
            pair = r.integers(0, 3, (N, 1)), r.integers(0, 3, (N, 1))
        elif kind == "classes":
            pair = r.integers(0, C, N), r.integers(0, C, N)
        elif kind == "ids":
            pair = labels, np.argsort(-r.random((N, C)), axis=1)
        else:
            raise KeyError(kind)
        out.append(tuple(a.astype(np.float32 if a.dtype.kind == "f" else np.int32) for a in pair))  # type: ignore[arg-type]
    return out


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("MeanSquaredError", {}, "numbers"),
    ("RootMeanSquaredError", {}, "numbers"),
    ("MeanAbsoluteError", {}, "numbers"),
    ("MeanAbsolutePercentageError", {}, "numbers"),
    ("MeanSquaredLogarithmicError", {}, "positive"),
    ("LogCoshError", {}, "numbers"),
    ("CosineSimilarity", {}, "numbers"),
    ("PearsonCorrelation", {}, "numbers"),
    ("ConcordanceCorrelation", {}, "numbers"),
    ("KLDivergence", {}, "hot"),
    ("Poisson", {}, "positive"),
    ("BinaryCrossentropy", {}, "bits"),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "bits"),
    ("CategoricalCrossentropy", {}, "hot"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "hot"),
    ("SparseCategoricalCrossentropy", {}, "sparse"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "column"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, "sparse"),
    ("Hinge", {}, "bits"),
    ("SquaredHinge", {}, "bits"),
    ("CategoricalHinge", {}, "hot"),
    ("Accuracy", {}, "equal"),
    ("BinaryAccuracy", {}, "binary"),
    ("BinaryAccuracy", {"threshold": 0.7}, "bits"),
    ("CategoricalAccuracy", {}, "hot"),
    ("CategoricalAccuracy", {}, "hot_steps"),
    ("SparseCategoricalAccuracy", {}, "sparse"),
    ("SparseCategoricalAccuracy", {}, "column"),
    ("SparseCategoricalAccuracy", {}, "steps"),
    ("TopKCategoricalAccuracy", {"k": 2}, "hot"),
    ("TopKCategoricalAccuracy", {"k": 2}, "hot_steps"),
    ("TopKCategoricalAccuracy", {"k": 4}, "hot"),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, "sparse"),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "steps"),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, "ids"),
    ("TruePositives", {}, "binary"),
    ("TrueNegatives", {}, "bits"),
    ("FalsePositives", {"thresholds": 0.3}, "flat"),
    ("FalseNegatives", {"thresholds": [0.2, 0.6]}, "bits"),
    ("TruePositives", {"thresholds": [0.0, 0.5, 1.0]}, "bits"),
    ("Precision", {}, "binary"),
    ("Precision", {"thresholds": [0.2, 0.4, 0.9]}, "bits"),
    ("Precision", {"top_k": 2}, "hot"),
    ("Precision", {"class_id": 1}, "hot"),
    ("Precision", {"top_k": 2, "class_id": 3}, "hot"),
    ("Recall", {}, "flat"),
    ("Recall", {"thresholds": [0.0, 0.5, 1.0]}, "bits"),
    ("Recall", {"top_k": 1}, "hot"),
    ("AUC", {}, "flat"),
    ("AUC", {}, "binary"),
    ("AUC", {"curve": "PR"}, "flat"),
    ("AUC", {"curve": "PR", "summation_method": "minoring"}, "bits"),
    ("AUC", {"curve": "PRGAIN"}, "bits"),
    ("AUC", {"summation_method": "majoring", "num_thresholds": 20}, "bits"),
    ("AUC", {"thresholds": [0.1, 0.15, 0.7]}, "bits"),
    ("AUC", {"from_logits": True}, "bits"),
    ("AUC", {"multi_label": True}, "bits"),
    ("AUC", {"multi_label": True, "num_labels": 3, "label_weights": [0.2, 0.3, 0.5]}, "bits"),
    ("AUC", {"multi_label": True, "curve": "PR"}, "bits"),
    ("AUC", {"label_weights": [0.2, 0.3, 0.5]}, "bits"),
    ("SensitivityAtSpecificity", {"specificity": 0.4}, "flat"),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6}, "flat"),
    ("PrecisionAtRecall", {"recall": 0.5}, "flat"),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 31}, "flat"),
    ("F1Score", {}, "hot"),
    ("F1Score", {"average": "macro", "threshold": 0.4}, "hot"),
    ("F1Score", {"average": "micro"}, "hot"),
    ("FBetaScore", {"beta": 2.0, "average": "weighted"}, "hot"),
    ("R2Score", {}, "numbers"),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, "numbers"),
    ("R2Score", {"class_aggregation": None}, "numbers"),
    ("R2Score", {"num_regressors": 2}, "numbers"),
    ("IoU", {"num_classes": C, "target_class_ids": [0, 2]}, "classes"),
    ("IoU", {"num_classes": C, "target_class_ids": [0, 2], "ignore_class": 1}, "classes"),
    ("BinaryIoU", {"threshold": 0.4}, "flat"),
    ("MeanIoU", {"num_classes": C}, "classes"),
    ("MeanIoU", {"num_classes": C, "sparse_y_pred": False}, "sparse"),
    ("OneHotIoU", {"num_classes": C, "target_class_ids": [1, 3]}, "hot"),
    ("OneHotMeanIoU", {"num_classes": C}, "hot"),
]
IDS = [f"{n}-{d}-{'-'.join(f'{k}={v}' for k, v in c.items())}" for n, c, d in CASES]


def weights(name: str, y_true: np.ndarray) -> np.ndarray:
    r = np.random.default_rng(9)
    return (
        r.integers(1, 4, N).astype(np.float32)
        if "IoU" in name
        else (r.random(N) * 2).astype(np.float32)
    )


@pytest.mark.filterwarnings("ignore:You are passing weight")
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name, kwargs, kind", CASES, ids=IDS)
def test_updates(name: str, kwargs: Any, kind: str, weighted: bool) -> None:
    eager, graph = getattr(metrics, name)(**kwargs), getattr(metrics, name)(**kwargs)
    theirs = getattr(keras.metrics, name)(**kwargs)
    assert eager.name.rsplit("_", 1)[0] in theirs.name or eager.name == theirs.name
    for y_true, y_pred in batches(kind):
        given = [weights(name, y_true)] if weighted else []
        if kind in ("steps", "hot_steps") and weighted:
            given = [given[0][:, None] * np.ones((1, 5), np.float32)]
        eager.update_state(y_true, y_pred, *given)
        traced(lambda *a: graph.update_state(*a), y_true, y_pred, *given)
        theirs.update_state(y_true, y_pred, *given)
        expected = theirs.result()
        close(eager.result(), expected)
        close(graph.result(), expected)
        close(traced(graph.result, batch=False)[0], expected)
    assert len(eager.variables) == len(theirs.variables)
    eager.reset_state()
    theirs.reset_state()
    for v in eager.variables:
        assert (v.numpy() == 0).all()


@pytest.mark.parametrize("name, kwargs, kind", CASES, ids=IDS)
def test_config(name: str, kwargs: Any, kind: str) -> None:
    ours, theirs = (
        getattr(metrics, name)(name="m", **kwargs),
        getattr(keras.metrics, name)(name="m", **kwargs),
    )
    config, expected = ours.get_config(), theirs.get_config()
    for key, value in expected.items():
        if key not in ("label_weights", "dtype"):
            assert config[key] == value or np.allclose(config[key], value), key
    again = metrics.deserialize(metrics.serialize(ours))
    assert again.get_config() == config
    assert type(metrics.deserialize(keras.metrics.serialize(theirs))) is type(ours)
    keras.metrics.deserialize(metrics.serialize(ours))


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reductions(name: str) -> None:
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for values, weight in (
        ([1.0, 3, 5, 7], None),
        ([1.0, 3, 5, 7], [1, 1, 0, 0]),
        ([[1.0, 2], [3, 4]], None),
        ([[1.0, 2], [3, 4]], [0.5, 2]),
        ([[1.0, 2], [3, 4]], [[0.5, 2], [1, 0]]),
        (5.0, None),
        (5.0, 3.0),
    ):
        values = np.asarray(values, np.float32)
        weight = None if weight is None else np.asarray(weight, np.float32)
        ours.update_state(values, weight)
        theirs.update_state(values, weight)
        close(ours.result(), theirs.result())


def test_wrappers_of_functions_and_losses() -> None:
    import kcompile.losses as losses

    y_true, y_pred = batches("numbers")[0]

    def double(y_true: Any, y_pred: Any) -> Any:
        return 2.0 * ops.mean(ops.abs(y_true - y_pred), axis=-1)

    wrapped = metrics.MeanMetricWrapper(double, name="double")
    wrapped.update_state(y_true, y_pred)
    close(wrapped.result(), 2 * np.abs(y_true - y_pred).mean())
    loss = metrics.MeanMetricWrapper(losses.MeanSquaredError(), name="loss")
    close(loss(y_true, y_pred), ((y_true - y_pred) ** 2).mean())


def test_masked_predictions() -> None:
    y_true, y_pred = batches("steps")[0]
    mask = R.random(y_true.shape) > 0.5
    theirs_pred = keras.ops.convert_to_tensor(y_pred)
    theirs_pred._keras_mask = keras.ops.convert_to_tensor(mask)
    theirs = keras.metrics.SparseCategoricalAccuracy()
    theirs.update_state(y_true, theirs_pred)
    ours = metrics.SparseCategoricalAccuracy()

    def update(t: Any, p: Any, m: Any) -> None:
        p._keras_mask = m
        ours.update_state(t, p)

    traced(update, y_true, y_pred, mask)
    close(ours.result(), theirs.result())


def test_names() -> None:
    for name in (
        "mse",
        "MSE",
        "mae",
        "bce",
        "accuracy",
        "binary_accuracy",
        "AUC",
        "Precision",
        "precision",
        "f1_score",
    ):
        ours, theirs = metrics.get(name), keras.metrics.get(name)
        assert type(ours).__name__ == type(theirs).__name__
    assert metrics.get(None) is None
    with pytest.raises(ValueError, match="binary_accuracy"):
        metrics.get("binary_acuracy")


def test_own_metrics() -> None:
    class Largest(metrics.Metric):
        def __init__(self, name: str = "largest", **kwargs: Any):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight(shape=(), initializer="zeros", name="value")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.value.assign(ops.maximum(self.value, ops.max(y_pred)))

        def result(self) -> Any:
            return self.value

    metric = Largest()
    assert len(metric.variables) == 1
    assert metric.variables[0].path == "largest/value"
    for y_true, y_pred in batches("positive"):
        metric.update_state(y_true, y_pred)
    close(metric.result(), max(p.max() for _, p in batches("positive")))
    metric.reset_state()
    assert float(metric.result()) == 0


def test_accuracy_costs_few_nodes() -> None:
    """argmax, compare, cast, sum, and the two accumulators."""
    from ir.types import Type
    from kcompile.trace import Trace

    metric = metrics.SparseCategoricalAccuracy()
    with Trace("count") as trace:
        metric.update_state(
            trace.data("y", Type("i32", (32,))), trace.data("p", Type("f32", (32, 10)))
        )
        graph, _ = trace.finish("count", [])
    assert [n.op.name for n in graph.nodes if n.op.name != "full"] == [
        "argmax",
        "eq",
        "cast",
        "reduce_sum",
        "add",
        "add",
    ]


def test_refusals() -> None:
    for bad in (
        lambda: metrics.AUC(curve="ROK"),
        lambda: metrics.AUC(num_thresholds=1),
        lambda: metrics.AUC(summation_method="guess"),
        lambda: metrics.Precision(thresholds=1.5),
        lambda: metrics.F1Score(average="all"),
        lambda: metrics.FBetaScore(beta=-1.0),
        lambda: metrics.R2Score(class_aggregation="sum"),
        lambda: metrics.PrecisionAtRecall(2.0),
        lambda: metrics.IoU(2, [2]),
    ):
        with pytest.raises(ValueError, match="what to do"):
            bad()
    with pytest.raises(ValueError, match="samples, outputs"):
        metrics.F1Score().update_state(np.ones(3), np.ones(3))
