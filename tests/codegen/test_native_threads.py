"""Kernels in units: every cut gives the same bits, what a cut computes is what the interpreter says, and the pool serves all comers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.codegen.test_native as kinds
from codegen.native import stages
from codegen.native import threads as shares
from codegen.pipeline import generate
from ir.interpret import interpret
from ir.text import parse
from runtime import native, pool
from runtime.compiler import compiler
from runtime.executable import Executable
from runtime.native_profile import kernel_seconds
from runtime.store import StateStore


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be cut is cut, into many units."""
    monkeypatch.setattr(stages, "SMALL", 0.0)
    monkeypatch.setattr(stages, "UNIT", 2.0)
    monkeypatch.setattr(stages, "LINE", 1)
    monkeypatch.setattr(shares, "SMALL", 0.0)


@pytest.fixture(autouse=True)
def _as_it_was() -> Any:
    yield
    pool.limit(1)


NESTS = (
    "pointwise",
    "softmax",
    "columns",
    "rows",
    "all",
    "best",
    "reverse",
    "join",
    "lookup",
    "words",
)


@pytest.mark.parametrize("kind", NESTS)
def test_a_kind_in_units_over_awkward_sizes(
    kind: str, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "SIZES", (1, 3, 16, 17, 33, 65, 129))
    graph = kinds.kind_graph(kind, "f32")
    program = kinds.check(graph, kinds.arrays_for(graph))
    assert "each(k" in program.source


# rows and columns summed, softmax, a mask of random words, sums of everything, normalisation by columns
MANY = """
def f(seed: u32 = data("seed"), count: u32 = data("count"), x: f32[R, C] = data("x")) -> (f32[C], f32[R, C], f32[R, C], f32, f32[R, C], f32[C],):
    s: f32[C] = reduce_sum(x, axes=(0,))
    m: f32[R] = reduce_max(x, axes=(1,))
    mb: f32[R, C] = broadcast(m, shape=(R, C), axes=(0,))
    d: f32[R, C] = sub(x, mb)
    e: f32[R, C] = exp(d)
    t: f32[R] = reduce_sum(e, axes=(1,))
    tb: f32[R, C] = broadcast(t, shape=(R, C), axes=(0,))
    p: f32[R, C] = div(e, tb)
    w: u32[R, C] = random_bits(seed, count, stream=3, shape=(R, C))
    k: u32[R, C] = full(shape=(R, C), value=2147483648, dtype=u32)
    h: bool[R, C] = lt(w, k)
    z: f32[R, C] = full(shape=(R, C), value=0.0, dtype=f32)
    o: f32[R, C] = select(h, x, z)
    q: f32 = reduce_sum(o, axes=(0, 1))
    sb: f32[R, C] = broadcast(s, shape=(R, C), axes=(1,))
    n: f32[R, C] = sub(x, sb)
    n2: f32[R, C] = mul(n, n)
    v: f32[C] = reduce_sum(n2, axes=(0,))
    return s, p, o, q, n, v,
"""


def many(rows: int, columns: int) -> tuple[Any, list[Any]]:
    graph = parse(MANY.replace("R", str(rows)).replace("C", str(columns)))
    x = np.random.default_rng(rows).normal(size=(rows, columns)).astype("f")
    return graph, [np.uint32(5), np.uint32(rows), x]


