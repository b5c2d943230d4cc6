"""Kernels as machine code: taken from the disk, else compiled in processes side by side, and kept beside the programs.

One file a kernel, called by what the kernel is (`runtime.triton_source.identities`), with a digest before its content; a damaged
one is compiled again. Refuses to load code into a device (`runtime.launcher`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from codegen.program import Program
from runtime import cache
from runtime.triton_build import binaries, read, written
from runtime.triton_report import Binary, Refused

log = logging.getLogger("kcompile.cache")

MAGIC = "kcompile-kernel-1"


def machine_code(
    program: Program, target: str, wanted: Mapping[str, str]
) -> dict[str, Binary | Refused]:
    """Kernels of a program for a target by name, or why one does not compile. wanted: their identities by name."""
    shelf = cache.default()
    found: dict[str, Binary | Refused] = {}
    if shelf is not None:
        kept = {name: _load(_path(shelf.directory, key)) for name, key in wanted.items()}
        found = {name: b for name, b in kept.items() if b is not None}
    missing = [name for name in wanted if name not in found]
    if missing:
        made = binaries(program, target, missing)
        found |= made
        if shelf is not None:
            for name, b in made.items():
                if isinstance(b, Binary):
                    _save(_path(shelf.directory, wanted[name]), b)
            shelf.prune()
    return found


def _path(directory: Path, key: str) -> Path:
    return directory / f"{key[:40]}.gpu"


def _load(path: Path) -> Binary | None:
    """What a file holds; None where there is none, or it is damaged (then removed)."""
    try:
        head, _, body = cache.content(path).partition(b"\n")
        if head.decode("ascii", "replace") != _head(body):
            raise ValueError("its digest does not fit its content")
        found = read(json.loads(body))
    except FileNotFoundError:
        return None
    except (OSError, cache.CacheError, ValueError, KeyError, TypeError) as e:
        log.warning("dropped the cached kernel %s: %s; it is compiled again", path, e)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the oldest entries go first
    return found


def _save(path: Path, b: Binary) -> None:
    body = json.dumps(written(b)).encode()
    try:
        cache.written(path, f"{_head(body)}\n".encode() + body)
    except OSError as e:
        log.warning("the kernel %s was not cached in %s: %s", b.usage.kernel, path.parent, e)


def _head(body: bytes) -> str:
    return f"{MAGIC} {hashlib.sha256(body).hexdigest()}"
