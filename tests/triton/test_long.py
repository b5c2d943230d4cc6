"""Rows that no program holds whole: places of extremes, running sums and products, in several kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.triton import prepare
from ir.graph import Value
from tests.triton.test_kernels import check, normal

pytest.importorskip("triton")
pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "PERSISTENT", 8)
    monkeypatch.setattr(prepare, "STRETCH", 4)


@pytest.mark.parametrize("op", [ops.argmax, ops.argmin])
def test_the_first_of_equal_extremes_and_nan_before_all(op: Any) -> None:
    x = np.round(normal(6, 19))
    x[1, 7] = x[1, 11] = x[2, 18] = np.nan
    x[2, 3], x[2, 4], x[3, :] = np.inf, -np.inf, -np.inf
    check(lambda v: op(v, axis=1), x)
    check(lambda v: op(v, axis=0), np.round(normal(13, 4)).astype("i4"))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("op", [ops.cumsum, ops.cumprod])
def test_running_sums_and_products(op: Any, reverse: bool, exclusive: bool) -> None:
    def build(x: Value, y: Value) -> tuple[Value, ...]:
        how = {"reverse": reverse, "exclusive": exclusive}
        return op(x, axis=1, **how), op(y, axis=0, **how)

    check(build, normal(3, 19), normal(9, 2))


def test_extremes_of_long_rows_of_halves() -> None:
    """What is beyond a row's end is less than all, in halves too."""
    x = -np.abs(normal(2, 33)).astype("f2")
    check(lambda v: (ops.argmax(v, axis=1), ops.reduce_max(v, axes=(1,))), x)
