"""`States`: the variables an optimizer owns: iteration, learning rate, and a slot or more for each weight.

Refuses to hold how they change (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import kcompile.initializers as initializers
import kcompile.ops as ops
from kcompile.errors import KCTypeError
from kcompile.optimizers.schedules import LearningRateSchedule
from kcompile.optimizers.settings import misuse, number
from kcompile.variable import Variable, name_scope


class States:
    """The states of an `Optimizer`."""

    name: str
    built: bool
    gradient_accumulation_steps: int | None

    def _make_states(self, learning_rate: Any) -> None:
        self._variables: list[Variable] = []
        self._index: dict[Variable, int] = {}
        self._iterations = self._track(0, "iteration", "int32")
        self._learning_rate: Any = learning_rate
        if not callable(learning_rate) or isinstance(learning_rate, Variable):
            self._learning_rate = self._track(number(learning_rate), "learning_rate", None)

    def _track(self, initial: Any, name: str, dtype: Any) -> Variable:
        with name_scope(self.name):
            variable = Variable(
                initial, shape=(), dtype=dtype, trainable=False, autocast=False, name=name
            )
        self._variables.append(variable)
        return variable

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
        return (
            self._learning_rate
            if isinstance(self._learning_rate, Variable)
            else self._learning_rate()
        )

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

    def add_variable(
        self,
        shape: Any,
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Variable:
        """A new state of the optimizer."""
        with name_scope(self.name):
            variable = Variable(
                initializers.get(initializer),
                shape=tuple(shape),
                dtype=dtype,
                trainable=False,
                autocast=False,
                name=name,
            )
        self._variables.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A new state (a slot) with shape and dtype of `reference_variable`."""
        name = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        return self.add_variable(
            reference_variable.shape, initializer, reference_variable.storage_dtype, name
        )

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """One slot for each variable; with several names, interleaved, a tuple of lists."""
        names = [name] if isinstance(name, str) else list(name)
        starts = (
            initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        )
        found: tuple[list[Variable | None], ...] = tuple([] for _ in names)
        for v in trainable_variables:
            for slots, one, start in zip(found, names, starts, strict=True):
                slots.append(
                    None
                    if v.overwrite_with_gradient
                    else self.add_variable_from_reference(v, one, start)
                )
        return found[0] if isinstance(name, str) else found

    def slot(self, slots: list[Variable], variable: Variable) -> Variable:
        """The one of `slots` that belongs to `variable`."""
        return slots[self._index[variable]]

    def _get_variable_index(self, variable: Variable) -> int:
        return self._index[variable]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the states, in the order of `variables`.

        Raises KCValueError KC307 for another number or other shapes, before any is set.
        """
        if not self.built:
            raise misuse(self.name, "set_weights before build", "call build(variables) first")
        if len(weights) != len(self.variables):
            raise misuse(
                self.name,
                f"{len(weights)} weights for its {len(self.variables)} variables",
                "pass one for each",
            )
        for v, w in zip(self.variables, weights, strict=True):
            if tuple(v.shape) != tuple(np.shape(w)):
                raise misuse(
                    self.name,
                    f"a weight of shape {np.shape(w)} for {v.path!r} of {v.shape}",
                    "pass its own",
                )
        for v, w in zip(self.variables, weights, strict=True):
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
