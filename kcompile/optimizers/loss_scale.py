"""`LossScaleOptimizer`: half precision without underflow, by a loss scale that follows the gradients.

Refuses to hold any step rule: it wraps another optimizer.
"""

from __future__ import annotations

from typing import Any

import kcompile.initializers as initializers
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.optimizers.conditional import conditionally
from kcompile.optimizers.optimizer import Optimizer
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.trace import run_eagerly
from kcompile.variable import Variable, current_trace


class LossScaleOptimizer(Optimizer):
    """Scales the loss up; an update with gradients that are not finite is skipped and halves the scale.

    Args:
        inner_optimizer: takes the steps.
        initial_scale: the scale at the start.
        dynamic_growth_steps: after so many finite updates in a row the scale doubles.

    Raises KCValueError KC307 for arguments that belong to the inner optimizer.
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ):
        given = {k: v for k, v in kwargs.items() if v not in (None, False, True, 0.99)}
        if given or kwargs.get("dynamic", True) is False or kwargs.get("use_ema"):
            raise KCValueError(
                "KC307", f"LossScaleOptimizer({', '.join(kwargs)}=...)", "it scales and nothing else",
                "set these on the inner optimizer (a fixed scale: its loss_scale_factor)",
            )  # fmt: skip
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale, self.dynamic_growth_steps = initial_scale, dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None

    def build(self, variables: Any) -> None:
        self.step_counter = self.add_variable((), "zeros", "int32", "step_counter")
        start = initializers.Constant(self.initial_scale)
        self.dynamic_scale = self.add_variable((), start, "float32", "dynamic_scale")
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        return [*self._variables, *self.inner_optimizer.variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update, if all gradients are finite; adapt the scale."""
        if not self.built:
            self.build(list(trainable_variables))
        variables = (
            list(trainable_variables)
            if trainable_variables is not None
            else self._trainable_variables
        )
        if current_trace() is None:
            run_eagerly(self._scaled, (list(grads), variables), {})
        else:
            self._scaled(list(grads), variables)

    def _scaled(self, grads: list[Any], variables: list[Variable]) -> None:
        finite = None
        for g in grads:
            if g is not None:
                this = ops.all(ops.isfinite(g))
                finite = this if finite is None else ops.logical_and(finite, this)
        scale, counter = self.dynamic_scale.value, self.step_counter.value

        def update() -> None:
            pairs = zip(grads, variables, strict=True)
            unscaled = [
                g if g is None or v.overwrite_with_gradient else g / scale for g, v in pairs
            ]
            self.inner_optimizer.apply(unscaled, variables)
            grown = ops.equal(counter, self.dynamic_growth_steps - 1)
            self.step_counter.assign(ops.where(grown, ops.zeros_like(counter), counter + 1))
            self.dynamic_scale.assign(ops.where(grown, scale * 2.0, scale))

        def skip() -> None:
            self.step_counter.assign(ops.zeros_like(counter))
            self.dynamic_scale.assign(scale * 0.5)

        conditionally(finite, update, skip, [*variables, *self.variables])

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        return loss * (self.dynamic_scale.value if self.built else self.initial_scale)

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize_keras_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        config = dict(config)
        inner = deserialize_keras_object(
            config.pop("inner_optimizer"), custom_objects=custom_objects
        )
        return cls(inner, **config)
