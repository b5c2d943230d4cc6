"""The native target (a C compiler with sanitizers is needed): kinds of kernels over awkward sizes, ops of the table, sanitizers, against the interpreter."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime.native as native
from codegen.native import convolution, table
from codegen.native.resolve import Unprintable
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Graph
from ir.interpret import interpret
from ir.pipeline import optimise
from ir.text import parse
from ir.types import NUMPY, round_bf16
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen import standalone
from tests.codegen.test_primitives import as_step
from tests.ops.cases import CASES, graph_for

SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)
TOLERANCE = {"float64": (1e-9, 1e-9), "float32": (2e-5, 2e-5), "float16": (2e-2, 2e-2)}

# one body per kind; N is the awkward size, T the dtype
KINDS = {
    "pointwise": (
        ["T[N, 3]", "T[N, 3]"], "T[N, 3]",
        ["a: T[N, 3] = exp(x0)", "b: T[N, 3] = tanh(x1)", "c: T[N, 3] = sigmoid(x0)", "d: T[N, 3] = mul(a, b)",
         "e: bool[N, 3] = lt(x0, x1)", "f: T[N, 3] = select(e, d, c)", "r: T[N, 3] = sqrt(f)"],
    ),
    "softmax": (
        ["T[5, N]"], "T[5, N]",
        ["m: T[5] = reduce_max(x0, axes=(1,))", "b: T[5, N] = broadcast(m, shape=(5, N), axes=(0,))", "c: T[5, N] = sub(x0, b)",
         "d: T[5, N] = exp(c)", "s: T[5] = reduce_sum(d, axes=(1,))", "t: T[5, N] = broadcast(s, shape=(5, N), axes=(0,))",
         "r: T[5, N] = div(d, t)"],
    ),
    "columns": (["T[7, N]"], "T[N]", ["r: T[N] = reduce_sum(x0, axes=(0,))"]),
    "rows": (["T[N, 7]"], "T[N]", ["r: T[N] = reduce_min(x0, axes=(1,))"]),
    "all": (["T[N, 7]"], "T[]", ["r: T[] = reduce_max(x0, axes=(0, 1))"]),
    "best": (["T[3, N]"], "i32[3]", ["r: i32[3] = argmax(x0, axis=1)"]),
    "transpose": (["T[N, 5]"], "T[5, N]", ["a: T[N, 5] = neg(x0)", "r: T[5, N] = transpose(a, perm=(1, 0))"]),
    "reverse": (["T[N]"], "T[N]", ["r: T[N] = flip(x0, axes=(0,))"]),
    "join": (["T[2, N]", "T[2, 3]"], "T[2, M]", ["r: T[2, M] = concat(x0, x1, axis=1)"]),
    "product": (["T[N, 9]", "T[9, N]"], "T[N, N]", ['r: T[N, N] = contract(x0, x1, spec="ab,bc->ac")']),
    "thin": (["T[N, 9]", "T[N, 10]"], "T[9, 10]", ['r: T[9, 10] = contract(x0, x1, spec="ka,kb->ab")']),
    "lookup": (["T[N, 5]", "i32[4]"], "T[4, 5]", ["r: T[4, 5] = gather(x0, x1, axis=0)"]),
    "spread": (["i32[4]", "T[4, N]"], "T[6, N]", ["r: T[6, N] = scatter_add(x0, x1, axis=0, extent=6)"]),
    "sorted": (["T[2, N]"], "T[2, N]", ["r: T[2, N] = sort(x0, axis=1)"]),
    "order": (["T[N, 3]"], "i32[N, 3]", ["r: i32[N, 3] = argsort(x0, axis=0)"]),
    "running": (["T[5, N]"], "T[5, N]", ["r: T[5, N] = cumsum(x0, axis=0)"]),
    "backwards": (["T[2, N]"], "T[2, N]", ["r: T[2, N] = cumsum(x0, axis=1, reverse=True, exclusive=True)"]),
    "words": (["u32[]", "u32[]"], "u32[N, 3]", ["r: u32[N, 3] = random_bits(x0, x1, stream=5, shape=(N, 3))"]),
}  # fmt: skip


def kind_graph(kind: str, dtype: str) -> Graph:
    """One graph with a copy of the kind's body for every size."""
    given, result, body = KINDS[kind]
    params, lines, results, types = [], [], [], []
    for n in SIZES:
        names = {f"x{k}": f"x{k}_{n}" for k in range(len(given))}
        names.update({line.split(":")[0]: f"{line.split(':')[0]}_{n}" for line in body})

        def spell(text: str, n: int = n, names: dict[str, str] = names) -> str:
            for old, new in (("T[", f"{dtype}["), ("N", str(n)), ("M", str(n + 3))):
                text = text.replace(old, new).replace("[]", "")
            return text

        for k, t in enumerate(given):
            params.append(f'x{k}_{n}: {spell(t)} = data("x{k}_{n}")')
        for line in body:
            head, rest = line.split(":", 1)
            kind_text, call = rest.split("=", 1)
            op, args = call.split("(", 1)
            words = [w.strip() for w in args.rsplit(")", 1)[0].split(", ")]
            words = [names.get(w, w) for w in words]
            lines.append(f"    {names[head]}:{spell(kind_text)}={op}({spell(', '.join(words))})")
        results.append(names["r"])
        types.append(spell(result))
    return parse(
        f"def f({', '.join(params)}) -> ({', '.join(types)},):\n"
        + "\n".join(lines)
        + f"\n    return {', '.join(results)},\n"
    )


