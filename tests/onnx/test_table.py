"""Every op of the table, exported and run by ONNX Runtime against its NumPy meaning; every primitive has a row
or a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen.onnx.errors import ExportError
from codegen.onnx.export import export
from codegen.onnx.table import ROWS, UNSUPPORTED
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.op import TABLE
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


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_row(case: Case) -> None:
    if case.op.name in UNSUPPORTED:
        pytest.skip(UNSUPPORTED[case.op.name])
    arrays = [narrowed(a) for a in case.inputs]
    if (
        case.op.name == "gather"
    ):  # a user's index out of range is refused by the runtime, not clipped
        arrays[1] = np.asarray(arrays[1].clip(0, arrays[0].shape[case.attrs["axis"]] - 1))
    if (
        case.op.name == "power" and arrays[1].dtype == np.int32
    ):  # 0 to a negative power has no meaning
        arrays[0] = np.where(arrays[0] == 0, 1, arrays[0]).astype(np.int32)
    values = [Value(type_of(a)) for a in arrays]
    attrs = {k: "f32" if v == "f64" else v for k, v in case.attrs.items()}
    try:
        made = case.op(*values, **attrs)
    except Exception:
        pytest.skip("the case is f64 only")
    outs = [made] if isinstance(made, Value) else list(made)
    graph = graph_of("case", values, outs, [Role("data", f"x{i}") for i in range(len(values))])
    try:
        model = export(graph, {})
    except ExportError as e:
        if case.op.name == "contract" and "gradient" in str(e):
            pytest.skip(str(e))
        if "leave this layer out" in str(e) and case.op.is_composite:
            pytest.skip(str(e))
        raise
    found = session(model).run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    for got, want in zip(found, interpret(graph, arrays), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_op_has_a_row_or_a_reason(name: str) -> None:
    if TABLE[name].is_composite:
        return
    known = (name in ROWS or name == "scan", name in UNSUPPORTED)
    assert any(known), f"{name}: add a row in codegen/onnx, or a reason in UNSUPPORTED"
    assert not all(known), f"{name} has a row and a reason for having none"
