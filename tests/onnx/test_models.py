"""Whole models exported: ONNX Runtime computes what the model does at several batch sizes, and the graph is as
small as it should be."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile.export as exporting
import kcompile.layers as our_layers
import kcompile.ops as ops
import kcompile.regularizers as regularizers
from kcompile.errors import KCValueError
from kcompile.input_layer import Input
from kcompile.model import Model
from kcompile.sequential import Sequential
from tests.models.programs import CASES as PROGRAMS

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


class Ours:
    layers, ops, regularizers = our_layers, ops, regularizers
    Input, Model, Sequential = Input, Model, Sequential


L = our_layers


def counts(model: Any) -> Counter[str]:
    return Counter(n.op_type for n in exporting.to_onnx(model).graph.node)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, tmp_path: Path) -> None:
    case = PROGRAMS[name]
    model = case.build(Ours)
    path = tmp_path / "m.onnx"
    model.export(path)
    assert exporting.verify(model, path)["error"] < 1e-5
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    for size in (1, 3):
        x, _ = case.data(np.random.default_rng(1), size)
        want = model.predict(x, verbose=0)
        got = session.run(None, dict(zip(names, x if isinstance(x, list) else [x], strict=True)))
        for a, b in zip(got, want if isinstance(want, list) else [want], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_batch_is_a_name_and_weights_have_their_paths() -> None:
    proto = exporting.to_onnx(PROGRAMS["mlp"].build(Ours))
    assert proto.ir_version == 10 and proto.opset_import[0].version == 20
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    names = {i.name for i in proto.graph.initializer}
    assert any(n.endswith("/kernel") for n in names) and any(n.endswith("/bias") for n in names)
    assert all("/" in n.name for n in proto.graph.node if n.op_type == "Gemm")


def test_a_dense_layer_is_one_gemm() -> None:
    found = counts(
        Sequential([Input((4,)), L.Dense(8, activation="relu"), L.Dense(3, activation="softmax")])
    )
    assert found == {"Gemm": 2, "Relu": 1, "Softmax": 1}


def test_a_cnn_needs_two_transposes() -> None:
    model = Sequential([
        Input((12, 12, 3)), L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2),
        L.Conv2D(4, 3, strides=2, padding="same", activation="gelu"), L.AveragePooling2D(2, padding="same"),
        L.Flatten(), L.Dense(2),
    ])  # fmt: skip
    found = counts(model)
    assert found["Transpose"] <= 2
    assert found["Conv"] == 2 and found["BatchNormalization"] == 1 and found["Gelu"] == 1
    assert found["Add"] == 0  # biases are operands of Conv and Gemm


def test_a_residual_network_needs_one_transpose() -> None:
    x = start = Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same")(x)
    for _ in range(3):
        y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(x))
        x = L.ReLU()(L.Add()([x, y]))
    model = Model(start, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    assert counts(model)["Transpose"] <= 1


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (lambda: L.LSTM(5, return_sequences=True), "LSTM"), (lambda: L.GRU(5), "GRU"),
        (lambda: L.GRU(5, reset_after=False, go_backwards=True), "GRU"),
        (lambda: L.LSTM(5, go_backwards=True, return_sequences=True), "LSTM"),
        (lambda: L.Bidirectional(L.LSTM(3)), "LSTM"), (lambda: L.LayerNormalization(), "LayerNormalization"),
    ],
)  # fmt: skip
def test_layers_that_onnx_has(layer: Any, op: str, tmp_path: Path) -> None:
    model = Sequential([Input((7, 4)), layer()])
    for w in model.weights:
        w.assign(
            w.numpy() + np.random.default_rng(0).standard_normal(w.shape).astype("float32") * 0.3
        )
    assert counts(model)[op] >= 1
    path = tmp_path / "m.onnx"
    model.export(path)
    assert exporting.verify(model, path)["error"] < 1e-5


@pytest.mark.parametrize(
    "layer", [lambda: L.SimpleRNN(3, return_sequences=True), lambda: L.Bidirectional(L.GRU(3))]
)
def test_an_unknown_time_axis(layer: Any, tmp_path: Path) -> None:
    model = Sequential([Input((None, 4)), layer()])
    path = tmp_path / "m.onnx"
    model.export(path)
    session = ort.InferenceSession(str(path))
    for steps in (3, 6):
        x = np.random.default_rng(0).standard_normal((2, steps, 4)).astype("float32")
        got = session.run(None, {session.get_inputs()[0].name: x})[0]
        np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_the_reference_evaluator_agrees_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PROGRAMS["cnn"].build(Ours)
    path = tmp_path / "m.onnx"
    model.export(path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    assert exporting.verify(model, path)["engine"] == "onnx.reference"


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KCValueError, match="KC501"):
        Sequential([Input((2,)), L.Dense(1)]).export(tmp_path / "m", format="tf_saved_model")
    with pytest.raises(KCValueError, match="KC202"):
        Sequential([L.Dense(1)]).export(tmp_path / "m.onnx")


class TwoOutputs(Model):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = L.Dense(4, activation="relu"), L.Dense(1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        found = self.wide(inputs["a"])
        return {"wide": found, "narrow": self.narrow(found) + inputs["b"]}


@pytest.mark.parametrize("how", ["called", "fitted", "predicted"])
def test_a_subclassed_model_that_has_seen_data(tmp_path: Path, how: str) -> None:
    model, path = TwoOutputs(), tmp_path / "m.onnx"
    data = {"a": np.ones((6, 3)), "b": np.zeros((6, 1), "float32")}
    with pytest.raises(KCValueError, match="call it on a batch of data first"):
        model.export(path)
    if how == "called":
        model(data)
    elif how == "predicted":
        model.predict(data, verbose=0)
    else:
        model.compile("sgd", {"wide": "mse", "narrow": "mse"})
        model.fit(data, {"wide": np.zeros((6, 4)), "narrow": np.zeros((6, 1))}, verbose=0)
        assert "optimizer" in model.dump_ir("fused") and "def build" in model.dump_ir("kernels")
    assert "predict_step" in model.dump_ir("traced", kind="predict")
    model.export(path)
    assert exporting.verify(model, path)["error"] < 1e-6
