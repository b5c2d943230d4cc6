"""What the NumPy target makes of convolutions, short rows and constants: values and counts of calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.program import Program
from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.ops import add, broadcast, contract, full, maximum, mul
from ir.pipeline import optimise
from ir.types import Type
from tests.codegen.test_primitives import check

RNG = np.random.default_rng(0)


def _inputs(*shapes: tuple[int, ...]) -> tuple[list[Value], list[np.ndarray]]:
    values = [Value(Type("f32", s), name=f"x{k}") for k, s in enumerate(shapes)]
    return values, [RNG.standard_normal(s, dtype=np.float32) for s in shapes]


def _compiled(inputs: list[Value], outputs: list[Value], arrays: list[np.ndarray]) -> Program:
    return check(optimise(graph_of("step", inputs, outputs)), arrays)


def _program(inputs: list[Value], outputs: list[Value], arrays: list[np.ndarray]) -> str:
    return _compiled(inputs, outputs, arrays).source


CONVOLUTIONS = {
    "same": ((6, 33, 31, 16), (3, 3, 16, 16), 1, 1, 1),
    "valid": ((8, 30, 29, 8), (3, 5, 8, 24), 1, 1, 0),
    "dilated": ((8, 32, 32, 12), (3, 3, 12, 12), 1, 2, 2),
    "strided": ((8, 33, 32, 16), (3, 3, 16, 16), 2, 1, 1),
    "a pixel each": ((8, 32, 32, 16), (1, 1, 16, 24), 1, 1, 0),
    "many out": ((4, 24, 24, 4), (3, 3, 4, 40), 1, 1, 1),
    "prime batch": ((7, 32, 32, 16), (2, 2, 16, 8), 1, 1, 0),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_and_gradients_in_blocks(name: str) -> None:
    x_shape, w_shape, stride, dilation, low = CONVOLUTIONS[name]
    (x, w), arrays = _inputs(x_shape, w_shape)
    extent = [
        (n + 2 * low - dilation * (k - 1) - 1) // stride + 1
        for n, k in zip(x_shape[1:3], w_shape[:2], strict=True)
    ]
    windows = (("i", "h", "a", stride, dilation, low), ("j", "w", "b", stride, dilation, low))
    y = contract(x, w, spec="nijc,abcf->nhwf", windows=windows, out=tuple(extent))
    dx, dw = gradients([y], [x, w], [mul(y, y)])
    assert dx is not None and dw is not None
    scale = float(np.prod(w_shape[:3])) ** 0.5
    arrays[0] *= np.float32(0.1)
    arrays[1] /= np.float32(scale)
    source = _program([x, w], [y, dx, dw], arrays)
    assert "copyto(" in source or name == "a pixel each", "columns"


def test_both_axes_are_padded_in_one_copy() -> None:
    (x, w), arrays = _inputs((2, 8, 8, 4), (3, 3, 4, 4))
    windows = (("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1))
    y = contract(x, w, spec="nijc,abcf->nhwf", windows=windows, out=(8, 8))
    source = _program([x, w], [y], arrays)
    assert source.count("copyto(") == 2  # into the padded image, and into columns


def test_a_padded_convolution_and_its_gradients_run_in_blocks() -> None:
    (x, w, g), arrays = _inputs((16, 32, 32, 16), (3, 3, 16, 16), (16, 32, 32, 16))
    windows = (("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1))
    arrays[1] *= np.float32(0.05)
    arrays[2] *= np.float32(0.001)
    y = contract(x, w, spec="nijc,abcf->nhwf", windows=windows, out=(32, 32))
    dx, dw = gradients([y], [x, w], [g])
    assert dx is not None and dw is not None
    program = _compiled([x, w, g], [y, dx, dw], arrays)
    assert len(program.kernels) == 3
    assert all("tile" in k.schedule for k in program.kernels)
    assert program.peak_bytes < 40_000_000  # columns of a block, not of the batch


@pytest.mark.parametrize("rows", [4096, 4099, 96, 3 * 1009])
@pytest.mark.parametrize("channels", [3, 16, 64, 100])
def test_a_number_per_channel(rows: int, channels: int) -> None:
    (x, s, b), arrays = _inputs((rows, channels), (channels,), (channels,))
    wide: Callable[[Value], Value] = lambda v: broadcast(v, shape=x.shape, axes=(1,))
    y = add(mul(x, wide(s)), wide(b))
    zero = broadcast(full(value=0.5, shape=(), dtype="f32"), shape=x.shape, axes=())
    _program([x, s, b], [maximum(y, zero)], arrays)


def test_short_rows_are_laid_out_before_the_loop() -> None:
    (x, s), arrays = _inputs((64, 32, 32, 16), (16,))
    source = _program([x, s], [mul(x, broadcast(s, shape=x.shape, axes=(3,)))], arrays)
    (line,) = [line for line in source.splitlines() if "copyto(" in line]
    assert line.startswith("    copyto("), "not in a loop"
