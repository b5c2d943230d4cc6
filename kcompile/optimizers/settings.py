"""What arguments an optimizer takes, and how it refuses others.

Refuses to hold what they do (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kcompile.absent import parameters
from kcompile.errors import KCValueError
from kcompile.nearest import suggest
from kcompile.variable import Variable

# arguments of old versions that changed nothing in a result
_DROPPED = ("is_legacy_optimizer", "jit_compile")


def check_settings(optimizer: Any) -> None:
    """Raise KCValueError KC307 for settings of an `Optimizer` that cannot be."""
    steps, every = optimizer.gradient_accumulation_steps, optimizer.ema_overwrite_frequency
    if steps and not (isinstance(steps, int) and steps >= 2):
        raise _setting("gradient_accumulation_steps", steps, "an int of at least 2, or None")
    if optimizer.use_ema and not 0 <= optimizer.ema_momentum <= 1:
        raise _setting("ema_momentum", optimizer.ema_momentum, "a number from 0 to 1")
    if optimizer.use_ema and every and not (isinstance(every, int) and every >= 1):
        raise _setting("ema_overwrite_frequency", every, "an int of at least 1, or None")
    if (
        sum(
            c is not None
            for c in (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
        )
        > 1
    ):
        given = f"clipnorm={optimizer.clipnorm}, clipvalue={optimizer.clipvalue}, global_clipnorm={optimizer.global_clipnorm}"
        raise KCValueError(
            "KC307", given, "at most one kind of clipping is used", "keep one of them"
        )


def number(value: Any) -> float:
    """A learning rate as a float. Raises KCValueError KC307."""
    if isinstance(value, bool) or not isinstance(
        value, (int, float, np.number, np.ndarray, Variable)
    ):
        raise KCValueError(
            "KC307", f"learning_rate={value!r}", "a learning rate is a number, a LearningRateSchedule or a function",
            "pass for example learning_rate=0.001",
        )  # fmt: skip
    return float(value)


def _setting(name: str, value: Any, rule: str) -> KCValueError:
    return KCValueError("KC307", f"{name}={value!r}", f"{name} is {rule}", "pass such a value")


def misuse(name: str, given: str, todo: str) -> KCValueError:
    """The error that the optimizer `name` was used in a way that cannot work."""
    return KCValueError(
        "KC307",
        f"the optimizer {name!r} got {given}",
        "an optimizer updates what it was built for",
        todo,
    )


def refuse_unknown(of: type, kwargs: dict[str, Any]) -> None:
    """Raise KCValueError KC307 for arguments that the optimizer class `of` does not take."""
    cls = of.__name__
    kwargs = {k: v for k, v in kwargs.items() if k not in _DROPPED}
    if kwargs.pop("decay", None) is not None:
        warnings.warn(
            "`decay` is no longer an argument of optimizers and is ignored; use a schedule.",
            stacklevel=4,
        )
    if "lr" in kwargs:
        raise KCValueError(
            "KC307",
            f"{cls}(lr={kwargs['lr']!r})",
            "`lr` is called `learning_rate`",
            "write learning_rate=",
        )
    if kwargs:
        raise KCValueError(
            "KC307", f"{cls}({', '.join(f'{k}={v!r}' for k, v in kwargs.items())})", f"{cls} has no such argument",
            suggest(next(iter(kwargs)), parameters(of)),
        )  # fmt: skip