def arrays_for(graph: Graph, seed: int = 3) -> list[Any]:
    rng = np.random.default_rng(seed)
    out = []
    for v in graph.inputs:
        shape = tuple(int(d) for d in v.shape)
        if v.dtype == "bf16":
            out.append(round_bf16(rng.normal(size=shape).astype(np.float32)))
        elif v.dtype.startswith("f"):
            out.append(rng.normal(size=shape).astype(NUMPY[v.dtype]))
        else:
            out.append(rng.integers(0, 7, shape).astype(NUMPY[v.dtype]))
    return out


def check(graph: Graph, arrays: Any) -> Program:
    program = generate(graph, "native")
    assert Program.from_json(program.to_json()) == program
    exe = Executable(program, StateStore())
    expected = interpret(graph, arrays)
    for _ in range(2):
        for a, b in zip(exe.run(*arrays), expected, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            rtol, atol = TOLERANCE.get(str(b.dtype), (0, 0))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    return program


def in_numpy(program: Program) -> list[str]:
    """The lines of `step` that are not calls of C."""
    _, found, body = program.source.partition("def step():")
    lines = [line.split("#")[0].strip() for line in body.split("def build")[0].splitlines()]
    return [line for line in lines if line and not re.fullmatch(r"s\d+\(\)", line)] if found else []


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_over_awkward_sizes(kind: str, dtype: str) -> None:
    graph = kind_graph(kind, dtype)
    assert not in_numpy(check(graph, arrays_for(graph)))


NESTED = """
def f(x: T[4, 7, 33] = data("x"), z: T[2, 33] = data("z")) -> (T[4, 7], T[2],):
    s: T[4, 7, 33] = softmax(x, axis=1)
    r: T[4, 7, 33] = flip(s, axes=(0, 1, 2))
    q: T[4, 7] = reduce_sum(r, axes=(2,))
    p: T[2, 33] = softmax(z, axis=1)
    c: T[2] = cross_entropy(z, p)
    return q, c,
"""


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_sums_within_what_is_read_elsewhere(dtype: str) -> None:
    graph = optimise(parse(NESTED.replace("T[", f"{dtype}[")))
    arrays = arrays_for(graph)
    with np.errstate(all="ignore"):
        expected = interpret(graph, arrays)
    for a, b in zip(Executable(generate(graph, "native"), StateStore()).run(*arrays), expected, strict=True):  # fmt: skip
        loose = 2e-5 if dtype == "f32" else 2e-2
        np.testing.assert_allclose(a, b, rtol=loose, atol=loose / 8)


BESIDE = """
def f(x: f32[64, 32, 32, 8] = data("x"), w: f32[3, 3, 8, 16] = data("w")) -> (f32[64, 32, 32, 16],):
    a: f32[64, 32, 32, 8] = exp(x)
    b: f32[64, 32, 32, 16] = contract(a, w, spec="nijc,abcf->nhwf", windows=(("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1)), out=(32, 32))
    c: f32[64, 32, 32, 16] = tanh(b)
    return c,
"""


def test_what_numpy_runs_beside_c_shares_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(e: Any) -> None:
        raise Unprintable("a convolution")

    monkeypatch.setattr(convolution, "windows", refused)
    graph = parse(BESIDE)
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(scale=0.1, size=tuple(map(int, v.shape))).astype("f") for v in graph.inputs
    ]
    program = check(graph, arrays)
    step = program.source.split("def step():")[1].split("def build")[0]
    calls = [line.strip() for line in step.splitlines() if line.strip().endswith("()")]
    assert [c.rstrip("0123456789()") for c in calls] == ["s", "both"]
    lines = program.source.splitlines()
    for kernel, first in zip(program.kernels, ("APART void k", "v"), strict=True):
        assert lines[kernel.lines[0] - 1].strip().startswith(first), kernel


