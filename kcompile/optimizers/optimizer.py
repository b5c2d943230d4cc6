"""`Optimizer`: what all optimizers share, from raw gradients to updated variables.

The order of an update is Keras's: unscale, accumulate, clip, decay, step, moving average, constraints,
count. Scalars (learning rate, bias corrections) are computed once for all variables, see `shared`.
Refuses to hold any step rule, and the moving average and accumulation (`kcompile.optimizers.extras`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import kcompile.initializers as initializers
import kcompile.ops as ops
from kcompile.errors import KCNotImplementedError, KCTypeError, KCValueError
from kcompile.naming import auto_name
from kcompile.optimizers.clipping import clip_by_global_norm, clip_by_norm
from kcompile.optimizers.extras import conditionally
from kcompile.optimizers.schedules import LearningRateSchedule
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.trace import run_eagerly
from kcompile.variable import Variable, current_trace, name_scope


class Optimizer:
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
        _refuse_unknown(type(self).__name__, kwargs)
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm, self.use_ema, self.ema_momentum = global_clipnorm, use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._check_settings()
        self.built = False
        self._variables: list[Variable] = []
        self._trainable_variables: list[Variable] = []
        self._index: dict[Variable, int] = {}
        self._excluded: set[Variable] = set()
        self._excluded_names: Any = None
        self._shared: dict[Any, Any] = {}
        self._iterations = self._track(0, "iteration", "int32")
        self._learning_rate: Any = learning_rate
        if not callable(learning_rate) or isinstance(learning_rate, Variable):
            self._learning_rate = self._track(_rate(learning_rate), "learning_rate", None)

    def _check_settings(self) -> None:
        steps, every = self.gradient_accumulation_steps, self.ema_overwrite_frequency
        if steps and not (isinstance(steps, int) and steps >= 2):
            raise _setting("gradient_accumulation_steps", steps, "an int of at least 2, or None")
        if self.use_ema and not 0 <= self.ema_momentum <= 1:
            raise _setting("ema_momentum", self.ema_momentum, "a number from 0 to 1")
        if self.use_ema and every and not (isinstance(every, int) and every >= 1):
            raise _setting("ema_overwrite_frequency", every, "an int of at least 1, or None")
        if sum(c is not None for c in (self.clipnorm, self.clipvalue, self.global_clipnorm)) > 1:
            given = f"clipnorm={self.clipnorm}, clipvalue={self.clipvalue}, global_clipnorm={self.global_clipnorm}"
            raise KCValueError("KC307", given, "at most one kind of clipping is used", "keep one of them")

    def _track(self, initial: Any, name: str, dtype: Any) -> Variable:
        with name_scope(self.name):
            variable = Variable(initial, shape=(), dtype=dtype, trainable=False, autocast=False, name=name)
        self._variables.append(variable)
        return variable

    # states

    @property
    def variables(self) -> list[Variable]:
        """The states: iteration, learning_rate (unless a schedule), then the slots."""
        return list(self._variables)

    @property
    def iterations(self) -> Any:
        """The number of updates so far."""
        steps = self.gradient_accumulation_steps
        return ops.floor_divide(self._iterations, steps) if steps else self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate in force: the variable, or what the schedule gives now."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            return self._learning_rate(self._iterations)
        return self._learning_rate if isinstance(self._learning_rate, Variable) else self._learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value) and not isinstance(value, Variable):
            self._variables = [v for v in self._variables if v is not self._learning_rate]
            self._learning_rate = value
        elif not isinstance(self._learning_rate, Variable):
            raise KCTypeError(
                "KC307", f"learning_rate={value!r} set on {self.name!r}",
                f"its rate comes from a {type(self._learning_rate).__name__} and is not settable",
                "make the optimizer with a number as learning rate, or set another schedule",
            )  # fmt: skip
        else:
            self._learning_rate.assign(value)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the states for `variables`, those that will be updated. Subclasses add their slots."""
        variables = list(variables)
        self._average = self.add_optimizer_variables(variables, "average") if self.use_ema else []
        steps = self.gradient_accumulation_steps
        self._accumulated = self.add_optimizer_variables(variables, "gradient_accumulator") if steps else []
        self._index = {v: i for i, v in enumerate(variables)}
        self._trainable_variables = variables
        self.built = True

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, name: str | None = None, **kwargs: Any
    ) -> Variable:
        """A new state of the optimizer."""
        with name_scope(self.name):
            variable = Variable(
                initializers.get(initializer), shape=tuple(shape), dtype=dtype, trainable=False, autocast=False, name=name
            )
        self._variables.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A new state (a slot) with shape and dtype of `reference_variable`."""
        name = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.storage_dtype, name)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """One slot for each variable; with several names, interleaved, a tuple of lists."""
        names = [name] if isinstance(name, str) else list(name)
        starts = initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        found: tuple[list[Variable | None], ...] = tuple([] for _ in names)
        for v in trainable_variables:
            for slots, one, start in zip(found, names, starts, strict=True):
                slots.append(None if v.overwrite_with_gradient else self.add_variable_from_reference(v, one, start))
        return found[0] if isinstance(name, str) else found

    def slot(self, slots: list[Variable], variable: Variable) -> Variable:
        """The one of `slots` that belongs to `variable`."""
        return slots[self._index[variable]]

    def _get_variable_index(self, variable: Variable) -> int:
        return self._index[variable]

    # the update

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """`apply` on pairs of (gradient, variable). Returns the iteration."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Update the variables by their gradients (None: no gradient).

        Raises KCValueError KC307 for unknown variables or no gradients at all.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise _use(self.name, "apply(grads) before build", "call build(variables), or pass the variables")
            trainable_variables = self._trainable_variables
        variables = list(trainable_variables)
        if not self.built:
            self.build(variables)
        if len(grads) != len(variables):
            raise _use(self.name, f"{len(grads)} gradients for {len(variables)} variables", "give one for each")
        for v in variables:
            if v not in self._index:
                raise _use(self.name, f"the variable {v.path!r}, which it was not built for", "make a new optimizer")
        if current_trace() is None:
            run_eagerly(self._apply, (grads, variables), {})
        else:
            self._apply(grads, variables)

    def _apply(self, grads: list[Any], variables: list[Variable]) -> None:
        missing = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
        pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        if not pairs:
            raise _use(self.name, "no gradient for any variable", "let the loss depend on the variables")
        if missing:
            warnings.warn(f"No gradients for the variables {missing}: the loss does not depend on them.", stacklevel=4)
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
        self._backend_update_step(grads, variables, self.shared("learning_rate", lambda: _value(self.learning_rate)))

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Variable], learning_rate: Any) -> None:
        for g, v in zip(grads, trainable_variables, strict=True):
            self.update_step(ops.cast(g, v.storage_dtype), v, learning_rate)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Update one variable and its slots by `assign`. Subclasses define it."""
        raise KCNotImplementedError(
            "KC203", f"the optimizer {type(self).__name__}", "an optimizer defines update_step", "define it"
        )

    def shared(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once in an update: the scalars that all variables use."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def rate(self, learning_rate: Any, variable: Variable) -> Any:
        """The learning rate in the dtype of `variable`."""
        dtype = variable.storage_dtype
        return self.shared(("rate", dtype, id(learning_rate)), lambda: ops.cast(learning_rate, dtype))

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
            factor = self.shared(("decay", v.storage_dtype, amount), lambda r=rate: r * amount)
            v.assign(v.value - v.value * factor)

    # moving averages

    def _move_averages(self) -> None:
        if not self.use_ema:
            return
        for v, average in zip(self._trainable_variables, self._average, strict=True):
            if average is None:
                continue
            dtype = v.storage_dtype
            keep = self.shared(
                ("ema", dtype), lambda d=dtype: ops.cast(ops.not_equal(self.iterations, 0), d) * self.ema_momentum
            )
            average.assign(keep * average.value + (1.0 - keep) * v.value)
        if self.ema_overwrite_frequency:
            due = ops.equal(ops.mod(self.iterations + 1, self.ema_overwrite_frequency), 0)
            variables = self._trainable_variables
            conditionally(due, lambda: self.finalize_variable_values(variables), lambda: None, variables)

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

    # weights and configs

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the states, in the order of `variables`. Raises KCValueError KC307 for other shapes."""
        if not self.built:
            raise _use(self.name, "set_weights before build", "call build(variables) first")
        for v, w in zip(self.variables, weights, strict=False):
            if tuple(v.shape) != tuple(np.shape(w)):
                raise _use(self.name, f"a weight of shape {np.shape(w)} for {v.path!r} of {v.shape}", "pass its own")
            v.assign(np.asarray(w))

    def save_own_variables(self, store: Any) -> None:
        """Write the states into a mapping of "0", "1", ..."""
        for i, v in enumerate(self.variables):
            store[str(i)] = v.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read the states from what `save_own_variables` wrote; warns and skips if their number differs."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(
                f"The optimizer {self.name!r} has {len(self.variables)} variables, the file "
                f"{len(store.keys())}: its state is not loaded.",
                stacklevel=2,
            )
            return
        for i, v in enumerate(self.variables):
            v.assign(np.asarray(store[str(i)]))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer, without its state."""
        rate = self._learning_rate
        return {
            "name": self.name,
            "learning_rate": float(rate.array) if isinstance(rate, Variable) else serialize_keras_object(rate),
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
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """An optimizer from its config."""
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(config["learning_rate"], custom_objects=custom_objects)
        return cls(**config)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number, np.ndarray, Variable)):
        raise KCValueError(
            "KC307", f"learning_rate={value!r}", "a learning rate is a number, a LearningRateSchedule or a function",
            "pass for example learning_rate=0.001",
        )  # fmt: skip
    return float(value)


def _setting(name: str, value: Any, rule: str) -> KCValueError:
    return KCValueError("KC307", f"{name}={value!r}", f"{name} is {rule}", "pass such a value")


def _use(name: str, given: str, todo: str) -> KCValueError:
    return KCValueError("KC307", f"the optimizer {name!r} got {given}", "an optimizer updates what it was built for", todo)


def _refuse_unknown(cls: str, kwargs: dict[str, Any]) -> None:
    if kwargs.pop("decay", None) is not None:
        warnings.warn("`decay` is no longer an argument of optimizers and is ignored; use a schedule.", stacklevel=4)
    kwargs.pop("is_legacy_optimizer", None)
    kwargs.pop("jit_compile", None)
    if "lr" in kwargs:
        raise KCValueError("KC307", f"{cls}(lr={kwargs['lr']!r})", "`lr` is called `learning_rate`", "write learning_rate=")
    if kwargs:
        raise KCValueError(
            "KC307", f"{cls}({', '.join(f'{k}={v!r}' for k, v in kwargs.items())})", f"{cls} has no such argument",
            "leave it out",
        )  # fmt: skip
