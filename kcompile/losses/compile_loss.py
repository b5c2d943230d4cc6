"""`CompileLoss`: what `compile(loss=, loss_weights=)` means for a model with these outputs.

Resolves names, lists and dicts to one loss for each output, sums them up, and tracks each one's mean.
Refuses to hold the regularizers' part of the total (the train step adds it).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import kcompile.losses.probabilistic as probabilistic
import kcompile.ops as ops
import kcompile.tree as tree
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.losses.loss import Loss, LossFunctionWrapper
from kcompile.losses.outputs import Output, align, naming, outputs_of
from kcompile.losses.registry import get
from kcompile.metrics.reduction import Mean
from kcompile.naming import object_name


class Term(NamedTuple):
    """One term of the total: which output (index), the loss, its weight (None: 1), its name."""

    output: int
    loss: Loss
    weight: Any
    name: str


def kind_of_classes(y_true: Any, y_pred: Any) -> str:
    """ "binary", "sparse_categorical" or "categorical", by the shapes of target and prediction."""
    if y_pred.shape and y_pred.shape[-1] == 1:
        return "binary"
    last = y_pred.shape[-1] if y_pred.shape else None
    fewer = len(y_true.shape) < len(y_pred.shape)
    if fewer or (y_true.shape and y_true.shape[-1] == 1 and (last is None or last > 1)):
        return "sparse_categorical"
    return "categorical"


def resolve_loss(identifier: Any, y_true: Any, y_pred: Any) -> Loss:
    """The Loss for a name, function or Loss; "crossentropy" and "ce" go by the shapes."""
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        found = getattr(probabilistic, kind_of_classes(y_true, y_pred) + "_crossentropy")
    else:
        found = get(identifier)
    if isinstance(found, Loss):
        return found
    return LossFunctionWrapper(
        found, name=identifier if isinstance(identifier, str) else object_name(found)
    )


class CompileLoss(Loss):
    """The total loss of a model.

    Args:
        loss: one loss for all outputs, a list in the outputs' order, a dict of output names, or a
            structure like the predictions. None: no loss for that output.
        loss_weights: a number, list or dict that goes with it.
        output_names: of a functional model, in order.

    Raises KCValueError KC303 for structures that do not fit, KC302 for unknown names.
    """

    def __init__(
        self,
        loss: Any,
        loss_weights: Any = None,
        reduction: str | None = "sum_over_batch_size",
        output_names: list[str] | None = None,
    ):
        if loss_weights and not isinstance(loss_weights, (list, tuple, dict, float, int)):
            raise KCValueError(
                "KC303", f"loss_weights={loss_weights!r}", "loss_weights is a number, a list or a dict",
                "give one weight for each loss, arranged like the losses",
            )  # fmt: skip
        super().__init__(name="compile_loss", reduction=reduction)
        self._user_loss, self._user_loss_weights = loss, loss_weights
        self.output_names = output_names
        self.built = False
        self._outputs: list[Output] = []
        self._terms: list[Term] = []
        self._metrics: list[Mean] = []
        _check_names(loss)

    @property
    def metrics(self) -> list[Mean]:
        """With several terms, the mean of each over the epoch, unweighted."""
        return self._metrics

    @property
    def variables(self) -> list[Any]:
        return [v for m in self._metrics for v in m.variables]

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Resolve the losses; the arguments need shapes only."""
        self._outputs = outputs_of(y_pred, self.output_names)
        pairs = self._pairs(y_pred)
        used = [
            any(i == j and loss is not None for j, loss, _ in pairs)
            for i in range(len(self._outputs))
        ]
        self._used = used
        targets = align(y_true, y_pred, self._outputs, used, "targets")
        predictions = tree.flatten(y_pred)
        self._terms = []
        if not isinstance(y_pred, dict):
            pairs.sort(key=lambda pair: pair[0])
        for i, identifier, weight in pairs:
            if identifier is None:
                continue
            loss = resolve_loss(identifier, targets[i], predictions[i])
            self._terms.append(Term(i, loss, weight, self._outputs[i].name or loss.name))
        if len(self._terms) > 1:
            self._metrics = [Mean(name=f"{t.name}_loss") for t in self._terms]
        self.built = True

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The weighted sum of the terms, a scalar; None when no output has a loss."""
        if not self.built:
            self.build(y_true, y_pred)
        count = len(self._outputs)
        predictions = tree.flatten(y_pred)
        targets = align(y_true, y_pred, self._outputs, self._used, "targets")
        weights: list[Any] = [sample_weight] * count
        if tree.is_nested(sample_weight):
            weights = align(sample_weight, y_pred, self._outputs, self._used, "sample weights")
        total = None
        for n, term in enumerate(self._terms):
            y_t, y_p = targets[term.output], predictions[term.output]
            if y_t is None:
                raise KCValueError(
                    "KC304", f"no targets for the output {term.name!r}", "an output with a loss needs targets",
                    "give them, or leave the loss of this output out",
                )  # fmt: skip
            weight = weights[term.output]
            with naming(f"the loss of the output {term.name!r}", y_t, y_p, weight):
                value = ops.cast(term.loss(y_t, y_p, weight), self.dtype)
            if self._metrics:
                self._metrics[n].update_state(value, sample_weight=ops.shape(y_p)[0])
            if term.weight is not None:
                value = value * term.weight
            total = value if total is None else total + value
        return total

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self(y_true, y_pred)

    def _pairs(self, y_pred: Any) -> list[tuple[int, Any, Any]]:
        """(output, loss, weight) for each loss given, in the order given."""
        loss, weights = self._user_loss, self._user_loss_weights
        count = len(self._outputs)
        if not tree.is_nested(loss):
            if not tree.is_nested(weights):
                return [(i, loss, weights) for i in range(count)]
            places = self._places(weights, y_pred, "loss_weights")
            return [(i, loss, w) for i, w in sorted(places, key=lambda p: p[0])]
        if isinstance(loss, (list, tuple)) and count == 1:
            flat = tree.flatten(loss)
            given = tree.flatten(weights) if tree.is_nested(weights) else [weights] * len(flat)
            if len(given) != len(flat):
                raise _unequal(loss, weights)
            return [(0, one, w) for one, w in zip(flat, given, strict=True)]
        places = self._places(loss, y_pred, "loss")
        if weights is None:
            return [(i, one, None) for i, one in places]
        if not tree.is_nested(weights):
            raise _unequal(loss, weights)
        by_output = dict(self._places(weights, y_pred, "loss_weights"))
        if {i for i, one in places if one is not None} - set(by_output):
            raise _unequal(loss, weights)
        return [(i, one, by_output.get(i)) for i, one in places]

    def _places(self, given: Any, y_pred: Any, what: str) -> list[tuple[int, Any]]:
        """(output, entry) for each entry of a list, a dict, or a structure like the predictions."""
        count = len(self._outputs)
        if isinstance(given, (list, tuple)):
            flat = tree.flatten(given)
            if len(flat) == count:
                return list(enumerate(flat))
        else:
            by_name = {o.name: i for i, o in enumerate(self._outputs) if o.name is not None}
            nested = isinstance(y_pred, dict)
            if not any(tree.is_nested(v) for v in given.values()) and set(given) <= set(by_name):
                if nested or what == "loss_weights" or len(given) == count:
                    return [(by_name[k], v) for k, v in given.items()]
            by_path = {o.path: i for i, o in enumerate(self._outputs)}
            paths = [p for p, _ in tree.flatten_with_path(given)]
            if nested and set(paths) <= set(by_path):
                return [(by_path[p], leaf) for p, leaf in tree.flatten_with_path(given)]
        names = [o.name for o in self._outputs]
        shown = f", named {names}" if all(names) else ""
        raise KCValueError(
            "KC303", f"{what}={given!r}", f"the model has {count} outputs{shown}",
            "give one entry for each output: a list in their order, or a dict of their names",
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        raise KCNotImplementedError(
            "KC404",
            "a CompileLoss",
            "losses are saved as the arguments of compile()",
            "save the model",
        )


def _unequal(loss: Any, weights: Any) -> KCValueError:
    return KCValueError(
        "KC303", f"loss_weights={weights!r} for loss={loss!r}", "loss_weights has one weight for each loss",
        "arrange the weights like the losses",
    )  # fmt: skip


def _check_names(loss: Any) -> None:
    """Refuse unknown names at once, not at the first batch."""
    for one in tree.flatten(loss):
        if isinstance(one, str) and one.lower() not in ("crossentropy", "ce"):
            get(one)
