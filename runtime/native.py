"""C sources become functions: compile into a cached shared object, load it, bind addresses.

Objects are kept beside the programs (`runtime.cache`: KCOMPILE_CACHE, mode 0700, owner checked). `<key>.obj` names the digest of
the object that a source has under the compiler, its flags and this processor, `<digest>.so` is that object; the digest is checked before it is
loaded, and the name is written last, so that whoever reads meets a whole object or none. A cache that cannot be written is passed over: the
object is loaded from where it was made. Refuses to know programs, and how C is compiled (`compiler`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime import cache
from runtime.compiler import FLAGS, NativeError, build, compiler, identity
from runtime.memory import Array

__all__ = ["FLAGS", "Function", "NativeError", "bind", "compiler", "library"]

log = logging.getLogger("kcompile.native")


def library(source: str) -> Any:
    """The loaded library of a C source. Raises NativeError."""
    text = f"{identity()}\n{source}"
    key = hashlib.sha256(text.encode()).hexdigest()[:40]
    found = _loaded.get(key)
    if found is None:
        found = _loaded[key] = _load(key, source)
    return found


_loaded: dict[str, Any] = {}


def _load(key: str, source: str) -> Any:
    shelf = cache.default()
    if shelf is not None:
        path = _cached(shelf.directory, key)
        if path is not None:
            with contextlib.suppress(
                NativeError
            ):  # of another machine, or on a disk that may not run code
                return _open(path)
    with tempfile.TemporaryDirectory(prefix="kcompile-") as there:
        made = build(source, Path(there))
        if shelf is not None:
            try:
                return _open(_keep(shelf.directory, key, made.read_bytes()))
            except (OSError, NativeError) as e:
                log.warning("compiled C is not cached in %s: %s", shelf.directory, e)
        return _open(made)


def _open(path: Path) -> Any:
    try:
        return ctypes.CDLL(str(path))
    except OSError as e:
        raise NativeError(f"the compiled program {path} cannot be loaded: {e}") from e


def _cached(directory: Path, key: str) -> Path | None:
    """The object of `key`, if it is this user's, closed to others, and whole."""
    index = directory / f"{key}.obj"
    files = [index]
    try:
        digest = _own(index).decode("ascii", "replace").strip()
        if len(digest) != 64 or not digest.isalnum():
            raise OSError("its index is damaged")
        path = directory / f"{digest[:40]}.so"
        files.append(path)
        if hashlib.sha256(_own(path)).hexdigest() != digest:
            raise OSError("it is not what was written")
        for p in files:
            with contextlib.suppress(OSError):
                os.utime(p)  # the oldest go first
    except FileNotFoundError:
        return None
    except OSError as e:
        log.warning("dropped the cached object %s: %s; it is compiled again", files[-1], e)
        for p in files:
            with contextlib.suppress(OSError):
                p.unlink()
        return None
    return path


def _own(path: Path) -> bytes:
    """The content of a file that this user alone can write. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as f:
        found = os.fstat(f.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError("it is not a file of this user")
        if found.st_mode & 0o022:
            raise OSError("others may write it")
        return f.read()


def _keep(directory: Path, key: str, body: bytes) -> Path:
    """Put an object into the cache, whole or not at all. Raises OSError when that cannot be written."""
    digest = hashlib.sha256(body).hexdigest()
    path = directory / f"{digest[:40]}.so"
    cache.written(path, body)
    cache.written(directory / f"{key}.obj", digest.encode())
    return path


class Function:
    """A C function `void name(char **)` with a table of buffers' addresses: calling it runs it.

    address: where the function is. table: the addresses, which live as long as this does, as the buffers do.
    """

    def __init__(self, found: Any, name: str, buffers: Sequence[Array]):
        function = found[name]
        function.argtypes, function.restype = [ctypes.c_void_p], None
        self.table = (ctypes.c_void_p * max(len(buffers), 1))(*(b.ctypes.data for b in buffers))
        self.address = ctypes.cast(function, ctypes.c_void_p)
        self._call = functools.partial(function, ctypes.cast(self.table, ctypes.c_void_p))
        self._keep = list(buffers)

    def __call__(self) -> None:
        self._call()


def bind(found: Any, names: Sequence[str], buffers: Sequence[Array]) -> list[Function]:
    """The functions `void name(char **)` of a library, with the table of the buffers' addresses for their argument."""
    return [Function(found, name, buffers) for name in names]
