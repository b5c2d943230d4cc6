"""Which stretches of a program two threads may run, and their calls part by part.

A unit is a loop over independent blocks, a matrix product or an elementwise call; its parts are fixed here, so
results do not depend on how many threads there are. Units in a row whose parts do not touch each other's memory
make a section. What blocks add up is added up by each part on its own, and then in order. Refuses to
start threads (`runtime.threads`) and to print (`text`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen.numpy.emit import Emitter
from codegen.numpy.views import Call, Const, Extra, Loop, Operand, Section, Shaped, Slot

PARTS = 2
LEAST = 100.0  # microseconds of one thread: below, waking another costs more than it saves
CALL = (
    3.0  # microseconds a call in a loop must take: shorter ones wait for each other (Python's lock)
)
FLOPS = 80e3  # of a matrix product, per microsecond
ELEMENT = 1e-4  # microseconds, of a plain ufunc; some take more
_SLOW = {"exp": 4, "log": 5, "log1p": 8, "expm1": 8, "tanh": 6, "power": 20, "sin": 8, "cos": 8, "copyto": 2,
         "sqrt": 2, "divide": 2, "reciprocal": 2, "tools.erf": 30}  # fmt: skip


def cost(c: Call) -> float:
    """Microseconds of a call, roughly."""
    sizes = [math.prod(a.shape) for a in c.args if isinstance(a, Shaped)]
    name = c.text.split("(", 1)[0]
    if name == "matmul":
        left = c.args[1]
        summed = left.shape[-1] if isinstance(left, Shaped) and left.shape else 1
        return 1.0 + 2 * sizes[0] * summed / FLOPS
    return 0.5 + max(sizes, default=0) * ELEMENT * _SLOW.get(name, 1)


@dataclass(eq=False)
class _Unit:
    """Calls first..last as parts; `after`: what completes them; `cost`: microseconds in one thread."""

    first: int
    last: int
    parts: list[list[Call]]
    loops: list[Loop]
    after: list[Call]
    cost: float


def split(em: Emitter) -> None:
    """Rewrite the calls of `em`: sections that pay stand part by part, each call with its section."""
    calls, uses = em.calls, _uses(em.calls)
    out: list[Call] = []
    loops = {lp for lp in em.all_loops if lp.last >= lp.first}
    row: list[_Unit] = []

    def flush() -> None:
        if sum(u.cost for u in row) < LEAST:
            for u in row:
                out.extend(calls[u.first : u.last + 1])
        else:
            section = Section()
            for p in range(PARTS):
                for u in row:
                    for c in u.parts[p]:
                        c.section = (section, p)
                        out.append(c)
            for u in row:
                out.extend(u.after)
                loops.difference_update({c.loop for c in calls[u.first : u.last + 1] if c.loop})
                loops.update(u.loops)
        row.clear()

    at = 0
    while at < len(calls):
        top = calls[at].loop
        while top is not None and top.parent is not None:
            top = top.parent
        last = at if top is None else top.last
        unit = _one(calls[at]) if top is None else _blocks(calls, top, uses)
        if unit is None or any(_clash(unit, other) for other in row):
            flush()
        if unit is None:
            out.extend(calls[at : last + 1])
        else:
            unit.first, unit.last = at, last
            row.append(unit)
        at = last + 1
    flush()
    for k, c in enumerate(out):
        c.at = k
    for lp in loops:
        lp.first, lp.last = -1, -2
    for c in out:
        inner = c.loop
        while inner is not None:
            inner.first = c.at if inner.first < 0 else inner.first
            inner.last = c.at
            inner = inner.parent
    em.calls = out
    em.all_loops = [lp for lp in loops if lp.first >= 0]


def _uses(calls: Sequence[Call]) -> dict[Slot, tuple[int, int]]:
    """The first and the last call that touch each slot."""
    found: dict[Slot, tuple[int, int]] = {}
    for k, c in enumerate(calls):
        for a in c.args:
            if isinstance(a, Shaped):
                for s in a.slots:
                    found[s] = (found.get(s, (k, k))[0], k)
    return found


# -- units -------------------------------------------------------------------------------------------


def _one(c: Call) -> _Unit | None:
    """A call by itself, cut along a dimension of what it writes."""
    time = cost(c)
    if time < LEAST / 4 or any(isinstance(a, Shaped) and (a.loops or a.first) for a in c.args):
        return None
    out = c.args[0]
    if not isinstance(out, Shaped) or not out.shape:
        return None
    if c.text.startswith("matmul("):
        dims = _product_dims(c)
        if dims is None:
            return None
    elif c.same and "tools." not in c.text:
        rank = len(out.shape)
        dims = tuple(len(a.shape) - rank if isinstance(a, Shaped) else None for a in c.args)
        dims = tuple(d if d is not None and d >= 0 else None for d in dims)
    else:
        return None
    at = dims[0]
    assert at is not None
    n = out.shape[at]
    if n < 2 * PARTS:
        return None
    parts = []
    for p in range(PARTS):
        low, high = n * p // PARTS, n * (p + 1) // PARTS
        args = tuple(
            _slice(a, d, low, high) if isinstance(a, Shaped) and d is not None else a
            for a, d in zip(c.args, dims, strict=True)
        )
        parts.append([replace(c, args=args)])
    return _Unit(c.at, c.at, parts, [], [], time)


def _product_dims(c: Call) -> tuple[int | None, ...] | None:
    """Along which dimension of out, left and right a product is cut."""
    out, left, right = c.args
    if not (isinstance(out, Shaped) and isinstance(left, Shaped) and isinstance(right, Shaped)):
        return None
    if not len(out.shape) == len(left.shape) == len(right.shape) or len(out.shape) < 2:
        return None
    if len(out.shape) > 2:
        return (0, 0, 0) if out.shape[0] == left.shape[0] == right.shape[0] else None
    m, n = out.shape
    return (0, 0, None) if 2 * m >= n else (1, None, 1)


def _slice(a: Shaped, d: int, low: int, high: int) -> Shaped:
    if a.shape[d] == 1:
        return a
    shape = (*a.shape[:d], high - low, *a.shape[d + 1 :])
    return replace(a, offset=a.offset + low * a.strides[d], shape=shape)


def _blocks(calls: Sequence[Call], loop: Loop, uses: dict[Slot, tuple[int, int]]) -> _Unit | None:
    """A loop over blocks, if its passes do not depend on each other but for sums."""
    body = calls[loop.first : loop.last + 1]
    if not loop.apart or loop.count < PARTS or any(c.loop is not loop for c in body):
        return None
    once = sum(map(cost, body))
    if once < CALL * len(body) or any(_has_state(c) for c in body):
        return None
    own: set[Slot] = set()
    sums: dict[Slot, Call] = {}
    for c in body:
        for a, written in zip(c.args, c.writes, strict=True):
            if not isinstance(a, Shaped):
                continue
            if a.first is not None or a.alternate is not None:
                return None
            first, last = uses[a.slot]
            inside = a.slot.role == "temp" and first >= loop.first and last <= loop.last
            if inside:
                if a.slot not in own and not any(
                    w and isinstance(b, Shaped) and b.slot is a.slot
                    for b, w in zip(c.args, c.writes, strict=True)
                ):
                    return None
                own.add(a.slot)
            elif written and not dict(a.loops).get(loop):
                if c.text != "add({0}, {1}, out={0})" or a.slot in sums or a is not c.args[0]:
                    return None
                sums[a.slot] = c
    shared = _written(body) - own - sums.keys()
    for c in body:
        for k, a in enumerate(c.args):
            if not isinstance(a, Shaped):
                continue
            if a.slot in sums and not (c is sums[a.slot] and k == 0):
                return None
            if a.slot in shared and not _disjoint(a, loop):
                return None
    for k, a in ((k, a) for c in body for k, a in enumerate(c.args) if isinstance(a, Shaped)):
        del k
        if a.slot in shared and dict(a.loops).get(loop) != _step(body, a.slot, loop):
            return None
    parts, made, after = [], [], []
    for p in range(PARTS):
        low, high = loop.count * p // PARTS, loop.count * (p + 1) // PARTS
        part = Loop(high - low, None)
        made.append(part)
        slots = {s: Slot(s.dtype, s.shape) for s in (*own, *sums)} if p else {}
        mine = [_moved(c, loop, part, low, slots) for c in body]
        start = []
        for slot, c in sums.items() if p else ():
            total = c.args[0]
            assert isinstance(total, Shaped)
            twin = replace(total, slot=slots[slot])
            zero = Const(0.0 if slot.dtype.startswith(("f", "b")) else 0, slot.dtype)
            start.append(
                Call("{0}.fill({1})", (twin, zero), (True, False), False, None, 0, c.kernel)
            )
            after.append(
                Call("add({0}, {1}, {0})", (total, twin), (True, False), True, None, 0, c.kernel)
            )
        parts.append([*start, *mine])
    return _Unit(loop.first, loop.last, parts, made, after, once * loop.count)


def _has_state(c: Call) -> bool:
    """Whether a call uses an object with memory of its own."""
    if "tools." in c.text and not c.text.startswith("tools.erf"):
        return True
    return any(isinstance(a, Extra) and "tools." in a.text for a in c.args)


def _written(body: Sequence[Call]) -> set[Slot]:
    return {
        a.slot
        for c in body
        for a, w in zip(c.args, c.writes, strict=True)
        if w and isinstance(a, Shaped)
    }


def _step(body: Sequence[Call], slot: Slot, loop: Loop) -> int | None:
    for c in body:
        for a, w in zip(c.args, c.writes, strict=True):
            if w and isinstance(a, Shaped) and a.slot is slot:
                return dict(a.loops).get(loop)
    return None


def _disjoint(a: Shaped, loop: Loop) -> bool:
    """Whether each pass sees memory of its own."""
    step = abs(dict(a.loops).get(loop, 0))
    return sum((n - 1) * abs(s) for n, s in zip(a.shape, a.strides, strict=True) if n) < step


def _moved(c: Call, loop: Loop, part: Loop, low: int, slots: dict[Slot, Slot]) -> Call:
    """The call in a part of its loop, on that part's scratch."""
    args: list[Operand] = []
    for a in c.args:
        if isinstance(a, Shaped):
            offset, moving = a.offset, []
            for lp, step in a.loops:
                if lp is loop:
                    offset += low * step
                moving.append((part if lp is loop else lp, step))
            a = replace(a, slot=slots.get(a.slot, a.slot), offset=offset, loops=tuple(moving))
        args.append(a)
    return replace(c, args=tuple(args), loop=part)


# -- sections ----------------------------------------------------------------------------------------


def _clash(a: _Unit, b: _Unit) -> bool:
    """Whether a part of one writes what another part of the other touches."""
    for p in range(PARTS):
        for q in range(PARTS):
            if p == q:
                continue
            mine = _spans(a.parts[p])
            for slot, low, high, written in _spans(b.parts[q]):
                for s, l2, h2, w2 in mine:
                    if s is slot and (written or w2) and low <= h2 and l2 <= high:
                        return True
    return False


def _spans(calls: Sequence[Call]) -> set[tuple[Slot, int, int, bool]]:
    """The stretches of memory that calls touch: slot, first and last element, whether written."""
    found = set()
    for c in calls:
        for a, w in zip(c.args, c.writes, strict=True):
            if isinstance(a, Shaped):
                steps = [(n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)]
                steps += [(lp.count - 1) * s for lp, s in a.loops]
                low = a.offset + sum(s for s in steps if s < 0)
                found.add((a.slot, low, a.offset + sum(s for s in steps if s > 0), w))
    return found
