"""A list of callbacks driven as one: each event goes to those callbacks that override it, in order.

The order is the user's callbacks, then History, then the progress bar. Refuses to decide when an
event happens: that is `kcompile.fit.loops`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kcompile.callbacks.callback import Callback, overrides
from kcompile.callbacks.history import History
from kcompile.callbacks.progbar_logger import ProgbarLogger
from kcompile.errors import KCTypeError

EVENTS = (
    "on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end",
    "on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin", "on_test_batch_end",
    "on_predict_batch_begin", "on_predict_batch_end", "on_train_begin", "on_train_end",
    "on_test_begin", "on_test_end", "on_predict_begin", "on_predict_end",
)  # fmt: skip


class CallbackList(Callback):
    """Callbacks as one. `add_history` and `add_progbar` add those two where the list lacks them.

    Raises KCTypeError KC305 for an entry that is no callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        super().__init__()
        self.callbacks: list[Any] = list(_flatten(callbacks))
        for c in self.callbacks:
            if isinstance(c, type) or not hasattr(c, "set_model") or not hasattr(c, "on_epoch_end"):
                raise KCTypeError(
                    "KC305",
                    f"callbacks contains {c!r}",
                    "a callback is an instance of keras.callbacks.Callback",
                    "write its name with parentheses"
                    if isinstance(c, type)
                    else "subclass Callback",
                )
        self._history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if self._history is None and add_history:
            self._history = History()
            self.callbacks.append(self._history)
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self.set_model(model)
        self.set_params(params)
        self._route()

    def append(self, callback: Any) -> None:
        """Add a callback at the end."""
        self.callbacks.append(callback)
        self._route()

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        if params:
            for c in self.callbacks:
                c.set_params(params)

    def set_model(self, model: Any) -> None:
        if model is None:
            return
        super().set_model(model)
        if self._history is not None:
            model.history = self._history
        for c in self.callbacks:
            c.set_model(model)

    def wants(self, event: str) -> bool:
        """Whether any callback overrides `event`."""
        return bool(self._routes[event])

    def wants_each(self, event: str) -> bool:
        """Whether any callback that overrides `event`, one of a batch, must hear of every batch."""
        return any(getattr(c, "hears_each_batch", True) for c in self._users[event])

    def wants_logs(self, event: str) -> bool:
        """Whether any callback that overrides `event` reads its logs."""
        return any(getattr(c, "reads_batch_logs", True) for c in self._users[event])

    def _route(self) -> None:
        self._users = {e: [c for c in self.callbacks if overrides(c, e)] for e in EVENTS}
        self._routes: dict[str, list[Callable[..., Any]]] = {
            e: [getattr(c, e) for c in users] for e, users in self._users.items()
        }


def _event(name: str, indexed: bool) -> Callable[..., None]:
    def with_index(self: CallbackList, index: int, logs: dict[str, Any] | None = None) -> None:
        for method in self._routes[name]:
            method(index, logs)

    def without(self: CallbackList, logs: dict[str, Any] | None = None) -> None:
        for method in self._routes[name]:
            method(logs)

    method = with_index if indexed else without
    method.__name__ = name
    method.__doc__ = f"`{name}` of each callback that overrides it."
    return method


for _name in EVENTS:
    setattr(CallbackList, _name, _event(_name, "batch" in _name or "epoch" in _name))


def _flatten(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, (list, tuple)):
        for c in callbacks:
            yield from _flatten(c)
    else:
        yield callbacks
