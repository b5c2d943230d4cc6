"""Optimizers for matrices: Adafactor (second moments from rows and columns) and Muon (orthogonal steps).

Refuses to hold clipping, decay and averages (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

import kcompile.ops as ops
from kcompile.optimizers.optimizer import Optimizer
from kcompile.variable import Variable, name_scope


def _rms(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(x)))


class Adafactor(Optimizer):
    """Steps relative to the size of each variable, with second moments of rows and columns. arXiv:1804.04235."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 0.001,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._r: list[Variable] = []
        self._c: list[Variable] = []
        self._v: list[Variable] = []
        for v in variables:
            for slots, shape in (
                (self._r, v.shape[:-1]),
                (self._c, (*v.shape[:-2], *v.shape[-1:])),
            ):
                slots.append(self._part(v, shape if len(v.shape) >= 2 else None))
            self._v.append(self.add_variable_from_reference(v, "velocity"))

    def _part(self, variable: Variable, shape: Any) -> Variable:
        """A slot of row or column means; a vector has none, and gets an unused number as in Keras."""
        if shape is not None:
            return self.add_variable(shape, "zeros", variable.storage_dtype, variable.name)
        with name_scope(self.name):
            unused = Variable(
                np.zeros((), np.float32), trainable=False, autocast=False, name=variable.name
            )
        self._variables.append(unused)
        return unused

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        step = self.step_number(variable)
        rate = self.rate(learning_rate, variable)
        rho = self.shared(
            ("rho", variable.storage_dtype), lambda: ops.minimum(rate, 1.0 / ops.sqrt(step))
        )
        keep = self.shared(
            ("keep", variable.storage_dtype), lambda: 1.0 - ops.power(step, self.beta_2_decay)
        )
        square = ops.square(gradient) + self.epsilon_1
        v = self.slot(self._v, variable)
        if len(variable.shape) >= 2:
            rows, columns = self.slot(self._r, variable), self.slot(self._c, variable)
            r = rows.assign(keep * rows.value + (1.0 - keep) * ops.mean(square, axis=-1))
            c = columns.assign(keep * columns.value + (1.0 - keep) * ops.mean(square, axis=-2))
            share = ops.expand_dims(r / ops.mean(r, axis=-1, keepdims=True), -1)
            moment = v.assign(share * ops.expand_dims(c, -2))
        else:
            moment = v.assign(keep * v.value + (1.0 - keep) * square)
        direction = gradient / ops.sqrt(moment)
        direction = direction / ops.maximum(1.0, _rms(direction) / self.clip_threshold)
        variable.assign_sub(ops.maximum(self.epsilon_2, _rms(variable.value)) * rho * direction)

    def get_config(self) -> dict[str, Any]:
        own = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{k: getattr(self, k) for k in own}}


class Muon(Optimizer):
    """Momentum made orthogonal by Newton-Schulz steps, for matrices; AdamW for all else. Jordan, 2024.

    Args:
        exclude_layers: patterns; a matrix whose path matches one is left to AdamW.
        exclude_embeddings: leave to AdamW what has "embedding" in its path.
        muon_a, muon_b, muon_c, ns_steps: coefficients and number of Newton-Schulz steps.
        adam_lr_ratio, adam_beta_1, adam_beta_2, adam_weight_decay, epsilon: of the AdamW part.
        rms_rate: matrix steps are scaled by this times the root of the longer side; None: not.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.adam_beta_1, self.adam_beta_2, self.epsilon = adam_beta_1, adam_beta_2, epsilon
        self.adam_weight_decay, self.adam_lr_ratio = adam_weight_decay, adam_lr_ratio
        self.exclude_layers, self.exclude_embeddings = (
            list(exclude_layers or []),
            exclude_embeddings,
        )
        self.muon_a, self.muon_b, self.muon_c, self.ns_steps = muon_a, muon_b, muon_c, ns_steps
        self.momentum, self.nesterov, self.rms_rate = momentum, nesterov, rms_rate

    def _by_adam(self, variable: Variable) -> bool:
        if len(variable.shape) != 2 or (
            self.exclude_embeddings and "embedding" in variable.path.lower()
        ):
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums: list[Any] = []
        self.adam_velocities: list[Any] = []
        for v in variables:
            self.momentums.append(self.add_variable_from_reference(v, "momentum"))
            adam = self._by_adam(v)
            self.adam_velocities.append(
                self.add_variable_from_reference(v, "velocity") if adam else None
            )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        m: Variable = self.momentums[self._index[variable]]
        v: Variable | None = self.adam_velocities[self._index[variable]]
        rate = self.rate(learning_rate, variable)
        if v is None:
            new = m.assign(m.value + (gradient + m.value * (self.momentum - 1)))
            step = self._orthogonal(gradient + self.momentum * new if self.nesterov else new)
            if self.rms_rate is not None:
                step = step * (float(np.sqrt(max(variable.shape))) * self.rms_rate)
            variable.assign_sub(rate * step)
            return
        dtype = variable.storage_dtype

        def alpha() -> Any:
            step = self.step_number(variable)
            first = 1 - ops.power(ops.cast(self.adam_beta_1, dtype), step)
            second = 1 - ops.power(ops.cast(self.adam_beta_2, dtype), step)
            return rate * self.adam_lr_ratio * ops.sqrt(second) / first

        mean = m.assign(m.value + (gradient - m.value) * (1 - self.adam_beta_1))
        square = v.assign(v.value + (ops.square(gradient) - v.value) * (1 - self.adam_beta_2))
        scale = self.shared(("alpha", dtype), alpha)
        variable.assign_sub(mean * scale / (ops.sqrt(square) + self.epsilon))

    def _orthogonal(self, x: Any) -> Any:
        """The nearest matrix with orthogonal rows (or columns), approximately."""
        tall = x.shape[0] > x.shape[1]
        x = ops.transpose(x) if tall else x
        x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
        for _ in range(self.ns_steps):
            a = ops.matmul(x, ops.transpose(x))
            x = self.muon_a * x + ops.matmul(self.muon_b * a + ops.matmul(self.muon_c * a, a), x)
        return ops.transpose(x) if tall else x

    def _apply_weight_decay(self, variables: list[Variable]) -> None:
        kept = [v for v in variables if self._use_weight_decay(v)]
        for by_adam, amount in ((True, self.adam_weight_decay), (False, self.weight_decay)):
            if amount is not None:
                self._decay([v for v in kept if self._by_adam(v) == by_adam], amount)

    def get_config(self) -> dict[str, Any]:
        own = (
            "adam_beta_1", "adam_beta_2", "epsilon", "exclude_layers", "muon_a", "muon_b", "muon_c",
            "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "exclude_embeddings", "adam_weight_decay",
            "rms_rate",
        )  # fmt: skip
        return {**super().get_config(), **{k: getattr(self, k) for k in own}}
