"""A program's memory plan, walked launch by launch: who reads what another has overwritten.

Refuses to run anything: what a kernel touches is what the program says (`tests.triton.watch` sees what it does).
"""

from __future__ import annotations

from collections.abc import Iterator

from codegen.program import Kernel, Program
from runtime.triton_program import turns


def launches(p: Program) -> Iterator[tuple[Kernel, set[str], set[str]]]:
    """Each launch of a step in order: the kernel, and the buffers that it reads and writes, or rows of them."""
    whole = {b.name: b.path for b in p.buffers if b.role == "step"}

    def launch(k: Kernel, t: int) -> tuple[Kernel, set[str], set[str]]:
        loop = k.schedule.get("loop")
        pairs = loop["turns"] if loop and (loop["length"] - 1 - t) % 2 else ()
        named = whole | {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        return k, {named.get(n, n) for n in k.reads}, {named.get(n, n) for n in k.writes}

    loops = turns(p)
    for number, k in enumerate(p.kernels):
        yield launch(k, 0)
        others = [p.kernels[n] for n in loops.get(number, ())]
        for t in range(1, others[0].schedule["loop"]["length"] if others else 0):
            yield from (launch(x, t) for x in others)


def faults(p: Program) -> list[str]:
    """What a step reads or hands out that is not there, and what it writes over what the same launch touches."""
    place = {
        b.name: (b.offset, b.offset + b.nbytes) for b in p.buffers if b.offset >= 0 and b.nbytes
    }
    there: set[str] = set()
    found = []

    def over(a: str, b: str) -> bool:
        return a != b and max(place[a][0], place[b][0]) < min(place[a][1], place[b][1])

    for k, reads, writes in launches(p):
        reads, writes = reads & place.keys(), writes & place.keys()
        found += [f"{k.name} reads {n}, which is not there" for n in sorted(reads - there)]
        touched = reads | writes
        found += [
            f"{k.name} writes {n} over {m}"
            for n in sorted(writes)
            for m in sorted(touched)
            if over(n, m)
        ]
        there = {m for m in there if not any(over(m, n) for n in writes)} | writes
    return found + [f"{n} is not there at the end" for n in p.results if n in place.keys() - there]
