"""differentiate: a graph that also gives the gradients of one of its results.

For graphs read from text, and for those traced without gradients. Refuses to hold derivatives
(`ir.grad` and the ops) and to simplify: only scans and their twins are made one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ir.grad import gradients
from ir.graph import Graph, graph_of
from ir.op import IRError
from ir.ops.create import zeros_like
from ir.passes.merge_scans import merge_scans


def differentiate(graph: Graph, wrt: Sequence[int] | None = None, output: int = 0) -> Graph:
    """`graph` with the gradients of output number `output` (a float scalar) appended to its outputs.

    `wrt` are numbers of inputs; by default all that are floating. An input that the output does not
    depend on has a gradient of zeros. Raises IRError where the output is no float scalar.
    """
    loss = graph.outputs[output]
    if loss.shape != () or not loss.type.is_float:
        raise IRError(f"differentiate: output {output} is {loss.type}; a float scalar is needed")
    if wrt is None:
        wrt = [i for i, v in enumerate(graph.inputs) if v.type.is_float]
    chosen = [graph.inputs[i] for i in wrt]
    found = gradients([loss], chosen)
    grads = [zeros_like(v) if g is None else g for v, g in zip(chosen, found, strict=True)]
    return merge_scans(graph_of(graph.name, graph.inputs, [*graph.outputs, *grads], graph.roles))
