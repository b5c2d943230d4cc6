"""Every case of every op as a kernel on the GPU, and products in each precision, against f64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.types import Type
from tests.gpu.judge import judge, rounded
from tests.ops.cases import CASES, Case, graph_for

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.gpu import here
from runtime.triton_program import TritonProgram

SAMPLE = 40  # one case of so many runs in the interpreter where no GPU is


def some(cases: list[Any], every: int) -> list[Any]:
    return [
        pytest.param(c, marks=pytest.mark.sample) if k % every == 0 else c
        for k, c in enumerate(cases)
    ]


@pytest.mark.parametrize(
    "c",
    some([c for c in CASES if "body" not in c.attrs], SAMPLE),
    ids=lambda c: getattr(c, "id", None),
)
def test_an_op_is_as_exact_as_its_parts(c: Case) -> None:
    graph, arrays = graph_for(c, "f32")
    wide, _ = graph_for(c, "f64")
    exact_in = [a.astype("f8") if a.dtype.kind == "f" else a for a in arrays]
    with np.errstate(all="ignore"):
        eager, exact = interpret(graph, list(arrays)), interpret(wide, exact_in)
    judge(TritonProgram(generate(graph, "triton"), {}, here()).run(*arrays), eager, exact)


SIZES = [(1, 1, 1), (17, 33, 65), (32, 784, 128), (127, 129, 63), (256, 512, 256), (2048, 64, 64), (64, 4096, 64)]  # fmt: skip


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
@pytest.mark.parametrize("size", some(SIZES, 7))
@pytest.mark.parametrize("spec", ["mk,kn->mn", "km,kn->mn", "mk,nk->mn"])
def test_a_product_in_each_precision(spec: str, size: tuple[int, int, int], precision: str) -> None:
    extent = dict(zip("mkn", size, strict=True))
    left, right = spec.split("->")[0].split(",")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal([extent[c] for c in s]).astype("f4") for s in (left, right))
    a, b = (Value(Type("f32", v.shape), name=n) for v, n in ((x, "a"), (y, "b")))
    z = ops.tanh(ops.contract(a, b, spec=spec, precision=precision))
    program = generate(graph_of("case", [a, b], [z]), "triton")
    exact = np.tanh(np.einsum(spec, x.astype("f8"), y.astype("f8")))
    eager = np.tanh(np.einsum(spec, rounded(x, precision), rounded(y, precision)))
    judge(TritonProgram(program, {}, here()).run(x, y), [eager], [exact], precision)


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
@pytest.mark.parametrize(
    ("stride", "channels"), [pytest.param(1, 3, marks=pytest.mark.sample), (2, 32), (1, 64)]
)
def test_a_convolution_and_its_gradients_in_each_precision(
    stride: int, channels: int, precision: str
) -> None:
    n, size, f = 2, 9, 16
    out = (size - 3) // stride + 1
    windows = (("i", "h", "a", stride, 1, 0), ("j", "w", "b", stride, 1, 0))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, size, size, channels)).astype("f4")
    w = rng.standard_normal((3, 3, channels, f)).astype("f4")
    y = rng.standard_normal((n, out, out, f)).astype("f4")
    for p, q, spec, extent in (
        (x, w, "nijc,abcf->nhwf", out), (y, w, "nhwf,abcf->nijc", size), (x, y, "nijc,nhwf->abcf", 3),
    ):  # fmt: skip
        ins = [Value(Type("f32", v.shape), name=s) for v, s in ((p, "p"), (q, "q"))]
        how: dict[str, Any] = {"spec": spec, "windows": windows, "out": (extent, extent)}
        graph = graph_of("case", ins, [ops.contract(*ins, **how, precision=precision)])
        wide_ins = [Value(Type("f64", v.shape), name="p") for v in (p, q)]
        wide = graph_of("case", wide_ins, [ops.contract(*wide_ins, **how)])
        plain = graph_of("case", ins, [ops.contract(*ins, **how)])
        exact = interpret(wide, [p.astype("f8"), q.astype("f8")])
        eager = interpret(plain, [rounded(p, precision), rounded(q, precision)])
        judge(
            TritonProgram(generate(graph, "triton"), {}, here()).run(p, q), eager, exact, precision
        )
