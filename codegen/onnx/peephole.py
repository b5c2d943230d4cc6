"""`tidy`: small joins on the written records: MatMul + Add to Gemm, Conv + Add to a bias, idle Identities.

Refuses to change what is computed, and to look across more than two nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.onnx.builder import Record, Sub

Array = np.ndarray[Any, Any]


def tidy(graph: Sub, initializers: dict[str, Array]) -> None:
    """Join records of `graph` in place and drop initializers that nobody reads any more."""
    _biases(graph, initializers)
    _identities(graph)
    _dead(graph)
    used = set(_reads(graph))
    for name in [k for k in initializers if k not in used]:
        del initializers[name]


def _reads(graph: Sub) -> list[str]:
    found = [name for name, _, _ in graph.outputs]
    for r in graph.records:
        found += r.inputs
        for a in r.attrs.values():
            if isinstance(a, Sub):
                found += _reads(a)
    return found


def _counts(graph: Sub) -> dict[str, int]:
    out: dict[str, int] = {}
    for name in _reads(graph):
        out[name] = out.get(name, 0) + 1
    return out


def _biases(graph: Sub, initializers: dict[str, Array]) -> None:
    """A constant added to a MatMul by a matrix, or per channel to a Conv, becomes its operand."""
    counts = _counts(graph)
    made = {o: r for r in graph.records for o in r.outputs}
    gone: set[int] = set()
    for r in graph.records:
        if r.op != "Add":
            continue
        for first, second in (r.inputs, r.inputs[::-1]):
            source = made.get(first)
            bias = initializers.get(second)
            if source is None or bias is None or counts[first] != 1 or len(source.inputs) != 2:
                continue
            weight = initializers.get(source.inputs[1])
            if weight is None:
                continue
            if source.op in ("Conv", "ConvTranspose"):
                width = (
                    weight.shape[0]
                    if source.op == "Conv"
                    else weight.shape[1] * source.attrs["group"]
                )
                if bias.shape not in (
                    (width, *(1,) * (weight.ndim - 2)),
                    (1, width, *(1,) * (weight.ndim - 2)),
                ):
                    continue
                name = second
                if bias.ndim != 1:
                    if counts[second] > 1:
                        continue
                    initializers[name] = bias.reshape(-1)
                source.inputs.append(name)
            elif (
                source.op == "MatMul"
                and source.attrs == {}
                and _is_matrix(made, graph, source.inputs[0])
            ):
                if weight.ndim != 2 or bias.shape not in ((weight.shape[1],), (1, weight.shape[1])):
                    continue
                source.op = "Gemm"
                source.inputs.append(second)
            else:
                continue
            source.outputs = list(r.outputs)
            made[r.outputs[0]] = source
            gone.add(id(r))
            break
    graph.records = [r for r in graph.records if id(r) not in gone]


def _is_matrix(made: dict[str, Record], graph: Sub, name: str) -> bool:
    """Whether the value is surely of rank 2."""
    for given, _, shape in graph.inputs:
        if given == name:
            return len(shape) == 2
    return name in graph.ranks and graph.ranks[name] == 2


def _identities(graph: Sub) -> None:
    """An Identity in front of an output: what makes its operand takes the output's name."""
    counts = _counts(graph)
    made = {o: r for r in graph.records for o in r.outputs}
    outputs = {name for name, _, _ in graph.outputs}
    gone: set[int] = set()
    for r in graph.records:
        if r.op != "Identity" or r.outputs[0] not in outputs:
            continue
        source = made.get(r.inputs[0])
        if source is None or r.inputs[0] in outputs:
            continue
        old, new = r.inputs[0], r.outputs[0]
        if counts[old] > 1 and any(
            isinstance(a, Sub) for q in graph.records for a in q.attrs.values()
        ):
            continue
        source.outputs = [new if o == old else o for o in source.outputs]
        for q in graph.records:
            q.inputs = [new if i == old else i for i in q.inputs]
        made[new] = source
        gone.add(id(r))
    graph.records = [r for r in graph.records if id(r) not in gone]


def _dead(graph: Sub) -> None:
    """Records whose results nobody reads."""
    while True:
        used = set(_reads(graph))
        kept = [r for r in graph.records if any(o in used for o in r.outputs)]
        if len(kept) == len(graph.records):
            return
        graph.records = kept
