"""Attention as C: a head's scores stay in the cache, forward and backward, with masks; against the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.native import contract, profit
from ir.grad import gradients
from ir.graph import Value
from ir.ops import attention, attention_nomask, transpose
from tests.codegen.test_native import run_with_sanitizers
from tests.codegen.test_native_scan import check, drawn, program, same_bits, value

# batch, heads, queries, keys, and the width of a head
SHAPES = (
    (1, 1, 7, 7, 3),
    (2, 3, 17, 17, 8),
    (3, 2, 33, 15, 16),
    (5, 2, 31, 33, 7),
    (2, 1, 1, 16, 17),
    (1, 4, 65, 63, 2),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are worth cutting however small they are."""
    monkeypatch.setattr(profit, "WORTH", 1)
    monkeypatch.setattr(contract, "GRAIN", 1)


def heads(v: Value) -> Value:
    """[N, T, H, D] as layers have it, as attention takes it."""
    out: Value = transpose(v, perm=(0, 2, 1, 3))
    return out


def attended(
    n: int, h: int, t: int, s: int, d: int, masked: bool
) -> tuple[list[Value], list[Value]]:
    """The operands of attention, and its result with the gradients of all operands."""
    given = [value("f32", n, t, h, d), value("f32", n, s, h, d), value("f32", n, s, h, d)]
    parts = [heads(v) for v in given]
    mask = [value("bool", n, h, t, s)] if masked else []
    out = attention(*parts, *mask, scale=0.5) if masked else attention_nomask(*parts, scale=0.5)
    ct = value("f32", *out.shape)
    return [*given, *mask, ct], [out, *(g for g in gradients([out], given, [ct]) if g is not None)]


@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_its_gradients(masked: bool, small: None, rng: np.random.Generator) -> None:
    """All shapes in one program; forward and back, the products of a head share kernels."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    for shape in SHAPES:
        given, made = attended(*shape, masked)
        inputs += given
        outputs += made
    done, graph = program(inputs, outputs)
    together = [k.ops.split(", ").count("contract") for k in done.kernels]
    many = sum(n * h > 1 for n, h, *_ in SHAPES)
    assert sum(n for n in together if n > 1) >= 6 * many, together
    check(done, graph, drawn(inputs, rng))


def test_what_reads_a_product_twice_computes_it_once(small: None, rng: np.random.Generator) -> None:
    """The scores are divided once for the result and the next product."""
    given, made = attended(3, 2, 19, 19, 8, False)
    done, _ = program(given, made)
    forward = next(k for k in done.kernels if k.ops.count("contract") > 1)
    first, last = forward.lines
    text = "\n".join(done.source.splitlines()[first - 1 : last])
    assert text.count("exp_vf32") <= 4  # a sum and a result, for whole vectors and for the rest


def test_threads_change_no_bit(small: None, rng: np.random.Generator) -> None:
    given, made = attended(5, 2, 33, 31, 8, True)
    same_bits(program(given, made)[0], drawn(given, rng))


def test_no_byte_outside_is_touched(small: None, tmp_path: Path) -> None:
    given, made = attended(3, 2, 17, 15, 5, True)
    run_with_sanitizers(*program(given, made), tmp_path)
