"""Which of a kernel's candidates a device runs quickest: timed once, with everything fused into it, on the values of a real step.

The tuned program is a program like any other, with its choices in the kernels' schedules, and is kept on disk as such. Choices
that were measured elsewhere come from a table (`TABLE`). Refuses to know clocks (`Device`), and what candidates are made of.

The table, `tuned.json`: {"<a device's kind>": {"<digest of a kernel>": [groups, warps, stages] or "library"}}, as `choices` gives
them. A kernel that stands there is not timed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codegen.program import Kernel, Program
from runtime.choices import GAIN
from runtime.device import Device, Ready, Work
from runtime.driver import DriverError
from runtime.library import library
from runtime.triton_program import TritonProgram
from runtime.triton_report import Refused

log = logging.getLogger("kcompile.tune")

TABLE = Path(__file__).parent / "tuned.json"
REPEATS, LAUNCHES = 5, 20  # trials of a candidate, and launches in one
Timer = Callable[[Work], float]


def tune(on_device: TritonProgram, device: Device, timer: Timer | None = None) -> Program:
    """Make one step, its kernels in order, each by the candidate that is quickest there; returns the tuned program.

    The launches of `on_device` are the chosen ones from then on. timer: the seconds of a launch, given what launches it.
    """
    program = on_device.program
    time_of = timer or functools.partial(clocked, device)
    wide, ways = widened(program)
    found = device.kernels(wide)
    chosen = {}
    for place, k in enumerate(program.kernels):
        scratch = None if "tuned" in k.schedule else _copies(on_device, k)
        if scratch is None:
            on_device.turn(place)
            continue
        times = {}
        for way in promising(ways[k.name], found, device.shared):
            try:
                times[way.name] = time_of(on_device.launch(way, found[way.name], scratch)[0])
            except DriverError as e:
                log.warning("%s is not tried further: %s", way.name, e)
        call = library(k, {**on_device.tensors, **on_device.rows(k, 0), **scratch})
        if call is not None:
            times["library"] = time_of(call)
        if not times:
            on_device.turn(place)  # which says why
            continue
        first = k.name
        best = min(times, key=lambda n: times[n])
        if times[best] > GAIN * times.get(first, math.inf):
            best = first
        rule = times.get(first, times[best])  # the rule's may be more than the device has room for
        verdict = {"of": len(times), "seconds": times[best], "heuristic": rule}
        if best == "library":
            verdict["library"] = True
        made = next((w for w in ways[first] if w.name == best), k)
        made = replace(made, schedule={**made.schedule, "tuned": verdict})
        on_device.choose(place, made, found[made.name])
        on_device.turn(place)
        chosen[first] = replace(made, name=first)
        log.info("%s: %s of %d, %.3g us; the heuristic's %.3g us", first, best, len(times),
                 times[best] * 1e6, rule * 1e6)  # fmt: skip
    return rewritten(program, chosen)


def _copies(on_device: TritonProgram, k: Kernel) -> dict[str, Any] | None:
    """Copies of what a kernel writes, for trials; None where there is no room for them."""
    import torch

    try:
        at = {**on_device.tensors, **on_device.rows(k, 0)}
        return {n: at[n].clone() for n in k.writes}
    except torch.OutOfMemoryError:
        log.warning("%s is not tuned: no memory for a copy of what it writes", k.name)
        return None


def clocked(device: Device, launch: Work) -> float:
    """The least seconds of a launch among many in a captured stretch, as in a step."""
    device.run(launch)

    def many() -> None:
        for _ in range(LAUNCHES):
            device.run(launch)

    replay = device.capture(many)
    replay()
    return min(device.seconds(replay) for _ in range(REPEATS)) / LAUNCHES


def promising(
    ways: Sequence[Kernel], kernels: Mapping[str, Ready | Refused], shared: int
) -> list[Kernel]:
    """The ways of a kernel that are worth a trial: they compile, have room and do not spill; the rule's may spill.

    shared: bytes of shared memory that a kernel may have. Where none is, the rule's.
    """
    found = []
    for way in ways:
        made = kernels[way.name]
        if isinstance(made, Refused):
            continue
        u = made.usage
        if u is None or (u.shared <= shared and (u.stack <= 0 or way is ways[0])):
            found.append(way)
    return found or [ways[0]]


def widened(program: Program) -> tuple[Program, dict[str, list[Kernel]]]:
    """A program with every candidate as a kernel of its own, and the ways to do each kernel, its own first."""
    ways: dict[str, list[Kernel]] = {}
    for k in program.kernels:
        ways[k.name] = [k]
        for n, c in enumerate(k.candidates, 1):
            name = f"{k.name}_{n}"
            body = str(c["source"]).replace(f"def {k.name}(", f"def {name}(", 1)
            laid = {key: v for key, v in c.items() if key != "source"}
            way = replace(k, name=name, schedule={**k.schedule, **laid}, candidates=({"source": body},))  # fmt: skip
            ways[k.name].append(way)
    text, kernels = program.source, list(program.kernels)
    for found in ways.values():
        for n, way in enumerate(found[1:], 1):
            body = way.candidates[0]["source"]
            first = text.count("\n") + 3
            text += f"\n\n{body}\n"
            found[n] = replace(way, lines=(first, first + body.count("\n")), candidates=())
            kernels.append(found[n])
    return replace(program, source=text, kernels=tuple(kernels)), ways


def rewritten(program: Program, chosen: Mapping[str, Kernel]) -> Program:
    """The program with other ways for some kernels, which then have no candidates; with the source too of one of the kernel's own."""
    lines, kernels = program.source.splitlines(), []
    text = "\n".join(lines[: min((k.lines[0] for k in program.kernels), default=1) - 1]).rstrip()
    for k in program.kernels:
        way = chosen.get(k.name, k)
        body = next(
            (str(c["source"]) for c in k.candidates if _laid(c) == _laid(way.schedule)),
            "\n".join(lines[k.lines[0] - 1 : k.lines[1]]).rstrip(),
        )
        first = text.count("\n") + 4
        text += f"\n\n\n{body.rstrip()}"
        span = (first, first + body.rstrip().count("\n"))
        left = () if k.name in chosen else k.candidates
        kernels.append(replace(way, name=k.name, lines=span, candidates=left))
    return replace(program, source=text + "\n", kernels=tuple(kernels))


