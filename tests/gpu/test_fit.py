"""Ten models train on the GPU as on the CPU; where the data lie and tuning leave the numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
from benchmarks.models import MODELS, keras_model
from tests.gpu.conftest import ON_GPU
from tests.models.programs import CASES

pytest.importorskip("triton")
pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    if not ON_GPU:
        monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")


def history(build: Any, backend: str, x: Any, y: Any, loss: Any, **how: Any) -> dict[str, Any]:
    keras.utils.set_random_seed(1)
    model = build()
    model.compile(keras.optimizers.SGD(0.05), loss)
    model.run_on(backend=backend)
    found: dict[str, Any] = model.fit(x, y, verbose=0, **how).history
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.sample) if n == "binary_mlp" else n for n in CASES]
)
def test_a_model_has_the_history_of_numpy(name: str) -> None:
    case = CASES[name]
    x, y = case.data(np.random.default_rng(0), 26)
    both = [
        history(lambda: case.build(keras), b, x, y, case.loss, batch_size=8, epochs=3)
        for b in ("triton", "numpy")
    ]
    for k in both[1]:
        np.testing.assert_allclose(both[0][k], both[1][k], rtol=1e-3, atol=1e-4, err_msg=k)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_users_sizes_learns_as_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of them tuned: their candidates are four times the kernels."""
    if name not in ("mlp", "cnn_mnist", "lstm_imdb"):
        monkeypatch.setenv("KCOMPILE_TUNE", "0")
    entry = MODELS[name]
    xs, y = entry["data"](np.random.default_rng(0), 128)
    x = xs if len(xs) > 1 else xs[0]
    both = [
        history(lambda: keras_model(name, keras), b, x, y, entry["loss"], batch_size=32, epochs=2)
        for b in ("triton", "native")
    ]
    np.testing.assert_allclose(both[0]["loss"], both[1]["loss"], rtol=5e-3)


def test_a_data_set_fed_from_the_host_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["cnn"]
    x, y = case.data(np.random.default_rng(0), 64)
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    build = lambda: case.build(keras)
    resident = history(build, "triton", x, y, case.loss, batch_size=8, epochs=2)
    monkeypatch.setattr("runtime.cuda.SHARE", 0.0)
    for stretch in (1, 1 << 25):  # a batch at a time, and all at once
        monkeypatch.setattr("runtime.streamed.STRETCH", stretch)
        assert history(build, "triton", x, y, case.loss, batch_size=8, epochs=2) == resident


def test_a_layer_is_shared_with_a_model_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of both in turn, inside an epoch, move the same weights."""
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    x = np.random.default_rng(0).random((48, 6), np.float32)
    found = []
    for backends in (("triton", "native"), ("native", "triton"), ("native", "native")):
        keras.utils.set_random_seed(5)
        shared = keras.layers.Dense(6)
        outer, inner = (keras.Sequential([keras.Input((6,)), shared]) for _ in range(2))
        for model, backend in zip((outer, inner), backends, strict=True):
            model.compile(keras.optimizers.SGD(0.1), "mse", backend=backend)
        turn = lambda batch, logs, inner=inner: inner.train_on_batch(x[:4], -x[:4])
        both = keras.callbacks.LambdaCallback(on_train_batch_end=turn)
        outer.fit(x, x, batch_size=2, verbose=0, shuffle=False, callbacks=[both])
        found.append(outer.get_weights())
    for other in found[:2]:
        for a, b in zip(other, found[2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_kernels_on_the_disk_are_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of its own, which knows no kernels yet, takes those that another had compiled."""
    from codegen.pipeline import generate
    from runtime.gpu import Cuda, device
    from runtime.triton_program import TritonProgram
    from tests.triton.steps import mlp, train_graph

    graph, states = train_graph(mlp(6, 20), 8)
    program = generate(graph, "triton")
    TritonProgram(program, states, device("cuda")).step()
    monkeypatch.delattr("runtime.machine_code.binaries")
    TritonProgram(program, states, Cuda()).step()
