"""Finding a C compiler, the cache of compiled objects, and what happens without either."""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
import runtime.compiler as compiler
import runtime.native as native
from codegen.pipeline import generate
from ir.text import parse
from runtime import cache, pool
from runtime.executable import Executable
from runtime.split import split
from runtime.store import StateStore


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setattr(compiler, "_broken", {})
    forget()
    yield
    forget()


def forget() -> None:
    compiler._command.cache_clear()
    compiler.version.cache_clear()


def run(n: int) -> None:
    graph = parse(
        f'def f(x: f32[{n}] = data("x")) -> (f32[{n}],):\n    y: f32[{n}] = exp(x)\n    return y,\n'
    )
    (y,) = Executable(generate(graph, "native"), StateStore()).run(np.zeros(n, np.float32))
    assert (y == 1).all()


def entries(kind: str) -> list[Path]:
    where = cache.directory()
    assert where is not None
    return sorted(where.glob(f"*.{kind}"))


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled from now on."""
    made: list[str] = []

    def counted(source: str, *args: Any) -> Path:
        made.append(source)
        return compiler.build(source, *args)

    monkeypatch.setattr(native, "build", counted)
    return made


def test_an_object_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = count_builds(monkeypatch)
    run(5)
    assert made
    for kind in ("so", "obj"):
        assert all(p.stat().st_mode & 0o777 == 0o600 for p in entries(kind)) and entries(kind)
    made.clear()
    native._loaded.clear()
    run(5)
    assert not made


def replaced(path: Path, body: bytes) -> None:
    path.unlink()  # not in place: the running process may have the file mapped
    path.write_bytes(body)
    path.chmod(0o600)


DAMAGE: dict[str, Callable[[Path, Path], None]] = {
    "content": lambda so, _: replaced(so, so.read_bytes()[:-1] + b"?"),
    "cut": lambda so, _: replaced(so, so.read_bytes()[:100]),
    "empty": lambda so, _: replaced(so, b""),
    "gone": lambda so, _: so.unlink(),
    "writable": lambda so, _: so.chmod(0o666),
    "link": lambda so, _: so.rename(so.with_suffix(".x")) and so.symlink_to(so.with_suffix(".x")),
    "index": lambda _, obj: replaced(obj, b"../../etc/passwd"),
    "no index": lambda _, obj: obj.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_object_is_compiled_again(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(6)
    for so in entries("so"):
        (obj,) = [p for p in entries("obj") if p.read_text()[:40] == so.stem]
        if so.stem in entries("so")[0].stem:
            DAMAGE[how](so, obj)
    native._loaded.clear()
    made = count_builds(monkeypatch)
    run(6)
    assert len(made) == 1
    native._loaded.clear()
    run(6)
    assert len(made) == 1


@pytest.mark.parametrize("when", ["opened", "written", "renamed"])
@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EROFS])
def test_a_cache_that_cannot_be_written_is_passed_over(
    when: str, why: int, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    where = str(cache.directory())

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(why, os.strerror(why))

    class Full:
        def __init__(self, *args: Any):
            os.close(args[0])

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *args: Any) -> None:
            pass

        write = refuse

    if when == "opened":
        monkeypatch.setattr(tempfile, "mkstemp", refuse)
    elif when == "written":
        monkeypatch.setattr(native.os, "fdopen", lambda *a: Full(*a))
    else:
        monkeypatch.setattr(native.os, "replace", refuse)
    with caplog.at_level(logging.WARNING, "kcompile.native"):
        run(7)
    assert "not cached" in caplog.text
    assert not entries("obj") and not list(Path(where).glob(".new-*"))


def test_no_cache_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPILE_CACHE", "off")
    run(8)


def test_an_object_of_another_processor_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run(10)
    made = count_builds(monkeypatch)
    native._loaded.clear()
    monkeypatch.setattr(compiler, "processor", lambda: "another")
    run(10)
    assert made
    made.clear()
    native._loaded.clear()
    monkeypatch.setattr(compiler, "version", functools.cache(lambda command: "another"))
    run(10)
    assert made


def test_only_the_objects_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    for n in (11, 12, 13):
        run(n)
    shelf = cache.default()
    assert shelf is not None
    for k, p in enumerate([*entries("so"), *entries("obj")]):
        os.utime(p, (k, k))
    last = entries("so")[-1]
    shelf.prune()
    assert len(entries("so")) == len(entries("obj")) == 2 and last.exists()
    shelf.clear()
    assert not entries("so") and not entries("obj")


def predict() -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    a = model.predict(np.ones((4, 3), np.float32), verbose=0)
    b = model.predict(np.ones((5, 3), np.float32), verbose=0)
    assert a.shape == (4, 2) and b.shape == (5, 2)


def script(path: Path, text: str) -> str:
    """A program that stands in for a compiler."""
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


VERSIONED = "if '--version' in sys.argv: print('cc 1'); raise SystemExit"
CRASH = f"{VERSIONED}\nos.kill(os.getpid(), 11)"
REFUSE = f"{VERSIONED}\nsys.stderr.write('no such flag\\n'); raise SystemExit(1)"
GARBAGE = f"{VERSIONED}\nopen(sys.argv[sys.argv.index('-o') + 1], 'w').write('no object')"


@pytest.mark.parametrize("cc", ["/no/such/compiler", "false", CRASH, REFUSE, GARBAGE])
def test_without_a_compiler_numpy_runs_the_model_and_says_so_once(
    cc: str, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    import kcompile.compile as compiling

    monkeypatch.setenv("CC", script(tmp_path / "cc", cc) if "\n" in cc else cc)
    monkeypatch.delenv("KCOMPILE_CC", raising=False)
    monkeypatch.setenv("KCOMPILE_TARGET", "native")
    monkeypatch.setattr(compiling, "_said", set())
    with caplog.at_level(logging.WARNING, "kcompile.compile"):
        predict()
    assert caplog.text.count("NumPy runs the model") == 1


def test_a_compiler_that_hangs_is_ended_and_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    import kcompile.compile as compiling

    seen = tmp_path / "children"
    hang = f"{VERSIONED}\nif os.fork() == 0: open({str(seen)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)"
    monkeypatch.setenv("KCOMPILE_CC", script(tmp_path / "cc", hang))
    monkeypatch.setenv("KCOMPILE_TARGET", "native")
    monkeypatch.setattr(compiler, "SECONDS", 1.0)
    monkeypatch.setattr(pool, "begin", lambda: None)  # which would ask it beside the program
    made = count_builds(monkeypatch)
    monkeypatch.setattr(compiling, "_said", set())
    with caplog.at_level(logging.WARNING, "kcompile.compile"):
        predict()
    assert "took longer than 1 s" in caplog.text and caplog.text.count("NumPy runs") == 1
    assert len(made) == 1, "a second program went to it"
    children = [*map(int, seen.read_text().split())]
    for _ in range(100):
        if not any(map(alive, children)):
            break
        time.sleep(0.05)
    assert children and not any(map(alive, children))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_any_compiler_the_one_of_the_wheel_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CC", "KCOMPILE_CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").write_text("")
    with pytest.raises(compiler.NativeError, match=r"pip install 'kcompile\[native\]'"):
        compiler.compiler()
    zig = script(package / "zig", "")
    assert compiler.compiler() == (zig, "cc")


def test_two_processes_may_compile_the_same_program() -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            try:
                run(9)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(c, 0)[1] for c in children] == [0, 0]
    run(9)
    assert {p.read_text()[:40] for p in entries("obj")} <= {p.stem for p in entries("so")}


def test_a_large_source_is_cut_into_parts_that_know_each_other() -> None:
    functions = [
        f"APART int k{i}(int x) {{\n" + "  x += 1;\n" * 150 + f"  return x + {i};\n}}\n"
        for i in range(40)
    ]
    head, tail = "typedef int i;\n", "int all(void) { return k0(1) + k39(1); }\n"
    parts = split("".join([head, *functions, tail]))
    assert len(parts) > 2
    for k, f in enumerate(functions):
        assert sum(f in p for p in parts) == 1
        assert sum(f"APART int k{k}(int x);\n" in p for p in parts) == len(parts) - 1
    assert all(p.startswith(head) for p in parts)
    assert [tail in p for p in parts] == [False] * (len(parts) - 1) + [True]
    assert split(head + tail) == [head + tail]


def test_a_pool_that_could_not_be_made_ahead_says_why_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KCOMPILE_CC", script(tmp_path / "cc", REFUSE))
    monkeypatch.setattr(pool, "_beginning", [])
    pool.library.cache_clear()
    try:
        pool.begin()
        with pytest.raises(compiler.NativeError, match="no such flag"):
            pool.library()
    finally:
        pool.library.cache_clear()
