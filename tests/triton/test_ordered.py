"""The order of a lookup's indices, and of lines: one kernel for few, runs that are merged for many; stable, so that sums come out the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.triton import ordered
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.passes.atomic import atomic
from ir.types import NUMPY, type_of
from tests.triton.test_kernels import check, kinds, made, normal

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(("n", "merges", "dtype"), [(65, 2, "i4"), (128, 2, "i8"), (150, 3, "i4")])
def test_runs_merged_are_one_run(
    n: int, merges: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n)
    idx = np.minimum(rng.integers(0, 60, n) ** 2 // 40 - 2, 79)
    idx = idx.astype(dtype)  # many of the first rows, some rows with none, some outside
    updates = normal(n, 3)
    build = lambda i, u: ops.scatter_add(i, u, axis=0, extent=70)
    _, whole = made(build, idx, updates)
    behind = ["stretches", "sorted"] if n > 128 else ["sorted"]
    assert kinds(whole) == ["order", *behind]
    for name, value in (("WHOLE", 64), ("RUN", 32), ("WAYS", 2)):
        monkeypatch.setattr(ordered, name, value)
    program = check(build, idx, updates)
    assert kinds(program) == [*["order"] * (1 + merges), *behind]
    pair = [TritonProgram(p, {}).run(idx, updates)[0] for p in (whole, program)]
    np.testing.assert_array_equal(*pair)


def test_a_run_is_as_long_as_one_kernel_sorts_quickly() -> None:
    """What a step of 32 rows of 200 words takes: counting in runs, and one merge."""
    build = lambda i, u: ops.scatter_add(i, u, axis=0, extent=5000)
    idx = np.random.default_rng(0).integers(0, 5000, 6400).astype("i4")
    assert kinds(made(build, idx, normal(6400, 2))[1]) == ["order", "order", "stretches", "sorted"]


@pytest.mark.parametrize(
    ("n", "extent", "d"), [(129, 31, 3), (300, 65, 1), (333, 17, 40), (257, 7, 300)]
)
@pytest.mark.parametrize("rows", [False, True])
def test_a_row_that_most_name_is_summed_by_stretches(
    n: int, extent: int, d: int, rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one row of the table for a program, and with several."""
    if rows:
        monkeypatch.setattr("codegen.triton.schedule.MANY", 2)
    rng = np.random.default_rng(n)
    idx = rng.integers(-2, extent + 2, n).astype("i4")
    idx[rng.random(n) < 0.7] = 3
    table, updates = normal(extent, d), normal(n, d)

    def build(i: Value, u: Value, w: Value) -> Value:
        return ops.sub(w, ops.scatter_add(i, ops.mul(u, u), axis=0, extent=extent))  # type: ignore[no-any-return]

    p = check(build, idx, updates, table)
    assert kinds(p) == ["order", "stretches", "sorted"]
    several = p.kernels[-1].schedule["groups"][0][2] > 1
    assert several == (rows and d < 200)


def test_halves_of_a_row_are_summed_as_f32() -> None:
    idx, updates = np.zeros(700, "i4"), (np.abs(normal(700, 3)) + 4).astype("f2")
    idx[:20] = 1
    build = lambda i, u: ops.scatter_add(i, u, axis=0, extent=4)
    _, p = made(build, idx, updates)
    (found,) = TritonProgram(p, {}).run(idx, updates)
    exact = np.stack([updates[idx == k].astype("f8").sum(0) for k in range(4)])
    np.testing.assert_allclose(found.astype("f8"), exact, rtol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), [((3, 65), 1), ((40, 2, 2), 0), ((2, 33, 3), 1)])
@pytest.mark.parametrize("any_order", [False, True])
def test_a_gradient_along_many_lines_is_sorted(
    shape: tuple[int, ...], axis: int, any_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codegen.triton.prepare.COMPARED", 0)
    rng = np.random.default_rng(sum(shape))
    idx = rng.integers(-2, 25, shape).astype("i8")
    updates = rng.integers(-9, 9, shape).astype("f4")  # whose sums are exact
    values = [Value(type_of(a), None, 0, "x") for a in (idx, updates)]
    graph = graph_of("case", values, [ops.scatter_along(*values, axis=axis, extent=21)])
    program = generate(atomic(graph) if any_order else graph, "triton")
    assert ("sorted" in kinds(program)) != any_order
    assert ("atomic" in kinds(program)) == any_order
    found = TritonProgram(program, {}).run(idx, updates)[0]
    np.testing.assert_array_equal(found, interpret(graph, [idx, updates])[0])


def both(v: Value, axis: int = 1) -> tuple[Value, ...]:
    return ops.sort(v, axis=axis), ops.argsort(v, axis=axis)


def line(dtype: str, *shape: int) -> Array:
    """Values of which many are equal; of floats NaN, both infinities and both zeros."""
    rng = np.random.default_rng(sum(shape))
    found = rng.integers(0 if dtype[0] == "u" else -9, 9, shape).astype(NUMPY[dtype])
    if dtype[0] in "fb":
        odd = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], found.dtype)
        found = np.where(rng.random(shape) < 0.4, rng.choice(odd, shape), found)
    return found


def sorts(x: Array, axis: int = 1) -> list[str]:
    """Sort on both sides, compare bit by bit; the kinds of the kernels."""
    graph, program = made(lambda v: both(v, axis), x)
    found, expected = TritonProgram(program, {}).run(x), interpret(graph, [x])
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return kinds(program)


@pytest.mark.parametrize(("n", "lines"), [(65, 3), (127, 1), (129, 2), (257, 1)])
def test_lines_are_sorted(n: int, lines: int) -> None:
    assert sorts(line("f32", lines, n)) == ["order"] * 2


@pytest.mark.parametrize(
    ("n", "lines", "ways", "merges"),
    [(65, 3, 2, 2), (127, 1, 4, 1), (129, 2, 2, 3), (257, 1, 8, 2)],
)
def test_lines_are_sorted_in_runs(
    n: int, lines: int, ways: int, merges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WHOLE", 64), ("RUN", 32), ("WAYS", ways)):
        monkeypatch.setattr(ordered, name, value)
    assert sorts(line("f32", lines, n)) == ["order"] * 2 * (1 + merges)


@pytest.mark.parametrize("dtype", ["f16", "f64", "i8", "u8", "i64", "u32"])
def test_lines_of_each_type(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WHOLE", 64), ("RUN", 64), ("WAYS", 2)):
        monkeypatch.setattr(ordered, name, value)
    assert "order" in sorts(line(dtype, 2, 70))


def test_lines_along_another_axis_and_between_other_kernels() -> None:
    sorts(line("f32", 2, 70, 3))
    sorts(line("f32", 70, 2), axis=0)
    x = normal(70)

    def build(v: Value) -> Value:
        return ops.gather(ops.exp(v), ops.argsort(ops.neg(v), axis=0), axis=0)  # type: ignore[no-any-return]

    assert "order" in kinds(check(build, x))
