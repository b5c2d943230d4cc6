"""The cases of the ops in other dtypes than f32: halves, whole numbers of each width and sign, truth values; against the op's meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from codegen.program import NoProgram, Program
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.op import IRError
from ir.types import NUMPY, Type, round_bf16
from tests.ops.cases import CASES, Case

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]
CLOSE = {"f16": 1e-2, "bf16": 4e-2}  # a composite is rounded at its end, not after each op of it
OTHERS = ("f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool")
STEP = 4  # of so many cases each dtype has one, each another; 1 is all
NAMES = {np.dtype(v): k for k, v in NUMPY.items() if k != "bf16"}


def typed(c: Case, dtype: str) -> tuple[Graph, list[Array]] | None:
    """A case whose numbers are of another dtype, and its arrays; None where the op does not take that, or nothing would change."""
    if "body" in c.attrs:
        return None
    arrays, types = [], []
    for a in c.inputs:
        kind = NAMES[a.dtype]
        whole = a.dtype.kind in "iu" and a.dtype != np.uint32
        if (a.dtype.kind == "f") if dtype in CLOSE else (whole or a.dtype.kind == "f"):
            scaled = a * 7 if a.dtype.kind == "f" and dtype not in CLOSE else a
            with np.errstate(all="ignore"):
                a = (
                    scaled.astype("i8").astype(NUMPY[dtype])
                    if dtype not in CLOSE
                    else a.astype(NUMPY[dtype])
                )
            a, kind = (round_bf16(a) if dtype == "bf16" else a), dtype
        arrays.append(a)
        types.append(Type(kind, a.shape))
    if dtype not in [t.dtype for t in types] or dtype in [NAMES[a.dtype] for a in c.inputs]:
        return None
    values = [Value(t, name=f"x{k}") for k, t in enumerate(types)]
    try:
        out = c.op(*values, **c.attrs)
        graph = graph_of("case", values, out if isinstance(out, tuple) else (out,))
        with np.errstate(all="ignore"):
            interpret(graph, arrays)
    except (IRError, OverflowError):
        return None
    return graph, arrays


def cases(dtype: str) -> list[tuple[Case, Graph, list[Array], Program]]:
    """Each case that can be had in a dtype, as a program."""
    found = []
    for c in CASES[OTHERS.index(dtype) % STEP :: STEP]:
        made = typed(c, dtype)
        if made is not None:
            try:
                found.append((c, *made, generate(made[0], "triton")))
            except NoProgram as e:
                assert "'contract' of integers" in str(e)
    return found


@pytest.mark.parametrize("dtype", OTHERS)
def test_an_op_means_what_its_meaning_says(dtype: str) -> None:
    made = cases(dtype)
    assert len(made) > (5 if dtype == "bool" else 25)
    for c, graph, arrays, program in made:
        with np.errstate(all="ignore"):
            expected = interpret(graph, arrays)
        found = TritonProgram(program, {}).run(*arrays)
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), c.id
            tol = CLOSE.get(dtype, 2e-5) if b.dtype.kind == "f" else 0
            np.testing.assert_allclose(
                a, b, rtol=tol, atol=tol, err_msg=f"{c.id}\n{program.source}"
            )
