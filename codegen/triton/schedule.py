"""Schedules for Triton: which axes of a region form which dimension of its tiles, and how large.

Each group becomes one dimension of the tiles, in the order of the schedule: "grid" (a block per
program), "loop" (a block per pass), "tile" (all of it at once), "split" (a stretch per program, walked in blocks).
A group of tile 1 is no dimension but a scalar. Refuses to hold text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from codegen.loops import Aff, Axis, E, Group, Region, Schedule, below
from codegen.triton.spelling import Unsupported

PERSISTENT = 16384  # elements of a row that one program holds
SHALLOW = (
    16  # terms of a product's sums that are added one by one, without memory that threads share
)
TAPS = 64  # terms of other sums likewise, where neighbours do not lie along them
TEXT = 2048  # values that a kernel may spell out one by one
WARPS = ((1, 256), (2, 512), (4, 2048))  # for tiles of at most so many elements
PASS = 8192  # elements that one program walks at a time, at most
SECTOR = 8  # neighbours that memory gives at once; fewer of them are no less to read
WHOLE = 128  # rows or columns of a product that an epilogue may need whole
APART = 16384  # elements of a product whose sums over many rows one program takes after it as well
SORTED = 32  # rows of a lookup's gradient from which on they are sorted first
MOVES = frozenset({"at", "spread", "concat", "fold"})  # what reads its operand at other positions
MANY = 264  # programs that keep the machine busy


def power_of_two(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def size(axes: Iterable[Axis]) -> int:
    """Positions along some axes together."""
    return math.prod(a.size for a in axes)


def reduced_over(e: E) -> tuple[Axis, ...]:
    """The axes of which `e` needs every position."""
    if e.op in ("red", "dot", "argred", "first", "scatter"):
        over: tuple[Axis, ...] = e.attr[1]
        return over
    return (e.attr[1],) if e.op == "cum" else ()


def schedule(region: Region) -> Schedule:
    """The schedule of a region. Raises Unsupported when there is none."""
    nodes = region.nodes()
    for e in nodes:
        if e.op in ("sort", "argsort"):
            raise Unsupported(f"op {e.op!r} on the Triton target")
        if e.op in MOVES and not (e.op == "fold" and e.args[0].op == "dot"):
            if any(a.op in ("dot", "red", "argred", "cum", "random") for a in below(e)):
                raise Unsupported("what is reduced is read at another place")
    dots = [e for e in nodes if e.op == "dot"]
    if len(dots) > 1:
        raise Unsupported("two products in one kernel")
    scatters = [e for e in nodes if e.op == "scatter"]
    if len(scatters) > 1:
        raise Unsupported("the gradients of two lookups in one kernel")
    scatters = [e for e in scatters if size(e.attr[1]) > SORTED and e.attr[0].size > 1]
    if any(set(e.args[0].axes) == {a for a in e.attr[1] if a.size > 1} for e in scatters):
        if any(e.op in MOVES and scatters[0] in below(e) for e in nodes):
            raise Unsupported("what is sorted is read at another place")
        return _sorted(region, nodes, scatters[0])
    return _product(region, nodes, dots[0]) if dots else _rows(region, nodes)


def programs(s: Schedule) -> int:
    """How many programs a schedule launches."""
    n = int(s.notes.get("grid", 1))
    for g in s.groups:
        if g.role == "grid":
            n *= -(-size(g.axes) // g.tile)
        elif g.role == "split":
            n *= int(s.notes["parts"])
    return n


def _needed(region: Region, nodes: Sequence[E]) -> list[Axis]:
    """The axes that need positions of their own: of stores, and of what is taken whole."""
    found = {a for s in region.stores for i in s.idx for a, _ in i.terms}
    for e in nodes:
        found.update(reduced_over(e))
    rank = {a: k for k, a in enumerate(region.order)}
    return sorted((a for a in found if a.size > 1), key=lambda a: rank.get(a, len(rank)))


def _signatures(needed: Sequence[Axis], nodes: Sequence[E]) -> dict[frozenset[int], list[Axis]]:
    """Axes by the sets of axes that are taken whole together."""
    overs: dict[frozenset[Axis], int] = {}
    orders: dict[frozenset[Axis], tuple[Axis, ...]] = {}
    for e in nodes:
        own = tuple(a for a in reduced_over(e) if a.size > 1)
        if own and e.op != "dot":
            overs.setdefault(frozenset(own), len(overs))
            if e.op in ("argred", "first"):
                if orders.setdefault(frozenset(own), own) != own:
                    raise Unsupported("two orders of one set of axes")
    out: dict[frozenset[int], list[Axis]] = {}
    for a in needed:
        out.setdefault(frozenset(k for over, k in overs.items() if a in over), []).append(a)
    for over, own in orders.items():
        for group in out.values():
            if set(group) == over:
                group[:] = own
                break
        else:
            raise Unsupported("the position of an extreme over axes that are not reduced together")
    return out


def _rows(region: Region, nodes: Sequence[E]) -> Schedule:
    needed = _needed(region, nodes)
    groups = _signatures(needed, nodes)
    free = groups.pop(frozenset(), [])
    rows = size(free)
    if not any(set(free) <= {*e.axes, *reduced_over(e)} for e in nodes) and not any(
        set(free) <= {a for i in s.idx for a, _ in i.terms} for s in region.stores
    ):
        raise Unsupported("axes of no one value")
    fast = _fastest(nodes)
    if len(groups) == 1:
        (taps,) = groups.values()
        few = size(taps) <= TAPS and size(taps) * len(nodes) <= TEXT
        if few and fast in free and all(e.op == "red" for e in nodes if reduced_over(e)):
            most = power_of_two(max(64, 4096 // size(taps)))  # so that all terms fit into registers
            block = min(most, 512 if rows >= MANY * 512 else 128, power_of_two(rows))
            return Schedule(
                (Group(tuple(free), "grid", block), Group(tuple(taps), "loop", 1)),
                {"kind": "taps", "warps": max(2, _warps(block))},
            )
    if not groups:
        block = min(1024 if rows >= MANY * 1024 else 256, power_of_two(rows))
        return Schedule(
            (Group(tuple(free), "grid", block),), {"kind": "pointwise", "warps": _warps(block)}
        )
    dims = list(groups.values())
    blocks = [power_of_two(size(d)) for d in dims]
    held = math.prod(blocks)
    wide = min(32, power_of_two(rows)) if fast in free else 1
    if held * wide <= PERSISTENT:
        block = min(power_of_two(rows), max(wide, 2048 // held))
        while block > min(wide, SECTOR) and -(-rows // block) < MANY:
            block //= 2
        made = [Group(tuple(free), "grid", block)] if free else []
        made += [Group(tuple(d), "tile", b) for d, b in zip(dims, blocks, strict=True)]
        return Schedule(tuple(made), {"kind": "rows", "warps": _warps(held * block)})
    large = max(range(len(dims)), key=lambda k: blocks[k])
    rest = held // blocks[large]
    whole = {a for e in nodes if e.op in ("argred", "first", "cum") for a in reduced_over(e)}
    least = 32 if wide == 1 else 4  # where neighbours lie along other axes, a pass may be short
    if rest * wide * least > PASS or whole & set(dims[large]):
        raise Unsupported("rows too long to be held whole, by an op that needs them so")
    # a pass of four warps: small kernels can share its launch
    block = min(blocks[large], max(least, 2048 // (rest * wide)))
    made = [Group(tuple(free), "grid", wide)] if free else []
    made += [
        Group(tuple(d), "loop" if k == large else "tile", block if k == large else blocks[k])
        for k, d in enumerate(dims)
    ]
    return Schedule(tuple(made), {"kind": "loop", "warps": _warps(block * rest * wide)})


def _sorted(region: Region, nodes: Sequence[E], scatter: E) -> Schedule:
    """A few rows of the table for each program, which walks what the sorted indices send there."""
    if any(e is not scatter and reduced_over(e) for e in nodes):
        raise Unsupported("a reduction beside the gradient of a lookup")
    new, over, _ = scatter.attr
    over = tuple(a for a in over if a.size > 1)
    if any(new not in {a for i in s.idx for a, _ in i.terms} for s in region.stores):
        raise Unsupported("a result beside those of a lookup's gradient")
    rest = [a for a in _needed(region, nodes) if a is not new and a not in over]
    block = min(power_of_two(size(rest)), 512)
    rows, beside = max(1, 256 // block), -(-size(rest) // block)
    while rows > 1 and -(-new.size // rows) * beside < MANY:
        rows //= 2
    depth = min(128, max(8, 4096 // (rows * block)))
    made = [Group((new,), "grid", rows), Group(over, "loop", depth)]
    made += [Group(tuple(rest), "grid", block)] if rest else []
    warps = 4 if rows * block * depth >= 4096 else 1
    return Schedule(tuple(made), {"kind": "sorted", "warps": warps, "scatter": scatter})


def _fastest(nodes: Sequence[E]) -> Axis | None:
    """The axis along which the largest load is contiguous."""
    best: tuple[int, Axis | None] = (0, None)
    for e in nodes:
        if e.op == "load" and e.attr[1] and isinstance(e.attr[1][-1], Aff):
            last = [a for a, c in e.attr[1][-1].terms if c == 1]
            if last and size(e.axes) > best[0]:
                best = (size(e.axes), last[-1])
    return best[1]


def _warps(elements: int) -> int:
    """Warps for a tile: a thread has few elements of it, for it keeps those of several values."""
    return next((w for w, most in WARPS if elements <= most), 8)


def _product(region: Region, nodes: Sequence[E], dot: E) -> Schedule:
    x, y = dot.args
    over = [a for a in dot.attr[1] if a.size > 1]
    folded = [w for e in nodes if e.op == "fold" and e.args[0] is dot for w in e.attr]
    residues = _residues(folded, nodes, dot)
    moved: dict[Axis, list[Axis]] = {w[1]: [w[0]] for w in folded}  # o -> the axis it comes from
    over += [residues[w[0]].u if w[0] in residues else w[2] for w in folded]
    over = sorted((a for a in over if a.size > 1), key=lambda a: _contiguous(a, dot))
    side = []
    for e in (x, y):
        side.append({b for a in e.axes for b in moved.get(a, [a]) if b not in over and b.size > 1})
    for w in folded:  # one position alone is no axis of its operand: windows begin there
        if w[1].size == 1:
            side[0].add(w[0])
    needed = _needed(region, nodes)
    taps = {w[2] for w in folded}
    needed = [a for a in needed if a not in over and a not in taps]
    unknown = [a for a in needed if a not in side[0] and a not in side[1]]
    if unknown:
        raise Unsupported("axes beside those of the product")
    if over and set(over) & {a for s in region.stores for i in s.idx for a, _ in i.terms}:
        raise Unsupported("a store along the summed axes of a product")
    both = [a for a in needed if a in side[0] and a in side[1]]
    m = [a for a in needed if a in side[0] and a not in side[1]]
    n = [a for a in needed if a in side[1] and a not in side[0]]
    m, n = ([residues[a].q if a in residues else a for a in part] for part in (m, n))
    m, n = ([a for a in part if a.size > 1] for part in (m, n))
    whole = {"b": False, "m": False, "n": False}
    under = below(dot)
    for e in nodes:
        own = {a for a in reduced_over(e) if a.size > 1}
        if not own or e is dot:
            continue
        if e in under:
            raise Unsupported("a reduction before a product")
        for name, axes in (("b", both), ("m", m), ("n", n)):
            if own & set(axes):
                if not set(axes) <= own or e.op not in ("red", "argred"):
                    raise Unsupported("a reduction over some of a product's rows")
                if e.op == "argred" and list(e.attr[1]) != axes:
                    raise Unsupported("the position of an extreme in two dimensions")
                whole[name] = True
                own -= set(axes)
        if own:
            raise Unsupported("a reduction over other axes than a product's")
    if whole["b"]:
        raise Unsupported("a reduction over the batch of a product")
    sizes = {"m": size(m), "n": size(n)}
    for name, axes in (("m", m), ("n", n)):
        if whole[name] and sizes[name] > WHOLE:  # each program sums its tile (`split`)
            beside = [e for e in nodes if e is not dot and set(axes) & set(reduced_over(e))]
            apart = sizes["m"] * sizes["n"] <= APART
            if apart or any(e.op != "red" for e in beside) or _residues(folded, (), dot):
                raise Unsupported("a reduction over many rows of a product")
            whole[name] = False
    depth, batch = size(over), size(both)
    exact = dot.dtype == "f64" or (dot.dtype == "f32" and dot.attr[0] == "ieee")
    shallow = exact and 1 < depth <= SHALLOW
    least = 2 if exact else 16  # matrix units take no less
    most = {"m": 128 if shallow else 64, "n": 64}
    block = {k: min(most[k], max(least, power_of_two(v))) for k, v in sizes.items()}
    for name in ("m", "n"):
        if whole[name]:
            block[name] = max(least, power_of_two(sizes[name]))

    batch *= size(x.r for x in residues.values())

    def count() -> int:
        return batch * math.prod(-(-sizes[k] // block[k]) for k in "mn")

    while count() < MANY:
        free = [k for k in "mn" if not whole[k] and block[k] > 16 and sizes[k] > block[k] // 2]
        if not free:
            break
        block[max(free, key=lambda k: block[k])] //= 2
    held = block["m"] * block["n"]
    # beside an edge a long pass is short: each element's mask takes a register; so does each tensor that an operand is made of
    crowded = any(sizes[k] % block[k] for k in "mn") or any(tensors(e) > 1 for e in (x, y))
    long = held <= 1024 and not (exact and depth > 64 and crowded)
    k_block = min(max(16, power_of_two(depth)), 64 if long else 32)
    k_block = 1 if shallow else min(k_block, 16) if exact and held >= 4096 else k_block
    warps = 8 if held > 4096 or (exact and held == 4096) else 4
    made = [Group(tuple(both), "grid", 1)] if both else []
    made += [Group((x.r,), "grid", 1) for x in residues.values()]
    made += [
        Group(tuple(m), "tile" if whole["m"] else "grid", block["m"]),
        Group(tuple(over), "loop" if depth > k_block else "tile", k_block),
        Group(tuple(n), "tile" if whole["n"] else "grid", block["n"]),
    ]
    notes: dict[str, Any] = {"kind": "product", "warps": warps, "stages": 3,
                             "flops": 2 * sizes["m"] * sizes["n"] * depth * batch}  # fmt: skip
    if residues:
        notes["residues"] = residues
    return Schedule(tuple(made), notes)


class Residue(NamedTuple):
    """An axis walked by a stride: its position is step * q + r, the tap step * u + (r + low) % step."""

    q: Axis
    r: Axis
    u: Axis
    step: int


def _residues(folded: Sequence[Any], nodes: Sequence[E], dot: E) -> dict[Axis, Residue]:
    """Of the gradient of a strided window: its axes apart by their residue, so that no tap meets a zero."""
    out = {}
    for new, _, t, step, dilation, low in folded:
        if step > 1 and dilation == 1 and low >= 0 and new.size > 1:
            out[new] = Residue(
                Axis(f"{new.name}q", -(-new.size // step)),
                Axis(f"{new.name}r", step),
                Axis(f"{t.name}u", -(-t.size // step)),
                step,
            )
    if any(set(out) & set(reduced_over(e)) for e in nodes if e is not dot):
        return {}
    return out


def tensors(e: E) -> int:
    """How many tensors of about its own size a value is made of."""
    return sum(a.op == "load" and 4 * size(a.axes) >= size(e.axes) for a in below(e))


def _contiguous(a: Axis, dot: E) -> bool:
    """Whether neighbours along an axis are neighbours in memory, in an operand of a product."""
    for e in (*dot.args, *below(dot)):
        last = e.attr[1][-1:] if e.op == "load" else ()
        if any(isinstance(i, Aff) and (a, 1) in i.terms for i in last):
            return True
    return False
