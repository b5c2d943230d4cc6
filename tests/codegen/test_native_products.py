"""Matrix products in C (a compiler is needed): awkward sizes in every layout, batches, what is computed with each block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.native import contract
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Graph, Role
from ir.interpret import interpret
from ir.passes.decompose import decompose
from ir.passes.fuse import fuse
from ir.text import parse
from runtime import pool
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_native import arrays_for, run_with_sanitizers

SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)
LAYOUTS = ("mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->mn")


def products(dtype: str, cases: list[tuple[str, dict[str, int]]]) -> Graph:
    """One graph with a product for each case: a spec and the extents of its letters."""
    params, lines, types = [], [], []

    def kind(letters: str, size: dict[str, int]) -> str:
        return f"{dtype}[{', '.join(str(size[c]) for c in letters)}]"

    for k, (spec, size) in enumerate(cases):
        operands, result = spec.split("->")
        x, y = operands.split(",")
        params += [
            f'x{k}: {kind(x, size)} = data("x{k}")',
            f'y{k}: {kind(y, size)} = data("y{k}")',
        ]
        types.append(kind(result, size))
        lines.append(f'    r{k}: {types[-1]} = contract(x{k}, y{k}, spec="{spec}")')
    names = ", ".join(f"r{k}" for k in range(len(cases)))
    return parse(
        f"def f({', '.join(params)}) -> ({', '.join(types)},):\n"
        + "\n".join(lines)
        + f"\n    return {names},\n"
    )


def native(graph: Graph) -> Program:
    program = generate(graph, "native")
    assert "matmul" not in program.source.split("def build")[1], "NumPy was asked"
    return program


def check(graph: Graph, arrays: Any = None, tolerance: float = 2e-5) -> Program:
    """The program of a graph; its results are those of the meaning, and the same bits with one thread and with three."""
    arrays = arrays_for(graph) if arrays is None else arrays
    program = native(graph)
    exe = Executable(program, StateStore())
    with np.errstate(all="ignore"):
        expected = interpret(graph, arrays)
    try:
        pool.limit(1)
        first = [a.copy() for a in exe.run(*arrays)]
        pool.limit(3)
        again = exe.run(*arrays)
    finally:
        pool.limit(1)
    for a, b, c in zip(first, again, expected, strict=True):
        assert a.dtype == c.dtype and a.shape == c.shape
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), "threads change the result"
        with np.errstate(all="ignore"):
            scale = np.abs(c[np.isfinite(c)]).max(initial=1) if c.dtype.kind == "f" else 1
        np.testing.assert_allclose(a, c, rtol=tolerance, atol=tolerance * scale)
    return program


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_every_layout_over_awkward_sizes(dtype: str) -> None:
    n = len(SIZES)
    cases = [
        (spec, dict(zip("mnk", (SIZES[i], SIZES[(5 * i + j) % n], SIZES[(8 * i + 3 * j + 2) % n]), strict=True)))
        for i in range(n) for j, spec in enumerate(LAYOUTS)
    ]  # fmt: skip
    graph = products(dtype, cases)
    arrays = arrays_for(graph)
    got = Executable(native(graph), StateStore()).run(*arrays)
    for k, (spec, size) in enumerate(cases):
        exact = np.einsum(spec, *(a.astype(np.float64) for a in arrays[2 * k : 2 * k + 2]))
        bound = 1e-6 if dtype == "f32" else 1e-14
        error = np.abs(got[k] - exact).max()
        assert error <= bound * max(1, size["k"]) ** 0.5 * 8, (spec, size, error)


NARROW = [
    ("km,kn->mn", dict(m=m, n=n, k=k))
    for m in (16, 33, 65)
    for n in (1, 2, 7, 10, 15)
    for k in (17, 64, 300)
]  # vectors go down the rows
LONG = [
    ("mk,kn->nm", dict(m=16, n=33, k=16384)),
    ("km,kn->mn", dict(m=9, n=31, k=20000)),
    ("abk,abn->kn", dict(a=63, b=128, k=31, n=33)),
]  # sums in parts


@pytest.mark.parametrize("cases", [NARROW, LONG], ids=["narrow", "long"])
def test_few_columns_and_long_sums(cases: list[tuple[str, dict[str, int]]]) -> None:
    graph = products("f32", cases)
    program = check(graph)
    assert all(k.schedule.get("sums") == 8 for k in program.kernels) == (cases is LONG)
    arrays = arrays_for(graph)
    got = Executable(program, StateStore()).run(*arrays)
    for k, (spec, _) in enumerate(cases):
        exact = np.einsum(spec, *(a.astype(np.float64) for a in arrays[2 * k : 2 * k + 2]))
        np.testing.assert_allclose(got[k], exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


BATCHES = [
    ("nthd,nshd->nhts", dict(n=3, t=17, s=33, h=2, d=8)),
    ("nhts,nshd->nthd", dict(n=3, t=17, s=33, h=2, d=8)),
    ("nhts,nthd->nshd", dict(n=8, t=65, s=31, h=4, d=32)),
    ("ntf,fg->tng", dict(n=5, t=7, f=33, g=48)),
    ("tng,fg->ntf", dict(n=65, t=33, f=17, g=64)),
    ("tnu,tng->ug", dict(n=5, t=7, u=33, g=17)),
    ("ntf,tng->fg", dict(n=33, t=65, f=31, g=65)),
    ("abk,kxy->abxy", dict(a=4, b=33, k=65, x=4, y=17)),
    ("abk,kxy->axby", dict(a=2, b=127, k=33, x=3, y=33)),
    ("axby,kxy->abk", dict(a=4, b=33, k=65, x=4, y=17)),
    ("abk,abn->kn", dict(a=63, b=31, k=16, n=65)),
    ("mk,kn->nm", dict(m=129, n=127, k=65)),
    ("bmk,bkn->mnb", dict(b=3, m=65, n=33, k=17)),
    ("mk,k->m", dict(m=127, k=33)),
    ("m,n->mn", dict(m=127, n=33)),
]


def test_batches_and_results_in_any_order() -> None:
    graph = products("f32", BATCHES)
    arrays = arrays_for(graph)
    got = Executable(native(graph), StateStore()).run(*arrays)
    for k, (spec, _) in enumerate(BATCHES):
        exact = np.einsum(spec, *(a.astype(np.float64) for a in arrays[2 * k : 2 * k + 2]))
        np.testing.assert_allclose(got[k], exact, rtol=1e-5, atol=2e-5 * np.abs(exact).max())


def test_nan_and_infinity_come_out_where_they_belong() -> None:
    graph = products("f32", [("mk,kn->mn", dict(m=33, n=17, k=31))] * 2)
    arrays = arrays_for(graph)
    arrays[0][5, 7], arrays[1][2, 3], arrays[2][4, 4], arrays[3][1, 16] = np.nan, np.inf, np.inf, np.nan  # fmt: skip
    check(graph, arrays)


FORWARD = """
def f(x: f32[M, K] = data("x"), w: f32[K, N] = data("w"), b: f32[N] = data("b"), s: f32[M, N] = data("s")) -> (f32[M, N], bool[M, N], f32[M, N], f32[M],):
    z: f32[M, N] = contract(x, w, spec="mk,kn->mn")
    c: f32[M, N] = broadcast(b, shape=(M, N), axes=(1,))
    y: f32[M, N] = add(z, c)
    o: f32[M, N] = full(value=0.0, dtype=f32, shape=(M, N))
    h: f32[M, N] = maximum(y, o)
    p: bool[M, N] = gt(h, o)
    r: f32[M, N] = add(h, s)
    t: f32[M, N] = tanh(r)
    u: f32[M] = reduce_sum(t, axes=(1,))
    return h, p, t, u,
