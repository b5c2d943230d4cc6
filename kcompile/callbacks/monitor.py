"""Watching one logged value: which direction is better, and whether a value is an improvement.

Refuses to decide what follows from that: EarlyStopping, ModelCheckpoint and ReduceLROnPlateau do.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable

from kcompile.callbacks.callback import Callback
from kcompile.errors import KCValueError


class MonitorCallback(Callback):
    """Holds `monitor`, `mode` ("auto", "min", "max"), `min_delta` and the best value so far (`best`).

    "auto" asks the metric of that name for its direction; a loss is to be minimised.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0.0,
    ):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode.",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor, self.mode, self.best = monitor, mode, baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Callable[[float, float], bool] | None = None

    def set_direction(self) -> None:
        """Resolve `mode` once the metrics exist. Raises KCValueError KC305 where it cannot be told."""
        if self.monitor_op is not None:
            return
        mode = self.mode if self.mode != "auto" else self._ask_metrics()
        self.monitor_op = operator.lt if mode == "min" else operator.gt
        if mode == "min":
            self.min_delta = -self.min_delta

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; True without one."""
        if reference is None:
            return True
        assert self.monitor_op is not None
        return bool(self.monitor_op(value - self.min_delta, reference))

    def _ask_metrics(self) -> str:
        name = self.monitor.removeprefix("val_")
        for metric in getattr(self.model, "metrics", ()):
            for m in getattr(metric, "metrics", None) or (metric,):
                direction = getattr(m, "_direction", None)
                if m.name == name and name != "loss" and direction is not None:
                    return "max" if direction == "up" else "min"
        if name == "loss" or name.endswith("_loss"):
            return "min"
        raise KCValueError(
            "KC305",
            f"{type(self).__name__} was given monitor={self.monitor!r}",
            "the direction of that value cannot be told from the metrics of the model",
            "pass mode='max' or mode='min'",
        )
