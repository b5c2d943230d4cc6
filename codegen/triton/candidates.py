"""Other schedules of a kernel that may be quicker: neighbours of the heuristic's choice, the most promising first.

What a device takes for each is found out where there is one (`runtime.tune`). All give the same sums in the same order up to the
length of a block. Refuses to choose, and kernels whose schedule is more than tiles.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from codegen.loops import Buf, Group, Schedule
from codegen.triton.launch import Launch, written
from codegen.triton.schedule import MANY, power_of_two, programs, size
from codegen.triton.spelling import Unsupported
from codegen.triton.together import shared

MOST = 7  # beside the heuristic's own
HEAVY = 1 << 26  # floating point operations of a part of a kernel whose own schedule matters
WORSE = 2.0  # predicted times beyond this many times the best are not tried
UNITS, LANES, TRAFFIC = 132, 512, 32  # of a GPU: processors; FLOP and bytes of one in a cycle
WAIT = 600.0  # cycles of a memory access, for each pass of a loop, shared by the stages


def neighbours(plan: Schedule) -> list[Schedule]:
    """At most `MOST` other schedules, by predicted time."""
    kind = plan.notes["kind"]
    if kind == "product":
        found = [*_products(plan), *_shapes(plan)]
    elif kind in ("pointwise", "rows", "loop", "taps", "sorted", "stretches", "atomic"):
        found = [*_blocks(plan), *_shapes(plan)]
    elif kind == "split":
        found = [*_shapes(plan)]
    else:
        return []
    one = programs(plan) == 1
    fit = {_key(s): s for s in found if (programs(s) == 1) == one}
    fit.pop(_key(plan), None)
    if kind != "product":
        return list(fit.values())[:MOST]
    times = {k: _seconds(s) for k, s in fit.items()}
    best = min([_seconds(plan), *times.values()])
    order = sorted((k for k in fit if times[k] <= WORSE * best), key=lambda k: times[k])
    return [fit[k] for k in order[:MOST]]


def laid(plan: Schedule) -> dict[str, Any]:
    """A schedule as the data that a launch needs, and a reader."""
    groups = [g for s in (plan, *plan.notes.get("of", ())) for g in s.groups]
    return {
        "grid": programs(plan), "warps": plan.notes["warps"], "stages": plan.notes.get("stages", 2),
        "groups": [[g.role, size(g.axes), g.tile] for g in groups],
    }  # fmt: skip


def candidates(launch: Launch, name: str, names: Mapping[Buf, str]) -> Iterator[dict[str, Any]]:
    """The other ways to lay out a kernel, each with its source; those that cannot be written are left out."""
    seen = {_key(launch.schedule)}
    for other in _others(launch):
        if _key(other.schedule) not in seen:
            seen.add(_key(other.schedule))
            with contextlib.suppress(Unsupported):
                yield {**laid(other.schedule), "source": other.write(name, names, launch.barrier)}


def _others(launch: Launch) -> Iterator[Launch]:
    """The other ways of a kernel; of one that is several, each large part goes on to its next."""
    if launch.parts:
        ways = [[x, *_others(x)] if x.flops >= HEAVY else [x] for x in launch.parts]
        for n in range(1, max(map(len, ways))):
            yield shared([own[n] if n < len(own) else own[0] for own in ways], f"_way{n}")
        return
    region, given = launch.region, list(launch.ways[:MOST])
    if region is not None:
        plans = neighbours(launch.schedule)
        given = [(plan, functools.partial(written, region, plan)) for plan in plans]
    for plan, write in given:
        yield replace(launch, schedule=plan, write=write)


def _key(s: Schedule) -> tuple[Any, ...]:
    tiles = tuple(g.tile for of in (s, *s.notes.get("of", ())) for g in of.groups)
    return tiles, s.notes["warps"], s.notes.get("stages", 2)


def _with(plan: Schedule, tiles: Mapping[int, int], **notes: Any) -> Schedule:
    groups = tuple(
        replace(g, tile=tiles[k]) if k in tiles else g for k, g in enumerate(plan.groups)
    )
    return replace(plan, groups=groups, notes={**plan.notes, **notes})


def _shapes(plan: Schedule) -> Iterator[Schedule]:
    """Half and twice the warps; another number of stages."""
    warps = int(plan.notes["warps"])
    for w in (warps // 2, warps * 2):
        if 1 <= w <= 8:
            yield _with(plan, {}, warps=w)
    if "stages" in plan.notes:
        for s in (2, 4):
            yield _with(plan, {}, stages=s)


def _blocks(plan: Schedule) -> Iterator[Schedule]:
    """Half, twice and four times the rows or elements of a program, or of a pass; warps in step."""
    warps = int(plan.notes["warps"])
    for k, g in enumerate(plan.groups):
        if g.role not in ("grid", "loop") or g.tile <= 1:
            continue
        for up in (2, 4, 0.5):
            tile = int(g.tile * up)
            if tile >= 1 and tile < 2 * size(g.axes):
                yield _with(plan, {k: tile}, warps=int(min(8, max(1, warps * up))))


def _products(plan: Schedule) -> Iterator[Schedule]:
    """Tiles of 16 to 128 rows, columns and depth."""
    fixed = plan.notes.get("fixed", ())  # of which the kernel keeps sums
    free = {
        k: _sides(g)
        for k, g in enumerate(plan.groups)
        if g.role in ("grid", "loop") and g.tile > 1 and k not in fixed
    }
    one_by_one = len(plan.groups) - 2
    if plan.groups[one_by_one].tile == 1:  # or all terms at once
        free[one_by_one] = [1, max(16, power_of_two(size(plan.groups[one_by_one].axes)))]
    sides = [[(k, t) for t in tiles] for k, tiles in free.items()]
    for chosen in itertools.product(*sides):
        tiles = dict(chosen)
        held = _held(_with(plan, tiles))
        if held <= 128 * 128:
            yield _with(plan, tiles, warps=8 if held >= 128 * 64 else 4)


def _sides(g: Group) -> list[int]:
    n = size(g.axes)
    return [t for t in (16, 32, 64, 128) if t == 16 or t < 2 * n]


def _held(plan: Schedule) -> int:
    """Sums that a program keeps: all tiles but the depth's, which is the second to last group."""
    return math.prod(g.tile for k, g in enumerate(plan.groups) if k != len(plan.groups) - 2)


def _seconds(plan: Schedule) -> float:
    """A product's time in cycles, roughly: waves of programs, each as long as its arithmetic, its traffic or its waiting."""
    depth, (rows, columns) = plan.groups[-2], (plan.groups[-3].tile, plan.groups[-1].tile)
    n = programs(plan)
    passes = -(-size(depth.axes) // depth.tile) if depth.tile > 1 else 1
    terms = passes * depth.tile if depth.tile > 1 else size(depth.axes)
    flops = 2 * rows * columns * terms / LANES
    traffic = 4 * (rows + columns) * terms / TRAFFIC
    waiting = passes * WAIT / max(1, int(plan.notes.get("stages", 2)) - 1)
    at_once = max(1.0, min(n / UNITS, 4.0))  # programs of one processor hide each other's waiting
    waves = max(1.0, n / UNITS)
    few = 1.0 if n >= MANY / 4 else 1.1
    return waves * max(flops, traffic, waiting / at_once) * few
