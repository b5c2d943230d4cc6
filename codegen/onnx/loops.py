"""The row of scan: an ONNX Scan whose body is the scan's body, exported in turn.

Refuses to know what the body computes.
"""

from __future__ import annotations

from collections.abc import Callable

from codegen.onnx.builder import Builder, Ref, Sub
from codegen.onnx.elementwise import Row
from ir.graph import Graph, Node, Value

Emit = Callable[[Builder, Graph, dict[Value, Ref]], None]


def scan_row(emit: Emit) -> Row:
    """The row; `emit` writes the nodes of a graph."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> list[Ref]:
        body, carries, xs, _, reverse = n.attrs
        given = [b.full(r, v.shape) for r, v in zip(refs, n.inputs, strict=True)]
        inner = Builder(b)
        env: dict[Value, Ref] = {}
        inputs = []
        for v in body.inputs[: carries + xs]:
            name = inner.fresh(f"{b.at}/{v.name or 'step'}" if b.at else v.name or "step")
            env[v] = Ref(name, v.dtype, v.shape)
            inputs.append((name, v.dtype, v.shape))
        # constants are read from the graph around the loop; written there, not in the body
        for v, ref in zip(body.inputs[carries + xs :], given[carries + xs :], strict=True):
            env[v] = Ref(b.use(ref), ref.dtype, ref.shape, None, None)
        emit(inner, body, env)
        outputs = []
        for v in body.outputs:
            ref = inner.full(env[v], v.shape)
            # a result has a name of its own, even where it is an input or another result
            out = inner.node("Identity", [ref], v.dtype, v.shape)
            outputs.append((out.name, v.dtype, v.shape))
        sub = Sub(b.fresh(f"{b.at}/body" if b.at else "body"), inner.records, inputs, outputs)
        ys = len(body.outputs) - carries
        # 1: from the last step on; a list without entries has no type in ONNX
        attrs = (
            {"scan_input_directions": [1] * xs, "scan_output_directions": [1] * ys}
            if reverse
            else {}
        )
        types = [(v.dtype, v.shape) for v in n.outs]
        return b.nodes(
            "Scan", given[: carries + xs], types, body=sub, num_scan_inputs=xs,
            **{k: v for k, v in attrs.items() if v},
        )  # fmt: skip

    return row
