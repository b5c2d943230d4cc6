"""Each kind of kernel and each class of schedule, in the interpreter, over extents that do not divide the tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from codegen.triton.schedule import PASS
from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.types import Type, type_of

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram

SIZES = (1, 2, 3, 7, 16, 17, 31, 33, 63, 65, 127, 129)
Array = np.ndarray[Any, Any]


def made(build: Callable[..., Any], *arrays: Array) -> tuple[Graph, Program]:
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    result = build(*values)
    outs = list(result) if isinstance(result, tuple) else [result]
    graph = graph_of("case", values, outs)
    return graph, generate(graph, "triton")


def check(build: Callable[..., Any], *arrays: Array, tol: float = 2e-5) -> Program:
    """Run what `build` makes on both sides, compare, return the program."""
    graph, program = made(build, *arrays)
    expected = interpret(graph, list(arrays))
    found = TritonProgram(program, {}).run(*arrays)
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(b.astype("f8")).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale)
    return program


def kinds(p: Program) -> list[str]:
    """What is launched, kernels that share a launch one after another."""
    return [str(x) for k in p.kernels for x in k.schedule.get("kinds") or [k.schedule["kind"]]]


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f4")


def wide(v: Value, like: Value, *axes: int) -> Value:
    out: Value = ops.broadcast(v, shape=like.shape, axes=axes)
    return out


@pytest.mark.parametrize("n", SIZES)
def test_pointwise_with_several_results(n: int) -> None:
    def build(x: Value, y: Value) -> tuple[Value, ...]:
        s = ops.tanh(ops.add(x, wide(y, x, 1)))
        return s, ops.gt(s, x), ops.sigmoid(s)

    assert kinds(check(build, normal(n, 5), normal(5))) == ["pointwise"]


@pytest.mark.parametrize("n", SIZES[1:])
def test_a_softmax_is_one_kernel_with_rows_held(n: int) -> None:
    def build(x: Value) -> tuple[Value, ...]:
        return ops.softmax(x, axis=1), ops.argmax(x, axis=1)

    assert len(check(build, normal(3, n)).kernels) == 1


def test_long_rows_are_walked() -> None:
    p = check(lambda x: ops.softmax(x, axis=1), normal(67, 16400))
    assert kinds(p) == ["loop"]


def test_the_mean_of_many_entropies_over_many_classes_leaves_no_program_all_rows() -> None:
    def build(x: Value) -> tuple[Value, ...]:
        top = ops.reduce_max(x, axes=(1,))
        away = ops.sub(x, wide(top, x, 0))
        total = ops.log(ops.reduce_sum(ops.exp(away), axes=(1,)))
        return total, ops.reduce_sum(total, axes=(0,))

    _, p = made(build, normal(600, 2000))
    assert p.kernels[0].schedule["grid"] == 600
    held = [[tile for _, _, tile in k.schedule["groups"]] for k in p.kernels]
    assert all(np.prod(tiles) <= PASS for tiles in held)
    assert sum(k.flops for k in p.kernels) < 14 * 600 * 2000


@pytest.mark.parametrize("n", [40000, 70001])
def test_a_long_sum_is_split_and_the_same_every_time(n: int) -> None:
    x = normal(n)
    build = lambda v: (ops.reduce_sum(ops.mul(v, v), axes=(0,)), ops.reduce_max(v, axes=(0,)))
    p = check(build, x)
    assert kinds(p) == ["split", "rows"]
    one, two = (TritonProgram(p, {}).run(x)[0] for _ in range(2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("b", [1, 3])
def test_batched_products(b: int) -> None:
    check(lambda a, c: ops.contract(a, c, spec="bmk,bnk->bmn"), normal(b, 17, 5), normal(b, 18, 5))


def test_a_long_product_is_split() -> None:
    p = check(
        lambda a, b: ops.tanh(ops.contract(a, b, spec="km,kn->mn")),
        normal(4000, 9),
        normal(4000, 4),
    )
    assert kinds(p)[0] == "split"


def test_an_epilogue_of_bias_activation_and_column_sums() -> None:
    def build(a: Value, b: Value, c: Value) -> tuple[Value, ...]:
        z = ops.contract(a, b, spec="mk,kn->mn")
        y = ops.maximum(ops.add(z, wide(c, z, 1)), ops.full(value=0.0, shape=z.shape, dtype="f32"))
        return y, ops.reduce_sum(y, axes=(0,))

    assert len(check(build, normal(31, 40), normal(40, 50), normal(50)).kernels) == 1


def test_a_stretch_of_what_follows_a_product_is_a_kernel_of_its_own() -> None:
    def build(x: Value, w: Value, v: Value) -> tuple[Value, ...]:
        z = ops.tanh(ops.contract(x, w, spec="mk,kn->mn"))
        y, shape = ops.reshape(z, shape=(5,)), (5, 6)
        both = ops.mul(
            ops.broadcast(y, shape=shape, axes=(0,)), ops.broadcast(v, shape=shape, axes=(1,))
        )
        parts = [((0, 0), (5, 3)), ((0, 3), (5, 6))]
        return ops.exp(z), *(ops.slice_(both, start=a, stop=b, step=(1, 1)) for a, b in parts)

    check(build, normal(5, 6), normal(6, 1), normal(6))


def test_softmax_cross_entropy_and_its_gradient_are_one_kernel() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 31).astype("i4")

    def build(a: Value, b: Value, y: Value) -> tuple[Value, ...]:
        z = ops.contract(a, b, spec="mk,kn->mn")
        p = ops.softmax(z, axis=1)
        hot = ops.eq(ops.iota(shape=z.shape, axis=1, dtype="i32"), wide(y, z, 0))
        one, zero = (ops.full(value=v, shape=z.shape, dtype="f32") for v in (1.0, 0.0))
        loss = ops.reduce_sum(ops.select(hot, ops.log(p), zero), axes=(0, 1))
        return loss, ops.sub(p, ops.select(hot, one, zero))

    assert len(check(build, normal(31, 20), normal(20, 10), labels).kernels) == 1


@pytest.mark.parametrize(
    ("stride", "dilation", "low"), [(1, 1, 0), (1, 1, 1), (2, 1, 1), (3, 1, 0), (1, 2, 2)]
)
def test_convolution_and_both_gradients(stride: int, dilation: int, low: int) -> None:
    n, size, taps, c, f = 2, 9, 3, 5, 18
    out = (size + 2 * low - dilation * (taps - 1) - 1) // stride + 1
    windows = (("i", "h", "a", stride, dilation, low), ("j", "w", "b", stride, dilation, low))
    x, w, y = normal(n, size, size, c), normal(taps, taps, c, f), normal(n, out, out, f)
    check(
        lambda p, q: ops.contract(p, q, spec="nijc,abcf->nhwf", windows=windows, out=(out, out)),
        x,
        w,
    )
    check(
        lambda p, q: ops.contract(p, q, spec="nhwf,abcf->nijc", windows=windows, out=(size, size)),
        y,
        w,
    )
    check(
        lambda p, q: ops.contract(p, q, spec="nijc,nhwf->abcf", windows=windows, out=(taps, taps)),
        x,
        y,
    )


def test_the_gradient_of_a_strided_convolution_multiplies_by_no_zero() -> None:
    """Each residue of the stride has its own taps: of three, two for the one and one for the other."""
    windows = (("i", "h", "a", 2, 1, 1), ("j", "w", "b", 2, 1, 1))
    p = check(
        lambda y, w: ops.contract(y, w, spec="nhwf,abcf->nijc", windows=windows, out=(9, 9)),
        normal(2, 5, 5, 7),
        normal(3, 3, 4, 7),
    )
    groups = p.kernels[0].schedule["groups"]
    assert [g[:2] for g in groups] == [
        ["grid", 2], ["grid", 2], ["grid", 2 * 5 * 5], ["tile", 2 * 2 * 7], ["grid", 4]
    ]  # fmt: skip


def test_convolutions_in_one_and_three_dimensions_and_by_channel() -> None:
    one = (("i", "h", "a", 1, 1, 1),)
    check(
        lambda p, q: ops.contract(p, q, spec="nic,acf->nhf", windows=one, out=(9,)),
        normal(2, 9, 4),
        normal(3, 4, 6),
    )
    three = tuple((i, o, t, 1, 1, 0) for i, o, t in ("iha", "jwb", "kvd"))
    check(
        lambda p, q: ops.contract(p, q, spec="nijkc,abdcf->nhwvf", windows=three, out=(3, 3, 3)),
        normal(1, 4, 4, 4, 3), normal(2, 2, 2, 3, 4),
    )  # fmt: skip
    two = (("i", "h", "a", 2, 1, 0), ("j", "w", "b", 2, 1, 0))
    x, w, y = normal(2, 7, 7, 6), normal(3, 3, 6), normal(2, 3, 3, 6)
    check(lambda p, q: ops.contract(p, q, spec="nijc,abc->nhwc", windows=two, out=(3, 3)), x, w)
    check(lambda p, q: ops.contract(p, q, spec="nhwc,abc->nijc", windows=two, out=(7, 7)), y, w)
    check(lambda p, q: ops.contract(p, q, spec="nijc,nhwc->abc", windows=two, out=(3, 3)), x, y)


@pytest.mark.parametrize("shape", [(1,), (3,), (33, 7), (5, 16), (40, 20), (300,)])
def test_random_numbers_are_those_of_the_numpy_target(shape: tuple[int, ...]) -> None:
    seed, step = np.array(7, "u4"), np.array(9, "u4")
    build = lambda s, t: ops.random_uniform(s, t, stream=3, shape=shape)
    graph, program = made(build, seed, step)
    found = TritonProgram(program, {}).run(seed, step)[0]
    assert found.tobytes() == interpret(graph, [seed, step])[0].tobytes()


def test_a_counter_of_random_numbers_gives_its_four_words_to_a_tile() -> None:
    def build(a: Value, b: Value, s: Value, t: Value) -> Value:
        z = ops.contract(a, b, spec="mk,kn->mn")
        return ops.mul(z, ops.random_uniform(s, t, stream=3, shape=z.shape))

    seed, step = np.array(7, "u4"), np.array(9, "u4")
    for n, fours in ((20, True), (18, False)):
        p = check(build, normal(17, 5), normal(5, n), seed, step)
        assert ("tl.join" in p.source) == fours


def test_an_embedding_and_its_gradient() -> None:
    idx = np.random.default_rng(1).integers(0, 9, (4, 5)).astype("i4")
    check(lambda t, i: ops.gather(t, i, axis=0), normal(9, 17), idx)
    check(lambda i, u: ops.scatter_add(i, u, axis=0, extent=9), idx, normal(4, 5, 17))


def test_bytes_are_those_that_move() -> None:
    """What is updated in place is read and written; of a table, what is looked up."""
    idx, table = np.zeros(7, "i4"), normal(90, 5)
    p = check(lambda t, i: ops.gather(t, i, axis=0), table, idx)
    assert p.bytes == 4 * (7 + 2 * 7 * 5)
    p = check(lambda t, i: (ops.gather(t, i, axis=0), ops.reduce_sum(t, axes=(0, 1))), table, idx)
    assert p.bytes == 4 * (7 + 90 * 5 + 7 * 5 + 1)
    w = Value(Type("f32", (90, 5)), None, 0, "w")
    g = Graph("step", [w], [(n := ops.mul(w, w)).node], [n], roles=[Role("state", "w")])
    assert generate(g, "triton").bytes == 2 * 4 * 90 * 5


@pytest.mark.parametrize("n", [1, 16, 33, 65, 129])
@pytest.mark.parametrize("d", [1, 5])
def test_the_gradient_of_a_lookup_is_summed_in_the_order_of_sorted_indices(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    idx = np.minimum(rng.integers(-1, 7, (n, 3)), 5).astype("i4")  # one row with none, one outside

    def build(i: Value, u: Value, w: Value) -> Value:
        return ops.add(ops.scatter_add(i, u, axis=0, extent=9), w)

    p = check(build, idx, normal(n, 3, d), normal(9, d))
    if n * 3 > 32:
        assert [k for k in kinds(p) if k != "stretches"] == ["order", "sorted"]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 33, 65])
def test_sorting_is_stable_with_nan_last(n: int) -> None:
    x = np.round(normal(2, n), 1)
    x[:, n // 2] = np.nan

    def build(v: Value) -> tuple[Value, ...]:
        return ops.sort(v, axis=1), ops.argsort(v, axis=1)

    graph, program = made(build, x)
    found = TritonProgram(program, {}).run(x)
    for a, b in zip(found, interpret(graph, [x]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_powers_of_whole_numbers_wrap_and_vanish() -> None:
    x = np.array([-3, -1, 0, 1, 2, 7] * 6, "i4")
    y = np.repeat(np.array([-3, -2, 0, 1, 5, 31], "i4"), 6)
    with np.errstate(all="ignore"):
        check(lambda a, b: ops.power(a, b), x, y)


@pytest.mark.parametrize(("c", "f"), [(1, 4), (5, 18)])
def test_what_no_window_of_one_tap_reaches_has_no_gradient(c: int, f: int) -> None:
    windows = (("i", "h", "a", 3, 1, 2),)
    check(
        lambda y, w: ops.contract(y, w, spec="nhf,acf->nic", windows=windows, out=(9,)),
        normal(2, 4, f),
        normal(1, c, f),
    )


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("op", [ops.cumsum, ops.cumprod])
def test_running_sums_of_one_position_and_of_what_is_the_same_at_all(
    op: Any, exclusive: bool
) -> None:
    def build(x: Value, y: Value) -> tuple[Value, ...]:
        same = ops.broadcast(y, shape=(3, 4), axes=(0,))
        how = {"axis": 1, "reverse": False, "exclusive": exclusive}
        return ops.tanh(op(x, **how)), op(same, **how)

    check(build, normal(3, 1), normal(3))
