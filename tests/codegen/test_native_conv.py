"""Convolutions of the native target, forward and both gradients, over awkward sizes, against the interpreter."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Graph
from ir.interpret import interpret
from ir.text import parse
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_native import arrays_for, run_with_sanitizers

CHANNELS = (1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65)


def dims(*sizes: Any) -> str:
    return f"[{', '.join(map(str, sizes))}]"


class Cases:
    """The text of a graph with many convolutions, each with its two gradients."""

    def __init__(self, dtype: str = "f32"):
        self.dtype = dtype
        self.params: list[str] = []
        self.lines: list[str] = []
        self.results: list[tuple[str, str]] = []

    def given(self, *sizes: int) -> tuple[str, str]:
        name, kind = f"x{len(self.params)}", f"{self.dtype}{dims(*sizes)}"
        self.params.append(f'{name}: {kind} = data("{name}")')
        return name, kind

    def made(self, kind: str, text: str) -> None:
        name = f"r{len(self.results)}"
        self.lines.append(f"    {name}: {kind} = {text}")
        self.results.append((name, kind))

    def conv(
        self, batch: int, image: tuple[int, ...], window: tuple[int, ...], into: int, out: int,
        stride: int = 1, dilation: int = 1, pad: tuple[int, int] = (0, 0), groups: int = 0, depthwise: bool = False,
    ) -> None:  # fmt: skip
        """A convolution of images [batch, *image, into]; pad: zeros before and after each axis."""
        n = len(image)
        i, o, t = "ijk"[:n], "hwd"[:n], "abe"[:n]
        outs = [
            (d + sum(pad) - (k - 1) * dilation - 1) // stride + 1
            for d, k in zip(image, window, strict=True)
        ]
        windows = tuple((i[k], o[k], t[k], stride, dilation, pad[0]) for k in range(n))
        if depthwise:
            sizes = ((batch, *image, into), (*window, into, out), (batch, *outs, into, out))
            spec = (f"n{i}c", f"{t}cf", f"n{o}cf")
        elif groups:
            sizes = (
                (batch, *image, groups, into),
                (*window, into, groups, out),
                (batch, *outs, groups, out),
            )
            spec = (f"n{i}gc", f"{t}cgf", f"n{o}gf")
        else:
            sizes = ((batch, *image, into), (*window, into, out), (batch, *outs, out))
            spec = (f"n{i}c", f"{t}cf", f"n{o}f")
        (x, tx), (w, tw), (y, ty) = (self.given(*s) for s in sizes)
        for (a, b, c), kind, extent in (
            ((x, w, (*spec,)), ty, tuple(outs)),
            ((y, w, (spec[2], spec[1], spec[0])), tx, image),
            ((x, y, (spec[0], spec[2], spec[1])), tw, window),
        ):
            self.made(
                kind,
                f'contract({a}, {b}, spec="{c[0]},{c[1]}->{c[2]}", windows={windows}, out={extent})',
            )

    def graph(self) -> Graph:
        kinds = ", ".join(k for _, k in self.results)
        names = ", ".join(n for n, _ in self.results)
        head = f"def f({', '.join(self.params)}) -> ({kinds},):\n"
        return parse(head + "\n".join(self.lines) + f"\n    return {names},\n")


def check(cases: Cases) -> None:
    graph = cases.graph()
    arrays = arrays_for(graph)
    program = generate(graph, "native")
    for word in ("matmul", "einsum"):
        assert word not in program.source.split("def build")[1], "NumPy was asked"
    exe = Executable(program, StateStore())
    expected = interpret(graph, arrays)
    for _ in range(2):
        for (name, _), a, b, line in zip(
            cases.results, exe.run(*arrays), expected, cases.lines, strict=True
        ):
            scale = float(np.abs(b).max()) if b.size else 1.0
            tol = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 2e-5, "f64": 1e-11}[cases.dtype]
            a, b = (v.astype(np.float32) if v.dtype == np.float16 else v for v in (a, b))
            np.testing.assert_allclose(
                a, b, rtol=tol, atol=tol * max(scale, 1), err_msg=f"{name}: {line}"
            )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_channels(dtype: str) -> None:
    cases = Cases(dtype)
    for a, b in zip(CHANNELS, [*CHANNELS[4:], *CHANNELS[:4]], strict=True):
        cases.conv(2, (5, 6), (3, 3), a, b, pad=(1, 1))
    check(cases)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_halves(dtype: str) -> None:
    cases = Cases(dtype)
    for a, b in ((7, 17), (33, 3)):
        cases.conv(2, (5, 6), (3, 3), a, b, pad=(1, 1))
        cases.conv(2, (9, 8), (3, 2), a, b, 2, 1, (0, 2))
    cases.conv(2, (6, 5), (3, 3), 17, 1, pad=(1, 1), depthwise=True)
    cases.conv(2, (6, 5), (3, 3), 3, 4, 2, groups=2)
    cases.conv(9, (16, 16), (3, 3), 8, 16, pad=(1, 1))  # in blocks, summed in parts
    check(cases)


def test_strides_dilation_and_padding() -> None:
    cases = Cases()
    for stride, dilation, pad in itertools.product(
        (1, 2, 3), (1, 2), ((0, 0), (1, 1), (0, 2), (3, 0))
    ):
        cases.conv(2, (9, 8), (3, 2), 5, 18, stride, dilation, pad)
    check(cases)


def test_one_to_three_axes() -> None:
    cases = Cases()
    for image, window in (
        ((17,), (4,)),
        ((5, 9), (1, 1)),
        ((4, 5, 6), (2, 3, 2)),
        ((3, 3), (3, 3)),
        ((1, 7), (1, 3)),
        ((1, 1), (3, 3)),
    ):
        for batch, stride in itertools.product((1, 3, 9), (1, 2)):
            cases.conv(batch, image, window, 4, 17, stride, pad=(1, 1))
    check(cases)


def test_groups_and_depthwise() -> None:
    cases = Cases()
    for stride, pad in itertools.product((1, 2), ((0, 0), (1, 1))):
        for n in (1, 3, 16, 33):
            cases.conv(2, (6, 5), (3, 3), n, 1, stride, pad=pad, depthwise=True)
        cases.conv(2, (6, 5), (3, 3), 5, 2, stride, pad=pad, depthwise=True)
        cases.conv(2, (6, 5), (3, 3), 3, 4, stride, pad=pad, groups=2)
        cases.conv(2, (6, 5), (3, 3), 16, 32, stride, pad=pad, groups=3)
    check(cases)


ODD = {
    "gradient of a part": """
