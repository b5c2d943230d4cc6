"""What compiled code is where the interpreter cannot tell: the instructions of a few kernels, and that the ops' cases compile at all.

No device is needed. `python -m tests.triton.compiled` compiles every case in every dtype.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from ir.graph import Value, graph_of
from ir.op import TABLE
from ir.types import Type
from tests.ops.cases import CASES
from tests.triton.compiled import DTYPES, program, ptx, refused
from tests.triton.test_values import BINARY, UNARY

pytest.importorskip("triton")
pytest.importorskip("torch")

Build = Callable[..., Any]


def _lookup(i: Value, u: Value) -> Any:
    return ops.scatter_add(i, u, axis=0, extent=9)


def _window(x: Value) -> Any:
    return ops.fold(x, windows=((1, 2, 2, 1, 0, 6),))


def _all(names: list[str], *given: Value) -> tuple[Any, ...]:
    return tuple(TABLE[n](*given) for n in names)


def _product(precision: str) -> Build:
    return lambda a, b: ops.contract(a, b, spec="mk,kn->mn", precision=precision)


SHORT = r"0d\w{7}[1-9A-F][2468ACE]0{7}"  # a number that was one of f32
SAMPLE = 24  # kernels that are compiled each time
# name: (what is built, types of its operands, instructions it has, instructions it has not)
QUESTIONS: dict[str, tuple[Build, tuple[tuple[str, tuple[int, ...]], ...], str, str]] = {
    "a quotient that is to be whole is rounded right": (
        lambda x, y: (ops.floordiv(x, y), ops.mod(x, y)), (("f32", (40,)), ("f32", (40,))),
        r"div\.rn\.f32", r"div\.(full|approx)",
    ),
    "an extreme keeps NaN": (
        lambda x: (ops.reduce_max(x, axes=(1,)), ops.reduce_min(x, axes=(1,))), (("f32", (5, 40)),),
        r"max\.NaN\.f32", r"(max|min)\.f32",
    ),
    "the position of an extreme is that of a number": (
        lambda x: ops.argmax(x, axis=1), (("f32", (5, 40)),), r"setp\.(num|nan)\.f32", r"max\.f32",
    ),
    "whole numbers are divided by sign": (
        lambda x, y: (ops.floordiv(x, y), ops.mod(x, y)), (("i32", (40,)), ("i32", (40,))),
        r"div\.s32", r"div\.u32|div\.\w+\.f32",
    ),
    "whole numbers without a sign are compared as such": (
        lambda x, y: (ops.gt(x, y), ops.maximum(x, y), ops.floordiv(x, y)), (("u32", (40,)), ("u32", (40,))),
        r"setp\.(gt|hi|lt|lo)\.u32", r"(setp\.\w+|max|div)\.s32 %r\d+, %r\d+, %r",
    ),
    "halves of a lookup are summed in f32": (
        _lookup, (("i32", (7,)), ("bf16", (7, 3))), r"(add|fma\.rn)\.f32", r"(add|fma)\.\S*f16",
    ),
    "halves of windows are summed in f32": (
        _window, (("f16", (1, 3, 4, 2, 2)),), r"(add|fma\.rn)\.f32", r"(add|fma)\.\S*f16",
    ),
    "a running sum of halves is one in f32": (
        lambda x: ops.cumsum(x, axis=0), (("bf16", (40,)),), r"(add|fma\.rn)\.f32", r"(add|fma)\.\S*f16",
    ),
    "an exact product has no matrix units": (
        _product("ieee"), (("f32", (64, 64)), ("f32", (64, 64))), r"fma\.rn\.f32", r"mma",
    ),
    "tf32 is a choice": (
        _product("tf32"), (("f32", (64, 64)), ("f32", (64, 64))), r"mma\S*tf32", r"mma\S*bf16",
    ),
    "bf16 is a choice": (
        _product("bf16"), (("f32", (64, 64)), ("f32", (64, 64))), r"mma\S*bf16", r"mma\S*tf32",
    ),
    "f64 is f64 in every constant": (
        lambda x: _all(UNARY, x), (("f64", (40,)),), r"0d3FF921FB54442D18", SHORT,
    ),
    "and where there are two": (
        lambda x, y: _all(BINARY, x, y), (("f64", (40,)), ("f64", (40,))), r"fma\.rn\.f64", SHORT,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    graphs = {}
    for name, (build, types, _, _) in QUESTIONS.items():
        values = [Value(Type(*t), name=f"x{k}") for k, t in enumerate(types)]
        out = build(*values)
        graphs[name] = graph_of("case", values, out if isinstance(out, tuple) else (out,))
    return ptx(graphs)


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_a_kernel_is_made_of(name: str, texts: dict[str, str]) -> None:
    _, _, some, none = QUESTIONS[name]
    text = texts[name]
    assert re.search(some, text), text
    found = re.search(none, text)
    assert found is None, text[found.start() - 200 : found.end() + 200]


def test_a_sample_of_the_ops_compiles_without_spills() -> None:
    rng = np.random.default_rng(0)
    chosen = {}
    while len(chosen) < SAMPLE:
        c, dtype = CASES[rng.integers(len(CASES))], DTYPES[rng.integers(len(DTYPES))]
        p = program(c, dtype)
        if p is not None:
            chosen[f"{c.id} {dtype}"] = p
    assert not refused(chosen.items(), "sm_90")
