"""Optimizers with two moments: Adam, AdamW, Adamax, Nadam, Lamb, ScheduleFreeAdamW.

Each `update_step` is Keras's formula in its order of operations; bias corrections are scalars made once
for all variables. Refuses to hold clipping, decay and averages (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.dtypes import standardize_dtype
from kcompile.errors import KCValueError
from kcompile.optimizers.optimizer import Optimizer
from kcompile.variable import Variable, name_scope


class _Moments(Optimizer):
    """The arguments and slots that these optimizers share."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._momentums, self._velocities = self.add_optimizer_variables(
                variables, ["momentum", "velocity"]
            )

    def power(self, variable: Variable, base: float) -> Any:
        """base ^ step, in the dtype of `variable`."""
        dtype = variable.storage_dtype
        return self.shared(
            ("power", dtype, base),
            lambda: ops.power(ops.cast(base, dtype), self.step_number(variable)),
        )

    def new_moments(self, gradient: Any, variable: Variable) -> tuple[Any, Any]:
        """Move both moving averages on; their new values."""
        m, v = self.slot(self._momentums, variable), self.slot(self._velocities, variable)
        mean = m.assign(m.value + (gradient - m.value) * (1 - self.beta_1))
        square = v.assign(v.value + (ops.square(gradient) - v.value) * (1 - self.beta_2))
        return mean, square

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


class Adam(_Moments):
    """w -= alpha m / (sqrt(v) + epsilon), alpha = lr sqrt(1 - b2^t) / (1 - b1^t). arXiv:1412.6980.

    Epsilon stands outside the bias correction, as in Keras. `amsgrad`: v never shrinks.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.amsgrad = amsgrad

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self._velocity_hats = (
                self.add_optimizer_variables(variables, "velocity_hat") if self.amsgrad else []
            )

    def minus_alpha(self, variable: Variable, learning_rate: Any) -> Any:
        """The learning rate with both bias corrections, negative: w + number * array is one operation to most machines."""

        def make() -> Any:
            corrected = ops.sqrt(1 - self.power(variable, self.beta_2))
            rate = self.rate(learning_rate, variable)
            return -(rate * corrected / (1 - self.power(variable, self.beta_1)))

        return self.shared(("minus_alpha", variable.storage_dtype), make)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        m, v = self.new_moments(gradient, variable)
        if self.amsgrad:
            hat = self.slot(self._velocity_hats, variable)
            v = hat.assign(ops.maximum(hat.value, v))
        direction = m / (ops.sqrt(v) + self.epsilon)
        variable.assign_add(direction * self.minus_alpha(variable, learning_rate))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with decoupled weight decay. arXiv:1711.05101. Raises KCValueError KC307 for None."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **kwargs
        )
        if weight_decay is None:
            raise KCValueError(
                "KC307",
                "AdamW(weight_decay=None)",
                "AdamW needs a weight decay",
                "pass a number, or use Adam",
            )


class Adamax(_Moments):
    """Adam with the largest recent |g| in the place of sqrt(v)."""

    def build(self, variables: Any) -> None:
        if not self.built:
            Optimizer.build(self, variables)
            self._m, self._u = self.add_optimizer_variables(variables, ["momentum", "norm"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        m, u = self.slot(self._m, variable), self.slot(self._u, variable)
        mean = m.assign(m.value + (gradient - m.value) * (1 - self.beta_1))
        norm = u.assign(ops.maximum(self.beta_2 * u.value, ops.abs(gradient)))
        correction = 1 - self.power(variable, self.beta_1)
        variable.assign_sub(
            self.rate(learning_rate, variable) * mean / (correction * (norm + self.epsilon))
        )


class Nadam(_Moments):
    """Adam with Nesterov momentum, whose factor grows with the step. Dozat, 2016."""

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        dtype = variables[0].storage_dtype if variables else standardize_dtype(None)
        with name_scope(self.name):
            self._u_product = Variable(
                1.0, shape=(), dtype=dtype, trainable=False, autocast=False, name="u_product"
            )
        self._variables.append(self._u_product)

    def _factor(self, variable: Variable, ahead: int) -> Any:
        dtype = variable.storage_dtype

        def make() -> Any:
            return self.beta_1 * (
                1.0 - 0.5 * ops.power(ops.cast(0.96, dtype), self.step_number(variable, ahead))
            )

        return self.shared(("factor", dtype, ahead), make)

    def _backend_update_step(
        self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any
    ) -> None:
        product = self._u_product
        product.assign(product.value * self._factor(product, 1))
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        dtype = variable.storage_dtype
        now, after = self._factor(variable, 1), self._factor(variable, 2)
        product = self.shared(("product", dtype), lambda: ops.cast(self._u_product.value, dtype))
        to_m = self.shared(("to_m", dtype), lambda: after / (1 - product * after))
        to_g = self.shared(("to_g", dtype), lambda: (1 - now) / (1 - product))
        correction = self.shared(
            ("correction", dtype), lambda: 1 - self.power(variable, self.beta_2)
        )
        m, v = self.new_moments(gradient, variable)
        mean = to_m * m + to_g * gradient
        step = mean * self.rate(learning_rate, variable) / (ops.sqrt(v / correction) + self.epsilon)
        variable.assign_sub(step)


class Lamb(_Moments):
    """Adam's step, scaled to the norm of each variable. arXiv:1904.00962."""

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        m, v = self.new_moments(gradient, variable)
        mean = m / (1.0 - self.power(variable, self.beta_1))
        step = mean / (ops.sqrt(v / (1.0 - self.power(variable, self.beta_2))) + self.epsilon)
        w_norm = ops.sqrt(ops.sum(ops.square(variable.value)))
        step_norm = ops.sqrt(ops.sum(ops.square(step)))
        both = ops.logical_and(w_norm > 0, step_norm > 0)
        ratio = ops.where(
            both,
            w_norm / ops.where(both, step_norm, ops.ones_like(step_norm)),
            ops.ones_like(w_norm),
        )
        variable.assign_sub(ratio * self.rate(learning_rate, variable) * step)


class ScheduleFreeAdamW(_Moments):
    """AdamW whose averaged iterates make a schedule needless. arXiv:2405.15682."""

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.warmup_steps = warmup_steps

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            for slot, v in zip(self._momentums, variables, strict=True):
                if slot is not None:
                    slot.array[...] = v.array  # now, even while a step is traced

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        step = self.step_number(variable)
        lr = self.rate(learning_rate, variable)
        if self.warmup_steps > 0:
            lr = self.shared("warm", lambda: lr * ops.minimum(step / self.warmup_steps, 1.0))
        z, v = self.slot(self._momentums, variable), self.slot(self._velocities, variable)
        square = v.assign(v.value + (ops.square(gradient) - v.value) * (1 - self.beta_2))
        old = z.value
        scale = ops.sqrt(square / (1 - self.power(variable, self.beta_2))) + self.epsilon
        new = z.assign(old - lr * gradient / scale)
        x = (variable.value - (1 - self.beta_1) * old) / self.beta_1
        x = (1 - 1.0 / step) * x + (1.0 / step) * new
        variable.assign((1 - self.beta_1) * new + self.beta_1 * x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "warmup_steps": self.warmup_steps}
