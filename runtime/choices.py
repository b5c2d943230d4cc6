"""What was found quickest for kernels of C, on disk: a choice once kept stays, so that results are the same from then on.

One small JSON file a kernel, beside the programs (`runtime.cache`), called by what the kernel is and by processor, compiler and its
flags. And what was asked for. Refuses to find out what is quickest (`tune`, `tune_native`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from runtime import cache
from runtime.compiler import identity

log = logging.getLogger("kcompile.tune")


GAIN = 0.97  # of the time with the rules' schedule: above it, that stands


def asked() -> bool | None:
    """What KCOMPILE_TUNE says: 0, that every schedule is the rules', and with it every sum's order; another value, that kernels are timed.

    None where it says nothing: those of a GPU are timed, those in C are as they were found quickest when that was asked for.
    """
    said = os.environ.get("KCOMPILE_TUNE")
    return said != "0" if said else None


def place() -> str:
    """Where a choice holds: a digest of processor, compiler and flags. Raises NativeError."""
    return hashlib.sha256(identity().encode()).hexdigest()[:16]


class Choices:
    """Choices in `directory`, which is this user's alone; none are kept where that is None."""

    def __init__(self, directory: Path | None):
        self.directory, self._place = directory, place()

    def _path(self, text: str) -> Path | None:
        name = hashlib.sha256(f"{self._place}\n{text}".encode()).hexdigest()[:40]
        return None if self.directory is None else self.directory / f"{name}{cache.CHOICE}"

    def load(self, text: str) -> dict[str, Any] | None:
        """The choice for a kernel of this text; None where there is none, or none that can be read."""
        path = self._path(text)
        try:
            found = None if path is None else json.loads(cache.content(path))
        except FileNotFoundError:
            return None
        except (OSError, cache.CacheError, ValueError) as e:
            log.warning("the choice in %s is not used: %s", path, e)
            return None
        return found if isinstance(found, dict) else None

    def save(self, text: str, choice: dict[str, Any]) -> None:
        """Keep a choice, unless there is one. A full or read-only disk is logged."""
        path = self._path(text)
        if path is None:
            return
        name = ""
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
            with os.fdopen(handle, "w") as f:
                json.dump(choice, f)
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        except OSError as e:
            log.warning("a choice was not kept in %s: %s", path.parent, e)
        finally:
            if name:
                Path(name).unlink(missing_ok=True)
