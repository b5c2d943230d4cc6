"""Which way to lay out each product and convolution is quickest as C, in the step it is part of, on this machine.

Programs in which every kernel is laid out in its first other way, its second, ... run in turns with the rules' program, each kernel
between two looks at the clock, with its epilogues, its threads and the caches as the step leaves them. What was better in its turn and again together
with all others that were is chosen; choices are kept on disk (`choices`) and not asked for again. Refuses to make programs, and to know models.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from codegen.program import Kernel, Program
from runtime.choices import GAIN, Choices
from runtime.executable import Executable
from runtime.native_profile import Clocked, texts
from runtime.store import StateStore

log = logging.getLogger("kcompile.tune")

SECONDS = 0.4  # of steps in turns, for one other way
LEAST, MOST = 7, 200  # steps of each
Ways = dict[str, Mapping[str, Any]]
Steps = Callable[[], Sequence[float]]  # a step; the seconds of each kernel


def tune(
    program: Program,
    make: Callable[[Ways], Program],
    store: StateStore,
    choices: Choices,
    steps: Callable[[Program], Steps] | None = None,
) -> Program:
    """The program in which each kernel is laid out in the way that is quickest here.

    make: the same program with some kernels laid out in other ways, by name. store: the states, which are copied. steps: what runs
    a program and reads the clock. Raises NativeError.
    """
    clocked = steps or (lambda p: Clocked(_made_up(p, store)).seconds)
    own = dict(zip((k.name for k in program.kernels), texts(program), strict=True))
    found = {k.name: _kept(choices.load(own[k.name]), k) for k in program.kernels if k.candidates}
    known = {name: c for name, c in found.items() if c is not None}
    todo = [k for k in program.kernels if k.name in found and k.name not in known]
    best = _measured(todo, {n: c["way"] for n, c in known.items()}, make, clocked)
    for name, choice in best.items():
        choices.save(own[name], choice)
    for k in todo:  # another process may have been first
        known[k.name] = _kept(choices.load(own[k.name]), k) or best[k.name]
    tuned = make({n: c["way"] for n, c in known.items() if c["way"]})
    verdicts = {n: {k: v for k, v in c.items() if k != "way"} for n, c in known.items()}
    kernels = [
        replace(k, schedule={**k.schedule, "tuned": verdicts[k.name]} if k.name in verdicts else k.schedule, candidates=())
        for k in tuned.kernels
    ]  # fmt: skip
    return replace(tuned, kernels=tuple(kernels))


def _measured(
    todo: Sequence[Kernel], known: Ways, make: Callable[[Ways], Program], clocked: Callable[[Program], Steps]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """For each kernel its way, how many there were, and the seconds of it and of the rules'."""
    if not todo:
        return {}
    before = make({n: w for n, w in known.items() if w})
    place = {k.name: n for n, k in enumerate(before.kernels)}
    rules = clocked(before)
    seen = {k.name: {texts(before)[place[k.name]]} for k in todo}
    best = {k.name: _choice({}, 1, 0.0, 0.0) for k in todo}
    for n in range(max(len(k.candidates) for k in todo)):
        asked = {k.name: k.candidates[n]["way"] for k in todo if n < len(k.candidates)}
        other = make(known | asked)
        other_texts = texts(other)
        fresh = [name for name in asked if other_texts[place[name]] not in seen[name]]
        if not fresh:
            continue
        old, new = _in_turns(rules, clocked(other))
        for name in fresh:
            k = place[name]
            seen[name].add(other_texts[k])
            mine = best[name]
            mine["of"] += 1
            if new[k] * (mine["heuristic"] or 1.0) < old[k] * (mine["seconds"] or GAIN):
                mine |= _choice(asked[name], mine["of"], new[k], old[k])
    asked = {name: c["way"] for name, c in best.items() if c["way"]}
    old, new = _in_turns(rules, clocked(make(known | asked)))
    for name, mine in best.items():
        k = place[name]
        stands = not mine["way"] or new[k] > GAIN * old[k]
        way, seconds = ({}, old[k]) if stands else (mine["way"], new[k])
        best[name] = _choice(way, mine["of"], seconds, old[k])
        log.info("%s: %s of %d, %.3g us; the rules' %.3g us", name, way or "the rules'", mine["of"],
                 seconds * 1e6, old[k] * 1e6)  # fmt: skip
    return best


def _choice(way: Mapping[str, Any], of: int, seconds: float, heuristic: float) -> dict[str, Any]:
    return {"way": dict(way), "of": of, "seconds": seconds, "heuristic": heuristic}


def _kept(choice: dict[str, Any] | None, k: Kernel) -> dict[str, Any] | None:
    """A choice from the disk that is one of the kernel's ways."""
    ways = [{}, *(c["way"] for c in k.candidates)]
    if choice is None or set(choice) != set(_choice({}, 0, 0, 0)) or choice["way"] not in ways:
        return None
    return choice


def _in_turns(a: Steps, b: Steps) -> tuple[list[float], list[float]]:
    """The least seconds of each kernel in two programs that take turns."""
    rows: tuple[list[Sequence[float]], list[Sequence[float]]] = ([], [])
    start = perf_counter()
    while len(rows[0]) < LEAST or (perf_counter() - start < SECONDS and len(rows[0]) < MOST):
        for steps, row in zip((a, b), rows, strict=True):
            row.append(steps())
    old, new = ([min(column) for column in zip(*row, strict=True)] for row in rows)
    return old, new


def _made_up(program: Program, store: StateStore) -> Executable:
    """A program on copies of its states, and on data that is made up: floats from 0 to 1, ints 0 and 1."""
    own = StateStore()
    for b in program.buffers:
        if b.role == "state":
            own.put(b.path, store[b.path].copy())
    exe = Executable(program, own)
    rng = np.random.default_rng(0)
    for a in exe.data:
        a[...] = rng.random(a.shape) if a.dtype.kind == "f" else rng.integers(0, 2, a.shape)
    return exe
