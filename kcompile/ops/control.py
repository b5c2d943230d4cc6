"""Branches and loops of `keras.ops`: cond, switch, scan, fori_loop, while_loop, map.

In a trace a loop's body is traced once, into one IR loop; its length must be known while tracing, and
of a branch both sides are computed. Refuses to hold loops whose length depends on values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ir.ops as ir
from ir.graph import Value, graph_of
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.operation import run
from kcompile.ops.numpy_compare import truth
from kcompile.ops.numpy_create import constant
from kcompile.ops.operand import (
    as_dtype,
    broadcast_to,
    scalar_like,
    tensor,
    together,
    trace,
    value_of,
)
from kcompile.tensor import KerasTensor, Tensor
from kcompile.trace import leaves, map_structure
from kcompile.variable import Variable, current_trace


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """true_fn() where `pred` holds, else false_fn(). In a trace both are computed and one is chosen."""
    if not isinstance(pred, (Tensor, KerasTensor, Variable)):
        return true_fn() if bool(pred) else false_fn()
    t = trace()
    flag = truth(pred)
    with t.body():
        a, b = true_fn(), false_fn()
    return _chosen(flag, a, b)


def _chosen(flag: Value, a: Any, b: Any) -> Any:
    """Nested results, leaf by leaf, those of `a` where the scalar `flag` holds."""
    first, second = leaves(a), iter(leaves(b))
    if len(first) != len(leaves(b)):
        raise KCValueError(
            "KC102",
            "branches that return different structures",
            "both return alike",
            "make them alike",
        )

    def pick(x: Any) -> Tensor:
        one, other = together(
            (value_of(x), as_dtype(value_of(next(second)), value_of(x).type.dtype))
        )
        return Tensor(ir.select(broadcast_to(flag, one.type.shape), one, other))

    return map_structure(pick, a)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """The branch with this number, called on the operands. In a trace all are computed."""
    if not isinstance(index, (Tensor, KerasTensor, Variable)):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    i = as_dtype(value_of(index), "i32")
    with trace().body():
        results = [b(*operands) for b in branches]
    out = results[-1]
    for k in range(len(branches) - 2, -1, -1):
        out = _chosen(ir.le(i, scalar_like(i, k)), results[k], out)
    return out


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """`carry, y = f(carry, x)` along the first axis of `xs`: (last carry, all ys). One IR loop."""
    if current_trace() is None:
        return run(scan, f, init, xs, length, reverse, unroll)
    t = trace()
    carries = [value_of(c) for c in leaves(init)]
    sequences = [value_of(x) for x in leaves(xs)]
    steps = sequences[0].type.shape[0] if sequences else length
    if steps is None:
        raise KCValueError(
            "KC107",
            "scan without xs and length",
            "the number of steps must be known",
            "pass length=",
        )
    inner = [Value(c.type) for c in carries] + [
        Value(s.type.with_shape(s.type.shape[1:])) for s in sequences
    ]
    given = iter([Tensor(v) for v in inner])
    with t.body():
        carry, y = f(
            map_structure(lambda _: next(given), init), map_structure(lambda _: next(given), xs)
        )
    nexts = [
        as_dtype(value_of(c), o.type.dtype) for c, o in zip(leaves(carry), carries, strict=True)
    ]
    for n, o in zip(nexts, carries, strict=True):
        if n.type != o.type:
            raise KCValueError(
                "KC102",
                f"a carry that goes from {o.type} to {n.type}",
                "a carry keeps its type",
                "return it in the same shape",
            )
    results = [value_of(r) for r in leaves(y)]
    outs = _loop(inner, nexts + results, carries, sequences, steps, reverse)
    values = iter([Tensor(v) for v in outs])
    final = map_structure(lambda _: next(values), init)
    return final, map_structure(lambda _: next(values), y)


def _loop(
    inner: list[Value],
    outputs: list[Value],
    carries: list[Value],
    xs: list[Value],
    steps: Any,
    reverse: bool,
) -> list[Value]:
    """A scan node; values from outside that the body reads become its constants."""
    made_inside = set(inner)
    body_nodes: list[Any] = []
    outside: dict[Value, Value] = {}
    depends: dict[Value, bool] = dict.fromkeys(inner, True)
    order = _nodes_of(outputs)
    for node in order:
        if any(depends.get(v, False) for v in node.inputs):
            body_nodes.append(node)
            for o in node.outs:
                depends[o] = True
    for v in [v for n in body_nodes for v in n.inputs] + outputs:
        if not depends.get(v, False) and v not in made_inside and v not in outside:
            outside[v] = v
    # values that do not depend on the loop are read from outside as they are
    stand_in = {v: Value(v.type) for v in outside}
    copied = dict(stand_in) | {v: v for v in inner}
    for node in body_nodes:
        twin = node.op.node(tuple(copied[v] for v in node.inputs), node.attrs, node.at)
        copied.update(zip(node.outs, twin.outs, strict=True))
    body = graph_of("body", [*inner, *stand_in.values()], [copied[v] for v in outputs])
    made = ir.scan(
        *carries,
        *xs,
        *outside,
        body=body,
        carries=len(carries),
        xs=len(xs),
        length=steps,
        reverse=reverse,
    )
    return list(made) if isinstance(made, tuple) else [made]


def _nodes_of(outputs: Sequence[Value]) -> list[Any]:
    seen: set[Any] = set()
    todo = [v.node for v in outputs if v.node is not None]
    while todo:
        n = todo.pop()
        if n not in seen:
            seen.add(n)
            todo.extend(v.node for v in n.inputs if v.node is not None)
    return sorted(seen, key=lambda n: n.serial)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`val = body_fun(i, val)` for i from lower up to, not including, upper (numbers)."""
    if current_trace() is None and not isinstance(init_val, KerasTensor):
        val = init_val
        for i in range(int(lower), int(upper)):
            val = body_fun(i, val)
        return val
    if isinstance(lower, Tensor) or isinstance(upper, Tensor):
        raise KCNotImplementedError(
            "KC106",
            "fori_loop with traced bounds",
            "the number of steps must be known while tracing",
            "use numbers, or masks",
        )
    start = constant(int(lower), (), "int32")

    def step(carry: Any, _: Any) -> Any:
        i, val = carry
        return (i + 1, body_fun(i, val)), None

    return scan(
        step, (start, map_structure(tensor, init_val)), None, length=int(upper) - int(lower)
    )[0][1]


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """`loop_vars = body(*loop_vars)` while cond(*loop_vars). In a trace it needs `maximum_iterations`."""
    single = not isinstance(loop_vars, (list, tuple))
    values = (loop_vars,) if single else tuple(loop_vars)
    if current_trace() is None:
        n = 0
        while bool(cond(*values)) and (maximum_iterations is None or n < maximum_iterations):
            found = body(*values)
            values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
            n += 1
    else:
        if maximum_iterations is None:
            raise KCNotImplementedError(
                "KC106", "while_loop without maximum_iterations in a compiled step", "the number of steps must be bounded while tracing",
                "pass maximum_iterations=: further steps change nothing",
            )  # fmt: skip

        def step(carry: Any, _: Any) -> Any:
            new = body(*carry)
            new = tuple(new) if isinstance(new, (list, tuple)) else (new,)
            return _chosen(truth(cond(*carry)), new, tuple(carry)), None

        values = scan(step, tuple(map_structure(tensor, values)), None, length=maximum_iterations)[
            0
        ]
    return values[0] if single else type(loop_vars)(values)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """f of each slice along the first axis, stacked."""
    if current_trace() is None:
        return run(map, f, xs)
    return scan(lambda c, x: (c, f(x)), (), xs)[1]


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """f of each slice along the first axis, stacked."""
    return map(function, elements)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Refused: gradients come from the graph. Raises KCNotImplementedError KC109."""
    raise KCNotImplementedError(
        "KC109",
        "ops.custom_gradient",
        "gradients are derived from the graph",
        "write the function so that its gradient is the one you want, with stop_gradient",
    )
