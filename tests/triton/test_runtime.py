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

from runtime.cuda import CudaExecutable, shown
from runtime.device import Interpreted
from runtime.memory import DeviceMemoryError
from runtime.resident import Resident, uploaded
from runtime.streamed import Streamed

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
    held = [uploaded(many.device, x, "f32"), uploaded(many.device, y, "i32")]
    inner = many._on_device
    drive = Resident(many.device, held, inner.data, inner.step, inner.over, many.take, 4)
    drive.begin(None)
    drive.run(0, 1)
    before = values(many)
    many.take()
    replay = many.device.capture(many._on_device.step)
    assert values(many) == before
    assert callable(replay)
    drive.run(1, 6)
    assert list(drive._replays) == [(4, False), (1, False)]
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

    def over(data: Any, results: Any) -> Any:
        assert all(t.data_ptr() % 64 == targets[0].data_ptr() % 64 for t in data)
        return lambda: device.run(lambda: seen.append([t.numpy().copy() for t in data]))

    held = [uploaded(device, s, names[dtype]) for s in sources]
    drive = Resident(device, held, targets, over(targets, []), over, lambda: None, 2)
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


@pytest.mark.parametrize("stretch", [1, 100, 1 << 20], ids=["a batch", "a few", "all"])
@pytest.mark.parametrize("kind", ["f4", "f8", "transposed"])
def test_a_data_set_that_stays_on_the_host_goes_through_two_stretches(
    stretch: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch once, in order, its results to their rows, whatever the runs of an epoch; each sample crosses once an epoch."""
    monkeypatch.setattr("runtime.streamed.STRETCH", stretch)
    rng = np.random.default_rng(2)
    x = rng.random((23, 5)).astype("f8" if kind == "f8" else "f4")
    x = np.asfortranarray(x) if kind == "transposed" else x
    y = rng.integers(0, 99, 23).astype("i4")
    device = Interpreted()
    targets = [device.empty((2, 5), "f32"), device.empty((2,), "i32")]
    result = device.empty((2, 5), "f32")

    def step(data: Any, results: Any) -> Any:
        return lambda: device.run(lambda: results[0].copy_(data[0] * data[1][:, None]))

    first = step(targets, [result])
    over = lambda held: Resident(device, held, targets, first, step, lambda: None, 2, [result])
    crossed: list[int] = []
    lane = device.lane
    device.lane = lambda sources, held: Counted(lane(sources, held), crossed)  # type: ignore[method-assign]
    drive = Streamed(device, [x, y], [(2, 5), (2,)], ["f32", "i32"], over)
    for order in (rng.permutation(23), None, rng.permutation(23)):
        whole = np.full((23, 5), -1, "f4")
        drive.begin(order, [whole])
        for first, stop in ((0, 1), (1, 6), (6, 6), (6, 11)):
            drive.run(first, stop)
        at = np.arange(22) if order is None else order[:22]
        np.testing.assert_array_equal(whole[:22], x[at].astype("f4") * y[at, None].astype("f4"))
        assert (whole[22:] == -1).all()
    assert len(crossed) == 3 * {1: 11, 100: 6, 1 << 20: 1}[stretch]


class Counted:
    """A lane that counts what it sends, and sends nothing while the sources may not be written."""

    def __init__(self, lane: Any, sent: list[int]):
        self.lane, self.sent, self.open = lane, sent, False

    def send(self) -> None:
        assert self.open
        self.open = False
        self.sent.append(1)
        self.lane.send()

    def used(self) -> None:
        self.lane.used()

    def settle(self) -> None:
        self.open = True


def test_what_does_not_fit_is_refused_with_the_largest_buffers() -> None:
    with pytest.raises(DeviceMemoryError, match=r"(?s)largest buffers.*kernel: f32.*batch_size"):
        made(limit=10_000)
    names = r"(?s)largest buffers.* kB  temp b\d+ \(k\d+, [\w/, ]*dense[\w/, ]*\): f32\[5000, 20\]"
    with pytest.raises(DeviceMemoryError, match=names):
        made(limit=10_000, rows=5000)


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


def test_a_data_set_whose_memory_another_took_meanwhile_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.streamed.STRETCH", 1)
    exe = made()[0]
    device = Interpreted()
    exe.device = device
    device.limit = device.taken + 4000
    monkeypatch.setattr("runtime.cuda.room", lambda *given: 0)
    x, y = np.zeros((60, 6, 6), "f4"), np.zeros(60, "i4")
    assert isinstance(exe.drive([x[:5], y[:5]]), Resident)
    device.limit = device.taken + 6000
    assert isinstance(exe.drive([x, y]), Streamed)
    device.limit = device.taken
    with pytest.raises(DeviceMemoryError, match="largest buffers"):
        exe.drive([x, y])


def test_the_host_is_at_most_one_run_ahead() -> None:
    device = Interpreted()
    marks: list[int] = []
    open_: list[int] = []

    def mark() -> Any:
        marks.append(len(marks))
        open_.append(marks[-1])
        return lambda n=marks[-1]: open_.remove(n)

    device.mark = mark  # type: ignore[method-assign]
    target = device.empty((2, 3), "f32")
    held = [uploaded(device, np.zeros((12, 3), "f4"), "f32")]
    nothing = lambda: None
    drive = Resident(device, held, [target], nothing, lambda *given: nothing, nothing, 2)
    drive.begin(None)
    for first in range(6):
        drive.run(first, first + 1)
        assert open_ == [first]


def test_what_a_program_and_its_data_take_is_said_before_they_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="kcompile.device"):
        exe = made()[0]
        exe.drive([np.zeros((10, 6, 6), "f4"), np.zeros(10, "i4")])
    program, data = caplog.messages
    most = exe.program.peak_bytes + 5 * (36 + 1) * 4  # and a batch on its way
    assert program.startswith(f"train_step takes {shown(most)} of memory on ")
    assert data.startswith(f"a data set of {shown(10 * (36 + 1) * 4 + 10 * 8)} goes to ")
