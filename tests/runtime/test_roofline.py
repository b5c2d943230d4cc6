"""Least times: traffic or arithmetic binds a kernel, and a step is the sum of its kernels."""

from __future__ import annotations

from typing import Any

import pytest

from codegen.program import Kernel, Program
from runtime.roofline import H200, floor, step_seconds


def kernel(flops: int, moved: int, **schedule: Any) -> Kernel:
    return Kernel("k", (), (), (), "", flops, moved, schedule=schedule)


@pytest.mark.parametrize(
    ("k", "micro"),
    [
        (kernel(10, 4_300), 1.301),
        (kernel(10, 43_000_000), 11.3),
        (kernel(670_000_000, 8), 11.3),
        (kernel(670_000_000, 8, precision="ieee"), 11.3),
        (kernel(7_900_000_000, 8, precision="bf16"), 11.3),
        (kernel(3_950_000_000, 8, precision="tf32"), 11.3),
        (kernel(10, 43_000_000, grid=1000), 11.3),
        (kernel(10, 1_200_000, grid=1), 11.3),
        (kernel(10, 2_400_000, grid=2), 11.3),
        (kernel(670_000_000, 8, grid=66), 21.3),
    ],
)
def test_traffic_or_arithmetic_binds_a_kernel(k: Kernel, micro: float) -> None:
    assert floor(k, H200) * 1e6 == pytest.approx(micro)


def test_a_step_is_the_sum_of_its_kernels() -> None:
    kernels = (kernel(10, 10), kernel(10, 43_000_000), kernel(0, 0))
    p = Program("p", "triton", "", kernels, (), 0, (), (), ())
    assert step_seconds(p, H200) == pytest.approx(sum(floor(k, H200) for k in kernels))
    assert step_seconds(p, H200) > 3 * H200.launch