def f(t: f32[3, 6, 5] = data("t"), w: f32[3, 3, 4] = data("w")) -> (f32[2, 9, 3],):
    s: f32[2, 5, 4] = slice(t, start=(1, 1, 1), stop=(3, 6, 5), step=(1, 1, 1))
    r: f32[2, 9, 3] = contract(s, w, spec="nHf,Acf->nic", windows=(("i", "H", "A", 2, 1, 1),), out=(9,))
    return r,
""",
    "gradient by a part": """
def f(t: f32[4, 3] = data("t"), d: f32[7, 4] = data("d")) -> (f32[7, 1],):
    a: f32[4, 3] = tanh(t)
    s: f32[1, 4] = slice(d, start=(1, 0), stop=(2, 4), step=(2, 1))
    b: f32[4, 1, 1] = reshape(s, shape=(4, 1, 1))
    r: f32[7, 1] = contract(a, b, spec="fH,fAj->ij", windows=(("i", "H", "A", 3, 1, 2),), out=(7,))
    return r,
""",
    "gradient whose rows begin further on": """
def f(t: f32[4, 3, 3] = data("t"), w: f32[3, 1, 3] = data("w")) -> (f32[5, 5],):
    r: f32[5, 5] = contract(t, w, spec="HfW,BAf->kl", windows=(("k", "H", "A", 2, 2, 2), ("l", "W", "B", 2, 2, 2)), out=(5, 5))
    return r,
""",
    "one position, with zeros around it": """
