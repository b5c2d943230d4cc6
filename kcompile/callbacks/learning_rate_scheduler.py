"""LearningRateScheduler: the learning rate of each epoch from a function of the user.

Refuses to hold schedules by step (`kcompile.optimizers.schedules`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import kcompile.arguments as arguments
from kcompile.callbacks.callback import Callback
from kcompile.callbacks.reduce_lr_on_plateau import learning_rate
from kcompile.callbacks.say import say
from kcompile.errors import KCTypeError


class LearningRateScheduler(Callback):
    """Sets the learning rate to `schedule(epoch, lr)` (or `schedule(epoch)`) before each epoch."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        super().__init__()
        if not callable(schedule):
            raise KCTypeError(
                "KC305",
                f"LearningRateScheduler({schedule!r})",
                "the schedule is a function of epoch and learning rate",
                "pass for example lambda epoch, lr: lr * 0.95; for a constant rate compile with it",
            )
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        if not hasattr(optimizer, "learning_rate"):
            arguments.refuse(
                f"the optimizer {optimizer!r}",
                'Optimizer must have a "learning_rate" attribute.',
                "compile the model with an optimizer that has one",
                code="KC307",
            )
        rate = self._rate(epoch, learning_rate(optimizer))
        if not isinstance(rate, (float, np.floating)):
            arguments.refuse(
                f"LearningRateScheduler: the schedule returned {rate!r} for epoch {epoch}",
                "a learning rate is a float",
                "Return float(...) from the schedule",
            )
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model.optimizer)

    def _rate(self, epoch: int, rate: float) -> Any:
        try:
            inspect.signature(self.schedule).bind(epoch, rate)
        except TypeError:
            return self.schedule(epoch)
        except ValueError:  # a builtin without a signature
            pass
        return self.schedule(epoch, rate)
