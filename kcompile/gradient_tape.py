"""Gradients inside a traced step, for models that define `train_step`: `GradientTape` with the interface of TensorFlow's, and what is
behind `loss.backward()`, `variable.value.grad` and `model.zero_grad()`, as steps for Keras on PyTorch are written.

Refuses to differentiate (`ir.grad`) and to record: the trace knows everything. Outside a step there is no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kcompile.tree as tree
from ir.grad import gradients as of_values
from ir.graph import Value, clock
from kcompile.dtypes import is_float
from kcompile.errors import KCTypeError
from kcompile.tensor import Tensor
from kcompile.trace import Trace
from kcompile.variable import Variable, current_trace


def gradients(
    outputs: Sequence[Tensor], sources: Sequence[Any], weights: Any = None, since: int = 0
) -> list[Tensor | None]:
    """The gradient of the sum of `outputs`, each element times that of `weights`, by each source: a variable or a tensor.

    None where nothing depends on a source; since: see `ir.grad.gradients`.
    """
    trace = _trace("a gradient")
    wrt = [trace.current(s) if isinstance(s, Variable) else trace.value(s) for s in sources]
    given = None if weights is None else [None if w is None else trace.value(w) for w in weights]
    found = of_values([trace.value(o) for o in outputs], wrt, given, since)
    return [None if g is None else Tensor(g) for g in found]


class GradientTape:
    """`with GradientTape() as tape:` around what is differentiated, then `tape.gradient(loss, variables)`.

    What was computed before the block is constant to it, but for variables and what is watched. persistent and
    watch_accessed_variables are taken and not needed: a tape may be asked as often as one likes, for any variable.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self._since = 0

    def __enter__(self) -> GradientTape:
        _trace("GradientTape()")
        self._since = clock()
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def watch(self, tensor: Any) -> None:
        """Nothing: `gradient` takes any tensor."""

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str = "none",
    ) -> Any:
        """The gradient of the sum of `target` (a tensor or a structure of them) in the structure of `sources`.

        output_gradients: weights of the targets' elements. unconnected_gradients: what stands where target does not depend
        on a source, None ("none") or zeros ("zero").
        """
        targets = tree.flatten(target)
        weights = None if output_gradients is None else tree.flatten(output_gradients)
        wanted = tree.flatten(sources)
        found: list[Any] = list(gradients(targets, wanted, weights, self._since))
        if str(getattr(unconnected_gradients, "value", unconnected_gradients)) == "zero":
            found = [s * 0 if g is None else g for g, s in zip(found, wanted, strict=True)]
        return tree.pack_sequence_as(sources, found) if tree.is_nested(sources) else found[0]


def backward(loss: Tensor, gradient: Any = None) -> None:
    """Add the gradients of `loss` by all trainable variables of the step to what `grad` gives."""
    trace = _trace("backward()")
    variables = [v for v in trace.inputs if v.trainable and is_float(v.storage_dtype)]
    weights = None if gradient is None else [gradient]
    kept = _kept(trace)
    for v, g in zip(variables, gradients([loss], variables, weights), strict=True):
        if g is not None:
            at = trace.current(v)
            kept[at] = g if at not in kept else kept[at] + g


def grad(tensor: Tensor) -> Any:
    """The gradient that `backward` found for the variable whose value this is, or None."""
    return _kept(_trace("grad")).get(tensor.value)


def zero_grad(model: Any, set_to_none: bool = True) -> None:
    """Forget the gradients of the model's variables."""
    trace = _trace("zero_grad()")
    kept = _kept(trace)
    for v in model.trainable_variables:
        kept.pop(trace.current(v), None)


def _kept(trace: Trace) -> dict[Value, Any]:
    found: dict[Value, Any] = trace.notes.setdefault("gradients", {})
    return found


def _trace(what: str) -> Trace:
    found = current_trace()
    if found is None or found.eager:
        raise KCTypeError(
            "KC106", f"{what} outside a step", "gradients are taken while a step is traced, of what is computed in it",
            "put the code into the model's train_step(self, data), and call fit or train_on_batch",
        )  # fmt: skip
    return found  # type: ignore[no-any-return]
