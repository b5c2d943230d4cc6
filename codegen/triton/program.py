"""A fused graph as a Triton program: kernels, their launches, and memory.

The source holds the kernels alone. What is launched is data: each `Kernel.schedule` has "grid" (programs), "args" (buffer
names, in the order of the kernel's parameters), "warps" and "stages"; that of a kernel which is a part of a loop over time, "loop":
kernels with one "number" run in order "length" times, and the buffers of each pair in "turns" are each other's in every second
step, counted from the last. Refuses to hold which kernels there are (`writer`), and how one is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from codegen.loops import Buf
from codegen.program import Buffer, Kernel, Program
from codegen.triton.apart import apart
from codegen.triton.candidates import candidates, laid
from codegen.triton.late import late
from codegen.triton.launch import Launch, Place, plan
from codegen.triton.library import library
from codegen.triton.merge import joined, with_hosts
from codegen.triton.prelude import prelude
from codegen.triton.prologue import prologues
from codegen.triton.spelling import Unsupported
from codegen.triton.steps import Loop
from codegen.triton.writer import Writer
from ir.graph import Graph


def triton_program(graph: Graph, key: str) -> Program:
    """The program of a fused step graph with static extents. Raises Unsupported, naming the op."""
    w = Writer(with_hosts(prologues(late(joined(prologues(apart(graph)))))))
    g, n = w.graph, w.graph.n_states
    inputs = []
    for v, role in zip(g.inputs, g.roles, strict=True):
        kind = "state" if role.kind == "state" else "data"
        inputs.append(Place(v.dtype, tuple(int(d) for d in v.shape), kind, role.path))
    w.write(inputs)
    _live(w.launches, w.place_of)
    results = [w.place_of[w.buf_of[v]] for v in g.outputs[n:]]
    used = list(dict.fromkeys([*inputs, *results, *(p for x in w.launches for p in x.places)]))
    for k, p in enumerate(used):
        p.name = f"b{k}"
        if p.role == "result":
            p.last = len(w.launches)
    arena = plan(used)
    made = [_kernel(f"k{k}", launch, w) for k, launch in enumerate(w.launches)]
    called = prelude("".join(source for _, source in made))
    text = f"import triton\nimport triton.language as tl\n{called}"
    kernels = []
    for kernel, source in made:
        first = text.count("\n") + 3
        kernels.append(replace(kernel, lines=(first, first + source.count("\n"))))
        text += f"\n\n{source}\n"
    buffers = tuple(
        Buffer(p.name, p.dtype, p.shape, "step", p.home.name)
        if p.whole
        else Buffer(p.name, p.dtype, p.shape, p.role, p.path, p.offset, p.nbytes)
        for p in used
    )
    return Program(
        g.name, "triton", text, tuple(kernels), buffers, arena, tuple(p.name for p in inputs[:n]),
        tuple(p.name for p in inputs[n:]), tuple(p.name for p in results), key,
    )  # fmt: skip


def _live(launches: Sequence[Launch], place_of: Mapping[Buf, Place]) -> None:
    """Know for each place the launches that touch it first and last; what lives from step to step of a loop, all of them."""
    loops: dict[Loop, list[int]] = {}
    for k, launch in enumerate(launches):
        if launch.loop is not None:
            loops.setdefault(launch.loop, []).append(k)
    for number, loop in enumerate(loops):
        loop.number = number
    for k, launch in enumerate(launches):
        own = [place_of[b] for b in [*launch.reads, *launch.writes]]
        launch.places = list(dict.fromkeys([*own, *(p.home for p in own)]))
        for p in launch.places:
            first = last = k
            if launch.loop is not None and p in launch.loop.kept:
                first, last = loops[launch.loop][0], loops[launch.loop][-1]
            p.first = first if p.first < 0 else min(p.first, first)
            p.last = max(p.last, last)


def _kernel(name: str, launch: Launch, w: Writer) -> tuple[Kernel, str]:
    bufs = [*launch.reads, *launch.writes]
    names = {b: w.place_of[b].name for b in bufs}
    body = launch.nodes
    try:
        source = launch.write(name, names, launch.barrier)
    except Unsupported as e:
        ops = ", ".join(dict.fromkeys(n.op.name for n in body))
        layers = ", ".join(dict.fromkeys(n.at for n in body if n.at))
        raise Unsupported(f"the kernel of {ops} ({layers}): {e}") from e
    reads = tuple(dict.fromkeys(names[b] for b in launch.reads))
    writes = tuple(dict.fromkeys(names[b] for b in launch.writes))
    ops = ", ".join(n.op.name for n in body if n.op.name not in ("full", "broadcast")) or "copy"
    at = tuple(dict.fromkeys(n.at for n in body if n.at))
    plan = launch.schedule
    notes: dict[str, Any] = {
        **{k: v for k, v in plan.notes.items() if k in ("rows", "resident", "kinds")},
        "kind": plan.notes["kind"], "args": list(dict.fromkeys(names.values())), **laid(plan),
    }  # fmt: skip
    if launch.precision:
        notes["precision"] = launch.precision
    times = 1
    if launch.loop is not None:
        times, loop = launch.loop.length, launch.loop
        notes["loop"] = loop.shown()
    call = library(launch, lambda v: w.place_of[w.buf_of[v]].name)
    if call is not None:
        notes["library"] = call
    others = tuple(candidates(launch, name, names))
    return Kernel(
        name,
        reads,
        writes,
        at,
        ops,
        times * launch.flops,
        times * launch.traffic(w.place_of),
        launch.why,
        (0, 0),
        notes,
        others,
    ), source
