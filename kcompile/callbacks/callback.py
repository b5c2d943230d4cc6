"""The base class of callbacks: the events of training, evaluation and prediction, all doing nothing.

An event that a callback does not override costs nothing: `overrides` tells the loops which ones are
overridden. Refuses to hold the order in which callbacks run (`kcompile.callbacks.callback_list`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kcompile.absent import Checked

F = TypeVar("F", bound=Callable[..., Any])


def _default(method: F) -> F:
    method._is_default = True  # type: ignore[attr-defined]
    return method


class Callback(Checked):
    """Subclass and override what is needed; `self.model` and `self.params` are set before the first event.

    `params` holds `epochs`, `steps` (None where unknown), `verbose` and `tally` (what the loop counts).
    `logs` are plain floats; in `on_epoch_end` they may be added to, and later callbacks see it.
    """

    # False: the logs of batch events are not computed for this callback (they are read off the metrics).
    reads_batch_logs = True
    # False: of several batches that run at once, it is enough to hear of the last.
    hears_each_batch = True

    def __init__(self) -> None:
        self.params: dict[str, Any] | None = None
        self._model: Any = None

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self._model = model

    @property
    def model(self) -> Any:
        return self._model

    @_default
    def on_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """An older name of `on_train_batch_begin`."""

    @_default
    def on_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """An older name of `on_train_batch_end`."""

    @_default
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Before the first batch of an epoch (counted from 0)."""

    @_default
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """After the epoch and its validation; validation keys start with `val_`."""

    @_default
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_batch_begin(batch, logs=logs)

    @_default
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_batch_end(batch, logs=logs)

    @_default
    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a batch of evaluation, also of the one inside `fit`."""

    @_default
    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch of evaluation."""

    @_default
    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a batch of prediction."""

    @_default
    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch of prediction; `logs["outputs"]` are its outputs."""

    @_default
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Once, before training."""

    @_default
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Once, after training; `logs` are those of the last epoch."""

    @_default
    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before an evaluation."""

    @_default
    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """After an evaluation; `logs` are its results."""

    @_default
    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before a prediction."""

    @_default
    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """After a prediction."""


def overrides(callback: Any, event: str) -> bool:
    """Whether `callback` does something at `event` (older names of the event included)."""
    asked = getattr(callback, "uses", None)
    if asked is not None and not asked(event):
        return False
    if not getattr(getattr(callback, event), "_is_default", False):
        return True
    older = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}.get(
        event
    )
    return older is not None and not getattr(getattr(callback, older), "_is_default", False)
