"""BackupAndRestore: continue an interrupted `fit` at the epoch it had reached.

Refuses to keep more than the last backup (and, with `double_checkpoint`, the one before).
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import kcompile.arguments as arguments
from kcompile.callbacks.callback import Callback


class BackupAndRestore(Callback):
    """Writes weights, optimizer state and the epoch to `backup_dir`, and reads them when training begins.

    `save_freq` is "epoch" or a number of batches. The directory is removed at the end with `delete_checkpoint`.
    """

    reads_batch_logs = False

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if not backup_dir:
            arguments.refuse(
                f"backup_dir={backup_dir!r}",
                "Empty `backup_dir` argument passed",
                "name a directory of its own",
                code="KC305",
            )
        if save_freq != "epoch" and not (arguments.is_int(save_freq) and int(save_freq) > 0):
            arguments.refuse(
                f"save_freq={save_freq!r}",
                "it is 'epoch' or a positive number of batches",
                "pass save_freq='epoch'",
                code="KC305",
            )
        self.backup_dir, self.save_freq = os.fspath(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self._weights = os.path.join(self.backup_dir, "latest.weights.h5")
        self._facts = os.path.join(self.backup_dir, "training_metadata.json")
        self._epoch = self._batch = self._batches = 0

    def uses(self, event: str) -> bool:
        """Batch events are used only when saving by batches."""
        return self.save_freq != "epoch" or event != "on_train_batch_end"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not (os.path.exists(self._weights) and os.path.exists(self._facts)):
            return
        self.model.load_weights(self._weights)
        with open(self._facts, encoding="utf-8") as f:
            self._epoch = int(json.load(f)["epoch"])
        self.model._initial_epoch = self._epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch = batch + 1
        self._batches += 1
        if self.save_freq != "epoch" and self._batches >= int(self.save_freq):
            self._batches = 0
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.delete_checkpoint:
            shutil.rmtree(self.backup_dir, ignore_errors=True)

    def _save(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint:
            for path in (self._weights, self._facts):
                if os.path.exists(path):
                    shutil.copy(path, path + ".previous")
        self.model.save_weights(self._weights, overwrite=True)
        part = self._facts + ".part"
        with open(part, "w", encoding="utf-8") as f:
            json.dump({"epoch": self._epoch, "batch": self._batch}, f)
        os.replace(part, self._facts)