"""
BACKWARD = """
def f(g: f32[M, K] = data("g"), w: f32[N, K] = data("w"), p: bool[M, N] = data("p")) -> (f32[M, N], f32[N], f32,):
    z: f32[M, N] = contract(g, w, spec="mk,nk->mn")
    o: f32[M, N] = full(value=0.0, dtype=f32, shape=(M, N))
    d: f32[M, N] = select(p, z, o)
    b: f32[N] = reduce_sum(d, axes=(0,))
    q: f32[M, N] = mul(d, d)
    t: f32 = reduce_sum(q, axes=(0, 1))
    return d, b, t,
"""
UPDATE = """
def f(w: f32[M, N] = state("w"), v: f32[M, N] = state("v"), x: f32[K, M] = data("x"), g: f32[K, N] = data("g")) -> (f32[M, N], f32[M, N],):
    d: f32[M, N] = contract(x, g, spec="km,kn->mn")
    a: f32[M, N] = sub(d, v)
    r: f32[M, N] = full(value=0.1, dtype=f32, shape=(M, N))
    b: f32[M, N] = mul(a, r)
    v1: f32[M, N] = add(v, b)
    c: f32[M, N] = mul(v1, r)
    w1: f32[M, N] = sub(w, c)
    return w1, v1,
"""
NORMAL = """
def f(x: f32[M, K] = data("x"), w: f32[K, N] = data("w"), s: f32[M, N] = data("s")) -> (f32[M, N], f32[M, N],):
    z: f32[M, N] = contract(x, w, spec="mk,kn->mn")
    h: f32[M, N] = add(z, s)
    m: f32[M] = reduce_max(h, axes=(1,))
    c: f32[M, N] = broadcast(m, shape=(M, N), axes=(0,))
    d: f32[M, N] = sub(h, c)
    e: f32[M, N] = exp(d)
    t: f32[M] = reduce_sum(e, axes=(1,))
    u: f32[M, N] = broadcast(t, shape=(M, N), axes=(0,))
    r: f32[M, N] = div(e, u)
    return h, r,
