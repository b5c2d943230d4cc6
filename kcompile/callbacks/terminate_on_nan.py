"""TerminateOnNaN: stop as soon as the loss is not finite. Refuses to repair anything."""

from __future__ import annotations

import math
from typing import Any

from kcompile.callbacks.callback import Callback
from kcompile.callbacks.say import say
from kcompile.errors import KCRuntimeError


class TerminateOnNaN(Callback):
    """Stops training (or raises KCRuntimeError KC306 with `raise_error`) at a NaN or infinite loss."""

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise KCRuntimeError(
                "KC306",
                f"NaN or Inf loss encountered at batch {batch}: {loss}",
                "training ends at a loss that is not finite",
                "lower the learning rate, clip gradients, or look for such values in the data",
            )
        say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
