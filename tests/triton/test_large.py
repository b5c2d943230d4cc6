"""Buffers of more than 2^31 elements: their kernels count positions and offsets in 64 bits, and compute the same."""

from __future__ import annotations

import re

import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.triton import positions
from ir.graph import Value, graph_of
from ir.types import Type
from tests.triton.test_attention import built
from tests.triton.test_attention import check as attended
from tests.triton.test_kernels import check, normal

pytest.importorskip("triton")
pytest.importorskip("torch")


def source(*shape: int) -> str:
    x = Value(Type("f32", shape), None, 0, "x")
    seed, step = (Value(Type("u32", ()), None, 0, n) for n in ("seed", "step"))
    kept = ops.random_uniform(seed, step, stream=0, shape=shape)
    out = ops.mul(ops.transpose(x, perm=(0, 1)), kept)
    return generate(graph_of("case", [x, seed, step], [out]), "triton").source


def test_positions_and_offsets_of_large_buffers_have_64_bits() -> None:
    small, large = source(1000, 4096), source(1 << 20, 4096)
    assert "tl.int64" not in small
    assert "pid = tl.program_id(0).to(tl.int64)" in large
    for line in re.findall(r"tl\.(?:load|store)\(.*", large):
        assert ".to(tl.int64)" in line or "+" not in line


def test_the_last_block_of_a_buffer_just_below_the_limit_does_not_wrap() -> None:
    assert "tl.program_id(0).to(tl.int64)" in source((1 << 31) - 100, 1)


def test_kernels_with_64_bits_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "LARGE", 7)
    p = check(
        lambda x, w: ops.tanh(ops.contract(x, w, spec="mk,kn->mn")), normal(17, 5), normal(5, 9)
    )
    assert ".to(tl.int64)" in p.source
    p = check(lambda x: ops.softmax(ops.transpose(x, perm=(1, 0)), axis=1), normal(9, 7))
    assert ".to(tl.int64)" in p.source
    assert "t.to(tl.int64)" in attended(*built(1, 2, 5, 6, 3, "p"), 3)