"""
EXTENTS = [(127, 129, 65), (33, 257, 127), (256, 128, 64), (1023, 33, 31), (64, 64, 512)]


@pytest.mark.parametrize("text", [FORWARD, BACKWARD, NORMAL], ids=["forward", "backward", "normal"])
def test_what_follows_a_product_is_computed_with_its_blocks(text: str) -> None:
    graphs = [
        parse(text.replace("M", str(m)).replace("N", str(n)).replace("K", str(k)))
        for m, n, k in EXTENTS
    ]
    for g in graphs:
        program = check(g)
        cut = [k for k in program.kernels if k.schedule.get("blocks")]
        assert len(cut) == 1 and "contract" in cut[0].ops and len(cut[0].ops.split(", ")) > 3


@pytest.mark.parametrize("m, n, k", EXTENTS)
def test_a_weight_is_updated_where_its_gradient_was_made(m: int, n: int, k: int) -> None:
    graph = parse(UPDATE.replace("M", str(m)).replace("N", str(n)).replace("K", str(k)))
    program = native(graph)
    assert len(program.kernels) == 1
    store, arrays = StateStore(), arrays_for(graph)
    states, data = arrays[:2], arrays[2:]
    for path, a in zip(("w", "v"), states, strict=True):
        store.put(path, a)
    exe = Executable(program, store)
    for _ in range(3):
        exe.run(*data)
        states = list(interpret(graph, [*states, *data]))
    for path, a in zip(("w", "v"), states, strict=True):
        np.testing.assert_allclose(store[path], a, rtol=2e-5, atol=2e-4)


# a product of a computed operand, a second one of what the first one gives, and its gradient
CHAIN = """
def f(x: f32[M, K] = data("x"), w: f32[K, N] = data("w"), v: f32[N, K] = data("v"), b: f32[N] = data("b")) -> (f32[M, K], f32[K], f32[N, K], f32[M, N],):
    a: f32[M, K] = tanh(x)
    z: f32[M, N] = contract(a, w, spec="mk,kn->mn")
    c: f32[M, N] = broadcast(b, shape=(M, N), axes=(1,))
    y: f32[M, N] = add(z, c)
    h: f32[M, N] = tanh(y)
    r: f32[M, K] = contract(h, v, spec="mn,nk->mk")
    q: f32[M, K] = mul(r, a)
    s: f32[K] = reduce_sum(q, axes=(0,))
    g: f32[N, K] = contract(h, q, spec="mn,mk->nk")
    return q, s, g, h,
