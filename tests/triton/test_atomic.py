"""Lookups' gradients that add in any order: what is launched, its numbers, and that it compiles for each GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
import kcompile as keras
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.passes.atomic import atomic
from ir.types import NUMPY, type_of
from tests.triton.test_kernels import kinds, normal

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_build import build as compiled
from runtime.triton_program import TritonProgram
from runtime.triton_report import Usage

Array = np.ndarray[Any, Any]


def check(make: Any, *arrays: Array, tol: float = 2e-5) -> Program:
    """Run what `make` builds, atomic, against the meaning of its ops; return the program."""
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    result = make(*values)
    outs = list(result) if isinstance(result, tuple) else [result]
    graph = atomic(graph_of("case", values, outs))
    program = generate(graph, "triton")
    for a, b in zip(
        TritonProgram(program, {}).run(*arrays), interpret(graph, list(arrays)), strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.astype("f8"), b.astype("f8"), rtol=tol, atol=tol * 8)
    return program


def indices(*shape: int, extent: int, dtype: str = "i4") -> Array:
    """Many of the first, some of none, some outside."""
    rng = np.random.default_rng(sum(shape))
    return (rng.integers(0, 2 * extent, shape) * rng.integers(0, 2, shape) - 2).astype(dtype)


@pytest.mark.parametrize("extent", [2, 31, 129])
@pytest.mark.parametrize("n", [33, 63, 65, 127, 129])
def test_updates_of_any_number(n: int, extent: int) -> None:
    p = check(
        lambda i, u: ops.scatter_add(i, u, axis=0, extent=extent),
        indices(n, extent=extent),
        normal(n, 17 if n % 3 else 1),
    )
    assert kinds(p) == ["pointwise", "atomic"]


def test_one_row_and_few_updates_have_their_own_kernel() -> None:
    for n, extent in ((32, 9), (40, 1)):
        p = check(
            lambda i, u, extent=extent: ops.scatter_add(i, u, axis=0, extent=extent),
            indices(n, extent=extent),
            normal(n, 5),
        )
        assert "atomic" not in kinds(p)


def test_of_two_dimensions_along_another_axis_and_of_numbers() -> None:
    add = ops.scatter_add
    check(lambda i, u: add(i, u, axis=1, extent=9), indices(7, 9, extent=9), normal(3, 7, 9, 5))
    check(lambda i, u: add(i, u, axis=0, extent=9), indices(70, extent=9, dtype="i8"), normal(70))
    check(lambda i, u: add(i, u, axis=2, extent=9), indices(70, extent=9), normal(2, 3, 70))

    def counts(i: Value) -> Value:
        one = ops.full(value=1, shape=(300,), dtype="i32")
        return ops.scatter_add(i, one, axis=0, extent=20)  # type: ignore[no-any-return]

    check(counts, indices(300, extent=20))


@pytest.mark.parametrize("dtype", ["f16", "f64", "i8", "i32", "i64", "u8", "u32"])
def test_in_each_type(dtype: str) -> None:
    updates = (normal(90, 6) * 4).round().astype(NUMPY[dtype])  # whose sums are exact
    check(lambda i, u: ops.scatter_add(i, u, axis=0, extent=30), indices(90, extent=30), updates)


def test_halves_are_summed_as_f32() -> None:
    p = check(
        lambda i, u: ops.scatter_add(i, u, axis=0, extent=4),
        indices(600, extent=4),
        (np.abs(normal(600, 3)) + 1).astype("f2"),
        tol=2e-3,
    )
    assert kinds(p) == ["pointwise", "atomic", "pointwise"]


def test_with_what_comes_before_and_behind() -> None:
    """An optimizer's update reads the sums, the additions compute what they add."""

    def build(i: Value, u: Value, w: Value) -> tuple[Value, ...]:
        scaled = ops.mul(u, ops.tanh(u))
        g = ops.scatter_add(i, scaled, axis=0, extent=50)
        return ops.sub(w, ops.mul(g, g)), ops.add(w, g)

    p = check(build, indices(70, extent=50), normal(70, 9), normal(50, 9))
    assert kinds(p).count("atomic") == 1
    assert "order" not in kinds(p)


@pytest.mark.parametrize("target", ["sm_90", "sm_80", "gfx942"])
def test_it_compiles_and_so_does_sorting(
    target: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    idx = Value(type_of(indices(200, extent=50)), None, 0, "i")
    outs, given = [], [idx]
    for dtype in ("f32", "f64", "i64"):
        given.append(Value(type_of(normal(200, 7)).with_dtype(dtype), None, 0, dtype))
        outs.append(ops.scatter_add(idx, given[-1], axis=0, extent=50))
    given.append(Value(type_of(normal(2, 2050)), None, 0, "lines"))
    outs += [ops.sort(given[-1], axis=1), ops.argsort(given[-1], axis=1)]
    p = generate(atomic(graph_of("case", given, outs)), "triton")
    assert kinds(p).count("atomic") == 3
    assert kinds(p).count("order") == 4
    found = compiled(p, target)
    assert all(isinstance(u, Usage) and not u.stack for u in found.values()), found


def test_a_user_chooses_and_the_dump_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model compiled anew where the choice changed, whose steps come to the same."""
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 30, (8, 9)), rng.standard_normal((8, 1)).astype("f4")
    after = []
    try:
        for ordered in (True, False):
            if not ordered:
                keras.config.disable_op_determinism()
            assert keras.config.is_op_determinism_enabled() == ordered
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [keras.layers.Embedding(30, 4), keras.layers.Flatten(), keras.layers.Dense(1)]
            )
            model.compile("sgd", "mse", backend="triton")
            model.fit(x, y, batch_size=8, epochs=1, verbose=0)
            after.append(model.get_weights())
            text = model.dump_ir("kernels", batch_size=8)
            assert ("tl.atomic_add" in text) != ordered
            assert ("atomic=True" in model.dump_ir("fused", batch_size=8)) != ordered
            assert "atomic" not in model.dump_ir("kernels", batch_size=8, target="native")
        keras.config.enable_op_determinism()
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        log = model._step_functions.by_kind["train"][1].log
        assert [c.reason for c in log] == ["train step, first use", "train step, now on triton"]
        keras.config.disable_op_determinism()
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        assert len(log) == 2
    finally:
        keras.config.enable_op_determinism()
    for a, b in zip(*after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
