"""`dump_ir`: a step of a model at any stage of its compilation, as text, JSON, Graphviz dot or (kernels) a page.

The text is what `ir.text` writes and reads; JSON holds the same facts; dot groups nodes by layer; a page is `kcompile.page`'s. Refuses to
change what is compiled.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import kcompile.report as report
from codegen.pipeline import TARGETS, generate
from codegen.program import Program
from ir.bind import bind
from ir.dims import Dim
from ir.graph import Graph, Value
from ir.passes.fuse import fuse
from ir.pipeline import optimise
from ir.text import dump, named
from kcompile.compile import as_asked
from kcompile.errors import KCValueError
from kcompile.fit.batch import Batch
from kcompile.fit.runner import step_function
from kcompile.measure import measured
from kcompile.page import page
from kcompile.run_on import targets_of
from kcompile.script import script
from kcompile.specimen import specimen
from kcompile.step import KINDS

STAGES = ("traced", "differentiated", "simplified", "fused", "kernels")
FORMATS = ("text", "json", "dot", "html")


def dump_ir(
    model: Any,
    stage: str = "traced",
    format: str = "text",
    kind: str | None = None,
    batch_size: int = 32,
    target: str | None = None,
    measure: bool = False,
) -> str:
    """The model's step at one stage.

    stage: "traced" (forward pass and loss), "differentiated" (with gradients and updates),
    "simplified" (after the passes), "fused" (kernels as bodies), "kernels" (the generated source).
    format: "text", "json", "dot", or for kernels "html", a page that shows each kernel's source, schedule and cost.
    kind: "train", "test" or "predict"; None: train for a compiled model, else predict. batch_size binds
    the batch from "simplified" on. target: "numpy", "native" or "triton"; None: what the model runs on. measure: run the
    kernels (of the target "native") a few times and show how long each takes. The text of Triton's kernels is a script, which checks
    and on a GPU times them when it is run. Raises KCValueError KC305 for an unknown
    stage, format, kind or target, and for what cannot be measured.
    """
    _check("stage", stage, STAGES)
    _check("format", format, FORMATS)
    if stage == "kernels":
        program, graph = _compiled(model, kind, batch_size, target)
        seconds = measured(model, program, kind_of(model, kind)) if measure else {}
        if format == "text":
            return _program_text(program, seconds, graph)
        return _OF_PROGRAM[format](program, seconds)
    if measure:
        raise KCValueError(
            "KC305",
            f"stage={stage!r}, measure=True",
            "only kernels take time",
            "pass stage='kernels'",
        )
    if format == "html":
        raise KCValueError(
            "KC305", f"stage={stage!r}, format='html'", "only kernels are shown as a page",
            "pass stage='kernels', or format='dot' for Graphviz",
        )  # fmt: skip
    kind = kind_of(model, kind)
    graph = _graph(model, stage, kind, batch_size, _target(model, target))
    return {"text": _text, "json": _json, "dot": _dot}[format](graph)


def program_of(
    model: Any, kind: str | None = None, batch_size: int = 32, target: str | None = None
) -> Program:
    """The program of a step of the model: what ran, with its choices, where that did, else made anew. kind, errors: as for `dump_ir`.

    Data and extents that the inputs leave open (uint8 pictures, sample weights, steps of time) are as in the last run, where one was.

    Raises KCValueError KC305 besides for a model with an axis of unknown extent.
    """
    return _compiled(model, kind, batch_size, target)[0]


def _compiled(
    model: Any, kind: str | None, batch_size: int, target: str | None
) -> tuple[Program, Graph]:
    """`program_of`, and the graph that the program was made from."""
    target, kind = _target(model, target), kind_of(model, kind)
    graph = _graph(model, "simplified", kind, batch_size, target)
    free = [
        f"{v.name}: {v.type}" for v in graph.inputs if any(isinstance(d, Dim) for d in v.type.shape)
    ]
    if free:
        raise KCValueError(
            "KC305", f"stage='kernels' for inputs {', '.join(free)}", "kernels are made for known extents",
            "name the extents in Input(shape=...), or look at stage='fused'",
        )  # fmt: skip
    made = generate(graph, target)
    ran = (c.executable.program for c in reversed(step_function(model, kind).log) if c.program)
    return next((p for p in ran if p.key == made.key), made), graph


def _target(model: Any, target: str | None) -> str:
    """The target asked for, else that of the model's runs (NumPy's code where those have none)."""
    if target is not None:
        _check("target", target, tuple(TARGETS))
        return target
    found = targets_of(model)[0]
    return found if found in TARGETS else "numpy"


def kind_of(model: Any, kind: str | None) -> str:
    """The kind of step asked for, else "train" for a compiled model and "predict" for another. Raises KCValueError KC305."""
    found = kind or ("train" if getattr(model, "compiled", False) else "predict")
    _check("kind", found, KINDS)
    return found


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise KCValueError(
            "KC305",
            f"{name}={value!r}",
            f"{name} is one of {', '.join(allowed)}",
            "pass one of these",
        )


def _graph(model: Any, stage: str, kind: str, batch_size: int, target: str) -> Graph:
    if stage == "traced" and kind == "train":
        kind = "test"  # the same pass forward, without gradients
    if stage in ("traced", "differentiated"):
        return named(step_function(model, kind).trace(*specimen(model, kind)).graph)
    traced = step_function(model, kind).trace(*_batch(model, kind, batch_size))
    free = {"N": batch_size} if traced.named else {}
    graph = bind(named(traced.graph), **free)
    if target == "triton":
        graph = as_asked(graph)
    graph = optimise(graph)
    if stage == "simplified":
        return graph
    prepare, profit, _ = TARGETS[target]
    return fuse(prepare(graph), profit)


def _batch(model: Any, kind: str, size: int) -> Batch:
    """A batch like that of the step's last run, best of one with so many samples; before any, like the model's inputs."""
    seen = step_function(model, kind).batches
    found = next((b for b in reversed(seen) if b.size == size), seen[-1] if seen else None)
    return specimen(model, kind) if found is None else found.specs(size)


def _text(graph: Graph) -> str:
    return dump(graph)


# -- JSON -----------------------------------------------------------------------------------------


def _json(graph: Graph) -> str:
    return json.dumps(_as_data(graph), indent=1)


def _as_data(graph: Graph) -> dict[str, Any]:
    """Inputs, nodes and outputs, values by name; bodies of loops and kernels nested where they are used."""
    names = _names(graph)
    nodes = []
    for n in graph.nodes:
        attrs = {
            a.name: _as_data(v) if isinstance(v, Graph) else _plain(v)
            for a, v in zip(n.op.attrs, n.attrs, strict=True)
        }
        nodes.append({
            "op": n.op.name, "inputs": [names[v] for v in n.inputs], "outputs": [names[v] for v in n.outs],
            "types": [str(v.type) for v in n.outs], "attrs": attrs, "at": n.at,
        })  # fmt: skip
    inputs = [
        {"name": names[v], "type": str(v.type), "role": r.kind, "path": r.path}
        for v, r in zip(graph.inputs, graph.roles, strict=True)
    ]
    return {
        "name": graph.name,
        "inputs": inputs,
        "nodes": nodes,
        "outputs": [names[v] for v in graph.outputs],
    }


def _plain(v: Any) -> Any:
    if isinstance(v, tuple):
        return [_plain(x) for x in v]
    if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))):
        return str(v)
    return v if isinstance(v, (bool, int, float, str)) else str(v)


def _names(graph: Graph) -> dict[Value, str]:
    taken: dict[str, int] = {}
    names: dict[Value, str] = {}
    for v in itertools.chain(graph.inputs, (v for n in graph.nodes for v in n.outs)):
        base = v.name or "v"
        n = taken[base] = taken.get(base, -1) + 1
        names[v] = f"{base}.{n}" if n else base
    return names


# -- dot ------------------------------------------------------------------------------------------


def _dot(graph: Graph) -> str:
    """Boxes are nodes, in one cluster for each layer; ellipses are inputs; edges carry types."""
    names = _names(graph)
    used = {v for n in graph.nodes for v in n.inputs} | set(graph.outputs)
    lines = [
        f"digraph {_quote(graph.name)} {{",
        "  node [shape=box, fontname=monospace, fontsize=10];",
    ]
    for v, r in zip(graph.inputs, graph.roles, strict=True):
        if v in used:
            lines.append(
                f"  {_quote(names[v])} [shape=ellipse, label={_quote(_lines(r.path or names[v], v.type))}];"
            )
    source = {v: f"n{i}" for i, n in enumerate(graph.nodes) for v in n.outs}
    layers: dict[str, list[str]] = {}
    for i, n in enumerate(graph.nodes):
        layers.setdefault(n.at, []).append(f"n{i} [label={_quote(_label(n))}];")
    for i, (at, boxes) in enumerate(layers.items()):
        if at:
            lines.append(f"  subgraph cluster_{i} {{ label={_quote(at)}; color=gray;")
            lines += [f"    {b}" for b in boxes]
            lines.append("  }")
        else:
            lines += [f"  {b}" for b in boxes]
    for i, n in enumerate(graph.nodes):
        for v in n.inputs:
            lines.append(
                f"  {source.get(v, _quote(names[v]))} -> n{i} [label={_quote(str(v.type))}, fontsize=8];"
            )
    for k, v in enumerate(graph.outputs):
        if v in source:
            lines.append(f"  out{k} [shape=ellipse, label={_quote(f'result {k}')}];")
            lines.append(f"  {source[v]} -> out{k};")
    return "\n".join([*lines, "}"]) + "\n"


def _label(n: Any) -> str:
    body = next((a for a in n.attrs if isinstance(a, Graph)), None)
    if body is None:
        return str(n.op.name)
    return _lines(n.op.name, ", ".join(dict.fromkeys(m.op.name for m in body.nodes)))


def _lines(*parts: Any) -> str:
    return "\n".join(map(str, parts))


def _quote(text: str) -> str:
    return '"' + text.replace('"', "'").replace("\n", "\\n") + '"'


# -- programs -------------------------------------------------------------------------------------


Seconds = Mapping[str, float]


def _program_text(program: Program, seconds: Seconds, graph: Graph) -> str:
    before, behind = script(program, graph) if program.target == "triton" else ("", "")
    shift = before.count("\n") + len(list(_header(program, seconds, 0))) + 1
    head = "".join(f"# {line}\n" for line in _header(program, seconds, shift))
    return f"{head}\n{before}{program.source}{behind}"


def _header(program: Program, seconds: Seconds, shift: int) -> Iterator[str]:
    """What stands above the source; shift: lines before it."""
    yield report.summary(program)
    for k in program.kernels:
        first, last = (n + shift for n in k.lines)
        yield f"{k.name} (lines {first}-{last}): {k.ops}  [{report.shorten(k.at)}]"
        cost = report.duration(report.estimate(program, k))
        took = f", measured {report.duration(seconds[k.name])}" if k.name in seconds else ""
        work = f"{report.count(k.flops)}FLOP, {report.count(k.bytes)}B"
        yield f"    estimated {cost}{took}: {work}; {report.plain(k.schedule)}"
        if k.why:
            yield f"    not fused: {'; '.join(k.why)}"


def _program_json(program: Program, seconds: Seconds) -> str:
    return json.dumps({**report.facts(program, seconds), "source": program.source}, indent=1)


def _program_dot(program: Program, seconds: Seconds) -> str:
    lines = [
        f"digraph {_quote(program.name)} {{",
        "  node [shape=box, fontname=monospace, fontsize=10];",
    ]
    writer: dict[str, str] = {}
    for k in program.kernels:
        lines.append(
            f"  {_quote(k.name)} [label={_quote(_lines(k.name, k.ops, report.shorten(k.at)))}];"
        )
        for name in k.reads:
            if name in writer:
                lines.append(
                    f"  {_quote(writer[name])} -> {_quote(k.name)} [label={_quote(name)}, fontsize=8];"
                )
        writer.update(dict.fromkeys(k.writes, k.name))
    return "\n".join([*lines, "}"]) + "\n"


_OF_PROGRAM = {
    "json": _program_json,
    "dot": _program_dot,
    "html": page,
}
