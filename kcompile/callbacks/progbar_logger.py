"""ProgbarLogger: progress on standard error. On a terminal one bar; in a pipe one line for each epoch.

The bar is drawn at most ten times a second and reads metrics only then. Compile time is shown apart from
training time. Refuses to count anything: that is the loop's `Tally`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from kcompile.callbacks.callback import Callback
from kcompile.callbacks.tally import Tally

INTERVAL = 0.1  # seconds between two drawings


class ProgbarLogger(Callback):
    """`verbose` 1 (or "auto"): a bar on a terminal, else lines; 2: one line for each epoch; 0: nothing."""

    reads_batch_logs = False
    hears_each_batch = False

    def __init__(self) -> None:
        super().__init__()
        self._in_fit = False
        self._bar: Any = None
        self._task: Any = None
        self._due = self._begin = self._compiled = 0.0
        self._epoch = 0

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._verbose = params.get("verbose", "auto")
        self._tally = params.get("tally") or Tally()
        self._epochs = params.get("epochs", 1)
        self._live = self._verbose in (1, True, "auto") and sys.stderr.isatty()

    def uses(self, event: str) -> bool:
        """Batch events are used by the bar alone."""
        return bool(getattr(self, "_live", False)) or "batch" not in event

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._in_fit = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        self._start(f"Epoch {epoch + 1}/{self._epochs}", (self.params or {}).get("steps"))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._tick(batch)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._in_fit:
            self._tick(batch)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._tick(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop(f"Epoch {epoch + 1}/{self._epochs}", logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._close()
        self._in_fit = False

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._in_fit:
            self._start("Evaluate", (self.params or {}).get("steps"))

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._in_fit:
            self._stop("Evaluate", logs)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._start("Predict", (self.params or {}).get("steps"))

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._stop("Predict", None)

    def _start(self, title: str, steps: int | None) -> None:
        self._begin = time.perf_counter()
        self._compiled = self._tally.compile_seconds
        self._due = self._begin + INTERVAL
        if not self._live:
            return
        self._close()
        import rich.console
        import rich.progress

        progress, console = rich.progress, rich.console.Console(stderr=True)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[values]}"),
            progress.TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=steps, values="")
        self._bar.start()

    def _tick(self, batch: int) -> None:
        now = time.perf_counter()
        if self._bar is None or now < self._due:
            return
        self._due = now + INTERVAL
        seconds = self._seconds(now)
        shown = values_text(self.model.get_metrics_result()) if self.model.compiled else ""
        rate = f"{self._tally.samples / seconds:,.0f} samples/s" if seconds > 0 else ""
        self._bar.update(self._task, completed=batch + 1, values=f"{shown}  {rate}".strip())
        self._bar.refresh()

    def _stop(self, title: str, logs: dict[str, Any] | None) -> None:
        seconds = self._seconds(time.perf_counter())
        self._close()
        if self._verbose in (0, False):
            return
        parts = [f"{title}:", values_text(logs or {})]
        if self._tally.samples and self._tally.seconds > 0:
            parts.append(f"{self._tally.samples / self._tally.seconds:,.0f} samples/s")
        parts.append(f"{seconds:.2f} s")
        compiled = self._tally.take_compile_seconds()
        if compiled:
            parts.append(f"(and {compiled:.2f} s to compile)")
        sys.stderr.write("  ".join(p for p in parts if p) + "\n")
        sys.stderr.flush()

    def _seconds(self, now: float) -> float:
        """Seconds since the start, without those spent compiling."""
        return now - self._begin - (self._tally.compile_seconds - self._compiled)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def values_text(logs: dict[str, Any]) -> str:
    """Logs for a reader: `loss 0.1234  accuracy 0.9876`; small values in exponent form."""
    return "  ".join(f"{k} {_number(v)}" for k, v in logs.items())


def _number(value: Any) -> str:
    try:
        v = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{v:.4f}" if v == 0 or abs(v) >= 1e-3 else f"{v:.3e}"
