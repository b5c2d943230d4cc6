"""LambdaCallback: a callback from functions. Refuses to hold anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.callbacks.callback import Callback
from kcompile.errors import KCTypeError


class LambdaCallback(Callback):
    """`LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`: any event of `Callback` by keyword.

    Raises KCTypeError KC305 for a name that is no event.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin, "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin, "on_train_batch_end": on_train_batch_end,
        }  # fmt: skip
        for event, function in {**given, **kwargs}.items():
            if event.startswith("on_") and not hasattr(Callback, event):
                events = sorted(n for n in vars(Callback) if n.startswith("on_"))
                raise KCTypeError(
                    "KC305",
                    f"LambdaCallback was given {event!r}",
                    "it is no event",
                    f"events are {', '.join(events)}",
                )
            if function is not None:
                setattr(self, event, function)
