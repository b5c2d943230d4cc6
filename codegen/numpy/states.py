"""States updated in place by a kernel that reads them: which stores go last, aside, or forbid blocks.

Refuses to choose the states: a program says where each next value belongs (`program`).
"""

from __future__ import annotations

from codegen.loops import E, Region, Store
from codegen.numpy.emit import Emitter
from codegen.numpy.views import Slot


def crossed(em: Emitter, region: Region) -> list[int]:
    """The stores into a state that show another state as it was, while that one is overwritten too."""
    written = {_slot(em, s) for s in region.stores if _slot(em, s).role == "state"}
    return [
        k for k, s in enumerate(region.stores)
        if _slot(em, s).role == "state" and _read(em, s.value) in written - {_slot(em, s)}
    ]  # fmt: skip


def states_last(em: Emitter, region: Region) -> None:
    """Put the stores into states last: others may show what the states were."""
    region.stores = sorted(region.stores, key=lambda s: _slot(em, s).role == "state")


def in_step(em: Emitter, region: Region) -> bool:
    """Whether every read of a state that is overwritten is at the place that is written, so that the
    kernel may run block by block."""
    targets = {_slot(em, s): s for s in region.stores if _slot(em, s).role == "state"}
    for e in region.nodes():
        if e.op == "load" and (s := targets.get(em.places[e.attr[0]].slot)) is not None:
            if not at_place(e, s):
                return False
    return True


def at_place(a: E, s: Store) -> bool:
    """Whether a read is at the very place the store writes."""
    return a.op == "load" and not a.args and repr(a.attr[1]) == repr(s.idx)


def _slot(em: Emitter, s: Store) -> Slot:
    return em.places[s.buf].slot


def _read(em: Emitter, e: E) -> Slot | None:
    """The memory that `e` only shows."""
    while e.op == "at":
        e = e.args[0]
    return em.places[e.attr[0]].slot if e.op == "load" else None
