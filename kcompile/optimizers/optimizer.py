"""`Optimizer`: what all optimizers share, from raw gradients to updated variables.

The order of an update is Keras's: unscale, accumulate, clip, decay, step, moving average, constraints,
count. Scalars (learning rate, bias corrections) are computed once for all variables, see `shared`.
Refuses to hold any step rule, and the states themselves (`kcompile.optimizers.states`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import kcompile.ops as ops
from kcompile.errors import KCNotImplementedError
from kcompile.naming import auto_name
from kcompile.optimizers.clipping import clip_by_global_norm, clip_by_norm
from kcompile.optimizers.conditional import conditionally
from kcompile.optimizers.settings import check_settings, misuse, refuse_unknown
from kcompile.optimizers.states import States
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.trace import run_eagerly
from kcompile.variable import Variable, current_trace


class Optimizer(States):
    """Base of all optimizers. Subclasses define `update_step(gradient, variable, learning_rate)`.

    Args:
        learning_rate: a number, a `LearningRateSchedule`, or a function without arguments.
        weight_decay: each update also takes `weight_decay * learning_rate` of each variable away.
        clipnorm, clipvalue, global_clipnorm: bounds on the norm of each gradient, on each element, on
            the norm of all gradients together; at most one of them.
        use_ema, ema_momentum, ema_overwrite_frequency: keep a moving average of the variables, and
            put it in their place every so many steps, or (None) at the end of `fit`.
        loss_scale_factor: the loss is multiplied, the gradients divided by it.
        gradient_accumulation_steps: update once in so many steps, on the mean gradient.

    Raises KCValueError KC307 for settings that cannot be.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        self.name = name or auto_name(type(self))
        refuse_unknown(type(self), kwargs)
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm, self.use_ema, self.ema_momentum = (
            global_clipnorm,
            use_ema,
            ema_momentum,
        )
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        check_settings(self)
        self.built = False
        self._trainable_variables: list[Variable] = []
        self._excluded: set[Variable] = set()
        self._excluded_names: Any = None
        self._shared: dict[Any, Any] = {}
        self._make_states(learning_rate)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the states for `variables`, those that will be updated. Subclasses add their slots."""
        variables = list(variables)
        self._average = self.add_optimizer_variables(variables, "average") if self.use_ema else []
        steps = self.gradient_accumulation_steps
        self._accumulated = (
            self.add_optimizer_variables(variables, "gradient_accumulator") if steps else []
        )
        self._index = {v: i for i, v in enumerate(variables)}
        self._trainable_variables = variables
        self.built = True

    # the update

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """`apply` on pairs of (gradient, variable). Returns the iteration."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """Update the variables by their gradients (None: no gradient).

        Raises KCValueError KC307 for unknown variables or no gradients at all.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise misuse(
                    self.name,
                    "apply(grads) before build",
                    "call build(variables), or pass the variables",
                )
            trainable_variables = self._trainable_variables
        variables = list(trainable_variables)
        if not self.built:
            self.build(variables)
        if len(grads) != len(variables):
            raise misuse(
                self.name,
                f"{len(grads)} gradients for {len(variables)} variables",
                "give one for each",
            )
        for v in variables:
            if v not in self._index:
                raise misuse(
                    self.name,
                    f"the variable {v.path!r}, which it was not built for",
                    "make a new optimizer",
                )
        if current_trace() is None:
            run_eagerly(self._apply, (grads, variables), {})
        else:
            self._apply(grads, variables)

    def _apply(self, grads: list[Any], variables: list[Variable]) -> None:
        missing = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
        pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        if not pairs:
            raise misuse(
                self.name, "no gradient for any variable", "let the loss depend on the variables"
            )
        if missing:
            warnings.warn(
                f"No gradients for the variables {missing}: the loss does not depend on them.",
                stacklevel=4,
            )
        for g, v in pairs:
            if v.overwrite_with_gradient:
                v.assign(g)
        pairs = [(g, v) for g, v in pairs if not v.overwrite_with_gradient]
        self._shared = {}
        try:
            if pairs:
                grads, variables = [g for g, _ in pairs], [v for _, v in pairs]
                if self.loss_scale_factor is not None:
                    grads = [g / self.loss_scale_factor for g in grads]
                self._accumulate(grads, variables)
                self._move_averages()
                for v in variables:
                    if v.constraint is not None:
                        v.assign(v.constraint(v.value))
            self._iterations.assign_add(1)
        finally:
            self._shared = {}

    def _accumulate(self, grads: list[Any], variables: list[Variable]) -> None:
        steps = self.gradient_accumulation_steps
        if not steps:
            self._update(grads, variables)
            return
        sums = [self.slot(self._accumulated, v) for v in variables]
        grads = [g + s.value for g, s in zip(grads, sums, strict=True)]
        due = ops.equal(ops.mod(self._iterations.value + 1, steps), 0)

        def update() -> None:
            self._update([g / steps for g in grads], variables)
            for s in sums:
                s.assign(ops.zeros(s.shape, dtype=s.storage_dtype))

        def collect() -> None:
            for g, s in zip(grads, sums, strict=True):
                s.assign(g)

        slots = [v for v in self._variables if v is not self._iterations]
        conditionally(due, update, collect, [*variables, *slots])

    def _update(self, grads: list[Any], variables: list[Variable]) -> None:
        grads = self._clip_gradients(grads)
        self._apply_weight_decay(variables)
        self._backend_update_step(
            grads, variables, self.shared("learning_rate", lambda: _value(self.learning_rate))
        )

    def _backend_update_step(
        self, grads: list[Any], trainable_variables: list[Variable], learning_rate: Any
    ) -> None:
        for g, v in zip(grads, trainable_variables, strict=True):
            self.update_step(ops.cast(g, v.storage_dtype), v, learning_rate)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Update one variable and its slots by `assign`. Subclasses define it."""
        raise KCNotImplementedError(
            "KC203",
            f"the optimizer {type(self).__name__}",
            "an optimizer defines update_step",
            "define it",
        )

    def shared(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once in an update: the scalars that all variables use."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def rate(self, learning_rate: Any, variable: Variable) -> Any:
        """The learning rate in the dtype of `variable`."""
        dtype = variable.storage_dtype
        return self.shared(
            ("rate", dtype, id(learning_rate)), lambda: ops.cast(learning_rate, dtype)
        )

    def step_number(self, variable: Variable, ahead: int = 1) -> Any:
        """`iterations + ahead` in the dtype of `variable`."""
        dtype = variable.storage_dtype
        return self.shared(("step", dtype, ahead), lambda: ops.cast(self.iterations + ahead, dtype))

    def assign(self, variable: Variable, value: Any) -> None:
        """Give `variable` its next value."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add to `variable`."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract from `variable`."""
        variable.assign_sub(value)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if self.clipnorm and self.clipnorm > 0:
            return [clip_by_norm(g, self.clipnorm) for g in grads]
        if self.global_clipnorm and self.global_clipnorm > 0:
            return clip_by_global_norm(grads, self.global_clipnorm)
        if self.clipvalue and self.clipvalue > 0:
            return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        return grads

    # weight decay

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Spare these variables, and those whose name contains one of `var_names`, from weight decay."""
        self._excluded = set(var_list or ())
        self._excluded_names = re.compile("|".join(sorted(set(var_names)))) if var_names else None

    def _use_weight_decay(self, variable: Variable) -> bool:
        named = self._excluded_names is not None and self._excluded_names.search(variable.name)
        return variable not in self._excluded and not named

    def _apply_weight_decay(self, variables: list[Variable]) -> None:
        if self.weight_decay is not None:
            self._decay([v for v in variables if self._use_weight_decay(v)], self.weight_decay)

    def _decay(self, variables: list[Variable], amount: float) -> None:
        for v in variables:
            rate = self.rate(self.shared("learning_rate", lambda: _value(self.learning_rate)), v)
            factor = self.shared(
                ("decay", v.storage_dtype, amount), partial(ops.multiply, rate, amount)
            )
            v.assign(v.value - v.value * factor)

    # moving averages

    def _move_averages(self) -> None:
        if not self.use_ema:
            return
        for v, average in zip(self._trainable_variables, self._average, strict=True):
            if average is None:
                continue
            dtype = v.storage_dtype
            keep = self.shared(("ema", dtype), partial(self._ema_share, dtype))
            average.assign(keep * average.value + (1.0 - keep) * v.value)
        if self.ema_overwrite_frequency:
            due = ops.equal(ops.mod(self.iterations + 1, self.ema_overwrite_frequency), 0)
            variables = self._trainable_variables
            conditionally(
                due, lambda: self.finalize_variable_values(variables), lambda: None, variables
            )

    def _ema_share(self, dtype: str) -> Any:
        """The share of the old average in the new one: none at first."""
        return ops.cast(ops.not_equal(self.iterations, 0), dtype) * self.ema_momentum

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """At the end of training: put the moving averages in the place of the variables."""
        if self.use_ema:
            for v in var_list:
                average = self.slot(self._average, v)
                if average is not None:
                    v.assign(average.value)

    def scale_loss(self, loss: Any) -> Any:
        """The loss that gradients are taken of."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer, without its state."""
        rate = self._learning_rate
        return {
            "name": self.name,
            "learning_rate": float(rate.array)
            if isinstance(rate, Variable)
            else serialize_keras_object(rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """An optimizer from its config."""
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(
                config["learning_rate"], custom_objects=custom_objects
            )
        return cls(**config)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x
