"""Compiled programs on disk, one file per key: `ProgramCache`, and `default()` from the environment.

A program holds source that will be run, so an entry counts only if this user owns it, nobody else
may write it, and its digest fits; else it is dropped and compiled again. Entries are JSON text, never
pickle. The key covers the caller's key and the compiler itself (versions and its source files).
Refuses to compile, and to know where programs come from.

KCOMPILE_CACHE: a directory, or `0` / `off` for none. Without it: `$XDG_CACHE_HOME/kcompile`, else
`~/.cache/kcompile`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import logging
import os
import stat
import tempfile
import time
from pathlib import Path

import numpy as np

from codegen.program import VERSION, Program

log = logging.getLogger("kcompile.cache")

MAGIC = "kcompile-program"
MAX_ENTRY_BYTES = 256 << 20
MAX_ENTRIES = 512  # of a kind
MAX_KERNELS = 4096
_STALE_SECONDS = 3600.0
KINDS = (".kcp", ".obj", ".so", ".gpu")  # programs, the objects of their C, and a GPU's kernels
CHOICE = ".way"  # how a kernel is laid out: small, and never dropped for its age


class CacheError(Exception):
    """A directory that cannot be trusted to hold programs: which one, why, and what to do."""


class ProgramCache:
    """Programs in `directory`, made if it is missing.

    Raises CacheError when the directory belongs to somebody else or others may write in it.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(directory)
        except OSError as e:
            raise CacheError(f"cannot use the cache directory {directory}: {e.strerror}") from e
        if not stat.S_ISDIR(found.st_mode):
            raise CacheError(f"{directory} is not a directory (a link is not followed)")
        if found.st_uid != os.geteuid():
            raise CacheError(
                f"{directory} belongs to user {found.st_uid}; set KCOMPILE_CACHE elsewhere"
            )
        if found.st_mode & 0o077:
            raise CacheError(
                f"{directory} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); "
                f"remove it or run: chmod 700 {directory}"
            )

    def path(self, key: str) -> Path:
        """The file of `key`."""
        whole = f"{fingerprint()}\n{key}"
        return self.directory / (hashlib.sha256(whole.encode()).hexdigest()[:40] + ".kcp")

    def load(self, key: str) -> Program | None:
        """The program saved under `key`; None when there is none or it is damaged (then removed)."""
        path = self.path(key)
        try:
            text = content(path)
        except FileNotFoundError:
            return None
        except (OSError, CacheError) as e:
            self._drop(path, str(e))
            return None
        head, _, body = text.partition(b"\n")
        digest = hashlib.sha256(body).hexdigest()
        if head.decode("ascii", "replace").split() != [MAGIC, str(VERSION), digest]:
            self._drop(path, "its digest does not fit its content")
            return None
        try:
            program = Program.from_json(body.decode())
        except ValueError as e:
            self._drop(path, str(e))
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the oldest entries go first
        return program

    def save(self, key: str, program: Program) -> None:
        """Write `program` under `key`, whole or not at all. A full or read-only disk is logged."""
        body = program.to_json().encode()
        head = f"{MAGIC} {VERSION} {hashlib.sha256(body).hexdigest()}\n".encode()
        try:
            written(self.path(key), head + body)
        except OSError as e:
            log.warning("program %s was not cached in %s: %s", program.name, self.directory, e)
        self.prune()

    def clear(self) -> int:
        """Remove every entry, objects of C, kernels and choices too; returns how many programs there were."""
        entries = list(self.directory.glob("*.kcp"))
        for path in (p for kind in (*KINDS, CHOICE) for p in self.directory.glob(f"*{kind}")):
            path.unlink(missing_ok=True)
        return len(entries)

    def _drop(self, path: Path, why: str) -> None:
        log.warning("dropped the cached program %s: %s; it is compiled again", path, why)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def prune(self) -> None:
        """Keep the entries used last, and clear what interrupted writes left."""
        aged = []
        with contextlib.suppress(OSError):
            for e in os.scandir(self.directory):
                with contextlib.suppress(FileNotFoundError):
                    aged.append((e.stat(follow_symlinks=False).st_mtime, e.path))
        old = [p for t, p in aged if "/.new-" in p and t < time.time() - _STALE_SECONDS]
        for kind in KINDS:
            entries = sorted(a for a in aged if a[1].endswith(kind))
            most = MAX_KERNELS if kind == ".gpu" else MAX_ENTRIES
            old += [p for _, p in entries[: max(0, len(entries) - most)]]
        for path in old:
            with contextlib.suppress(OSError):
                os.unlink(path)


def content(path: Path) -> bytes:
    """What a file of this user holds. Raises OSError, or CacheError for one that others may write, or too large a one."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as f:
        found = os.fstat(f.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise CacheError("it is not a file of this user")
        if found.st_mode & 0o022:
            raise CacheError("others may write it")
        if found.st_size > MAX_ENTRY_BYTES:
            raise CacheError(f"it has {found.st_size} bytes; at most {MAX_ENTRY_BYTES} are read")
        return f.read()


def written(path: Path, body: bytes) -> None:
    """Write a file of this user's alone, whole or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(body)  # not synced: what a crash cuts off has another digest
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@functools.cache
def fingerprint() -> str:
    """What made the programs: format and NumPy version, and size and time of the compiler's sources."""
    parts = [str(VERSION), np.__version__]
    for package in ("ir", "codegen"):
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(root).rglob("*.py")):
                found = file.stat()
                parts.append(f"{file.relative_to(root)} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def directory() -> Path | None:
    """Where programs are cached by default; None when `KCOMPILE_CACHE` switches that off."""
    wanted = os.environ.get("KCOMPILE_CACHE")
    if wanted is not None:
        return None if wanted.lower() in ("", "0", "off") else Path(wanted).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kcompile"


def default() -> ProgramCache | None:
    """The cache of `directory()`; None when switched off, or (logged) when it cannot be trusted."""
    where = directory()
    return None if where is None else _open(where)


@functools.cache
def _open(where: Path) -> ProgramCache | None:
    try:
        return ProgramCache(where)
    except CacheError as e:
        log.warning("programs are not cached: %s", e)
        return None
