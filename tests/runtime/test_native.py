"""Finding a C compiler, the cache of compiled objects, and what happens without either."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
import runtime.native as native
from codegen.pipeline import generate
from ir.text import parse
from runtime import cache
from runtime.executable import Executable
from runtime.store import StateStore


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_loaded", {})
    native.compiler.cache_clear()
    yield
    native.compiler.cache_clear()


def run(n: int) -> None:
    graph = parse(
        f'def f(x: f32[{n}] = data("x")) -> (f32[{n}],):\n    y: f32[{n}] = exp(x)\n    return y,\n'
    )
    (y,) = Executable(generate(graph, "native"), StateStore()).run(np.zeros(n, np.float32))
    assert (y == 1).all()


def objects() -> list[Path]:
    where = cache.directory()
    assert where is not None
    return sorted(where.glob("*.so"))


def test_an_object_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run(5)
    assert len(objects()) == 1 and objects()[0].stat().st_mode & 0o777 == 0o600
    native._loaded.clear()
    monkeypatch.setattr(native, "_compile", lambda *a: pytest.fail("compiled again"))
    run(5)


@pytest.mark.parametrize("how", ["content", "mode", "digest"])
def test_a_damaged_object_is_compiled_again(how: str) -> None:
    run(6)
    (path,) = objects()
    if how == "content":  # not in place: the running process has the file mapped
        body = path.read_bytes()
        path.unlink()
        path.write_bytes(body[:-1] + b"?")
        path.chmod(0o600)
    elif how == "mode":
        path.chmod(0o666)
    else:
        path.with_suffix(".sum").write_text("0")
    native._loaded.clear()
    assert native._cached(path.parent, path.stem) is None
    run(6)
    assert native._cached(path.parent, path.stem) == path


def test_a_cache_that_cannot_be_written_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*args: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(native, "_keep", full)
    with caplog.at_level(logging.WARNING, "kcompile.native"):
        run(7)
    assert "not cached" in caplog.text and not objects()


def test_no_cache_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPILE_CACHE", "off")
    run(8)


@pytest.mark.parametrize("cc", ["/no/such/compiler", "false"])
def test_without_a_compiler_numpy_runs_the_model_and_says_so_once(
    cc: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import kcompile.compile as compiling

    monkeypatch.setenv("CC", cc)
    monkeypatch.setenv("KCOMPILE_TARGET", "native")
    native.version.cache_clear()
    monkeypatch.setattr(compiling, "_without_c", [])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with caplog.at_level(logging.WARNING, "kcompile.compile"):
        a = model.predict(np.ones((4, 3), np.float32), verbose=0)
        b = model.predict(np.ones((5, 3), np.float32), verbose=0)
    assert a.shape == (4, 2) and b.shape == (5, 2)
    assert caplog.text.count("NumPy runs the model") == 1
    native.version.cache_clear()


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
    assert len(objects()) == 1
