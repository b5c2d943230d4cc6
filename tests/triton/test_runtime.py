"""The runtime of GPUs by itself, on CPU tensors: capture, gathering, memory that is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from runtime.store import StateStore
from tests.triton.steps import mlp, train_graph

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.cuda import CudaExecutable, DeviceMemoryError
from runtime.device import Interpreted
from runtime.resident import Resident

Array = np.ndarray[Any, Any]


def made(limit: int = 1 << 62, rows: int = 5, copies: int = 1) -> list[CudaExecutable]:
    """Executables of one step, each with states of its own that begin equal."""
    graph, states = train_graph(mlp(6, 20), rows)
    program = generate(graph, "triton")
    return [
        CudaExecutable(program, stored(states), device=Interpreted(limit)) for _ in range(copies)
    ]


def stored(states: dict[str, Array]) -> StateStore:
    store = StateStore()
    for path, value in states.items():
        store.put(path, value)
    return store


def values(exe: CudaExecutable) -> list[bytes]:
    return [exe.store[p].tobytes() for p in exe.store]


def test_captured_steps_are_the_steps_and_a_capture_trains_nothing() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((30, 6, 6), np.float32), rng.integers(0, 10, 30).astype("i4")
    one, many = made(copies=2)
    for low in range(0, 30, 5):
        one.data[0][...], one.data[1][...] = x[low : low + 5], y[low : low + 5]
        one.step()
    drive = Resident(
        many.device, [x, y], many._on_device.data, many._dtypes, many._on_device.step, many.take, 4
    )
    drive.begin(None)
    drive.run(0, 1)
    before = values(many)
    many.take()
    replay = many.device.capture(many._on_device.step)
    assert values(many) == before
    assert callable(replay)
    drive.run(1, 6)
    assert list(drive._replays) == [4, 1]
    assert values(one) == values(many)


@pytest.mark.parametrize("shapes", [((3,), ()), ((2, 5), (7,), (1,))])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_samples_are_gathered_in_order(shapes: tuple[tuple[int, ...], ...], dtype: str) -> None:
    names = {"u1": "u8", "i2": "i16", "f4": "f32", "f8": "f64"}
    rng = np.random.default_rng(2)
    sources = [(rng.random((11, *s)) * 99).astype(dtype) for s in shapes]
    device = Interpreted()
    targets = [device.empty((3, *s), names[dtype]) for s in shapes]
    seen: list[list[Array]] = []
    step = lambda: device.run(lambda: seen.append([t.numpy().copy() for t in targets]))
    drive = Resident(device, sources, targets, [names[dtype]] * len(shapes), step, lambda: None, 2)
    for order in (rng.permutation(11), None, rng.permutation(11)):
        seen.clear()
        drive.begin(order)
        drive.run(0, 1)
        drive.run(1, 3)
        at = np.arange(11) if order is None else order
        for k, batch in enumerate(seen):
            for found, source in zip(batch, sources, strict=True):
                np.testing.assert_array_equal(found, source[at[3 * k : 3 * k + 3]])
        assert len(seen) == 3


def test_what_does_not_fit_is_refused_with_the_largest_buffers() -> None:
    with pytest.raises(DeviceMemoryError, match=r"(?s)largest buffers.*kernel: f32.*batch_size"):
        made(limit=10_000)


def test_memory_that_another_takes_meanwhile_is_reported_alike() -> None:
    exe = made()[0]
    device = Interpreted(limit=exe.program.peak_bytes - 1)
    device.free = lambda: 1 << 40  # type: ignore[method-assign]
    states = {p: exe.store[p] for p in exe.store}
    with pytest.raises(DeviceMemoryError, match="what to do"):
        CudaExecutable(exe.program, stored(states), device=device)


def test_a_state_of_another_type_is_refused() -> None:
    exe = made()[0]
    wrong = stored({p: np.zeros((2, 2)) for p in exe.store})
    with pytest.raises(ValueError, match="expects the state"):
        CudaExecutable(exe.program, wrong, device=Interpreted())
