"""The order of a lookup's indices: one kernel for few, runs that are merged for many; stable, so that sums come out the same."""

from __future__ import annotations

import numpy as np
import pytest

import ir.ops as ops
from codegen.triton import ordered
from tests.triton.test_kernels import check, kinds, made, normal

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram


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
    assert kinds(whole) == ["order", "sorted"]
    for name, value in (("WHOLE", 64), ("RUN", 32), ("WAYS", 2)):
        monkeypatch.setattr(ordered, name, value)
    program = check(build, idx, updates)
    assert kinds(program) == [*["order"] * (1 + merges), "sorted"]
    pair = [TritonProgram(p, {}).run(idx, updates)[0] for p in (whole, program)]
    np.testing.assert_array_equal(*pair)


def test_a_run_is_as_long_as_one_kernel_sorts_quickly() -> None:
    """What a step of 32 rows of 200 words takes: counting in runs, and one merge."""
    build = lambda i, u: ops.scatter_add(i, u, axis=0, extent=5000)
    idx = np.random.default_rng(0).integers(0, 5000, 6400).astype("i4")
    assert kinds(made(build, idx, normal(6400, 2))[1]) == ["order", "order", "sorted"]
