"""A library's call in the place of a kernel that is a plain matrix product or convolution: one more candidate for `runtime.tune`.

The program says where one may stand (`Kernel.schedule["library"]`). Refuses to judge whether it is quicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codegen.program import Kernel
from runtime.device import Work


def library(k: Kernel, tensors: Mapping[str, Any]) -> Work | None:
    """What does the work of a kernel with torch's product or convolution; None where it is neither.

    schedule["library"]: as `codegen.triton.library` says; an operand is [buffer, shape, strides], strides in elements.
    """
    plan = k.schedule.get("library")
    if plan is None:
        return None
    import torch

    operands = [torch.as_strided(tensors[n], s, t) for n, s, t in plan["operands"]]
    tf32 = k.schedule["precision"] == "tf32"
    return _product(operands, tf32) if plan["call"] == "product" else _convolution(plan, operands, tf32)  # fmt: skip


def _product(operands: Sequence[Any], tf32: bool) -> Work:
    import torch

    left, right, out = operands
    call: Any = torch.mm if left.ndim == 2 else torch.bmm

    def launch() -> None:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            call(left, right, out=out)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return launch


def _convolution(plan: Mapping[str, Any], operands: Sequence[Any], tf32: bool) -> Work:
    """A convolution or a gradient of one, by algorithms that give the same result each time."""
    import torch

    x, w, y = operands
    how = (plan["stride"], plan["padding"], plan["dilation"], False, [0] * (x.ndim - 2), plan["groups"])  # fmt: skip
    makes = int(plan["makes"])
    aten: Any = torch.ops.aten

    def launch() -> None:
        flags = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": tf32}
        with torch.backends.cudnn.flags(**flags):
            if makes == 2:
                y.copy_(aten.convolution(x, w, None, *how))
            else:
                wanted = [makes == 0, makes == 1, False]
                found = aten.convolution_backward(y, x, w, None, *how, wanted)
                operands[makes].copy_(found[makes])

    return launch
