"""What kernels read and make themselves: rows of a table, a cast, a relu before a product."""

from __future__ import annotations

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Value, graph_of
from ir.pipeline import optimise
from ir.types import Type
from tests.triton.test_kernels import check, kinds, normal, wide

pytest.importorskip("triton")
pytest.importorskip("torch")


def both(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
    """A product of x, and the gradient of its other factor."""
    return ops.contract(x, w, spec="mk,kn->mn"), ops.contract(x, g, spec="mk,mn->kn")


W, G = normal(40, 20), normal(300, 24)


def test_an_embedding_is_looked_up_where_it_is_multiplied() -> None:
    """The rows are in memory nowhere; the indices, which something else reads, are."""
    idx = np.random.default_rng(1).integers(-3, 50, 300).astype("i4")

    def build(t: Value, i: Value, w: Value, g: Value) -> tuple[Value, ...]:
        i = ops.add(i, ops.full(value=1, shape=i.shape, dtype="i32"))
        return *both(ops.gather(t, i, axis=0), w, g), ops.mul(i, i)

    p = check(build, normal(50, 40), idx, W, G)
    assert kinds(p).count("product") == 2
    assert not [b for b in p.buffers if b.shape == (300, 40)]


def test_a_relu_and_a_cast_are_made_where_they_are_multiplied() -> None:
    def build(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
        x = ops.cast(x, dtype="f32")
        return both(ops.maximum(x, ops.zeros_like(x)), w, g)

    p = check(build, normal(300, 40).astype("f2"), W, G)
    assert kinds(p) == ["product", "product"]


def test_what_takes_more_than_it_saves_is_made_once() -> None:
    """A sum that each of many tiles would read and add anew; a sine, of any size."""

    def sums(x: Value, y: Value, w: Value, v: Value) -> tuple[Value, ...]:
        z = ops.add(x, y)
        return tuple(ops.contract(z, u, spec="mk,kn->mn") for u in (w, v))

    def waves(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
        return both(ops.sin(x), w, g)

    def first(columns: int) -> str:
        shapes = (4096, 64), (4096, 64), (64, columns), (64, columns)
        given = [Value(Type("f32", s), None, 0, f"x{k}") for k, s in enumerate(shapes)]
        return kinds(generate(optimise(graph_of("case", given, list(sums(*given)))), "triton"))[0]

    assert first(64) == "product"
    assert first(4096) == "pointwise"
    assert kinds(check(waves, normal(300, 40), W, G))[0] == "pointwise"


def test_a_normalisation_is_applied_where_it_is_multiplied() -> None:
    """The statistics of a convolution's channels; scaled, shifted and cut at 0 by the next and by the gradient of its filters.

    What lies outside an image is 0, whatever the shift."""

    def build(x: Value, f: Value, s: Value, b: Value, w: Value, g: Value) -> tuple[Value, ...]:
        windows = (("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1))
        shape = x.shape[1:3]
        y = ops.contract(x, f, spec="nijc,abcf->nhwf", windows=windows, out=shape)
        mean = ops.reduce_mean(y, axes=(0, 1, 2))
        away = ops.sub(y, wide(mean, y, 3))
        scale = ops.mul(s, ops.rsqrt(ops.reduce_mean(ops.mul(away, away), axes=(0, 1, 2))))
        z = ops.add(ops.mul(away, wide(scale, y, 3)), wide(b, y, 3))
        z = ops.maximum(z, ops.zeros_like(z))
        again = ops.contract(z, w, spec="nijc,abcf->nhwf", windows=windows, out=shape)
        return again, ops.contract(z, g, spec="nijc,nhwf->abcf", windows=windows, out=(3, 3))

    sizes = (4, 17, 17, 3), (3, 3, 3, 16), (16,), (16,), (3, 3, 16, 20), (4, 17, 17, 20)
    p = check(build, *(normal(*s) for s in sizes))
    assert "pointwise" not in kinds(p) and kinds(p).count("product") == 2
    assert len([b for b in p.buffers if b.shape == (4, 17, 17, 16)]) == 1


def test_what_is_made_for_one_product_is_made_there() -> None:
    """The gradient of an activation, a mask and a normalisation's slope."""

    def build(x: Value, y: Value, s: Value, w: Value) -> Value:
        x = ops.select(ops.gt(y, ops.zeros_like(y)), ops.mul(x, wide(s, x, 1)), ops.zeros_like(x))
        out: Value = ops.contract(x, w, spec="mk,kn->mn")
        return out

    assert kinds(check(build, normal(300, 40), normal(300, 40), normal(40), W)) == ["product"]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_lies_outside_a_window_that_is_walked_back_is_0_whatever_is_added(stride: int) -> None:
    def build(x: Value, b: Value, w: Value) -> Value:
        windows = (("i", "h", "a", stride, 1, 1), ("j", "w", "b", stride, 1, 1))
        x = ops.add(x, wide(b, x, 3))
        out = (stride * 7, stride * 7)
        return ops.contract(x, w, spec="nhwf,abcf->nijc", windows=windows, out=out)

    p = check(build, normal(6, 7, 7, 16), normal(16), normal(3, 3, 20, 16))
    assert kinds(p) == ["product"]
