"""ModelCheckpoint: save the model or its weights, each epoch or every so many batches, or at the best.

Refuses to hold file formats (`kcompile.saving`).
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

import kcompile.arguments as arguments
from kcompile.callbacks.monitor import MonitorCallback
from kcompile.callbacks.say import say
from kcompile.errors import KCKeyError, KCOSError


class ModelCheckpoint(MonitorCallback):
    """Saves to `filepath`, which may name `{epoch:02d}`, `{batch}` and keys of the logs (`{val_loss:.2f}`).

    `save_freq` is "epoch" or a number of batches. A path ends in `.weights.h5` with `save_weights_only`, else in `.keras`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq = save_freq
        self._epoch = 0
        self._batches = 0
        if save_freq != "epoch" and not arguments.is_int(save_freq):
            arguments.refuse(
                f"ModelCheckpoint was given save_freq={save_freq!r}",
                "`save_freq` is 'epoch' or a number of batches",
                "Pass save_freq='epoch'",
            )
        endings = (".weights.h5",) if save_weights_only else (".keras", ".h5")
        if not self.filepath.endswith(endings):
            arguments.refuse(
                f"ModelCheckpoint was given filepath={self.filepath!r}",
                f"with save_weights_only={save_weights_only} the path ends in {' or '.join(endings)}",
                f"Name the file for example 'model{endings[0]}'",
            )

    def uses(self, event: str) -> bool:
        """Batch events are used only when saving by batches."""
        return self.save_freq != "epoch" or event != "on_train_batch_end"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self.set_direction_if_needed()
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.set_direction_if_needed()
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def set_direction_if_needed(self) -> None:
        """The direction matters only for the best."""
        if self.save_best_only:
            self.set_direction()

    def _save(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> None:
        path = self._path(epoch, batch, logs)
        if not self._is_due(epoch, logs, path):
            return
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if os.path.isdir(path):
            raise KCOSError(
                "KC404",
                f"Filepath used is an existing directory: {path}",
                "ModelCheckpoint writes a file",
                "Please specify a non-directory filepath for ModelCheckpoint",
            )
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose > 0:
            say(f"Epoch {epoch + 1}: finished saving model to {path}")

    def _is_due(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        if not self.save_best_only:
            if self.verbose > 0:
                say(f"Epoch {epoch + 1}: saving model to {path}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(f"Can save best model only with {self.monitor} available.", stacklevel=2)
            return True
        if np.ndim(current):
            warnings.warn(
                f"Can save best model only when `monitor` is a scalar value. Received: {current}. "
                "Falling back to `save_best_only=False`.",
                stacklevel=2,
            )
            return True
        best = "None" if self.best is None else f"{self.best:.5f}"
        better = self.is_improvement(current, self.best)
        if self.verbose > 0:
            verdict = (
                f"improved from {best} to {current:.5f}, saving model to {path}"
                if better
                else f"did not improve from {best}"
            )
            say(f"Epoch {epoch + 1}: {self.monitor} {verdict}")
        if better:
            self.best = current
        return better

    def _path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        names = dict(logs, epoch=epoch + 1)
        if batch is not None:
            names.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**names)
        except KeyError as e:
            raise KCKeyError(
                "KC305",
                f'Failed to format this callback filepath: "{self.filepath}"',
                f"there is no {e} to fill in",
                f"known names are {', '.join(sorted(names))}",
            ) from e
