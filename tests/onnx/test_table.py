"""Every op of the table, exported and run by ONNX Runtime against its NumPy meaning; every primitive has a row
or a reason."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from codegen.onnx.errors import ExportError
from codegen.onnx.export import export
from codegen.onnx.table import ROWS, UNSUPPORTED
from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.op import TABLE
from ir.passes.decompose import decompose
from ir.types import type_of
from tests.ops.cases import CASES, Case

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def session(model: Any) -> Any:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def narrowed(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return a.astype(np.float32) if a.dtype == np.float64 else a


def graph_of_case(case: Case) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """The case as a graph with its inputs, in f32 where that can be."""
    narrow = "f32" in case.dtypes
    arrays = [narrowed(a) if narrow else a for a in case.inputs]
    if (
        case.op.name == "gather"
    ):  # a user's index out of range is refused by the runtime, not clipped
        arrays[1] = np.asarray(arrays[1].clip(0, arrays[0].shape[case.attrs["axis"]] - 1))
    if (
        case.op.name == "power" and arrays[1].dtype == np.int32
    ):  # 0 to a negative power has no meaning
        arrays[0] = np.where(arrays[0] == 0, 1, arrays[0]).astype(np.int32)
    values = [Value(type_of(a)) for a in arrays]
    attrs = {k: "f32" if narrow and v == "f64" else v for k, v in case.attrs.items()}
    made = case.op(*values, **attrs)
    outs = [made] if isinstance(made, Value) else list(made)
    roles = [Role("data", f"x{i}") for i in range(len(values))]
    return graph_of("case", values, outs, roles), arrays


def refused(case: Case) -> str:
    """Words of the reason for which a case cannot be exported; "" for one that can."""
    if case.op.name == "contract":
        taps = {w[2] for w in case.attrs.get("windows", ())}
        gives_taps = taps & set(case.attrs["spec"].partition("->")[2])
        return "not the gradient of their" if gives_taps else ""
    nodes = decompose(graph_of_case(case)[0]).nodes if case.op.is_composite else ()
    names = [case.op.name, *(n.op.name for n in nodes)]
    return next((UNSUPPORTED[n] for n in names if n in UNSUPPORTED), "")


@pytest.mark.parametrize("case", [c for c in CASES if not refused(c)], ids=lambda c: c.id)
def test_row(case: Case) -> None:
    graph, arrays = graph_of_case(case)
    found = session(export(graph, {})).run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    for got, want in zip(found, interpret(graph, arrays), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", [c for c in CASES if refused(c)], ids=lambda c: c.id)
def test_what_onnx_lacks_is_refused(case: Case) -> None:
    with pytest.raises(ExportError, match=re.escape(refused(case))):
        export(graph_of_case(case)[0], {})


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_op_has_a_row_or_a_reason(name: str) -> None:
    if TABLE[name].is_composite:
        return
    known = (name in ROWS or name == "scan", name in UNSUPPORTED)
    assert any(known), f"{name}: add a row in codegen/onnx, or a reason in UNSUPPORTED"
    assert not all(known), f"{name} has a row and a reason for having none"