def table_graph(dtype: str) -> tuple[Graph, list[Any]]:
    """The cases of the table as one graph, and (case, graph, arrays) of each."""
    cases = [c for c in CASES if c.op.name != "fused" and (dtype == "f64" or c.op.name != "scan")]
    made = [(c, *graph_for(c, dtype)) for c in cases]
    graph = Graph(
        "all", [v for _, g, _ in made for v in g.inputs], [n for _, g, _ in made for n in g.nodes],
        [v for _, g, _ in made for v in g.outputs],
    )  # fmt: skip
    return as_step(graph), made


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_every_case_of_the_table_in_one_program(dtype: str) -> None:
    graph, made = table_graph(dtype)
    exe = Executable(generate(graph, "native"), StateStore())
    assert not in_numpy(exe.program), "the table has a case that is not C"
    for _ in range(2):
        got = iter(exe.run(*(a for _, _, arrays in made for a in arrays)))
        for c, g, arrays in made:
            for b in interpret(g, arrays):
                a = next(got)
                assert a.dtype == b.dtype and a.shape == b.shape, c.id
                rtol, atol = TOLERANCE.get(str(b.dtype), (0, 0))
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=c.id)


def test_every_pointwise_op_has_a_row() -> None:
    from codegen.numpy import pointwise

    known = {*pointwise.UNARY, *pointwise.BINARY, *pointwise.OTHERS}
    missing = {op for op in known if not table.spelled(op) and op not in table.UNSUPPORTED}
    assert not missing, f"without a row in codegen/native/table.py: {sorted(missing)}"


MATH = {
    "exp": 2,
    "log": 2,
    "log1p": 3,
    "tanh": 5,
    "sigmoid": 4,
    "erf": 8,
    "sqrt": 1,
    "rsqrt": 2,
}  # units of the last place


@pytest.mark.parametrize("name", MATH)
def test_functions_of_f32_are_close_and_keep_infinities(name: str) -> None:
    special = np.array(
        [
            0.0,
            -0.0,
            np.inf,
            -np.inf,
            np.nan,
            1e-40,
            -1e-40,
            1e-38,
            3e38,
            -3e38,
            88.5,
            -87.5,
            -103.0,
            -104.0,
        ],
        np.float32,
    )
    bits = (
        np.random.default_rng(0)
        .integers(0, 2**32, 20000, dtype=np.uint64)
        .astype(np.uint32)
        .view(np.float32)
    )
    near = np.random.default_rng(1).normal(scale=3, size=20000).astype(np.float32)
    x = np.concatenate([special, bits, near])
    text = f'def f(x: f32[{x.size}] = data("x")) -> (f32[{x.size}],):\n    y: f32[{x.size}] = {name}(x)\n    return y,\n'
    (got,) = Executable(generate(parse(text), "native"), StateStore()).run(x)
    with np.errstate(all="ignore"):
        (want,) = interpret(parse(text.replace("f32", "f64")), [x.astype(np.float64)])
        want32 = want.astype(np.float32)
    assert np.array_equal(np.isnan(got), np.isnan(want32))
    assert np.array_equal(np.isinf(got), np.isinf(want32)), x[np.isinf(got) != np.isinf(want32)][:5]
    real = np.isfinite(want32)
    unit = np.maximum(np.spacing(np.abs(want32[real])).astype(np.float64), 2.0**-149)
    error = np.abs(got[real].astype(np.float64) - want[real]) / unit
    assert error.max() <= MATH[name], (error.max(), x[real][error.argmax()])


