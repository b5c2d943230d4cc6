"""Sums that several programs share: partial sums beside a product or a walk, what is made of them, what reads their results again."""

from __future__ import annotations

import numpy as np
import pytest

import ir.ops as ops
from codegen.program import Program
from ir.graph import Value
from tests.triton.test_kernels import check, kinds, made, normal, wide

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram


@pytest.fixture(autouse=True)
def small_products_sum_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codegen.triton.schedule.APART", 0)


def steps(p: Program) -> list[str]:
    """The kinds of a program's kernels, where a few parts are summed as windows are."""
    return [k.replace("taps", "rows") for k in kinds(p)]


def statistics(x: Value) -> tuple[Value, Value, Value]:
    """The mean and the variance of columns, and x about the mean."""
    n = x.shape[0]
    total = ops.reduce_sum(x, axes=(0,))
    each = ops.full(value=1 / n, shape=total.shape, dtype="f32")
    mean = ops.mul(total, each)
    away = ops.sub(x, wide(mean, x, 1))
    return mean, ops.mul(ops.reduce_sum(ops.mul(away, away), axes=(0,)), each), away


def normalised(x: Value, g: Value) -> tuple[Value, ...]:
    mean, var, away = statistics(x)
    least = ops.full(value=1e-3, shape=var.shape, dtype="f32")
    slope = ops.mul(ops.rsqrt(ops.add(var, least)), g)
    return mean, var, ops.mul(away, wide(slope, x, 1))


def gradient(ct: Value, x: Value, g: Value) -> tuple[Value, ...]:
    """The gradients of bias, scale and operand, in the manner of a normalisation."""
    db = ops.reduce_sum(ct, axes=(0,))
    dg = ops.reduce_sum(ops.mul(ct, x), axes=(0,))
    tilt = ops.add(wide(ops.mul(db, g), x, 1), ops.mul(x, wide(dg, x, 1)))
    return ops.add(db, g), dg, ops.sub(ct, tilt)


@pytest.mark.parametrize("m", [129, 131, 257])
@pytest.mark.parametrize("n", [3, 40])
def test_a_product_sums_its_tiles_for_a_normalisation(m: int, n: int) -> None:
    """Mean and variance come with the product, in one pass; what is normalised is read once more."""

    def build(a: Value, b: Value, g: Value) -> tuple[Value, ...]:
        return normalised(ops.contract(a, b, spec="mk,kn->mn"), g)

    p = check(build, normal(m, 7) + 1, normal(7, n), normal(n))
    assert steps(p) == ["product", "rows", "pointwise"]


@pytest.mark.parametrize("m", [129, 193])
def test_a_product_sums_its_tiles_for_the_gradient_of_a_normalisation(m: int) -> None:
    def build(a: Value, b: Value, x: Value, g: Value) -> tuple[Value, ...]:
        ct = ops.contract(a, b, spec="mk,nk->mn")
        ct = ops.select(ops.gt(x, ops.zeros_like(x)), ct, ops.zeros_like(ct))
        return gradient(ct, x, g)

    p = check(build, normal(m, 7), normal(18, 7), normal(m, 18), normal(18))
    assert steps(p) == ["product", "rows", "pointwise"]


def test_a_convolution_sums_its_tiles() -> None:
    """The gradient of a bias beside that of what it was added to."""
    windows = (("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1))

    def build(x: Value, w: Value, y: Value) -> tuple[Value, ...]:
        z = ops.contract(x, w, spec="nhwf,abcf->nijc", windows=windows, out=(9, 9))
        z = ops.select(ops.gt(y, ops.zeros_like(y)), z, ops.zeros_like(z))
        return z, ops.reduce_sum(z, axes=(0, 1, 2))

    p = check(build, normal(2, 9, 9, 5), normal(3, 3, 4, 5), normal(2, 9, 9, 4))
    assert steps(p) == ["product", "rows"]


def test_a_product_sums_all_of_it() -> None:
    def build(a: Value, b: Value) -> tuple[Value, ...]:
        z = ops.contract(a, b, spec="mk,kn->mn")
        return z, ops.reduce_sum(ops.mul(z, z), axes=(0, 1)), ops.reduce_max(z, axes=(1,))

    p = check(build, normal(140, 9), normal(9, 130))
    assert kinds(p)[0] == "product"


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_what_is_made_of_long_sums_does_not_wait_in_one_program(kind: str) -> None:
    m = 4099
    if kind == "forward":
        p = check(normalised, normal(m, 5) + 1, normal(5), tol=1e-4)
    else:
        p = check(gradient, normal(m, 5), normal(m, 5), normal(5), tol=1e-4)
    assert steps(p) == ["split", "rows", "pointwise"]
    assert p.kernels[0].schedule["grid"] == 17  # passes of 256 rows


def test_the_variance_of_parts_is_about_the_mean_of_all() -> None:
    """Values far from zero, and parts far from each other."""
    x = (normal(300, 4) + 1000 + 50 * np.arange(300, dtype="f4")[:, None]).astype("f4")

    def build(a: Value, b: Value) -> Value:
        return statistics(ops.contract(a, b, spec="mk,kn->mn"))[1]

    eye = np.eye(4, dtype="f4")
    _, p = made(build, x, eye)
    found = TritonProgram(p, {}).run(x, eye)[0]
    np.testing.assert_allclose(found, x.astype("f8").var(0), rtol=1e-5)
    assert "product" in kinds(p) and len(kinds(p)) == 2
