"""Optimizers that scale gradients: SGD, RMSprop, Adagrad, Adadelta, Lion, Ftrl.

Each `update_step` is Keras's formula in its order of operations. Arguments common to all optimizers
are those of `Optimizer`. Refuses to hold clipping, decay and averages (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

from typing import Any

import kcompile.initializers as initializers
import kcompile.ops as ops
from kcompile.errors import KCValueError
from kcompile.optimizers.optimizer import Optimizer
from kcompile.variable import Variable


class SGD(Optimizer):
    """w -= lr g; with momentum m = momentum m - lr g, w += m; Nesterov looks one step ahead.

    Raises KCValueError KC307 unless 0 <= momentum <= 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        if (
            isinstance(momentum, bool)
            or not isinstance(momentum, (int, float))
            or not 0 <= momentum <= 1
        ):
            raise KCValueError(
                "KC307",
                f"momentum={momentum!r}",
                "momentum is a number from 0 to 1",
                "pass for example 0.9",
            )
        self.momentum, self.nesterov = float(momentum), nesterov

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.momentums = (
                self.add_optimizer_variables(variables, "momentum") if self.momentum else []
            )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        step = gradient * self.rate(learning_rate, variable)
        if not self.momentum:
            variable.assign_sub(step)
            return
        m = self.slot(self.momentums, variable)
        new = m.assign(m.value * self.momentum - step)
        variable.assign_add(new * self.momentum - step if self.nesterov else new)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """w -= lr g / sqrt(v + epsilon), v a moving average of g^2 (`centered`: of the variance of g)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._velocities = self.add_optimizer_variables(variables, "velocity")
            self._momentums = (
                self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else []
            )
            self._average_gradients = (
                self.add_optimizer_variables(variables, "average_gradient") if self.centered else []
            )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rho, v = self.rho, self.slot(self._velocities, variable)
        new_v = v.assign(rho * v.value + (1 - rho) * ops.square(gradient))
        if self.centered:
            mean = self.slot(self._average_gradients, variable)
            new_v = new_v - ops.square(mean.assign(rho * mean.value + (1 - rho) * gradient))
        step = self.rate(learning_rate, variable) * gradient / ops.sqrt(new_v + self.epsilon)
        if self.momentum > 0:
            m = self.slot(self._momentums, variable)
            step = m.assign(self.momentum * m.value + step)
        variable.assign_sub(step)

    def get_config(self) -> dict[str, Any]:
        own = {
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }
        return {**super().get_config(), **own}


class Adagrad(Optimizer):
    """w -= lr g / sqrt(a + epsilon), a the sum of all g^2."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            start = initializers.Constant(self.initial_accumulator_value)
            self._accumulators = self.add_optimizer_variables(variables, "accumulator", start)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        a = self.slot(self._accumulators, variable)
        new = a.assign(a.value + ops.square(gradient))
        variable.assign_sub(
            self.rate(learning_rate, variable) * gradient / ops.sqrt(new + self.epsilon)
        )

    def get_config(self) -> dict[str, Any]:
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


class Adadelta(Optimizer):
    """Steps of the size of past steps over that of past gradients. arXiv:1212.5701."""

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._accumulated_grads, self._accumulated_delta_vars = self.add_optimizer_variables(
                variables, ["accumulated_grad", "accumulated_delta_var"]
            )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rho = self.rho
        grads, deltas = (
            self.slot(self._accumulated_grads, variable),
            self.slot(self._accumulated_delta_vars, variable),
        )
        new = grads.assign(rho * grads.value + (1 - rho) * ops.square(gradient))
        size = ops.sqrt(deltas.value + self.epsilon)
        delta = size * gradient / ops.sqrt(new + self.epsilon)
        deltas.assign(rho * deltas.value + (1 - rho) * ops.square(delta))
        variable.assign_sub(self.rate(learning_rate, variable) * delta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}


class Lion(Optimizer):
    """w -= lr sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g. arXiv:2302.06675."""

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        if not 0 < beta_1 <= 1:
            raise KCValueError(
                "KC307",
                f"beta_1={beta_1!r}",
                "beta_1 is above 0 and at most 1",
                "pass for example 0.9",
            )
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        m = self.slot(self._momentums, variable)
        direction = ops.sign(m.value * self.beta_1 + gradient * (1.0 - self.beta_1))
        variable.assign_sub(self.rate(learning_rate, variable) * direction)
        m.assign(m.value * self.beta_2 + gradient * (1.0 - self.beta_2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}


class Ftrl(Optimizer):
    """Follow the regularised leader, with L1, L2 and shrinkage. McMahan et al., KDD 2013.

    Raises KCValueError KC307 for a strength below 0 or a power above 0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.learning_rate_power, self.initial_accumulator_value = (
            learning_rate_power,
            initial_accumulator_value,
        )
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        for name, value in self._own_config().items():
            if name == "learning_rate_power" and value > 0:
                raise KCValueError(
                    "KC307", f"{name}={value!r}", f"{name} is not above 0", "pass for example -0.5"
                )
            if name not in ("learning_rate_power", "beta") and value < 0:
                raise KCValueError(
                    "KC307", f"{name}={value!r}", f"{name} is not below 0", "pass for example 0.1"
                )

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._accumulators, self._linears = self.add_optimizer_variables(
                variables, ["accumulator", "linear"],
                [initializers.Constant(self.initial_accumulator_value), "zeros"],
            )  # fmt: skip

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        lr = self.rate(learning_rate, variable)
        accumulator, linear = (
            self.slot(self._accumulators, variable),
            self.slot(self._linears, variable),
        )
        w, old = variable.value, accumulator.value
        new = old + ops.square(gradient)
        if self.l2_shrinkage_regularization_strength:
            gradient = gradient + 2 * self.l2_shrinkage_regularization_strength * w
        root = ops.power(new, -self.learning_rate_power)
        moved = (root - ops.power(old, -self.learning_rate_power)) / lr
        z = linear.assign(linear.value + (gradient - moved * w))
        l2 = 2 * (self.l2_regularization_strength + self.beta / (2.0 * lr))
        bound = self.l1_regularization_strength
        variable.assign((ops.clip(z, -bound, bound) - z) / (root / lr + l2))
        accumulator.assign(new)

    def _own_config(self) -> dict[str, Any]:
        return {
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._own_config()}
