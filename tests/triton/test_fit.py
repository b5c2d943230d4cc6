"""`fit`, `evaluate` and `predict` with the runtime of GPUs, its kernels in Triton's interpreter, against the NumPy target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
import kcompile.compile as compiling

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.device import Interpreted
from runtime.resident import Resident
from runtime.seat import Seat
from tests.triton.steps import cnn, mlp

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")


def data(side: int, n: int, channels: tuple[int, ...] = ()) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    return rng.random((n, side, side, *channels), np.float32), rng.integers(0, 10, n).astype("i4")


def trained(backend: str, make: Any, x: Array, y: Array, **kwargs: Any) -> tuple[Any, Any]:
    keras.utils.set_random_seed(5)
    model = make()
    model.run_on(backend=backend)
    history = model.fit(x, y, verbose=0, **kwargs)
    return model, history.history


def equal(a: Any, b: Any) -> None:
    assert a.keys() == b.keys()
    for k in a:
        np.testing.assert_allclose(a[k], b[k], rtol=2e-4, atol=2e-5, err_msg=k)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_fit_has_the_history_of_numpy(kind: str) -> None:
    """Shuffled, with a partial batch at the end and validation; dropout draws the same numbers."""
    n, side = (43, 6) if kind == "mlp" else (7, 9)
    x, y = data(side, n, () if kind == "mlp" else (1,))
    found = []
    for backend in ("triton", "numpy"):
        make = (lambda: mlp(6, 20)) if kind == "mlp" else lambda: cnn(9, (3, 5))
        sizes: Any = {"batch_size": 8 if kind == "mlp" else 2, "epochs": 2 if kind == "mlp" else 1}
        model, history = trained(backend, make, x, y, validation_split=0.2, **sizes)
        scores = model.evaluate(x, y, verbose=0, return_dict=True)
        found.append((history, scores, model.predict(x, verbose=0), model.get_weights()))
        assert model._step_functions.by_kind["train"][1].log[0].program.target == backend
    equal(found[0][0], found[1][0])
    equal(found[0][1], found[1][1])
    for a, b in zip([found[0][2], *found[0][3]], [found[1][2], *found[1][3]], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_rate_set_between_batches_counts_and_weights_are_read_while_training() -> None:
    """What the host writes reaches the device before the next step, what it reads is of the last one."""
    x, y = data(6, 24)
    seen: dict[str, list[Array]] = {}
    for backend in ("triton", "numpy"):
        rows = seen[backend] = []

        class Watch(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
            def on_train_batch_end(self, batch: int, logs: Any = None, rows: Any = rows) -> None:
                self.model.optimizer.learning_rate = 0.02 / (batch + 1)
                rows.append(self.model.get_weights()[0])
                rows.append(np.float32(logs["loss"]))

        trained(backend, lambda: mlp(6, 20), x, y, batch_size=8, callbacks=[Watch()])
    for a, b in zip(seen["triton"], seen["numpy"], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_data_set_that_does_not_fit_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = data(6, 24)
    histories = [trained("triton", lambda: mlp(6, 20), x, y, batch_size=8)[1]]
    monkeypatch.setattr("runtime.cuda.SHARE", 0.0)
    monkeypatch.setattr("runtime.streamed.STRETCH", 1)
    monkeypatch.setattr("runtime.cuda.uploaded", None)
    histories.append(trained("triton", lambda: mlp(6, 20), x, y, batch_size=8)[1])
    equal(*histories)


def test_a_model_changes_places_and_keeps_its_weights() -> None:
    x, y = data(6, 16)
    model, _ = trained("triton", lambda: mlp(6, 20), x, y, batch_size=8)
    first = model.evaluate(x, y, verbose=0, return_dict=True)
    model.run_on(backend="numpy")
    equal(first, model.evaluate(x, y, verbose=0, return_dict=True))
    model.fit(x, y, batch_size=8, verbose=0)
    second = model.evaluate(x, y, verbose=0, return_dict=True)
    model.run_on(backend="triton")
    equal(second, model.evaluate(x, y, verbose=0, return_dict=True))
    model.fit(x, y, batch_size=8, verbose=0)
    third = model.evaluate(x, y, verbose=0, return_dict=True)
    model.run_on(backend="numpy")
    equal(third, model.evaluate(x, y, verbose=0, return_dict=True))
    assert first != second != third


@pytest.mark.parametrize("listens", [True, False], ids=["to each batch", "to many"])
@pytest.mark.parametrize("first", ["triton", "native"])
def test_models_on_two_devices_share_a_layer_inside_an_epoch(first: str, listens: bool) -> None:
    """Each sees what the other's steps did to the shared weights, whoever began the epoch, however many steps run in one call."""
    x = data(6, 48)[0][:, 0]  # 24 batches: 16 in one call, then 8, whatever they take
    second = "native" if first == "triton" else "triton"
    found: list[list[Array]] = []
    for backends in ((first, second), ("numpy", "numpy")):
        keras.utils.set_random_seed(5)
        shared = keras.layers.Dense(6)
        outer, inner = (keras.Sequential([keras.Input((6,)), shared]) for _ in range(2))
        for model, backend in zip((outer, inner), backends, strict=True):
            model.compile(keras.optimizers.SGD(0.1), "mse", backend=backend)

        class Meddle(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
            hears_each_batch = listens

            def on_train_batch_end(self, batch: int, logs: Any = None, inner: Any = inner) -> None:
                inner.train_on_batch(x[:4], -x[:4])

        outer.fit(x, x, batch_size=2, verbose=0, shuffle=False, callbacks=[Meddle()])
        found.append([*outer.get_weights(), *inner.get_weights()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("room", [0, 9_000, 20_000], ids=["none", "the program's", "enough"])
def test_too_little_memory_is_said_with_what_to_do(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that does not fit, one beside which not even two batches do, and one that has what it needs."""
    x, y = data(6, 24)
    small = Interpreted(limit=room)
    monkeypatch.setattr("runtime.cuda.here", lambda: small)
    model = mlp(6, 20)
    model.compile("sgd", "sparse_categorical_crossentropy", backend="triton")
    if room == 20_000:
        model.fit(x, y, batch_size=8, verbose=0)
        return
    before = model.get_weights()
    with pytest.raises(keras.KCError, match=r"KC503[\s\S]*largest buffers[\s\S]*batch_size") as e:
        model.fit(x, y, batch_size=8, verbose=0)
    assert isinstance(e.value, MemoryError)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("asked", ["0", "1", ""])
def test_schedules_are_those_of_the_rules_where_that_is_asked_for(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KCOMPILE_TUNE=0: neither what was tuned before nor the table counts."""
    seen: list[str] = []
    load, for_gpu = compiling._load, compiling._for_gpu
    monkeypatch.setattr(compiling, "_load", _noting(load, lambda key, static: seen.append(key)))
    monkeypatch.setattr(compiling, "_for_gpu", _noting(for_gpu, lambda p: seen.append("table")))
    monkeypatch.setenv("KCOMPILE_TUNE", asked)
    model = mlp(6, 20)
    model.run_on(backend="triton")
    model.predict(data(6, 4)[0], verbose=0)
    other = [key.startswith("triton on ") or key == "table" for key in seen]
    assert any(other) == (asked != "0") and not all(other)


def test_products_are_as_precise_as_the_user_says() -> None:
    """Compiled anew where the choice changed, and not again on the way back."""
    x, _ = data(6, 4)
    model = mlp(6, 20)
    model.run_on(backend="triton")
    reasons = ["first use", "now on triton in tf32", "now on triton in bf16"]
    try:
        for n, choice in enumerate(("ieee", "tf32", "bf16", "tf32")):
            keras.config.set_float32_matmul_precision(choice)
            model.predict(x, verbose=0)
            log = model._step_functions.by_kind["predict"][1].log
            assert len(log) == min(n + 1, 3)
            if n < 3:
                assert log[n].reason.endswith(reasons[n])
                assert {k.schedule.get("precision") for k in log[n].program.kernels} == {choice}
    finally:
        keras.config.set_float32_matmul_precision("ieee")
    with pytest.raises(ValueError, match="KC502"):
        keras.config.set_float32_matmul_precision("high")


def test_rate_and_seeds_are_on_the_device_and_metrics_stay_there_until_someone_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new rate captures nothing anew; inside an epoch nothing comes back, at its end the metrics and nothing else."""
    x, y = data(6, 48)
    seen: list[str] = []
    watch = lambda owner, name, what: monkeypatch.setattr(
        owner, name, _noting(getattr(owner, name), lambda *args: seen.append(what(*args)))
    )
    watch(Interpreted, "capture", lambda *args: "capture")
    watch(Resident, "run", lambda *args: "run")
    watch(Resident, "wait", lambda *args: "wait")
    watch(Seat, "_fetch", lambda seat: "fetch of " + "x".join(map(str, seat.state.host.shape)))
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))
    model, _ = trained(
        "triton", lambda: mlp(6, 20), x, y, batch_size=2, epochs=3, callbacks=[rates]
    )
    _, *others = "\n".join(seen).split("capture")[-1].split("run\nrun\nwait\n")
    assert len(others) == 2 and "capture" not in "".join(others)
    for epoch in others:  # single numbers: totals, counts and the rate
        assert set(epoch.split("\n")) - {""} == {"fetch of "}
    seen.clear()
    weights = model.get_weights()
    assert "fetch of 36x20" in seen
    again, _ = trained("numpy", lambda: mlp(6, 20), x, y, batch_size=2, epochs=3, callbacks=[rates])
    for a, b in zip(weights, again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def _noting(inner: Any, note: Any) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        note(*args)
        return inner(*args, **kwargs)

    return noted
