"""Learning rates as functions of the step, computed inside the train step.

Refuses to hold when they are read (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.absent import Checked
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


class LearningRateSchedule(Checked):
    """Base of all schedules: subclasses define `__call__(step)` with ops, and `get_config`."""

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`, an int scalar."""
        raise KCNotImplementedError(
            "KC203",
            f"the schedule {type(self).__name__}",
            "a schedule defines __call__(step)",
            "define it",
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        raise KCNotImplementedError(
            "KC404",
            f"the schedule {type(self).__name__}",
            "a schedule that is saved defines get_config",
            "define it",
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A schedule from its config."""
        return cls(**config)


def _float(step: Any) -> Any:
    return ops.cast(step, config.floatx())


def _positive(name: str, value: Any) -> Any:
    if value <= 0:
        raise KCValueError(
            "KC307", f"{name}={value!r}", f"{name} is greater than 0", "pass the number of steps"
        )
    return value


class ExponentialDecay(LearningRateSchedule):
    """initial * decay_rate ^ (step / decay_steps); `staircase`: the exponent in whole numbers."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.staircase, self.name = staircase, name

    def __call__(self, step: Any) -> Any:
        p = _float(step) / self.decay_steps
        if self.staircase:
            p = ops.floor(p)
        return self.initial_learning_rate * ops.power(ops.cast(self.decay_rate, config.floatx()), p)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate, "staircase": self.staircase, "name": self.name,
        }  # fmt: skip


class InverseTimeDecay(LearningRateSchedule):
    """initial / (1 + decay_rate * step / decay_steps); `staircase`: the quotient in whole numbers."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.staircase, self.name = staircase, name

    def __call__(self, step: Any) -> Any:
        p = _float(step) / self.decay_steps
        if self.staircase:
            p = ops.floor(p)
        return self.initial_learning_rate / (1.0 + self.decay_rate * p)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate, "staircase": self.staircase, "name": self.name,
        }  # fmt: skip


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] for boundaries[i-1] < step <= boundaries[i]; one value more than boundaries."""

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ):
        if len(boundaries) != len(values) - 1:
            raise KCValueError(
                "KC307", f"{len(boundaries)} boundaries and {len(values)} values", "there is one value more than boundaries",
                "give a value for before, between and after the boundaries",
            )  # fmt: skip
        self.boundaries, self.values, self.name = boundaries, values, name

    def __call__(self, step: Any) -> Any:
        step = ops.convert_to_tensor(step)
        dtype = config.floatx()
        rate = ops.cast(self.values[-1], dtype)
        for boundary, value in reversed(list(zip(self.boundaries, self.values, strict=False))):
            rate = ops.where(step <= ops.cast(boundary, step.dtype), ops.cast(value, dtype), rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(LearningRateSchedule):
    """From initial to end in `decay_steps`, as (1 - step / decay_steps) ^ power; `cycle`: again, longer."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate, self.end_learning_rate = (
            initial_learning_rate,
            end_learning_rate,
        )
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.power, self.cycle, self.name = power, cycle, name

    def __call__(self, step: Any) -> Any:
        step = _float(step)
        length: Any = float(self.decay_steps)
        if self.cycle:
            length = (
                ops.where(ops.equal(step, 0.0), ops.ones_like(step), ops.ceil(step / length))
                * length
            )
        else:
            step = ops.minimum(step, length)
        drop = self.initial_learning_rate - self.end_learning_rate
        left = 1.0 - step / length
        return (
            drop * (left if self.power == 1 else ops.power(left, self.power))
            + self.end_learning_rate
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate, "power": self.power, "cycle": self.cycle,
            "name": self.name,
        }  # fmt: skip


class CosineDecay(LearningRateSchedule):
    """Linear warm-up to `warmup_target` (None: none), then half a cosine down to `alpha` of it."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        self.initial_learning_rate, self.alpha, self.name = initial_learning_rate, alpha, name
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: Any) -> Any:
        step = _float(step)
        if self.warmup_target is None:
            return self._decayed(
                ops.minimum(step, float(self.decay_steps)), self.initial_learning_rate
            )
        step = ops.minimum(step, float(self.decay_steps + self.warmup_steps))
        down = self._decayed(step - float(self.warmup_steps), self.warmup_target)
        if not self.warmup_steps:
            return down
        rise = self.warmup_target - self.initial_learning_rate
        up = rise * (step / float(self.warmup_steps)) + self.initial_learning_rate
        return ops.where(step < float(self.warmup_steps), up, down)

    def _decayed(self, step: Any, start: float) -> Any:
        wave = 0.5 * (1.0 + ops.cos(math.pi * (step / float(self.decay_steps))))
        return start * ((1 - self.alpha) * wave + self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
            "alpha": self.alpha, "name": self.name, "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }  # fmt: skip


class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines again and again, each `t_mul` times longer and `m_mul` times lower. arXiv:1608.03983."""

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self.initial_learning_rate, self.alpha, self.name = initial_learning_rate, alpha, name
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        self._t_mul, self._m_mul = t_mul, m_mul

    def __call__(self, step: Any) -> Any:
        done = _float(step) / float(self.first_decay_steps)
        dtype = config.floatx()
        if self._t_mul == 1:
            restarts = ops.floor(done)
            done = done - restarts
        else:
            restarts = ops.floor(ops.log(1.0 - done * (1.0 - self._t_mul)) / math.log(self._t_mul))
            longer = ops.power(ops.cast(self._t_mul, dtype), restarts)
            done = (done - (1.0 - longer) / (1.0 - self._t_mul)) / longer
        wave = (
            0.5
            * ops.power(ops.cast(self._m_mul, dtype), restarts)
            * (1.0 + ops.cos(math.pi * done))
        )
        return self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate, "first_decay_steps": self.first_decay_steps,
            "t_mul": self._t_mul, "m_mul": self._m_mul, "alpha": self.alpha, "name": self.name,
        }  # fmt: skip


CLASSES = (
    ExponentialDecay, PiecewiseConstantDecay, PolynomialDecay, InverseTimeDecay, CosineDecay, CosineDecayRestarts,
)  # fmt: skip
BY_NAME: dict[str, Any] = {c.__name__: c for c in (LearningRateSchedule, *CLASSES)}


def serialize(learning_rate_schedule: Any) -> Any:
    """The config from which `deserialize` makes the schedule again."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`."""
    return deserialize_keras_object(config, module_objects=BY_NAME, custom_objects=custom_objects)
