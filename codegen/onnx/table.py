"""The table of rows: IR op -> its ONNX spelling, and `UNSUPPORTED`, op -> why there is none.

Every primitive is in one of the two (a test holds that); a composite without a row is opened. Refuses to
hold rows itself: one file for each kind.
"""

from __future__ import annotations

from codegen.onnx import contract, elementwise, gather, layers, movement, reduce, windows
from codegen.onnx.elementwise import Row
from ir.graph import Node

ROWS: dict[str, Row] = {
    **elementwise.ROWS, **movement.ROWS, **reduce.ROWS, **contract.ROWS, **windows.ROWS,
    **layers.ROWS, **gather.ROWS,
}  # fmt: skip

UNSUPPORTED: dict[str, str] = {
    "random_bits": "ONNX has no counter-based random numbers; prediction needs none",
    "random_uniform": "ONNX has no counter-based random numbers; prediction needs none",
    "fold": "the transpose of unfold occurs in gradients only",
    "cumprod": "ONNX has no running product",
    "fused": "fusion comes after export: a model is exported from its traced graph",
}


def native(n: Node) -> bool:
    """Whether this node is written by a row (a composite that is not is opened into its body)."""
    if n.op.name not in ROWS and n.op.name != "scan":
        return False
    accepts = layers.ACCEPTS.get(n.op.name)
    return accepts is None or accepts(n)
