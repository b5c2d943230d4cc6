"""`export`: a model's prediction as an ONNX file, checked; `verify`: that it computes what the model does.

Refuses to spell any op in ONNX (`codegen.onnx`).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import codegen.onnx.export as onnx_export
from codegen.onnx.errors import ExportError
from ir.graph import Graph, Role
from kcompile.callbacks.say import say
from kcompile.errors import KCNotImplementedError, KCRuntimeError, KCValueError
from kcompile.fit.loops import predict
from kcompile.fit.runner import step_function
from kcompile.saving.atomic import replacing
from kcompile.specimen import inputs_of, outputs_of, specimen
from kcompile.trace import leaves

TOLERANCE = 1e-4


def export(model: Any, filepath: Any, format: str = "onnx", verbose: Any = None) -> None:
    """Write the model's prediction to `filepath` as ONNX (opset 20), checked by onnx.checker.

    verbose: whether a line on standard error says so.

    Raises KCValueError KC501 for another format, KCNotImplementedError KC501 for what ONNX cannot say.
    """
    if format != "onnx":
        raise KCValueError(
            "KC501", f"format={format!r}", "models are exported as 'onnx'", "pass format='onnx'"
        )
    proto = to_onnx(model)
    data = proto.SerializeToString()
    with replacing(os.fspath(filepath)) as f:
        f.write(data)
    if verbose:
        say(f"wrote {os.fspath(filepath)}: {len(data):,} bytes")


def to_onnx(model: Any) -> Any:
    """The checked `onnx.ModelProto` of the model's prediction. Raises as `export` does."""
    batch = specimen(model, "predict")
    traced = step_function(model, "predict").trace(batch.x)
    if not traced.named:
        raise KCNotImplementedError(
            "KC501",
            f"the model {model.name!r}, some shape in which depends on the batch size",
            "an exported model takes any batch size",
            "compute that shape from ops.shape(x), without int()",
        )
    graph, weights = _labelled(traced.graph, traced.variables)
    try:
        proto = onnx_export.export(
            graph,
            weights,
            {"model": str(model.name), "generator": "kcompile"},
            input_names=_names(leaves(inputs_of(model)), "input"),
            output_names=_names(_outputs(model), "output"),
        )
    except ExportError as e:
        raise KCNotImplementedError(
            "KC501", f"the model {model.name!r}: {e.given}", e.rule, e.todo
        ) from e
    import onnx.checker

    onnx.checker.check_model(proto, full_check=True)
    return proto


def verify(
    model: Any, filepath: Any, sizes: tuple[int, ...] = (1, 5), seed: int = 0
) -> dict[str, Any]:
    """Run the file and the model on random data of these batch sizes and compare.

    Uses ONNX Runtime where it is installed, else onnx's reference evaluator. Returns {"engine",
    "error": the greatest difference relative to the outputs' scale}. Raises KCRuntimeError KC501 above 1e-4.
    """
    engine, run = _engine(os.fspath(filepath))
    rng = np.random.default_rng(seed)
    worst = 0.0
    for size in sizes:
        x = _random_inputs(model, size, rng)
        want = leaves(predict(model, x, batch_size=size, verbose=0))
        names = _names(leaves(inputs_of(model)), "input")
        got = run(dict(zip(names, leaves(x), strict=True)))
        for a, b in zip(got, want, strict=True):
            if a.shape != b.shape:
                raise KCRuntimeError(
                    "KC501",
                    f"outputs of shapes {a.shape} and {b.shape}",
                    "both agree",
                    "report this model",
                )
            scale = max(1.0, float(np.abs(b).max(initial=0.0)))
            worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale)
    if not worst <= TOLERANCE:
        raise KCRuntimeError(
            "KC501",
            f"{filepath} differs from the model by {worst:.2e}",
            f"they agree within {TOLERANCE}",
            "report this model",
        )
    return {"engine": engine, "error": worst}


def _engine(path: str) -> tuple[str, Any]:
    try:
        import onnxruntime
    except ImportError:
        import onnx.reference

        reference = onnx.reference.ReferenceEvaluator(path)
        return "onnx.reference", lambda feeds: reference.run(None, feeds)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return "onnxruntime", lambda feeds: session.run(None, feeds)


def _random_inputs(model: Any, size: int, rng: np.random.Generator) -> Any:
    from_names = []
    for t in leaves(inputs_of(model)):
        shape = (size, *(7 if d is None else d for d in t.shape[1:]))
        if t.dtype.startswith(("int", "uint")) or _feeds_embedding(model, t):
            from_names.append(
                rng.integers(0, 2, shape).astype(
                    "int32" if not t.dtype.startswith("float") else t.dtype
                )
            )
        elif t.dtype == "bool":
            from_names.append(rng.integers(0, 2, shape).astype(bool))
        else:
            from_names.append(rng.standard_normal(shape).astype(t.dtype))
    it = iter(from_names)
    return _fill(inputs_of(model), it)


def _fill(structure: Any, it: Any) -> Any:
    if isinstance(structure, dict):
        return {k: _fill(v, it) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_fill(v, it) for v in structure)
    return next(it)


def _feeds_embedding(model: Any, t: Any) -> bool:
    for layer in getattr(model, "layers", ()):
        if type(layer).__name__ == "Embedding":
            for node in getattr(layer, "_inbound_nodes", ()):
                if any(s is t for s in getattr(node, "input_tensors", ())):
                    return True
    return False


def _labelled(graph: Graph, variables: list[Any]) -> tuple[Graph, dict[str, Any]]:
    """The graph with states named by their Keras paths where those are unique, and the states' values."""
    roles = list(graph.roles)
    paths = [v.path for v in variables]
    weights = {}
    for i, v in enumerate(variables):
        path = v.path if paths.count(v.path) == 1 else v.key
        roles[i] = Role("state", path)
        weights[path] = v.array
    return graph.replace(roles=roles), weights


def _names(tensors: list[Any], fallback: str) -> list[str]:
    names = [str(getattr(t, "name", "") or fallback) for t in tensors]
    return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]


def _outputs(model: Any) -> list[Any]:
    """The outputs under the names of the layers that make them."""

    class Named:
        def __init__(self, name: str):
            self.name = name

    names = list(getattr(model, "output_names", None) or [])
    count = len(leaves(outputs_of(model)))
    return [Named(n) for n in (names if len(names) == count else ["output"] * count)]
