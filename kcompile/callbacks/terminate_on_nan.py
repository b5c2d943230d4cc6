"""TerminateOnNaN: stop as soon as the loss is not finite. Refuses to repair anything."""

from __future__ import annotations

import math
from typing import Any

from kcompile.callbacks.callback import Callback
from kcompile.callbacks.say import say


class TerminateOnNaN(Callback):
    """Stops training (or raises RuntimeError with `raise_error`) at a NaN or infinite loss."""

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. "
                "Terminating training immediately."
            )
        say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
