"""What a dumped step does when it is run: its kernels against the meaning of its ops, and on a GPU how long each takes.

The data are made up: small floats above 0, ints 0 and 1. Refuses to know models, and to make scripts (`kcompile.script`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ir.interpret import interpret
from ir.parse import parse
from ir.types import NUMPY
from runtime.device import TORCH, Device
from runtime.gpu import device
from runtime.memory import Array
from runtime.seat import host

Row = tuple[str, str, tuple[int, ...], str, str]  # name, dtype, shape, role, path
CLOSE = (
    1e-3  # of a tensor's largest change, how far its numbers may be off: sums come in another order
)
ROUGH = 5e-2  # likewise where products are of tf32 or halves
ROUNDINGS = 4  # of its largest number, that are no difference
REPEATS = 20


def main(
    step: Callable[[Any, Any], None],
    buffers: Sequence[Row],
    states: Sequence[str],
    data: Sequence[str],
    results: Sequence[str],
    text: str,
) -> None:
    """Check the kernels that `step` launches against the graph of `text`; time them where there is a GPU.

    Exits with status 1, naming what differs.
    """
    import torch

    place = device("cuda" if torch.cuda.is_available() else "cpu")
    graph = parse(text)
    given = [_made(b) for name in (*states, *data) for b in buffers if b[0] == name]
    b = _bound(buffers, dict(zip((*states, *data), given, strict=True)), place)
    launches: list[tuple[str, Callable[[], None]]] = []

    def launch(kernel: Any, grid: int, args: Sequence[Any], warps: int, stages: int) -> None:
        def run() -> None:
            with np.errstate(all="ignore"):
                kernel[(grid,)](*args, num_warps=warps, num_stages=stages)

        run()
        launches.append((kernel.__name__, run))

    step(b, launch)
    found = [host(getattr(b, name)) for name in (*states, *results)]
    rough = any(f'precision="{p}"' in text for p in ("tf32", "bf16"))
    paths = {row[0]: row[4] or row[0] for row in buffers}
    worst = 0.0
    before = [*given[: len(states)], *(np.zeros((), "f4") for _ in results)]
    rows = zip((*states, *results), before, found, interpret(graph, given), strict=True)
    for name, old, new, expected in rows:
        off = _off(new, expected, old)
        if not off <= (ROUGH if rough or expected.dtype.itemsize < 4 else CLOSE):
            sys.exit(f"{paths[name]} is off by {off:.1e} of its largest change")
        worst = max(worst, off)
    sys.stdout.write(
        f"{len(states)} states and {len(results)} results agree with NumPy within {worst:.1e} of what they changed by\n"
    )
    if place.target:
        _time(launches, place)


def _time(launches: Sequence[tuple[str, Callable[[], None]]], gpu: Device) -> None:
    """Write how long each launch takes in a captured stretch."""
    for name, run in launches:

        def many(run: Callable[[], None] = run) -> None:
            for _ in range(REPEATS):
                gpu.run(run)

        replay = gpu.capture(many)
        replay()
        seconds = min(gpu.seconds(replay) for _ in range(REPEATS)) / REPEATS
        sys.stdout.write(f"{name}: {seconds * 1e6:.2f} us\n")


def _made(row: Row) -> Array:
    _, dtype, shape, _, path = row
    rng = np.random.default_rng([len(path), *shape])
    if np.issubdtype(NUMPY[dtype], np.integer) or dtype == "bool":
        return rng.integers(0, 2, shape).astype(NUMPY[dtype])
    return (rng.random(shape) / math.sqrt(1 + max(shape, default=0))).astype(NUMPY[dtype])


def _bound(buffers: Sequence[Row], given: dict[str, Array], place: Device) -> Any:
    """Tensors by name, those without memory of their own as rows of others."""
    import torch

    at = SimpleNamespace()
    for name, dtype, shape, role, _ in buffers:
        if role != "step":
            made = torch.zeros(shape, dtype=getattr(torch, TORCH[dtype]), device=place.name)
            if name in given:
                made.copy_(torch.from_numpy(np.array(given[name], order="C")))
            setattr(at, name, made)
    for name, _, shape, role, whole in buffers:
        if role == "step":
            setattr(at, name, getattr(at, whole).view(-1, *shape))
    return at


def _off(new: Array, expected: Array, old: Array) -> float:
    """The largest difference beyond rounding, as a part of the largest change; of ints, whether there is one."""
    a, e = new.astype("f8").reshape(expected.shape), expected.astype("f8")
    if expected.dtype.kind in "iub" or not np.array_equal(np.isnan(a), np.isnan(e)):
        return 0.0 if np.array_equal(a, e) else math.inf
    with np.errstate(invalid="ignore"):
        apart = np.where(a == e, 0.0, np.abs(a - e))  # infinities are alike
        change = np.abs(e - old.astype("f8"))
    rounding = ROUNDINGS * float(np.finfo(expected.dtype).eps) * _most(e)
    return max(0.0, _most(apart) - rounding) / (_most(change) or 1.0)


def _most(a: Array) -> float:
    return float(np.abs(np.nan_to_num(a)).max(initial=0.0))
