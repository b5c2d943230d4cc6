"""The memory plan: which slot lies where in one arena, from the calls that use it.

Two slots may overlap where their lives do not; a result of an elementwise call may take over the memory of
an operand that dies there, when both are laid out alike. Refuses to hold what the calls compute.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from codegen.numpy.views import Call, Loop, Shaped, Slot

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
    return list(slots)


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
    """Give every temp and result slot its offset in bytes; returns the size of the arena."""
    end = len(calls)
    live: list[tuple[int, int, Slot]] = []  # offset, end of the stretch, owner now
    starts: dict[int, list[Slot]] = {}
    for slot in slots:
        if slot.role == "result":
            slot.last = end
        if slot.role in ("temp", "result"):
            starts.setdefault(slot.first, []).append(slot)
    size = 0
    for at in sorted(starts):
        heir = _heir(calls[at])
        # what died before this call is free; what dies in it is free for its heir alone
        live = [x for x in live if x[2].last >= at]
        for slot in sorted(starts[at], key=lambda s: -s.nbytes):
            if heir is not None and heir[0] is slot:
                k = next((k for k, x in enumerate(live) if x[2] is heir[1]), None)
                if k is not None:
                    offset, stop, _ = live.pop(k)
                    slot.offset = offset
                    insort(live, (offset, stop, slot), key=lambda x: x[0])
                    continue
            need = -(-max(slot.nbytes, 1) // ALIGN) * ALIGN
            best, best_gap, cursor = -1, 1 << 62, 0
            for offset, stop, _ in live:
                gap = offset - cursor
                if need <= gap < best_gap:
                    best, best_gap = cursor, gap
                cursor = max(cursor, stop)
            if best < 0:
                best = cursor
            slot.offset = best
            insort(live, (best, best + need, slot), key=lambda x: x[0])
            size = max(size, best + need)
    return size


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