@pytest.mark.parametrize("shape", [(2000, 64), (129, 700), (65, 33)])
def test_one_two_and_three_threads_give_the_same_bits(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if shape == (65, 33):
        monkeypatch.setattr(stages, "SMALL", 0.0)
        monkeypatch.setattr(stages, "UNIT", 50.0)
        monkeypatch.setattr(shares, "SMALL", 0.0)
    graph, arrays = many(*shape)
    program = generate(graph, "native")
    assert program.source.count("each(k") > 3
    exe = Executable(program, StateStore())
    pool.limit(1)
    first = exe.run(*arrays)
    for got, want in zip(first, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)
    for n in (2, 3, 3, 2, 1) * 10:
        pool.limit(n)
        for got, want in zip(exe.run(*arrays), first, strict=True):
            assert np.array_equal(got, want)


def test_two_models_may_run_at_once() -> None:
    pool.limit(2)
    made = []
    for rows in (2000, 1900):
        graph, arrays = many(rows, 64)
        exe = Executable(generate(graph, "native"), StateStore())
        pool.limit(2)
        made.append((exe, arrays, exe.run(*arrays)))
    wrong: list[str] = []

    def run(k: int) -> None:
        exe, arrays, want = made[k]
        for _ in range(200):
            if not all(map(np.array_equal, exe.run(*arrays), want)):
                wrong.append(exe.program.name)

    both = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for t in both:
        t.start()
    for t in both:
        t.join()
    assert not wrong


def test_a_forked_child_has_threads_of_its_own() -> None:
    graph, arrays = many(2000, 64)
    exe = Executable(generate(graph, "native"), StateStore())
    pool.limit(2)
    want = exe.run(*arrays)
    child = os.fork()
    if not child:
        try:
            ok = all(map(np.array_equal, exe.run(*arrays), want))
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert all(map(np.array_equal, exe.run(*arrays), want))


SCRIPT = """
import os
from tests.codegen.test_native_threads import *
graph, arrays = many(2000, 64)
exe = Executable(generate(graph, "native"), StateStore())
for _ in range(3):
    exe.run(*arrays)
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize(("wanted", "more"), [("1", 0), ("3", 2)])
def test_as_many_threads_as_are_asked_for(wanted: str, more: int) -> None:
    def threads_of(script: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={**os.environ, "KCOMPILE_THREADS": wanted, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        return int(done.stdout)

    without = SCRIPT.replace("range(3)", "range(0)")
    assert threads_of(SCRIPT) - threads_of(without) == more


def test_the_seconds_of_kernels_leave_states_alone() -> None:
    graph, arrays = many(2000, 64)
    exe = Executable(generate(graph, "native"), StateStore())
    exe.fill(arrays)
    seconds = kernel_seconds(exe, 3)
    assert len(seconds) == len(exe.program.kernels)
    assert all(0 < s < 10 for s in seconds)


def test_the_pool_without_futexes_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pool.POOL.replace("__linux__", "NOWHERE").replace("DOUBT 400000", "DOUBT 0")
    graph, arrays = many(2000, 64)
    program = generate(graph, "native")
    want = Executable(program, StateStore()).run(*arrays)
    pool.library.cache_clear()
    monkeypatch.setattr(pool, "POOL", text)
    monkeypatch.setattr(native, "_loaded", {})
    try:
        exe = Executable(program, StateStore())
        pool.limit(3)
        for _ in range(50):
            assert all(map(np.array_equal, exe.run(*arrays), want))
    finally:
        pool.limit(1)
        pool.library.cache_clear()


RACES = r"""
static void add(void *const *a, long lo, long hi) { int *x = a[0]; for (long k = lo; k < hi; k++) x[k]++; }
static void *caller(void *x) {
  for (int k = 0; k < 5000; k++) {
    pool_run(add, (void *[]){x}, 100, k % 3 ? 500000 : 12000);
    if (k % 500 == 0) { struct timespec t = {0, 200000}; nanosleep(&t, 0); }
  }
  return 0;
}
int main(void) {
  static int x[200];
  pthread_t other;
  pool_threads(3);
  pthread_create(&other, 0, caller, x + 100);
  caller(x);
  pthread_join(other, 0);
  for (int k = 0; k < 200; k++) if (x[k] != 5000) return 1;
  return 0;
}
"""


@pytest.mark.parametrize("futexes", [True, False])
def test_no_races_in_the_pool(futexes: bool, tmp_path: Path) -> None:
    source = tmp_path / "pool.c"
    source.write_text((pool.POOL if futexes else pool.POOL.replace("__linux__", "NOWHERE")) + RACES)
    command = [*compiler(), "-O1", "-g", "-std=gnu11", "-fsanitize=thread", str(source)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "pool"), "-lpthread"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no thread sanitizer: {done.stderr[:200]}")
    done = subprocess.run([str(tmp_path / "pool")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
