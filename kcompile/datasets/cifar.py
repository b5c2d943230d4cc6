"""What CIFAR-10 and CIFAR-100 share: the archive of pickled batches, read without unpacking it.

Both are by A. Krizhevsky, V. Nair and G. Hinton, *Learning Multiple Layers of Features from Tiny
Images*, 2009. Refuses to run anything a pickle asks for (`kcompile.datasets.plain_pickle`).
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.datasets.cached import find, folder
from kcompile.datasets.plain_pickle import MAX_BYTES, loads
from kcompile.errors import KCValueError


def read_batches(
    name: str, origin: str, sha256: str, members: Sequence[str], label: bytes, allow: bool
) -> list[tuple[Any, Any]]:
    """Images u8 [n, 32, 32, 3] and labels [n, 1] of each member of the folder `name`.

    Looks for the folder as Keras unpacks it, then for the archive as Keras keeps it, then fetches.
    Raises KCOSError KC406 and KCValueError KC402, KC405 as the readers do.
    """
    for unpacked in (folder() / f"{name}-target" / name, folder() / name):
        if unpacked.is_dir():
            return [_batch((unpacked / m).read_bytes, str(unpacked / m), label) for m in members]
    old = folder() / f"{name}.tar.gz"
    archive = old if old.is_file() else find(f"{name}-target_archive", origin, sha256, allow)
    try:
        with tarfile.open(archive) as tar:
            return [
                _batch(lambda m=m: _member(tar, f"{name}/{m}"), f"{archive}:{m}", label)
                for m in members
            ]
    except (tarfile.TarError, zlib.error, EOFError, KeyError) as e:
        raise KCValueError(
            "KC402", f"{archive}: {e}", "the archive holds the batches", "delete it and load again"
        ) from e


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    info = tar.getmember(name)
    f = tar.extractfile(info)
    if f is None or info.size > MAX_BYTES:
        raise tarfile.ReadError(f"{name} is no file of a plausible size")
    return f.read()


def _batch(read: Callable[[], bytes], where: str, label: bytes) -> tuple[Any, Any]:
    try:
        found = loads(read(), where)
        pixels, labels = found[b"data"], np.asarray(found[label])
        images = pixels.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1)
    except (OSError, KeyError, TypeError, AttributeError) as e:
        raise KCValueError(
            "KC402", f"{where}: {e!r}", "a batch holds data and labels", "delete it and load again"
        ) from e
    return np.ascontiguousarray(images), labels.reshape(-1, 1)
