"""The memory plan: which slot lies where in one arena, from the calls that use it.

Two slots may overlap where their lives do not; a result of an elementwise call may take over the memory of
an operand that dies there, when both are laid out alike. Refuses to hold what the calls compute.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.numpy.views import Call, Loop, Section, Shaped, Slot

ALIGN = 64


def lives(calls: Sequence[Call], loops: Sequence[Loop]) -> list[Slot]:
    """Set `first` and `last` of every slot; returns the slots in order of first use.

    What is made before a loop and read in it lives as long as the loop; so does what is read after it.
    """
    slots: dict[Slot, None] = {}
    for call in calls:
        for arg in call.args:
            if isinstance(arg, Shaped):
                for slot in arg.slots:
                    if slot not in slots:
                        slots[slot] = None
                        slot.first = call.at
                    slot.last = call.at
    spans = sorted(
        {(lp.first, lp.last) for lp in loops if lp.last >= lp.first}, key=lambda s: s[1] - s[0]
    )
    carried = _carried(calls)
    for first, last in spans:  # inner loops first
        touched: set[Slot] = set()
        for call in calls[first : last + 1]:
            for arg in call.args:
                if isinstance(arg, Shaped):
                    touched.update(arg.slots)
        for slot in touched:
            if slot.first < first or slot.last > last or slot in carried:
                slot.first, slot.last = min(slot.first, first), max(slot.last, last)
    for part in _parts(calls, list(slots)):
        for slot in part.shared:
            slot.first, slot.last = min(slot.first, part.first), max(slot.last, part.last)
    return list(slots)


@dataclass(eq=False)
class _Part:
    """One part of a section. first, last: the calls of the whole section. own: slots that live in this
    part alone; shared: the other slots that the section touches."""

    first: int
    last: int
    own: list[Slot]
    shared: list[Slot]


def _parts(calls: Sequence[Call], slots: Sequence[Slot]) -> list[_Part]:
    spans: dict[tuple[Section, int], list[int]] = {}
    for call in calls:
        if call.section is not None:
            spans.setdefault(call.section, [call.at, call.at])[1] = call.at
    whole: dict[Section, list[int]] = {}
    for (section, _), (first, last) in spans.items():
        whole.setdefault(section, [first, last])[1] = last
    found = []
    for (section, _), (first, last) in spans.items():
        touched = dict.fromkeys(
            s
            for c in calls[first : last + 1]
            for a in c.args
            if isinstance(a, Shaped)
            for s in a.slots
        )
        own: list[Slot] = []
        shared: list[Slot] = []
        for s in touched:
            mine = s.role == "temp" and s.first >= first and s.last <= last
            (own if mine else shared).append(s)
        found.append(_Part(whole[section][0], whole[section][1], own, shared))
    return found


def _carried(calls: Sequence[Call]) -> set[Slot]:
    """Slots read in a pass before they are written in it, or seen through a view that moves with a loop."""
    written: set[Slot] = set()
    found: set[Slot] = set()
    for call in calls:
        if call.loop is None:
            for k, arg in enumerate(call.args):
                if isinstance(arg, Shaped) and call.writes[k]:
                    written.add(arg.slot)
            continue
        for k, arg in enumerate(call.args):
            if not isinstance(arg, Shaped):
                continue
            if arg.loops or arg.alternate or arg.first is not None:
                found.update(arg.slots)
            if not call.writes[k] and arg.slot not in written:
                found.add(arg.slot)
        written.update(
            a.slot for k, a in enumerate(call.args) if isinstance(a, Shaped) and call.writes[k]
        )
    return found


def plan(calls: Sequence[Call], slots: Sequence[Slot]) -> int:
    """Give every temp and result slot its offset in bytes; returns the size of the arena.

    Parts of a section run at the same time: what lives in one alone has a pool of its own.
    """
    pools: list[tuple[Slot, list[Slot]]] = []
    for part in _parts(calls, slots):
        pool = Slot("u8", (_place(calls, part.own),))
        pool.first, pool.last = part.first, part.last
        pools.append((pool, part.own))
    pooled = {s for _, own in pools for s in own}
    size = _place(calls, [*(s for s in slots if s not in pooled), *(p for p, _ in pools)])
    for pool, own in pools:
        for slot in own:
            slot.offset += pool.offset
    return size


def _place(calls: Sequence[Call], slots: Sequence[Slot]) -> int:
    """`plan` for slots whose lives are what their calls say."""
    end = len(calls)
    starts: dict[int, list[Slot]] = {}
    for slot in slots:
        if slot.role == "result":
            slot.last = end
        if slot.role in ("temp", "result"):
            starts.setdefault(slot.first, []).append(slot)
    arena = _Arena()
    ends: dict[int, list[Slot]] = {}  # what is placed, by last use
    order = sorted(starts)
    for k, at in enumerate(order):
        heir = _heir(calls[at])
        # what died before this call is free; what dies in it is free for its heir alone
        for last in range(order[max(k - 1, 0)], at):
            for slot in ends.pop(last, ()):
                arena.free(slot.offset, _room(slot))
        for slot in sorted(starts[at], key=lambda s: -s.nbytes):
            if heir is not None and heir[0] is slot and heir[1] in ends.get(at, ()):
                ends[at].remove(heir[1])
                slot.offset = heir[1].offset
            else:
                slot.offset = arena.take(_room(slot))
            ends.setdefault(slot.last, []).append(slot)
    return arena.size


def _room(slot: Slot) -> int:
    return -(-max(slot.nbytes, 1) // ALIGN) * ALIGN


class _Arena:
    """What is free in one stretch of memory: gaps between what is taken, and all beyond `top`."""

    def __init__(self) -> None:
        self.size = self.top = 0
        self.gaps: list[tuple[int, int]] = []  # (start, stop) in order, apart from each other

    def take(self, need: int) -> int:
        """The start of the smallest gap of `need` bytes, the lowest of several; else the top."""
        fit = min(
            ((stop - start, start) for start, stop in self.gaps if stop - start >= need),
            default=None,
        )
        if fit is None:
            start, self.top = self.top, self.top + need
            self.size = max(self.size, self.top)
            return start
        gap, start = fit
        k = bisect_left(self.gaps, (start,))
        self.gaps[k : k + 1] = [(start + need, start + gap)] if gap > need else []
        return start

    def free(self, start: int, need: int) -> None:
        """Give a stretch back."""
        stop = start + need
        k = bisect_left(self.gaps, (start,))
        if k < len(self.gaps) and self.gaps[k][0] == stop:
            stop = self.gaps.pop(k)[1]
        if k and self.gaps[k - 1][1] == start:
            k -= 1
            start = self.gaps.pop(k)[0]
        if stop == self.top:
            self.top = start
        else:
            self.gaps.insert(k, (start, stop))


def _heir(call: Call) -> tuple[Slot, Slot] | None:
    """The written slot of an elementwise call that begins there, and the operand whose memory it may take."""
    if not call.same:
        return None
    out = next((a for k, a in enumerate(call.args) if call.writes[k]), None)
    if (
        not isinstance(out, Shaped)
        or out.slot.first != call.at
        or out.loops
        or out.first
        or out.alternate
    ):
        return None
    for k, arg in enumerate(call.args):
        if (
            call.writes[k]
            or not isinstance(arg, Shaped)
            or arg.slot is out.slot
            or arg.first
            or arg.alternate
        ):
            continue
        alike = (arg.offset, arg.shape, arg.strides, arg.loops) == (
            out.offset,
            out.shape,
            out.strides,
            out.loops,
        )
        old = arg.slot
        if alike and old.role == "temp" and old.last == call.at and old.nbytes == out.slot.nbytes:
            if old.itemsize == out.slot.itemsize and not _twice(call, old):
                return out.slot, old
    return None


def _twice(call: Call, slot: Slot) -> bool:
    """Whether a call sees a slot through two different views."""
    seen = {
        (a.offset, a.shape, a.strides)
        for a in call.args
        if isinstance(a, Shaped) and a.slot is slot
    }
    return len(seen) > 1
