"""A library's call in the place of a kernel that is a plain matrix product: one more candidate for `runtime.tune`.

The program says where one may stand (`Kernel.schedule["library"]`). Refuses to judge whether it is quicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codegen.program import Kernel
from runtime.device import Work


def library(k: Kernel, tensors: Mapping[str, Any]) -> Work | None:
    """What does the work of a kernel with torch.mm or torch.bmm; None where it is no plain product.

    schedule["library"]: [left, right, out], each [buffer, shape, strides] in elements, of two axes or three.
    """
    plan = k.schedule.get("library")
    if plan is None:
        return None
    import torch

    left, right, out = (torch.as_strided(tensors[n], s, t) for n, s, t in plan)
    call: Any = torch.mm if left.ndim == 2 else torch.bmm
    tf32 = k.schedule["precision"] == "tf32"

    def launch() -> None:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            call(left, right, out=out)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return launch
