"""`export`: an IR graph as an ONNX model, opset 20, IR version 10.

Composites that ONNX knows stay whole; weights are initializers under their Keras paths; a node's name
starts with the path of its layer; named dims stay names. Refuses to trace models and to write files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codegen.onnx.builder import Builder, Dims, Dtype, Record, Ref, Sub
from codegen.onnx.errors import ExportError
from codegen.onnx.loops import scan_row
from codegen.onnx.peephole import tidy
from codegen.onnx.table import ROWS, UNSUPPORTED, native
from ir.dims import Dim
from ir.graph import Graph, Node, Value
from ir.passes.dce import dce
from ir.rewrite import Replacement, map_bodies, rewrite

OPSET, IR_VERSION = 20, 10
Array = np.ndarray[Any, Any]


def export(
    graph: Graph,
    weights: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Any:
    """The `onnx.ModelProto` of a graph whose states are given by `weights` (path -> array).

    Outputs are the graph's results, without the next values of states. input_names, output_names: in
    the order of data inputs and results. Raises ExportError for what ONNX cannot say, ImportError
    without the onnx package.
    """
    states = graph.n_states
    results = graph.outputs[states:]
    graph = dce(graph.replace(outputs=results))
    graph = _opened(graph)
    b = Builder()
    env: dict[Value, Ref] = {}
    inputs = []
    data = [(v, r) for v, r in zip(graph.inputs, graph.roles, strict=True) if r.kind != "state"]
    for v, role in zip(graph.inputs, graph.roles, strict=True):
        if role.kind == "state":
            if role.path not in weights:
                raise ExportError(
                    f"no value for the state {role.path!r}",
                    "every weight has a value",
                    "pass it in weights",
                )
            env[v] = b.const(weights[role.path], v.dtype, role.path)
    names = (
        list(input_names)
        if input_names is not None
        else [r.path or v.name or "input" for v, r in data]
    )
    for (v, _), wanted in zip(data, names, strict=True):
        name = b.fresh(wanted)
        env[v] = Ref(name, v.dtype, v.shape, is_input=True)
        inputs.append((name, v.dtype, v.shape))
        for axis, d in enumerate(v.shape):
            if isinstance(d, Dim) and str(d).isidentifier():
                b.dims.setdefault(str(d), (name, axis))
    wanted_outputs = list(output_names) if output_names is not None else _numbered(len(results))
    finals = [b.fresh(name) for name in wanted_outputs]
    _emit(b, graph, env)
    outputs = []
    b.at = b.opname = ""
    for v, name in zip(graph.outputs, finals, strict=True):
        ref = b.full(env[v], v.shape)
        b.opname = "output"
        made = b.node("Identity", [ref], v.dtype, v.shape)
        b.records[-1].outputs[:] = [name]
        b.records[-1].name = made.name
        outputs.append((name, v.dtype, v.shape))
    main = Sub(graph.name, b.records, inputs, outputs, b.ranks)
    tidy(main, b.initializers)
    return _model(main, b.initializers, metadata or {})


def _numbered(count: int) -> list[str]:
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _opened(graph: Graph) -> Graph:
    """`graph` without the composites that ONNX lacks."""

    def rule(n: Node) -> Replacement:
        if n.op.body is None or native(n):
            return None
        found: Replacement = n.op.body(*n.op.args(n.inputs), *n.attrs)
        return found

    return rewrite(map_bodies(graph, _opened), rule)


def _emit(b: Builder, graph: Graph, env: dict[Value, Ref]) -> None:
    """Write every node of `graph`; `env` gives its inputs and receives its values."""
    rows = {**ROWS, "scan": scan_row(_emit)}
    for n in graph.nodes:
        row = rows.get(n.op.name)
        if row is None:
            why = UNSUPPORTED.get(n.op.name, "it has no row in codegen.onnx")
            raise ExportError(
                f"the op {n.op.name!r} of layer {n.at!r}",
                why,
                "leave this layer out of the exported model",
            )
        b.at, b.opname = n.at, n.op.name
        made = row(b, n, [env[v] for v in n.inputs])
        found = [made] if isinstance(made, Ref) else made
        env.update(zip(n.outs, found, strict=True))


# -- to protobuf ----------------------------------------------------------------------------------

_ELEMENT = {
    "bool": "BOOL", "i8": "INT8", "i16": "INT16", "i32": "INT32", "i64": "INT64", "u8": "UINT8",
    "u16": "UINT16", "u32": "UINT32", "u64": "UINT64", "f16": "FLOAT16", "f32": "FLOAT", "f64": "DOUBLE",
}  # fmt: skip


def _element(onnx: Any, dtype: str) -> int:
    if dtype not in _ELEMENT:
        raise ExportError(
            f"a value of dtype {dtype}",
            "the exporter writes no such tensors",
            "export a float32 model",
        )
    return int(getattr(onnx.TensorProto, _ELEMENT[dtype]))


def _value_info(onnx: Any, name: str, dtype: str, shape: Dims) -> Any:
    spelled = [int(d) if isinstance(d, int) else str(d) for d in shape]
    return onnx.helper.make_tensor_value_info(name, _element(onnx, dtype), spelled)


def _node(onnx: Any, r: Record) -> Any:
    attrs = {}
    for k, v in r.attrs.items():
        if isinstance(v, Sub):
            v = _graph(onnx, v, {})
        elif isinstance(v, Dtype):
            v = _element(onnx, v.name)
        attrs[k] = v
    return onnx.helper.make_node(r.op, r.inputs, r.outputs, r.name, **attrs)


def _graph(onnx: Any, sub: Sub, initializers: Mapping[str, Array]) -> Any:
    return onnx.helper.make_graph(
        [_node(onnx, r) for r in sub.records],
        sub.name,
        [_value_info(onnx, *i) for i in sub.inputs],
        [_value_info(onnx, *o) for o in sub.outputs],
        [onnx.numpy_helper.from_array(a, k) for k, a in initializers.items()],
    )


def _model(main: Sub, initializers: Mapping[str, Array], metadata: Mapping[str, str]) -> Any:
    import onnx
    import onnx.helper
    import onnx.numpy_helper

    model = onnx.helper.make_model(
        _graph(onnx, main, initializers),
        producer_name="kcompile",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    onnx.helper.set_model_props(model, {k: str(v) for k, v in metadata.items()})
    return model