@pytest.mark.parametrize("kind", ["table", "softmax", "join", "product", "spread", "words"])
def test_no_byte_outside_is_touched(kind: str, tmp_path: Path) -> None:
    graph = table_graph("f32")[0] if kind == "table" else kind_graph(kind, "f32")
    run_with_sanitizers(generate(graph, "native"), graph, tmp_path)


def tame(program: Program, seed: int = 3) -> list[Any]:
    """States and data for a step: floats between .1 and 1, integers 0 to 2."""
    rng = np.random.default_rng(seed)
    shapes = {b.name: (NUMPY[b.dtype], b.shape) for b in program.buffers}
    return [
        np.asarray(rng.uniform(0.1, 1, s) if np.dtype(t).kind == "f" else rng.integers(0, 3, s), t)
        for t, s in (shapes[n] for n in (*program.states, *program.data))
    ]


def same(made: list[Any], expected: list[Any], least: float = 0.0) -> None:
    """Raises AssertionError where numbers differ by more than another order of sums explains, and more than `least`."""
    for a, b in zip(made, expected, strict=True):
        loose = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-9}.get(str(b.dtype), 0)
        loose = max(loose, least) if loose else 0
        scale = np.abs(b[np.isfinite(b)]).max(initial=1) if loose else 1
        np.testing.assert_allclose(a, b, rtol=loose, atol=loose * scale, equal_nan=True)


SANITIZED = ("-Og", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run_with_sanitizers(program: Program, graph: Graph, tmp_path: Path, least: float = 0.0) -> None:  # fmt: skip
    """Raises AssertionError where a step under the sanitizers touches what it should not, or makes other numbers."""
    given = tame(program)
    made = standalone.run(program, given, tmp_path, [*native.compiler(), *native.FLAGS, *SANITIZED])
    with np.errstate(all="ignore"):
        same(made, interpret(graph, given), least)


@pytest.mark.parametrize("wrong", ["p0 + i0 + 1", "p1 + i0 + 1"])
def test_what_is_outside_is_found(wrong: str, tmp_path: Path) -> None:
    """A read or a write one element further, within the arena or not."""
    graph = parse('def f(x: f32[33] = data("x")) -> (f32[33],):\n    y: f32[33] = exp(x)\n    return y,\n')  # fmt: skip
    program = generate(graph, "native")
    source = program.source.replace(wrong.removesuffix(" + 1"), wrong)
    assert source != program.source
    with pytest.raises(AssertionError, match="use-after-poison"):
        run_with_sanitizers(replace(program, source=source), graph, tmp_path)
    if wrong.startswith("p1"):
        command = [*native.compiler(), *native.FLAGS]
        with pytest.raises(AssertionError, match="k0 writes where it should not"):
            standalone.run(replace(program, source=source), tame(program), tmp_path, command)


def test_names_of_the_user_are_not_in_the_source() -> None:
    graph = parse(
        'def f(wicked_name: f32[4] = data("wicked/name")) -> (f32[4],):\n    other_name: f32[4] = exp(wicked_name)\n    return other_name,\n'
    )
    assert (
        "wicked" not in (source := generate(graph, "native").source) and "other_name" not in source
    )
