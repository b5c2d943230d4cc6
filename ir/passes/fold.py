"""fold: what depends on constants alone becomes a constant (`full`), where that is exact.

The graph has uniform constants only, so this folds pointwise ops on them, their movement, and sums of
few enough equal numbers; `size` of a number; and what is empty, or made of what is. Refuses to fold what would need an array in the text.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ir import dims
from ir.graph import Graph, Node, Value
from ir.ops.create import full
from ir.rewrite import Replacement, map_bodies, rewrite
from ir.types import FLOATS, NUMPY, Type, round_bf16

POINTWISE = frozenset(
    (
        "add", "sub", "mul", "div", "power", "maximum", "minimum", "mod", "floordiv", "atan2",
        "neg", "absolute", "sign", "floor", "ceil", "round_even", "exp", "expm1", "log", "log1p",
        "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
        "acosh", "atanh", "erf", "sigmoid", "cast", "stop_gradient", "is_finite", "is_nan", "eq", "ne",
        "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "logical_not", "select",
    )
)  # fmt: skip
MOVEMENT = frozenset(("broadcast", "reshape", "transpose", "slice", "flip"))
SUMS = frozenset(("reduce_sum", "contract", "fold", "scatter_add", "scatter_along"))
# whole numbers up to here, and sums of them, are exact in any order
EXACT = {"f16": 2**11, "bf16": 2**8, "f32": 2**24, "f64": 2**53}


def constant(v: Value) -> Any:
    """The scalar that every element of `v` is, or None where `v` is no `full`."""
    return v.node.attrs[0] if v.node is not None and v.node.op.name == "full" else None


def filled(value: Any, t: Type) -> Value:
    """The constant of type `t`, `value` spelled in its dtype."""
    v = bool(value) if t.dtype == "bool" else float(value) if t.dtype in FLOATS else int(value)
    out: Value = full(value=v, shape=t.shape, dtype=t.dtype)
    return out


def fold(graph: Graph) -> Graph:
    """`graph` with constant subgraphs folded."""
    return rewrite(map_bodies(graph, fold), fold_node)


def fold_node(node: Node) -> Replacement:
    """The constant that stands for `node`, or None."""
    name = node.op.name
    if name == "full" or len(node.outs) != 1:
        return None
    out = node.outs[0].type
    if not node.inputs:
        if name == "size" and isinstance(node.attr("dim"), int):
            return filled(node.attr("dim"), out)
        if name == "iota" and out.shape[node.attr("axis")] == 1:
            return filled(0, out)
        return None
    if 0 in out.shape:
        return filled(0, out)
    if any(0 in v.shape for v in node.inputs) and (found := _of_nothing(node)) is not None:
        return filled(found, out)
    for v in node.inputs:
        if v.node is None or v.node.op.name != "full":
            return None
    values = [constant(v) for v in node.inputs]
    if name in POINTWISE:
        return filled(_pointwise(node, values), out)
    if name in MOVEMENT or name in ("reduce_max", "reduce_min"):
        return filled(values[0], out)
    if name == "concat" and all(_same(v, values[0]) for v in values):
        return filled(values[0], out)
    if name == "pad" and _same(node.attr("value"), values[0]):
        return filled(values[0], out)
    if name == "reduce_sum":
        count = dims.product(node.inputs[0].shape[a] for a in node.attr("axes"))
        return _sum(values[0], count, out)
    return None


def _of_nothing(node: Node) -> Any:
    """What every element of a node is that has an empty operand, or None where that is not one number."""
    match node.op.name:
        case "pad":
            return node.attr("value")
        case "unfold":
            return node.attr("fill")
        case "reduce_prod":
            return 1
        case name:
            return 0 if name in SUMS else None


def _pointwise(node: Node, values: list[Any]) -> Any:
    assert node.op.meaning is not None
    arrays = [np.array(x, NUMPY[v.dtype]) for x, v in zip(values, node.inputs, strict=True)]
    with np.errstate(all="ignore"):
        result = np.asarray(node.op.meaning(*arrays, *node.attrs))
    return (round_bf16(result) if node.outs[0].dtype == "bf16" else result).item()


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and math.copysign(1, a) == math.copysign(1, b)


def _sum(value: Any, count: Any, out: Type) -> Value | None:
    """The sum of `count` equal numbers, where it is exact in any order."""
    if value == 0:
        return filled(value, out)
    if not isinstance(count, int):
        return None
    if out.dtype in FLOATS:
        if not math.isfinite(value):
            return None
        whole = abs(float(value).as_integer_ratio()[0]) * count
        return filled(value * count, out) if whole <= EXACT[out.dtype] else None
    info = np.iinfo(NUMPY[out.dtype])
    return filled(value * count, out) if info.min <= value * count <= info.max else None
