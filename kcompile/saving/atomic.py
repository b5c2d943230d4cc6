"""Writing a file so that it is whole or not there: a temporary file beside it, synced, then renamed.

Refuses to know what is written.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kcompile.errors import KCOSError

_PART = ".part"


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write; at the end it takes the place of `path` in one step. On an error `path` stays.

    Raises OSError, KCOSError KC404 where the folder is not there. Leftovers of writers that were killed are removed.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{os.getpid()}{_PART}")
    if not os.path.isdir(folder):
        raise KCOSError(
            "KC404",
            f"filepath={path!r}",
            f"there is no folder {folder!r}",
            "create the folder first, for example with os.makedirs",
        )
    _sweep(folder, name)
    try:
        with open(temporary, "w+b") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename last: not every file system can, and then there is nothing to do."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _sweep(folder: str, name: str) -> None:
    """Remove temporary files of processes that are gone."""
    for left in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*{_PART}")):
        pid = left[: -len(_PART)].rpartition(".")[2]
        if pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
            os.unlink(left)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
