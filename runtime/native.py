"""C sources become functions: find a compiler, compile into a cached shared object, load it, bind addresses.

Objects are kept beside the programs (`runtime.cache`: KCOMPILE_CACHE, mode 0700, owner checked) under a digest of the source,
the compiler's version, its flags and this processor; each has a digest of its own beside it, checked before it is loaded. A cache
that cannot be written is passed over: the object is then made in a temporary directory. Refuses to know programs.

KCOMPILE_CC, else CC: the compiler (a command, may have arguments). Without them: cc, gcc, clang, the first that is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime import cache
from runtime.memory import Array

log = logging.getLogger("kcompile.native")

# No -ffast-math: NaN and infinity must come out as the graph says. Products may be fused with sums (one rounding less),
# integers wrap as NumPy's do, and nobody looks at errno or at floating-point traps.
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fwrapv",
         "-fno-strict-aliasing", "-fPIC", "-shared", "-w")  # fmt: skip
SECONDS = 300


class NativeError(RuntimeError):
    """There is no C compiler, or it failed."""


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command of the compiler. Raises NativeError where there is none."""
    wanted = os.environ.get("KCOMPILE_CC") or os.environ.get("CC")
    if wanted:
        command = shlex.split(wanted)
        if not command or shutil.which(command[0]) is None:
            raise NativeError(
                f"the C compiler {wanted!r} (from KCOMPILE_CC or CC) is not there; unset that or install it"
            )
        return tuple(command)
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return (found,)
    raise NativeError(
        "no C compiler (cc, gcc, clang) is on the PATH; install one, or set KCOMPILE_CC"
    )


@functools.cache
def version(command: tuple[str, ...]) -> str:
    """What the compiler says it is. Raises NativeError when it cannot be run."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise NativeError(f"the C compiler {shlex.join(command)} does not run: {e}") from e
    return done.stdout


@functools.cache
def processor() -> str:
    """What `-march=native` depends on."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        keep = ("model name", "flags", "Features", "CPU part")
        return "\n".join(dict.fromkeys(line for line in lines if line.startswith(keep)))
    return f"{platform.machine()} {platform.processor()}"


def library(source: str) -> Any:
    """The loaded library of a C source. Raises NativeError."""
    command = compiler()
    text = "\n".join([source, version(command), shlex.join(command), " ".join(FLAGS), processor()])
    return _load(hashlib.sha256(text.encode()).hexdigest()[:40], source, command)


_loaded: dict[str, Any] = {}


def _load(key: str, source: str, command: tuple[str, ...]) -> Any:
    found = _loaded.get(key)
    if found is None:
        shelf = cache.default()
        path = _cached(shelf.directory, key) if shelf is not None else None
        if path is None and shelf is not None:
            with contextlib.suppress(OSError):
                path = _keep(shelf.directory, key, source, command)
            if path is None:
                log.warning("compiled C was not cached in %s", shelf.directory)
        if path is not None:
            found = _open(path)
        else:
            with tempfile.TemporaryDirectory(prefix="kcompile-") as there:
                target = Path(there) / "program.so"
                _compile(source, target, command)
                found = _open(target)
        _loaded[key] = found
    return found


def _open(path: Path) -> Any:
    try:
        return ctypes.CDLL(str(path))
    except OSError as e:
        raise NativeError(f"the compiled program {path} cannot be loaded: {e}") from e


def _cached(directory: Path, key: str) -> Path | None:
    """The object of `key`, if it is this user's, closed to others, and whole."""
    path = directory / f"{key}.so"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as f:
            found = os.fstat(f.fileno())
            mine = (
                stat.S_ISREG(found.st_mode)
                and found.st_uid == os.geteuid()
                and not found.st_mode & 0o022
            )
            body = f.read() if mine else b""
        digest = (directory / f"{key}.sum").read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as e:
        log.warning("dropped the cached object %s: %s", path, e)
        return None
    if mine and digest == hashlib.sha256(body).hexdigest():
        return path
    log.warning(
        "dropped the cached object %s: it is not what was written; it is compiled again", path
    )
    for p in (path, directory / f"{key}.sum"):
        with contextlib.suppress(OSError):
            p.unlink()
    return None


def _keep(directory: Path, key: str, source: str, command: tuple[str, ...]) -> Path:
    """Compile into the cache, whole or not at all. Raises OSError when the directory cannot be written."""
    path = directory / f"{key}.so"
    with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as there:
        target = Path(there) / "program.so"
        _compile(source, target, command)
        target.chmod(0o600)
        total = Path(there) / "sum"
        total.write_text(hashlib.sha256(target.read_bytes()).hexdigest())
        total.chmod(0o600)
        os.replace(target, path)
        os.replace(total, directory / f"{key}.sum")
    return path


def _compile(
    source: str, target: Path, command: tuple[str, ...], flags: Sequence[str] = FLAGS
) -> None:
    text = target.with_suffix(".c")
    text.write_text(source)
    try:
        done = subprocess.run(
            [*command, *flags, str(text), "-o", str(target), "-lm"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise NativeError(f"the C compiler {shlex.join(command)} failed: {e}") from e
    if done.returncode:
        first = "\n".join(done.stderr.splitlines()[:8])
        raise NativeError(f"the C compiler {shlex.join(command)} failed:\n{first}")


def bind(found: Any, names: Sequence[str], buffers: Sequence[Array]) -> list[Callable[[], Any]]:
    """The functions `void name(char **)` with the table of the buffers' addresses for their argument."""
    table = (ctypes.c_void_p * max(len(buffers), 1))(*(b.ctypes.data for b in buffers))
    at = ctypes.cast(table, ctypes.c_void_p)
    out: list[Callable[[], Any]] = []
    for name in names:
        function = found[name]
        function.argtypes, function.restype = [ctypes.c_void_p], None
        call = functools.partial(function, at)
        call.keep = (table, list(buffers))  # type: ignore[attr-defined]
        out.append(call)
    return out
