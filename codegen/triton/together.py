"""Kernels that do not wait for one another, in one launch: each has a stretch of the programs.

What is left of a step after fusion is many kernels of a microsecond: updates of small weights, second stages of sums, counters.
On a device they run side by side; a launch each would cost more than their work. So do products, of any size: the two gradients
of a layer. Refuses to join what else is large enough to fill a device, loops over time, and attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from codegen.loops import Buf, Schedule
from codegen.triton.launch import Launch, Place
from codegen.triton.schedule import programs

BYTES, FLOPS = 1 << 24, 1 << 28  # of a kernel that is small
FEW = 16  # programs that may have more warps than they would have alone
MOST = 10  # kernels in one launch


def together(launches: Sequence[Launch], place_of: Mapping[Buf, Place]) -> list[Launch]:
    """The launches, each as early as what it touches allows where it can share one, or later, where that leaves fewer."""
    groups: list[list[Launch]] = []
    for launch in launches:
        at = len(groups)
        while at and not any(_meet(launch, other, place_of) for other in groups[at - 1]):
            at -= 1
        found = next((g for g in groups[at:] if _fit([*g, launch], place_of)), None)
        if found is None:
            groups.append([launch])
        else:
            found.append(launch)
    moved = [_later(groups, place_of, whole) for whole in (True, False)]
    return [g[0] if len(g) == 1 else shared(g) for g in min(moved, key=len)]


def _later(
    groups: Sequence[Sequence[Launch]], place_of: Mapping[Buf, Place], whole: bool
) -> list[list[Launch]]:
    """The launches with what can move to a later one moved, as late as it can. whole: only what leaves nothing behind."""
    after: list[list[Launch]] = []
    for group in reversed(groups):
        new = [list(g) for g in after]
        left: list[Launch] = []
        for launch in group:
            waiting = (k for k, g in enumerate(new) if any(_meet(launch, x, place_of) for x in g))
            free = new[: next(waiting, len(new))]
            found = next((g for g in reversed(free) if _fit([*g, launch], place_of)), left)
            found.append(launch)
        after = [list(group), *after] if whole and left else [left, *new] if left else new
    return after


def _places(bufs: Sequence[Buf], place_of: Mapping[Buf, Place]) -> set[Place]:
    return {place_of[b].home for b in bufs}


def _meet(a: Launch, b: Launch, place_of: Mapping[Buf, Place]) -> bool:
    """Whether one writes what the other touches."""
    ra, wa = _places(a.reads, place_of), _places(a.writes, place_of)
    rb, wb = _places(b.reads, place_of), _places(b.writes, place_of)
    return bool(wa & (rb | wb) or wb & ra)


def _fit(group: Sequence[Launch], place_of: Mapping[Buf, Place]) -> bool:
    """Whether these can share a launch."""
    loops = [x.schedule.notes["kind"] == "scan" for x in group]
    if any(loops):
        return all(loops) and len({x.schedule.notes["warps"] for x in group}) == 1
    sorts = [x.schedule.notes["kind"] == "order" for x in group]  # they need their registers
    many = (s or programs(x.schedule) > FEW for s, x in zip(sorts, group, strict=True))
    warps = [int(x.schedule.notes["warps"]) for x, m in zip(group, many, strict=True) if m]
    return (
        len(group) <= MOST
        and max(warps, default=1) <= (1 if any(sorts) else 2) * min(warps, default=1)
        and all(_small(x, place_of) for x in group)
    )


def _small(launch: Launch, place_of: Mapping[Buf, Place]) -> bool:
    if launch.loop is not None or launch.schedule.notes["kind"] == "attention":
        return False
    sides = launch.schedule.groups[-3::2]
    if launch.schedule.notes["kind"] == "product" and all(g.role == "grid" for g in sides):
        return True  # one that holds whole rows needs its registers for itself
    touched = _places([*launch.reads, *launch.writes], place_of)
    return launch.flops <= FLOPS and sum(p.nbytes for p in touched) <= BYTES


def shared(group: Sequence[Launch], stem: str = "") -> Launch:
    """One launch that does the work of several. stem: what the names of its parts have in them."""
    ends = list(accumulate(programs(x.schedule) for x in group))

    def write(name: str, names: Mapping[Buf, str], barrier: bool) -> str:
        params = ", ".join(dict.fromkeys(names.values()))
        parts, branches = [], ["    pid = tl.program_id(0)"]
        for k, x in enumerate(group):
            own = {b: names[b] for b in (*x.reads, *x.writes)}
            part = f"{name}{stem}_part{k}"
            text = x.write(part, own, x.barrier)
            text = text.replace(f"def {part}(", f"def {part}(part, ", 1)
            parts.append(text.replace("tl.program_id(0)", "part"))
            first = ends[k - 1] if k else 0
            head = "if" if k == 0 else "elif"
            test = f"{head} pid < {ends[k]}:" if k + 1 < len(group) else "else:"
            given = ", ".join(dict.fromkeys(own.values()))
            branches += [
                f"    {test}",
                f"        {part}(pid{f' - {first}' if first else ''}, {given})",
            ]
        kernel = "\n".join(["@triton.jit", f"def {name}({params}):", *branches])
        return "\n\n\n".join([*parts, kernel])

    notes = {
        "kind": "together",
        "grid": ends[-1],
        "warps": max(int(x.schedule.notes["warps"]) for x in group),
        "stages": max(int(x.schedule.notes.get("stages", 2)) for x in group),
        "kinds": [str(x.schedule.notes["kind"]) for x in group],
        "of": [x.schedule for x in group],
    }
    reads = list(dict.fromkeys(b for x in group for b in x.reads))
    writes = list(dict.fromkeys(b for x in group for b in x.writes))
    return Launch(reads, writes, Schedule((), notes), None, write, parts=list(group))
