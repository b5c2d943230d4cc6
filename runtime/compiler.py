"""The C compiler: which command it is, and a source made a shared object with it.

KCOMPILE_CC, else CC: the compiler (a command, may have arguments). Without them: cc, gcc, clang, the first that is there, else
the clang of the `ziglang` wheel (the extra `native`). Refuses to keep objects and to load them (`native`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtime import threads
from runtime.split import split

# No -ffast-math: NaN and infinity must come out as the graph says. Products may be fused with sums (one rounding less),
# integers wrap as NumPy's do, and nobody looks at errno or at floating-point traps.
FLAGS = ("-march=native", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fwrapv",
         "-fno-strict-aliasing", "-fPIC", "-w")  # fmt: skip
LEVEL = "-O2"  # of -O3 kernels gain nothing; with part of -O2 alone a large ResNet compiles sooner and trains 1.4 times slower
SPLIT = (
    '-DAPART=__attribute__((visibility("hidden")))'  # a function may be called from another source
)
SECONDS = 300.0  # for one source; a compiler that takes longer is not asked again


class NativeError(RuntimeError):
    """There is no C compiler, or it failed."""


_broken: dict[tuple[str, ...], str] = {}  # compilers that hung, and what is said of them


@functools.cache
def _command() -> tuple[str, ...]:
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
    spec = importlib.util.find_spec("ziglang")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        zig = Path(root) / "zig"
        if os.access(zig, os.X_OK):
            return (str(zig), "cc")
    raise NativeError(
        "no C compiler (cc, gcc, clang) is on the PATH; install one (`pip install 'kcompile[native]'` brings one), "
        "or set KCOMPILE_CC"
    )


def compiler() -> tuple[str, ...]:
    """The command of the compiler. Raises NativeError where there is none, or where it hung before."""
    command = _command()
    if command in _broken:
        raise NativeError(_broken[command])
    return command


@functools.cache
def version(command: tuple[str, ...]) -> str:
    """What the compiler says it is. Raises NativeError when it cannot be run."""
    return _run(command, ["--version"], 30.0)


@functools.cache
def processor() -> str:
    """What `-march=native` depends on."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        keep = ("model name", "flags", "Features", "CPU part")
        return "\n".join(dict.fromkeys(line for line in lines if line.startswith(keep)))
    return f"{platform.machine()} {platform.processor()}"


def identity() -> str:
    """Two compilers with one identity make the same object of a source. Raises NativeError."""
    command = compiler()
    flags = " ".join((LEVEL, *FLAGS))
    return "\n".join([version(command), shlex.join(command), SPLIT, flags, processor()])


def build(source: str, directory: Path, flags: Sequence[str] = FLAGS) -> Path:
    """The shared object of a source, made in `directory`, as many parts at once as there are cores.

    flags: beside `LEVEL`. Raises NativeError when the compiler fails, OSError when the directory cannot be written.
    """
    command = compiler()
    target = directory / "program.so"
    files = []
    for k, text in enumerate(split(source)):
        files.append(directory / f"part{k}.c")
        files[-1].write_text(text)
    flags = (LEVEL, *flags)
    if len(files) == 1:
        _run(command, [*flags, SPLIT, "-shared", str(files[0]), "-o", str(target), "-lm"])
        return target

    def part(file: Path) -> str:
        made = str(file.with_suffix(".o"))
        _run(command, [*flags, SPLIT, "-c", str(file), "-o", made])
        return made

    files.sort(key=lambda f: -f.stat().st_size)  # what takes longest first
    with ThreadPoolExecutor(max(1, min(threads.count(), len(files)))) as pool:
        parts = list(pool.map(part, files))
    _run(command, [*flags, "-shared", *parts, "-o", str(target), "-lm"])
    return target


def _run(command: tuple[str, ...], args: Sequence[str], seconds: float | None = None) -> str:
    """What the compiler prints. It gets a process group of its own, so that all of it can be ended."""
    seconds = SECONDS if seconds is None else seconds
    name = shlex.join(command)
    try:
        process = subprocess.Popen(
            [*command, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as e:
        raise NativeError(f"the C compiler {name} does not run: {e}") from e
    try:
        out, err = process.communicate(timeout=seconds)
    except BaseException as e:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(e, subprocess.TimeoutExpired):
            raise
        _broken[command] = f"the C compiler {name} took longer than {seconds:g} s"
        raise NativeError(_broken[command]) from e
    if process.returncode:
        first = "\n".join(err.splitlines()[:8])
        raise NativeError(f"the C compiler {name} failed ({process.returncode}):\n{first}")
    return out
