"""Random numbers: the published Philox vector, Triton's numbers bit for bit, and their distribution."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ir.ops as ops
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.op import IRError, Op
from ir.ops.random import GOLDEN, philox
from ir.types import Type


def draw(op: Op, seed: int, step: int, stream: int, shape: tuple[int, ...]) -> np.ndarray:
    key = [Value(Type("u32", ())), Value(Type("u32", ()))]
    graph = graph_of("draw", key, [op(*key, stream=stream, shape=shape)])
    return interpret(graph, [np.uint32(seed), np.uint32(step)])[0]


def test_the_published_vector() -> None:
    want = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # Random123, kat_vectors
    np.testing.assert_array_equal(philox((0, 0), np.zeros(1))[0], np.array(want, np.uint32))


@pytest.mark.skipif(
    not all(importlib.util.find_spec(m) for m in ("triton", "torch")), reason="needs Triton"
)
@pytest.mark.parametrize(
    ("seed", "step", "stream"), [(0, 0, 0), (1337, 5, 3), (2**32 - 1, 2**31 + 9, 2)]
)
def test_the_numbers_are_those_of_triton(seed: int, step: int, stream: int, tmp_path: Path) -> None:
    low = (seed + stream * GOLDEN) % 2**32
    script = Path(__file__).with_name("triton_philox.py")
    path = tmp_path / "drawn.npz"
    subprocess.run([sys.executable, script, str(low), str(step), "64", str(path)], check=True)
    with np.load(path) as drawn:
        np.testing.assert_array_equal(
            draw(ops.random_bits, seed, step, stream, (4, 64)).ravel(), drawn["words"]
        )
        got = draw(ops.random_uniform, seed, step, stream, (256,))
        np.testing.assert_array_equal(got.view(np.uint32), drawn["floats"].view(np.uint32))


def test_a_shape_is_a_prefix_of_a_longer_one() -> None:
    long = draw(ops.random_bits, 3, 4, 1, (11,))
    np.testing.assert_array_equal(draw(ops.random_bits, 3, 4, 1, (2, 3)).ravel(), long[:6])
    assert draw(ops.random_bits, 3, 4, 1, (0, 3)).shape == (0, 3)
    assert draw(ops.random_bits, 3, 4, 1, ()) == long[0]


def test_streams_and_steps_differ() -> None:
    drawn = [draw(ops.random_bits, 3, t, s, (8,)).tolist() for t in (0, 1) for s in (0, 1)]
    assert len({tuple(d) for d in drawn}) == 4


def test_the_distributions() -> None:
    u = draw(ops.random_uniform, 1, 2, 3, (40_000,))
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.01
    n = draw(ops.random_normal, 1, 2, 3, (40_000,))
    assert np.isfinite(n).all()
    assert abs(n.mean()) < 0.02 and abs(n.std() - 1) < 0.02 and abs((n**3).mean()) < 0.1


def test_a_key_of_another_type_is_refused() -> None:
    key = Value(Type("i32", ()))
    with pytest.raises(IRError, match="u32 scalars"):
        ops.random_bits(key, key, stream=0, shape=(3,))
