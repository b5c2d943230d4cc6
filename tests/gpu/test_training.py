"""Training on the GPU as users meet it: captured and launched steps are the same, and so is what was saved, shared, streamed, kept or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
from tests.gpu.conftest import ON_GPU
from tests.models.programs import CASES

pytest.importorskip("triton")
pytest.importorskip("torch")

import torch

from runtime.gpu import here

Array = np.ndarray[Any, Any]
SOME = [pytest.param(n, marks=pytest.mark.sample) if n == "binary_mlp" else n for n in CASES]


@pytest.fixture(autouse=True)
def as_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules are the rules', so that one run's sums are in the order of another's."""
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    if not ON_GPU:
        monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")


def made(name: str, backend: str = "triton", optimizer: Any = "adam") -> Any:
    keras.utils.set_random_seed(1)
    model = CASES[name].build(keras)
    model.compile(optimizer, CASES[name].loss, backend=backend)
    return model


def data(name: str, n: int) -> tuple[Any, Any]:
    return CASES[name].data(np.random.default_rng(0), n)


def equal(a: Any, b: Any) -> None:
    for p, q in zip(a, b, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("name", SOME)
def test_captured_steps_are_launched_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs in stretches of all lengths, a partial batch behind them, evaluation and results that are kept: bit by bit."""
    x, y = data(name, 70 * 2 + 1 if ON_GPU else 7)
    found = []
    for captures in (True, False):
        if not captures:
            monkeypatch.setattr(type(here()), "capture", lambda self, work: work)
        model = made(name)
        history = model.fit(x, y, batch_size=2, epochs=3 if ON_GPU else 2, verbose=0).history
        scores = model.evaluate(x, y, batch_size=2, verbose=0)
        results = model.predict(x, batch_size=2, verbose=0)
        results = results if isinstance(results, list) else [results]
        found.append((history, scores, [*results, *model.get_weights()]))
    assert found[0][:2] == found[1][:2]
    equal(found[0][2], found[1][2])


def test_steps_by_hand_are_those_of_fit() -> None:
    x, y = data("binary_mlp", 12)
    one, other = made("binary_mlp"), made("binary_mlp")
    one.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for low in range(0, 12, 3):
            other.train_on_batch(x[low : low + 3], y[low : low + 3])
    equal(one.get_weights(), other.get_weights())


def test_two_models_in_turn_are_two_models_alone() -> None:
    names = ("mlp", "binary_mlp")
    alone = []
    for name in names:
        model = made(name)
        model.fit(*data(name, 12), batch_size=4, epochs=3, shuffle=False, verbose=0)
        alone.append(model.get_weights())
    both = [made(name) for name in names]
    for _ in range(3):
        for name, model in zip(names, both, strict=True):
            model.fit(*data(name, 12), batch_size=4, shuffle=False, verbose=0)
    for model, weights in zip(both, alone, strict=True):
        equal(model.get_weights(), weights)


@pytest.mark.sample
def test_training_goes_on_from_a_file(tmp_path: Path) -> None:
    """Weights, slots and counters in a `.keras` file; on the device, on the CPU, and back."""
    x, y = data("binary_mlp", 12)
    how: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole = made("binary_mlp")
    whole.fit(x, y, epochs=4, **how)
    part = made("binary_mlp")
    part.fit(x, y, epochs=2, **how)
    part.save(tmp_path / "part.keras")
    again = keras.models.load_model(tmp_path / "part.keras")
    again.run_on(backend="triton")
    again.fit(x, y, epochs=2, **how)
    equal(whole.get_weights(), again.get_weights())
    again = keras.models.load_model(tmp_path / "part.keras")
    again.run_on(backend="native")
    again.fit(x, y, epochs=2, **how)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.sample
def test_pictures_of_bytes_and_weights_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cast inside the step; resident and streamed alike, as on NumPy."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (22, 8, 8), np.uint8), rng.integers(0, 10, 22)
    weight = rng.random(22)
    found = []
    for backend, share in (("numpy", 0.5), ("triton", 0.5), ("triton", 0.0)):
        monkeypatch.setattr("runtime.cuda.SHARE", share)
        keras.utils.set_random_seed(1)
        L = keras.layers
        parts = [keras.Input((8, 8)), L.Rescaling(1 / 255), L.Flatten(), L.Dense(10)]
        model = keras.Sequential(parts)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], backend=backend)
        history = model.fit(x, y, sample_weight=weight, batch_size=4, epochs=2, verbose=0).history
        found.append([*history.values(), *model.get_weights()])
    equal(found[1], found[2])
    for a, b in zip(found[0], found[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_device_that_is_full_says_so_and_serves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained where memory does not suffice, seen before or only when it is taken; then it runs once there is some."""
    x, y = data("mlp", 65_536)
    model = made("mlp")
    before = model.get_weights()
    cuda: Any = torch.cuda
    refused = lambda: pytest.raises(
        keras.KCError, match=r"KC503[\s\S]*largest buffers[\s\S]*batch_size"
    )
    with monkeypatch.context() as m:
        m.setattr(type(here()), "free", lambda self: 1 << 20)
        with refused():
            model.fit(x, y, batch_size=65_536, verbose=0)
    cuda.empty_cache()
    whole = cuda.get_device_properties(0).total_memory
    cuda.set_per_process_memory_fraction((cuda.memory_reserved() + (4 << 20)) / whole)
    try:
        with refused():
            model.fit(x, y, batch_size=65_536, verbose=0)
    finally:
        cuda.set_per_process_memory_fraction(1.0)
    equal(before, model.get_weights())
    model.fit(x, y, batch_size=65_536, verbose=0)


def test_a_step_leaves_nothing_to_chance() -> None:
    """Two processes' worth of training in one: every bit alike, dropout and sorted sums included."""
    x, y = data("transformer", 64)
    runs = []
    for _ in range(2):
        model = made("transformer")
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        runs.append(model.get_weights())
    equal(*runs)
