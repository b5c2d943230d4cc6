"""Where a model runs: what may be said, which of several choices counts, and what is refused before anything changes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import kcompile as keras
import kcompile.compile as compiling
import runtime.devices as devices
import runtime.native as native
from codegen.program import NoProgram
from kcompile.fit.runner import step_function
from kcompile.run_on import targets_of
from runtime.store import State

X = np.arange(20, dtype="float32").reshape(5, 4) / 10


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No choice of the process, no GPU."""
    monkeypatch.delenv("KCOMPILE_TARGET", raising=False)
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "there is none in this test")
    yield
    keras.config.set_target()


def model() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def ran_on(m: Any, kind: str = "predict") -> str:
    batch = (X,) if kind == "predict" else (X, X[:, :3])
    program = step_function(m, kind).compiled(*batch).program
    return "reference" if program is None else program.target


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "gpu"}, r"device='gpu'[\s\S]*did you mean 'cuda'"),
        ({"device": "cpuu"}, r"device='cpuu'[\s\S]*did you mean 'cpu'"),
        ({"device": 3}, r"device=3[\s\S]*use one of: auto, cpu, cuda"),
        ({"backend": "numpi"}, r"backend='numpi'[\s\S]*did you mean 'numpy'"),
        ({"device": "cpu", "backend": "triton"}, r"runs on device='cuda'"),
        ({"device": "cuda", "backend": "native"}, r"runs on device='cpu'"),
        ({"device": "cuda"}, r"device='cuda' where no GPU can be used[\s\S]*none in this test"),
        ({"backend": "triton"}, r"backend='triton' where no GPU"),
    ],
)
def test_what_is_refused_changes_nothing(given: dict[str, Any], words: str) -> None:
    m = model()
    m.compile("sgd", "mse", backend="reference")
    before = m.optimizer
    for choose in (lambda **kw: m.compile("adam", "mae", **kw), m.run_on, keras.config.set_target):
        with pytest.raises(keras.KCError, match=r"KC502[\s\S]*" + words):
            choose(**given)
    assert m.optimizer is before and keras.config.target() == ("auto", None)
    m.predict(X, verbose=0)
    assert ran_on(m) == "reference"


def test_the_gpu_where_there_is_one_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets_of(model()) == ("native", "numpy")
    assert targets_of(model().run_on(backend="native")) == ("native", "numpy")
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")
    assert targets_of(model()) == ("triton", "native", "numpy")
    assert targets_of(model().run_on("cuda")) == ("triton",)
    assert targets_of(model().run_on("cpu")) == ("native", "numpy")


def test_what_the_gpu_cannot_run_the_cpu_runs_or_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unable(*given: Any) -> Any:
        raise NoProgram("op 'sort' on the Triton target")

    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")
    monkeypatch.setattr(compiling, "_on_gpu", unable)
    monkeypatch.setattr(compiling, "_said", {"native"})
    m = model()
    m.predict(X, verbose=0)
    assert ran_on(m) == "native" and "C runs the model and not the GPU" in caplog.text
    with pytest.raises(keras.KCError, match=r"KC502[\s\S]*op 'sort'[\s\S]*device='cpu'"):
        m.run_on("cuda").predict(X, verbose=0)


def test_the_strongest_choice_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model()
    monkeypatch.setenv("KCOMPILE_TARGET", "reference")
    m.predict(X, verbose=0)
    assert ran_on(m) == "reference"
    keras.config.set_target(backend="numpy")
    m.predict(X, verbose=0)
    assert ran_on(m) == "numpy"
    assert m.run_on("cpu", "reference") is m
    m.predict(X, verbose=0)
    assert ran_on(m) == "reference"
    m.run_on("auto")
    m.predict(X, verbose=0)
    assert ran_on(m) == "numpy"
    assert len(step_function(m, "predict").log) == 2  # going back compiles nothing


def test_a_model_goes_on_training_elsewhere() -> None:
    y = X[:, :3]
    m, same = model(), model()
    same.set_weights(m.get_weights())
    for backend in ("numpy", "reference"):
        m.compile("sgd", "mse", backend=backend)
        m.fit(X, y, batch_size=5, epochs=2, verbose=0, shuffle=False)
        assert ran_on(m, "train") == backend
    same.compile("sgd", "mse", backend="numpy")
    same.fit(X, y, batch_size=5, epochs=4, verbose=0, shuffle=False)
    for got, want in zip(m.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_where_it_ran_is_not_saved(tmp_path: Any) -> None:
    m = model()
    m.compile("sgd", "mse", backend="reference")
    assert not {"device", "backend"} & set(m.get_compile_config())
    m.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    again.run_on(backend="numpy").predict(X, verbose=0)
    assert ran_on(again) == "numpy"


def test_no_compiler_means_numpy_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> Any:
        raise native.NativeError("there is no compiler")

    monkeypatch.setattr(native, "compiler", none)
    monkeypatch.setattr(compiling, "_said", set())
    m = model()
    m.compile("sgd", "mse", device="cpu")
    m.predict(X, verbose=0)
    m.predict(X[:2], verbose=0)
    assert ran_on(m) == "numpy"
    said = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(said) == 1 and "there is no compiler" in said[0].getMessage()


@pytest.mark.parametrize("hidden", ["", "-1", " "])
def test_no_gpu_where_all_are_hidden(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    devices.without_cuda.cache_clear()
    assert "CUDA_VISIBLE_DEVICES" in devices.without_cuda()
    devices.without_cuda.cache_clear()


def test_a_state_that_is_away_is_fetched_when_it_is_read() -> None:
    v = keras.Variable(np.zeros(3, "float32"))
    fetched = []

    def send() -> None:
        def fetch() -> None:
            fetched.append(1)
            v.state.host[...] = 7

        v.state.away = fetch

    send()
    assert v.shape == (3,) and not fetched  # its type is known without
    assert v.numpy().tolist() == [7, 7, 7] and len(fetched) == 1
    assert float(v[0]) == 7 and len(fetched) == 1
    send()
    v.assign([1, 2, 3])
    assert v.numpy().tolist() == [1, 2, 3] and len(fetched) == 2
    send()
    twin: State = copy.deepcopy(v.state)
    assert twin.away is None and twin.host.tolist() == [7, 7, 7] and twin.host is not v.state.host