def f(x: f32[1, 7] = data("x"), w: f32[7, 1, 1] = data("w")) -> (f32[1, 5, 7],):
    r: f32[1, 5, 7] = contract(x, w, spec="ij,jfA->fHj", windows=(("i", "H", "A", 1, 1, 2),), out=(5,))
    return r,
""",
    "an image that is the same along its rows": """
def f(v: f32[3, 5] = data("v"), w: f32[2, 3, 3] = data("w")) -> (f32[2, 5],):
    x: f32[3, 7, 5] = broadcast(v, shape=(3, 7, 5), axes=(0, 2))
    r: f32[2, 5] = contract(x, w, spec="ijk,ABi->WH", windows=(("j", "H", "A", 2, 1, 2), ("k", "W", "B", 2, 2, 1)), out=(2, 5))
    return r,
""",
}


@pytest.mark.parametrize("case", ODD)
def test_an_operand_that_is_no_whole_array(case: str) -> None:
    graph = parse(ODD[case])
    arrays = arrays_for(graph)
    got = Executable(generate(graph, "native"), StateStore()).run(*arrays)
    np.testing.assert_allclose(got[0], interpret(graph, arrays)[0], rtol=2e-5, atol=2e-5)


FUSED = """
def f(x: f32[5, 9, 9, 5] = data("x"), w: f32[3, 3, 5, 33] = data("w"), b: f32[33] = data("b"), m: f32[3, 3, 5, 33] = data("m")) -> (f32[5, 4, 4, 33], f32[33], f32[3, 3, 5, 33], f32[5, 9, 9, 5],):
    y: f32[5, 9, 9, 33] = contract(x, w, spec="nijc,abcf->nhwf", windows=(("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1)), out=(9, 9))
    bb: f32[5, 9, 9, 33] = broadcast(b, shape=(5, 9, 9, 33), axes=(3,))
    a: f32[5, 9, 9, 33] = add(y, bb)
    t: f32[5, 9, 9, 33] = tanh(a)
    u: f32[5, 4, 4, 33, 2, 2] = unfold(t, windows=((1, 2, 2, 1, 0, 4), (2, 2, 2, 1, 0, 4)), fill=0.0)
    p: f32[5, 4, 4, 33] = reduce_max(u, axes=(4, 5))
    s: f32[33] = reduce_sum(t, axes=(0, 1, 2))
    g: f32[3, 3, 5, 33] = contract(x, t, spec="nijc,nhwf->abcf", windows=(("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1)), out=(3, 3))
    q: f32[3, 3, 5, 33] = sub(m, g)
    d: f32[5, 9, 9, 5] = contract(t, w, spec="nhwf,abcf->nijc", windows=(("i", "h", "a", 1, 1, 1), ("j", "w", "b", 1, 1, 1)), out=(9, 9))
    e: f32[5, 9, 9, 5] = mul(d, x)
    return p, s, q, e,
"""


def test_what_surrounds_a_convolution() -> None:
    graph = parse(FUSED)
    arrays = arrays_for(graph)
    arrays[1] *= 0.2
    program = generate(graph, "native")
    assert any("products" in k.schedule and len(k.ops.split(", ")) > 1 for k in program.kernels)
    for a, b in zip(
        Executable(program, StateStore()).run(*arrays), interpret(graph, arrays), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-5 * float(np.abs(b).max()))


def test_no_byte_outside_is_touched(tmp_path: Path) -> None:
    cases = Cases()
    for n in (1, 3, 17, 33):
        cases.conv(2, (5, 6), (3, 3), n, n + 2, 2, pad=(1, 1))
        cases.conv(9, (4, 4), (2, 2), n, 2 * n)
    cases.conv(1, (64, 40), (3, 3), 40, 17, pad=(1, 1))
    cases.conv(3, (9,), (4,), 5, 7, 3, 2, (3, 0))
    cases.conv(2, (6, 5), (3, 3), 17, 1, pad=(1, 1), depthwise=True)
    graph = cases.graph()
    run_with_sanitizers(generate(graph, "native"), graph, tmp_path)