def _laid(schedule: Mapping[str, Any]) -> list[Any]:
    return [schedule["groups"], schedule["warps"], schedule["stages"]]


def digest(program: Program, k: Kernel) -> str:
    """What a kernel is, whatever it and its buffers are called: text, types of parameters, warps and stages."""
    first, last = k.lines
    text = "\n".join(program.source.splitlines()[first - 1 : last])
    place = {name: f"p{i}" for i, name in enumerate(k.schedule["args"])} | {k.name: "kernel"}
    text = re.sub(r"\b[bk]\d+(?=\b|_)", lambda m: place.get(m[0], m[0]), text)
    types = {b.name: b.dtype for b in program.buffers}
    how = [types[a] for a in k.schedule["args"]], k.schedule["warps"], k.schedule["stages"]
    return hashlib.sha256(f"{text}{how}".encode()).hexdigest()[:12]


def choices(before: Program, after: Program) -> dict[str, list[Any] | str]:
    """What tuning chose otherwise than the heuristic, as rows of the table."""
    rows: dict[str, list[Any] | str] = {}
    for k, t in zip(before.kernels, after.kernels, strict=True):
        if "library" in t.schedule.get("tuned", ()):
            rows[digest(before, k)] = "library"
        elif _laid(k.schedule) != _laid(t.schedule):
            rows[digest(before, k)] = _laid(t.schedule)
    return rows


def from_table(program: Program, kind: str, table: Path = TABLE) -> Program:
    """The program with the choices that the table has for a device of this kind."""
    rows = json.loads(table.read_text()).get(kind, {})
    chosen = {}
    for k in program.kernels if rows else ():
        row = rows.get(digest(program, k))
        if row == "library" and "library" in k.schedule:
            own, verdict = {}, {"table": True, "library": True}
        else:
            own = next((dict(c) for c in k.candidates if row == _laid(c)), {})
            own.pop("source", None)
            verdict = {"table": True} if own else {}
        if verdict:
            chosen[k.name] = replace(k, schedule={**k.schedule, **own, "tuned": verdict})
    return rewritten(program, chosen) if chosen else program
