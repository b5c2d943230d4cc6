"""Gradients, graph to graph: `gradients(outputs, wrt)` by reverse traversal.

Holds the traversal and the accumulation; each op's own rule is in its record. A composite without a
rule is differentiated through a copy of its body, which cse merges with the forward computation.
Refuses to hold any op's derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

from ir.graph import Node, Value, _at, reachable
from ir.op import TABLE, IRError

SUFFIX = ":grad"


def gradients(
    outputs: Sequence[Value],
    wrt: Sequence[Value],
    cotangents: Sequence[Value | None] | None = None,
    since: int = 0,
) -> list[Value | None]:
    """The cotangents of `wrt`, for `cotangents` of `outputs` (ones by default); new nodes.

    since: nodes whose serial is less are constants. An entry is None where no output depends on the value through floating point numbers. Nodes carry
    the layer path of the node they are the gradient of, with ":grad" appended. Raises IRError when a
    cotangent's type is not its output's, or an op on the way has no gradient.
    """
    given: list[Value | None]
    if cotangents is None:
        full = TABLE["full"]
        given = [
            full(value=1.0, shape=v.shape, dtype=v.dtype) if v.type.is_float else None
            for v in outputs
        ]
    else:
        given = list(cotangents)
    for out, ct in zip(outputs, given, strict=True):
        if ct is not None and ct.type is not out.type:
            raise IRError(f"gradients: the cotangent of {out!r} is {ct.type}")
    older = {v for n in reachable(outputs) if n.serial < since for v in n.outs} if since else set()
    return _gradients(outputs, wrt, given, older)


def _gradients(
    outputs: Sequence[Value],
    wrt: Sequence[Value],
    cotangents: Sequence[Value | None],
    stop: set[Value],
) -> list[Value | None]:
    """`gradients`, not following the values in `stop`."""
    found: dict[Value, Value] = {}
    for out, ct in zip(outputs, cotangents, strict=True):
        if ct is not None:
            _accumulate(found, out, ct)
    active = _active(outputs, wrt, stop)
    _at.append("")
    try:
        for node, flags in reversed(active):
            _backward(node, flags, found)
    finally:
        _at.pop()
    return [found.get(v) for v in wrt]


def _active(
    outputs: Sequence[Value], wrt: Sequence[Value], stop: set[Value]
) -> list[tuple[Node, list[bool]]]:
    """The nodes between `wrt` and `outputs` in creation order, with which operands carry gradient."""
    carrying = {v for v in wrt if v.type.is_float}
    found = []
    for node in reachable(outputs, stop):
        flags = [v in carrying for v in node.inputs]
        if True in flags:
            outs = [v for v in node.outs if v.type.is_float]
            if outs:
                carrying.update(outs)
                found.append((node, flags))
    return found


def _accumulate(found: dict[Value, Value], v: Value, ct: Value) -> None:
    old = found.get(v)
    found[v] = ct if old is None else TABLE["add"](old, ct)


def _backward(node: Node, flags: list[bool], found: dict[Value, Value]) -> None:
    """Add what `node` hands to its operands."""
    op = node.op
    cts = [found.get(v) for v in node.outs]
    if all(ct is None for ct in cts):
        return
    if op.vjp is None:
        if op.body is None:
            raise IRError(
                f"gradients: {op.name} has no gradient (at {node.at!r}); use stop_gradient"
            )
        _through_body(node, flags, cts, found)
        return
    _at[-1] = node.at if node.at.endswith(SUFFIX) else node.at + SUFFIX
    one = len(node.outs) == 1
    ct = cts[0] if one else tuple(cts)
    out = node.outs[0] if one else node.outs
    back = op.vjp(ct, out, *op.args(node.inputs), *node.attrs)
    if isinstance(back, Value):
        back = (back,)
    if len(back) != len(node.inputs):
        raise IRError(
            f"{op.name}: its gradient gives {len(back)} cotangents for {len(node.inputs)}"
        )
    for v, flag, c in zip(node.inputs, flags, back, strict=True):
        if flag and c is not None:
            if c.type is not v.type:
                raise IRError(f"{op.name}: its gradient for {v!r} has type {c.type}")
            _accumulate(found, v, c)


def _through_body(
    node: Node, flags: list[bool], cts: list[Value | None], found: dict[Value, Value]
) -> None:
    """The gradient of a composite without a rule, through a copy of its body."""
    op = node.op
    assert op.body is not None
    _at[-1] = node.at
    copy = op.body(*op.args(node.inputs), *node.attrs)
    outs = (copy,) if isinstance(copy, Value) else tuple(copy)
    wrt = list(dict.fromkeys(v for v, flag in zip(node.inputs, flags, strict=True) if flag))
    # an operand may depend on another one: the operands are where the copy ends
    inner = _gradients(outs, wrt, cts, set(node.inputs))
    for v, c in zip(wrt, inner, strict=True):
        if c is not None:
            _accumulate(found, v, c)
