"""NaN, infinities, signed zeros and the ends of integers in C: what the graph says, in whole vectors and in the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.interpret import interpret
from ir.text import parse
from ir.types import NUMPY, round_bf16
from runtime import compiler
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_native import in_numpy

SPECIAL = (0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan)
N = len(SPECIAL) ** 2  # every pair: three vectors of 16 lanes and one more

# name: (type, expression); T the dtype, N the number of pairs
FLOATS = {
    **{op: ("T[N]", f"{op}(x, y)") for op in ("add", "sub", "mul", "div", "maximum", "minimum", "power", "atan2")},
    **{op: ("bool[N]", f"{op}(x, y)") for op in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{op: ("T[N]", f"{op}(x)") for op in ("neg", "absolute", "sign", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid",
                                           "erf", "floor", "round_even", "sin")},
    "chosen": ("T[N]", "select(lt, x, y)"),
    "whole": ("T[]", "reduce_sum(x, axes=(0,))"), "most": ("T[]", "reduce_max(y, axes=(0,))"), "least": ("T[]", "reduce_min(x, axes=(0,))"),
    "rows": ("T[7]", "reduce_sum(a, axes=(1,))"), "columns": ("T[7]", "reduce_max(a, axes=(0,))"),
    "finite": ("T[7]", "reduce_sum(b, axes=(1,))"), "peaks": ("T[7]", "reduce_max(b, axes=(1,))"),
    "product": ("T[7, 7]", 'contract(a, b, spec="ij,jk->ik")'),
    "best": ("i32[7]", "argmax(a, axis=1)"), "running": ("T[7, 7]", "cumsum(a, axis=1)"),
    "sorted": ("T[7, 7]", "sort(a, axis=1)"), "order": ("i32[7, 7]", "argsort(a, axis=0)"),
    "joined": ("T[14, 7]", "concat(a, b, axis=0)"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_what_is_no_number(dtype: str) -> None:
    def spelled(text: str) -> str:
        return text.replace("T[", f"{dtype}[").replace("[N]", f"[{N}]").replace("[]", "")

    types = {f"r_{n}": spelled(t) for n, (t, _) in FLOATS.items()}
    lines = "\n".join(
        f"    r_{n}: {types[f'r_{n}']} = {text.replace('(lt,', '(r_lt,')}"
        for n, (_, text) in FLOATS.items()
    )
    given = {"x": f"[{N}]", "y": f"[{N}]", "a": "[7, 7]", "b": "[7, 7]"}
    params = ", ".join(f'{n}: {dtype}{shape} = data("{n}")' for n, shape in given.items())
    graph = parse(f"def f({params}) -> ({', '.join(types.values())},):\n{lines}\n    return {', '.join(types)},\n")  # fmt: skip
    special = np.array(SPECIAL, NUMPY[dtype])
    pairs = np.repeat(special, len(special)), np.tile(special, len(special))
    b = np.random.default_rng(0).normal(size=(7, 7)).astype(NUMPY[dtype])
    b[2, 3] = -np.inf
    arrays: list[Any] = [*pairs, pairs[0].reshape(7, 7), round_bf16(b) if dtype == "bf16" else b]
    program = generate(graph, "native")
    assert not in_numpy(program)
    with np.errstate(all="ignore"):
        expected = interpret(graph, arrays)
    loose = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 2e-5, "f64": 1e-9}[dtype]
    for n, got, want in zip(types, Executable(program, StateStore()).run(*arrays), expected, strict=True):  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=loose, atol=loose, equal_nan=True, err_msg=n)


def test_no_flag_gives_up_numbers() -> None:
    banned = ("-ffast-math", "-Ofast", "-ffinite-math-only", "-fno-signed-zeros", "-fassociative-math",
              "-freciprocal-math", "-funsafe-math-optimizations")  # fmt: skip
    assert not set(banned) & set(compiler.FLAGS)
