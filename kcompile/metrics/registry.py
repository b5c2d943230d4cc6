"""The metrics by name, and the way from a name or config to a metric and back.

Refuses to hold any metric, and to import anything that a config names.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import kcompile.losses.registry as losses
import kcompile.metrics.accuracy as accuracy
import kcompile.metrics.areas as areas
import kcompile.metrics.confusion as confusion
import kcompile.metrics.means as means
import kcompile.metrics.overlap as overlap
import kcompile.metrics.scores as scores
from kcompile.arguments import suggest
from kcompile.errors import KCValueError
from kcompile.lookup import resolve
from kcompile.metrics.metric import Metric
from kcompile.metrics.reduction import Mean, MeanMetricWrapper, Sum
from kcompile.operation import snake
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


def _classes(module: ModuleType) -> list[type[Metric]]:
    return [
        c
        for n, c in vars(module).items()
        if isinstance(c, type)
        and issubclass(c, Metric)
        and c.__module__ == module.__name__
        and n[0] != "_"
    ]


CLASSES: tuple[type[Metric], ...] = (
    Metric, Mean, Sum, MeanMetricWrapper,
    *(c for m in (accuracy, means, confusion, areas, scores, overlap) for c in _classes(m)),
)  # fmt: skip
FUNCTIONS: tuple[Any, ...] = (
    accuracy.binary_accuracy, accuracy.categorical_accuracy, accuracy.sparse_categorical_accuracy,
    accuracy.top_k_categorical_accuracy, accuracy.sparse_top_k_categorical_accuracy,
    means.pearson_correlation, means.concordance_correlation,
)  # fmt: skip
BY_NAME: dict[str, Any] = {c.__name__: c for c in CLASSES} | {snake(c.__name__): c for c in CLASSES}
_SHORT: dict[str, Any] = {
    "bce": means.BinaryCrossentropy, "mse": means.MeanSquaredError, "mae": means.MeanAbsoluteError,
    "mape": means.MeanAbsolutePercentageError, "msle": means.MeanSquaredLogarithmicError,
}  # fmt: skip
BY_NAME |= _SHORT | {k.upper(): v for k, v in _SHORT.items()}
# names that Keras 3 refuses but older programs use
BY_NAME |= {
    "auc": areas.AUC,
    "rmse": means.RootMeanSquaredError,
    "kld": means.KLDivergence,
    "KLD": means.KLDivergence,
}
_SAVED = {f.__name__: f for f in (*losses.FUNCTIONS, *FUNCTIONS)} | BY_NAME


def get(identifier: Any) -> Any:
    """A metric from a name (then an instance), a config, a class, a function or a Metric. None stays None.

    Raises KCValueError KC302.
    """
    if identifier is None:
        return None
    found = resolve(identifier, BY_NAME, deserialize)
    if found is not None:
        return found
    raise KCValueError(
        "KC302", f"metric={identifier!r}", "a metric is a known name, a Metric, or a function of (y_true, y_pred)",
        suggest(identifier, [n for n in BY_NAME if n.islower()]),
    )  # fmt: skip


def serialize(metric: Any) -> Any:
    """The config from which `deserialize` makes `metric` again."""
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`."""
    return deserialize_keras_object(config, module_objects=_SAVED, custom_objects=custom_objects)
