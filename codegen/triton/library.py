"""Where a kernel is a plain matrix product or a plain convolution, what a library's would be called with.

Refuses to call it (`runtime.library`) and to judge which is quicker.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codegen.triton.launch import Launch
from ir.graph import Graph, Node, Value

Operand = tuple[str, tuple[int, ...], tuple[int, ...]]  # buffer, shape and strides in elements
Letters = Sequence[str]


def library(launch: Launch, name_of: Callable[[Value], str]) -> dict[str, Any] | None:
    """The call that does what a kernel does; None where the kernel does more, or other things. name_of: the buffer of a value.

    {"call": "product", "operands": [left, right, result]} for torch.mm or torch.bmm; {"call": "convolution", "operands":
    [x, w, y], "makes": which of them, "stride", "padding", "dilation", "groups"} for a convolution or one of its gradients.
    """
    node = launch.node
    if node is None or node.op.name != "fused" or launch.part:
        return None
    body: Graph = node.attrs[0]
    if [n.op.name for n in body.nodes] != ["contract"] or len(body.outputs) != 1:
        return None
    n = body.nodes[0]
    if launch.schedule.notes["kind"] == "split" or n.attr("precision") not in ("ieee", "tf32"):
        return None
    if not n.outs[0].type.is_float or n.outs[0].dtype != n.inputs[0].dtype:
        return None
    (x, y), out = n.attr("spec").split("->")[0].split(","), n.attr("spec").split("->")[1]
    outer = dict(zip(body.inputs, node.inputs, strict=True))
    values = [*n.inputs, n.outs[0]]
    names = [name_of(outer.get(v, node.outs[0])) for v in values]
    if names[2] in names[:2]:  # it would read what it has written
        return None
    tensors = [_Letters(name, c, v) for name, c, v in zip(names, (x, y, out), values, strict=True)]
    return _convolution(n, tensors) if n.attr("windows") else _product(tensors)


class _Letters:
    """A tensor whose axes have letters."""

    def __init__(self, name: str, letters: str, value: Value):
        self.name, self.letters = name, letters
        shape = [int(d) for d in value.shape]
        steps = [*itertools.accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1)][::-1]
        steps = steps[: len(shape)]  # a single number has none
        self.size = dict(zip(letters, shape, strict=True))
        self.step = dict(zip(letters, steps, strict=True))

    def viewed(self, groups: Sequence[Letters]) -> Operand | None:
        """The tensor with an axis for each group of letters; None where a group is no one axis in memory."""
        shape, strides = [], []
        for group in groups:
            for a, b in itertools.pairwise(group):
                if self.step[a] != self.step[b] * self.size[b]:
                    return None
            shape.append(math.prod(self.size[c] for c in group))
            strides.append(self.step[group[-1]] if group else 1)
        return self.name, tuple(shape), tuple(strides)


def _product(tensors: Sequence[_Letters]) -> dict[str, Any] | None:
    x, y, out = (t.letters for t in tensors)
    batch = [c for c in out if c in x and c in y]
    rows, columns = (
        [c for c in out if c in x and c not in y],
        [c for c in out if c in y and c not in x],
    )
    depth = [c for c in x if c in y and c not in out]
    if not rows or not columns or not depth or len({*x, *y}) != len(batch + rows + columns + depth):
        return None
    sides = ((batch, rows, depth), (batch, depth, columns), (batch, rows, columns))
    made = [t.viewed([g for g in groups if g]) for t, groups in zip(tensors, sides, strict=True)]
    return None if None in made else {"call": "product", "operands": made}


def _convolution(n: Node, tensors: Sequence[_Letters]) -> dict[str, Any] | None:
    """Images (i), filters (t) and outputs (o) by the letters of their windows; whichever is the result is what is made."""
    windows = n.attr("windows")
    found: list[_Letters] = []
    for column in zip(*(w[:3] for w in windows), strict=True):
        homes = [t for t in tensors if {*column} <= {*t.letters}]
        if len(homes) != 1:
            return None
        found.append(homes[0])
    x, y, w = found
    if len({id(t) for t in found}) != 3 or not 1 <= len(windows) <= 3:
        return None
    sizes: Mapping[str, int] = {**x.size, **y.size, **w.size}
    for i, o, t, stride, dilation, low in windows:
        reached = (sizes[i] + 2 * low - dilation * (sizes[t] - 1) - 1) // stride + 1
        if low < 0 or reached != sizes[o]:  # more is padded behind than before
            return None
    inner = {c for window in windows for c in window[:3]}

    def shared(*of: _Letters) -> list[str]:
        free = [c for c in of[0].letters if c not in inner]
        return [c for c in free if all((c in t.letters) == (t in of) for t in found)]

    groups, rows, depth, filters = shared(x, w, y), shared(x, y), shared(x, w), shared(w, y)
    if len({*sizes} - inner) != len(groups + rows + depth + filters) or len(rows) == 0:
        return None
    i, o, t = ([[win[k]] for win in windows] for k in range(3))
    made = (
        x.viewed([rows, groups + depth, *i]),
        w.viewed([groups + filters, depth, *t]),
        y.viewed([rows, groups + filters, *o]),
    )
    if None in made:
        return None
    stride, dilation, padding = ([win[k] for win in windows] for k in (3, 4, 5))
    return {
        "call": "convolution", "operands": list(made), "makes": (x, w, y).index(tensors[2]),
        "stride": stride, "padding": padding, "dilation": dilation,
        "groups": math.prod(sizes[c] for c in groups),
    }  # fmt: skip
