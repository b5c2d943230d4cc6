"""`CompileMetrics`: what `compile(metrics=, weighted_metrics=)` means for a model with these outputs.

Resolves names, lists and dicts to metrics for each output, and names the results as Keras does.
Refuses to hold any metric.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import kcompile.metrics.accuracy as accuracy
import kcompile.tree as tree
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.losses.compile_loss import kind_of_classes
from kcompile.losses.outputs import Output, align, naming, outputs_of
from kcompile.metrics.metric import Metric
from kcompile.metrics.reduction import MeanMetricWrapper
from kcompile.metrics.registry import get
from kcompile.naming import object_name

_ACCURACY = {
    "binary": accuracy.BinaryAccuracy,
    "sparse_categorical": accuracy.SparseCategoricalAccuracy,
    "categorical": accuracy.CategoricalAccuracy,
}


class Entry(NamedTuple):
    """One metric of one output: which output (index), the metric, whether it takes sample weights."""

    output: int
    metric: Metric
    weighted: bool
    prefix: str | None


def resolve_metric(identifier: Any, y_true: Any, y_pred: Any) -> Metric:
    """The Metric for a name, function, Loss or Metric, named as Keras names it.

    "accuracy" and "acc" (and "crossentropy", "ce") go by the shapes. Raises KCValueError KC302.
    """
    word = identifier.lower() if isinstance(identifier, str) else ""
    found: Any
    if word in ("accuracy", "acc"):
        found = _ACCURACY[kind_of_classes(y_true, y_pred)]()
    elif word in ("crossentropy", "ce"):
        found = get(kind_of_classes(y_true, y_pred) + "_crossentropy")
    else:
        found = get(identifier)
    name = identifier if isinstance(identifier, str) else object_name(found)
    if not isinstance(found, Metric):
        found = MeanMetricWrapper(found, name=name)
    found.name = name
    return found  # type: ignore[no-any-return]


class CompileMetrics(Metric):
    """All metrics of a model.

    Args:
        metrics, weighted_metrics: a list (for one output: its metrics; for several: an entry for
            each), a dict of output names, or a structure like the predictions; an entry is a metric,
            a list of them, or None. Only the latter get the sample weights.
        output_names: of a functional model, in order.

    Raises KCValueError KC303 for structures that do not fit, KC302 for unknown names.
    """

    def __init__(
        self,
        metrics: Any,
        weighted_metrics: Any,
        name: str = "compile_metrics",
        output_names: list[str] | None = None,
    ):
        super().__init__(name=name)
        for what, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if given and not isinstance(given, (list, tuple, dict)):
                raise KCValueError(
                    "KC303",
                    f"{what}={given!r}",
                    f"{what} is a list, tuple or dict",
                    f"write {what}=[{given!r}]",
                )
            for one in tree.flatten(given or []):
                if isinstance(one, str) and one.lower() not in (
                    "accuracy",
                    "acc",
                    "crossentropy",
                    "ce",
                ):
                    get(one)
        self._user_metrics, self._user_weighted_metrics = metrics, weighted_metrics
        self.output_names = output_names
        self.built = False
        self._outputs: list[Output] = []
        self._entries: list[Entry] = []

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, those without weights first; none before the first batch."""
        return [e.metric for e in self._entries]

    @property
    def variables(self) -> list[Any]:
        return [v for m in self.metrics for v in m.variables]

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Resolve the metrics; the arguments need shapes only."""
        self._outputs = outputs_of(y_pred, self.output_names)
        plain = self._places(self._user_metrics, y_pred, "metrics")
        weighted = self._places(self._user_weighted_metrics, y_pred, "weighted_metrics")
        everything = [(i, m, False) for i, m in plain] + [(i, m, True) for i, m in weighted]
        self._used = [any(i == j for j, _, _ in everything) for i in range(len(self._outputs))]
        targets = align(y_true, y_pred, self._outputs, self._used, "targets") if everything else []
        predictions = tree.flatten(y_pred)
        several = len(self._outputs) > 1
        self._entries = []
        for i, identifier, with_weights in everything:
            if targets[i] is None:
                raise KCValueError(
                    "KC303", f"a metric {identifier!r} for the output {self._outputs[i].name!r} without targets",
                    "an output with a metric needs targets", "give them, or leave out the metric",
                )  # fmt: skip
            metric = resolve_metric(identifier, targets[i], predictions[i])
            self._entries.append(
                Entry(i, metric, with_weights, self._outputs[i].name if several else None)
            )
        self.built = True

    def _places(self, given: Any, y_pred: Any, what: str) -> list[tuple[int, Any]]:
        """(output, metric) for each metric given."""
        if not given:
            return []
        count = len(self._outputs)
        per_output: list[tuple[int, Any]] | None = None
        if count == 1:
            per_output = [(0, tree.flatten(given))]
        elif isinstance(given, dict):
            by_name = {o.name: i for i, o in enumerate(self._outputs) if o.name is not None}
            if set(given) <= set(by_name):
                per_output = sorted((by_name[k], v) for k, v in given.items())
        elif len(given) == count:
            per_output = list(enumerate(given))
        if per_output is None:
            per_output = _nested(given, y_pred)
        if per_output is None:
            names = [o.name for o in self._outputs]
            shown = f", named {names}" if all(names) else ""
            raise KCValueError(
                "KC303", f"{what}={given!r}", f"the model has {count} outputs{shown}",
                "give one entry (a metric, a list of them, or None) for each output, or a dict of output names",
            )  # fmt: skip
        return [(i, m) for i, entry in per_output for m in tree.flatten(entry) if m is not None]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        if not self.built:
            self.build(y_true, y_pred)
        if not self._entries:
            return
        predictions = tree.flatten(y_pred)
        targets = align(y_true, y_pred, self._outputs, self._used, "targets")
        weights: list[Any] = [sample_weight] * len(self._outputs)
        if tree.is_nested(sample_weight):
            flat = tree.flatten(sample_weight)
            one = len(flat) == 1
            weights = flat * len(weights) if one else align(
                sample_weight, y_pred, self._outputs, self._used, "sample weights"
            )  # fmt: skip
        for i, metric, weighted, _ in self._entries:
            given = {"sample_weight": weights[i]} if weighted else {}
            y_true, y_pred = targets[i], predictions[i]
            with naming(f"the metric {metric.name!r}", y_true, y_pred, given.get("sample_weight")):
                metric.update_state(y_true, y_pred, **given)

    def reset_state(self) -> None:
        for m in self.metrics:
            m.reset_state()

    def names(self) -> list[str]:
        """The key of each of `metrics` in `result()`, in order."""
        taken: dict[str, int] = {}
        out = []
        for _, metric, weighted, prefix in self._entries:
            lead = f"{prefix}_" if prefix else ""
            name = lead + metric.name
            if weighted and name in taken:
                name = f"{lead}weighted_{metric.name}"
            n = taken.get(name, 0)
            taken[name] = n + 1
            out.append(f"{name}_{n}" if n else name)
        return out

    def result(self) -> dict[str, Any]:
        """The value of each metric by its name in histories."""
        return {n: m.result() for n, m in zip(self.names(), self.metrics, strict=True)}

    def get_config(self) -> dict[str, Any]:
        raise KCNotImplementedError(
            "KC404", "the config of CompileMetrics", "it is saved as the arguments of compile()",
            "use model.get_compile_config()",
        )  # fmt: skip


def _nested(given: Any, y_pred: Any) -> list[tuple[int, Any]] | None:
    """Metrics in a structure that has the predictions' form above its entries."""
    try:
        found = tree.map_structure_up_to(
            tree.lists_to_tuples(y_pred), lambda m: [m], tree.lists_to_tuples(given)
        )
    except (KCValueError, KeyError, TypeError):
        return None
    paths = [p for p, _ in tree.flatten_with_path(y_pred)]
    out = []
    for i, path in enumerate(paths):
        at = found
        for p in path:
            at = at[p]
        out.append((i, at))
    return out