"""


@pytest.mark.parametrize(
    "text", [FORWARD, BACKWARD, NORMAL, CHAIN], ids=["forward", "backward", "normal", "chain"]
)
def test_whatever_is_fused_is_right(text: str) -> None:
    for m, n, k in [(127, 129, 65), (33, 17, 31), (7, 3, 2), (256, 128, 64), (1, 63, 16)]:
        graph = parse(text.replace("M", str(m)).replace("N", str(n)).replace("K", str(k)))
        whole = fuse(decompose(graph), lambda node, group: "")
        assert len(whole.nodes) <= 2
        check(whole)


# blocks of rows that go through two products, sums within rows and over them, and what the gradients keep
ROWS = """
def f(x: f32[N, T, K] = data("x"), w: f32[K, M] = data("w"), v: f32[M, K] = data("v"), b: f32[M] = data("b"), r: f32[N, K] = data("r")) -> (f32[N, T, M], f32[N, T, K], f32[N, T], f32[N, K], f32[M],):
    p: f32[N, T, M] = contract(x, w, spec="ntk,km->ntm")
    c: f32[N, T, M] = broadcast(b, shape=(N, T, M), axes=(2,))
    q: f32[N, T, M] = add(p, c)
    h: f32[N, T, M] = erf(q)
    d: f32[N, T, M] = mul(h, q)
    o: f32[N, T, K] = contract(d, v, spec="ntm,mk->ntk")
    y: f32[N, T, K] = add(o, x)
    m: f32[N, T] = reduce_max(y, axes=(2,))
    e: f32[N, T, K] = broadcast(m, shape=(N, T, K), axes=(0, 1))
    z: f32[N, T, K] = sub(y, e)
    u: f32[N, K] = reduce_sum(z, axes=(1,))
    s: f32[N, K] = mul(u, r)
    t: f32[M] = reduce_sum(d, axes=(0, 1))
    return h, z, m, s, t,
"""


def test_blocks_of_rows_go_through_several_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one kernel, but for what is added up over the blocks; what two results need is computed once."""
    monkeypatch.setattr(contract, "GRAIN", 1)
    for n, t, k, m in ((2, 7, 3, 15), (3, 31, 16, 129), (7, 65, 33, 63), (17, 33, 129, 17)):
        text = ROWS
        for letter, size in zip("NTKM", (n, t, k, m), strict=True):
            text = text.replace(letter, str(size))
        program = check(fuse(decompose(parse(text)), lambda node, group: ""))
        (kernel,) = program.kernels
        assert kernel.schedule["products"] == 2
        assert program.source.count("= erf_vf32(") <= 2  # whole vectors, and the rest


def test_a_sum_of_nothing_is_zero() -> None:
    graph = products("f32", [("mk,kn->mn", dict(m=5, n=3, k=0))])
    got = Executable(generate(graph, "native"), StateStore()).run(*arrays_for(graph))
    assert not got[0].any()


def test_no_byte_outside_is_touched(tmp_path: Path) -> None:
    graphs = [
        parse(text.replace("M", "127").replace("N", "129").replace("K", "65"))
        for text in (FORWARD, BACKWARD, NORMAL)
    ]
    cases = [
        (spec, dict(m=m, n=n, k=k))
        for spec in LAYOUTS
        for m, n, k in ((7, 17, 33), (33, 2, 31), (2, 65, 129))
    ]
    graphs += [products(dtype, cases) for dtype in ("f32", "f64")]
    graph = Graph(
        "all",
        [v for g in graphs for v in g.inputs],
        [n for g in graphs for n in g.nodes],
        [v for g in graphs for v in g.outputs],
    )
    graph = graph.replace(roles=[Role("data", f"x{k}") for k in range(len(graph.inputs))])
    run_with_sanitizers(native(graph), graph, tmp_path)
