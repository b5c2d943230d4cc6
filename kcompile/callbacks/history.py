"""History: the logs of each epoch, as lists by key. What `fit` returns.

Refuses to hold anything but plain numbers.
"""

from __future__ import annotations

from typing import Any

from kcompile.callbacks.callback import Callback


class History(Callback):
    """`history` maps a key to one value for each epoch; `epoch` lists the epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)
        self.model.history = self
