"""Element types of the native target beside the interpreter: halves, every integer, and the casts between all of them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.interpret import interpret
from ir.text import parse
from ir.types import DTYPES, INTS, NUMPY, round_bf16
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_native import in_numpy

N = 21


def run(params: dict[str, tuple[str, Any]], lines: dict[str, tuple[str, str]]) -> None:
    """Every line of a graph by C and by the interpreter; equal but for the last places of floats."""
    given = ", ".join(f'{n}: {t} = data("{n}")' for n, (t, _) in params.items())
    own = re.compile(r"\b(" + "|".join(lines) + r")\b(?=[,)])")  # results have names that no op has
    lines = {f"r_{n}": (t, own.sub(r"r_\1", text)) for n, (t, text) in lines.items()}
    body = "\n".join(f"    {n}: {t} = {text}" for n, (t, text) in lines.items())
    types = ", ".join(t for t, _ in lines.values())
    graph = parse(f"def f({given}) -> ({types},):\n{body}\n    return {', '.join(lines)},\n")
    program = generate(graph, "native")
    assert not in_numpy(program)
    arrays = [a for _, a in params.values()]
    with np.errstate(all="ignore"):
        want = interpret(graph, arrays)
    got = Executable(program, StateStore()).run(*arrays)
    loose = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 2e-5, "f64": 1e-9}
    for (name, (t, text)), a, b in zip(lines.items(), got, want, strict=True):
        tolerance = loose.get(t.partition("[")[0], 0)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"{name} = {text}")


def halves(dtype: str, *shape: int, seed: int = 0) -> Any:
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return round_bf16(x) if dtype == "bf16" else x.astype(np.float16)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_halves(dtype: str) -> None:
    v, m = f"{dtype}[{N}]", f"{dtype}[{N}, 40]"
    table, products = f"{dtype}[40, {N}]", f"{dtype}[{N}, {N}]"
    params = {"x": (v, halves(dtype, N)), "y": (v, halves(dtype, N, seed=1)), "a": (m, halves(dtype, N, 40)),
              "b": (table, halves(dtype, 40, N, seed=2)),
              "at": ("i32[5]", np.array([0, -3, 20, 99, 7], np.int32))}  # fmt: skip
    lines = {
        "add": (v, "add(x, y)"), "mul": (v, "mul(x, y)"), "div": (v, "div(x, y)"), "exp": (v, "exp(x)"),
        "big": (v, "maximum(x, y)"), "less": (f"bool[{N}]", "lt(x, y)"), "some": (v, "select(less, x, mul)"),
        "wide": (f"f32[{N}]", "cast(x, dtype=f32)"), "back": (v, f"cast(wide, dtype={dtype})"),
        "long": (f"f64[{N}]", "cast(y, dtype=f64)"), "short": (v, f"cast(long, dtype={dtype})"),
        "rows": (f"{dtype}[{N}]", "reduce_sum(a, axes=(1,))"), "columns": (f"{dtype}[40]", "reduce_sum(a, axes=(0,))"),
        "most": (f"{dtype}[40]", "reduce_max(a, axes=(0,))"), "best": (f"i32[{N}]", "argmax(a, axis=1)"),
        "product": (products, "contract(a, b, spec='ik,kj->ij')"), "running": (m, "cumsum(a, axis=1)"),
        "down": (m, "cumsum(a, axis=0, reverse=True)"), "sorted": (m, "sort(a, axis=1)"), "order": (f"i32[{N}, 40]", "argsort(a, axis=0)"),
        "taken": (f"{dtype}[5, 40]", "gather(a, at, axis=0)"), "given": (f"{dtype}[9, 40]", "scatter_add(at, taken, axis=0, extent=9)"),
    }  # fmt: skip
    run(params, {n: (t, text.replace("'", '"')) for n, (t, text) in lines.items()})


def test_every_f16_and_what_rounds_to_it() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        bits = rng.integers(0, 2**32, 40000, dtype=np.uint64).astype(np.uint32).view(np.float32)
        near = every.astype(np.float32)
        halfway = (near[:-1] + near[1:]) / 2  # ties, and their neighbours
        wide = np.concatenate([bits, near, halfway, np.nextafter(halfway, np.float32(9e9)), np.nextafter(halfway, np.float32(-9e9))])  # fmt: skip
        double = np.concatenate([halfway.astype(np.float64) * (1 + s * 2.0**-45) for s in (-1, 0, 1)])  # fmt: skip
    graph = parse(
        f'def f(h: f16[{every.size}] = data("h"), w: f32[{wide.size}] = data("w"), d: f64[{double.size}] = data("d")) -> '
        f"(f32[{every.size}], f16[{wide.size}], f16[{double.size}], bf16[{wide.size}],):\n"
        f"    a: f32[{every.size}] = cast(h, dtype=f32)\n    b: f16[{wide.size}] = cast(w, dtype=f16)\n"
        f"    c: f16[{double.size}] = cast(d, dtype=f16)\n    e: bf16[{wide.size}] = cast(w, dtype=bf16)\n"
        "    return a, b, c, e,\n"
    )
    got = Executable(generate(graph, "native"), StateStore()).run(every, wide, double)
    with np.errstate(all="ignore"):
        want = (
            near,
            wide.astype(np.float16),
            double.astype(np.float16),
            round_bf16(wide),
        )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_integers_of_every_width() -> None:
    rng = np.random.default_rng(3)
    params: dict[str, tuple[str, Any]] = {"at": ("i32[4]", np.array([2, 0, 2, 9], np.int32))}
    lines: dict[str, tuple[str, str]] = {}
    for t in INTS:
        low, high = (-100, 100) if t[0] == "i" else (0, 200)
        for n, shape in (("x", (N,)), ("y", (N,)), ("a", (6, N)), ("b", (N, 5))):
            values = rng.integers(low, high, shape).astype(NUMPY[t])
            values[values == 0] = 3
            params[f"{n}_{t}"] = (f"{t}[{', '.join(map(str, shape))}]", values)
        x, y, a, v = f"x_{t}", f"y_{t}", f"a_{t}", f"{t}[{N}]"
        for op in ("add", "sub", "mul", "maximum", "minimum", "mod", "floordiv"):
            lines[f"{op}_{t}"] = (v, f"{op}({x}, {y})")
        lines |= {
            f"sum_{t}": (v, f"reduce_sum({a}, axes=(0,))"), f"rows_{t}": (f"{t}[6]", f"reduce_sum({a}, axes=(1,))"),
            f"most_{t}": (f"{t}[6]", f"reduce_max({a}, axes=(1,))"), f"least_{t}": (v, f"reduce_min({a}, axes=(0,))"),
            f"sort_{t}": (f"{t}[6, {N}]", f"sort({a}, axis=1)"), f"run_{t}": (f"{t}[6, {N}]", f"cumprod({a}, axis=0)"),
            f"take_{t}": (f"{t}[4, {N}]", f"gather({a}, at, axis=0)"),
            f"put_{t}": (f"{t}[3, {N}]", f"scatter_add(at, take_{t}, axis=0, extent=3)"),
            f"dot_{t}": (f"{t}[6, 5]", f'contract({a}, b_{t}, spec="ik,kj->ij")'),
        }  # fmt: skip
        for to in DTYPES:
            if to != t:
                lines[f"to_{t}_{to}"] = (f"{to}[{N}]", f"cast({x}, dtype={to})")
    run(params, lines)
