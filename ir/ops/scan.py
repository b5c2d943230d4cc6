"""`scan`: a loop over time whose body is a graph, and its gradient, which is a scan again.

Operands are carries, sequences (time first) and constants; results are the final carries and the
stacked results. Refuses to hold merging and trimming of scans (`ir.passes.merge_scans`, `ir.passes.dce`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ir.dims import DimLike
from ir.grad import SUFFIX, gradients
from ir.graph import Graph, Value, at, graph_of, here, reachable
from ir.interpret import interpret
from ir.op import Attr, op
from ir.ops.contract import contract, letters
from ir.ops.create import zeros_like
from ir.ops.elementwise import add, neg
from ir.ops.fused import body_flops
from ir.ops.movement import broadcast, reduce_sum, reshape, transpose
from ir.ops.rules import Array, require
from ir.residuals import choose
from ir.rewrite import clone
from ir.types import NUMPY, Type

Later = Callable[[], Value]

# linear ops of one operand: what they do to a sum they do to its terms
_MOVES = {"neg": neg, "reshape": reshape, "transpose": transpose, "broadcast": broadcast}


def _type(
    types: tuple[Type, ...], body: Graph, carries: int, xs: int, length: DimLike, reverse: bool
) -> tuple[Type, ...]:
    require(
        0 <= carries <= len(body.outputs),
        f"the body has {len(body.outputs)} results, not {carries} carries",
    )
    require(
        len(types) == len(body.inputs),
        f"the body takes {len(body.inputs)} operands, not {len(types)}",
    )
    require(
        xs >= 0 and carries + xs <= len(types),
        f"{carries} carries and {xs} sequences of {len(types)} operands",
    )
    for i, (t, v) in enumerate(zip(types, body.inputs, strict=True)):
        want = v.type
        if carries <= i < carries + xs:
            want = want.with_shape((length, *want.shape))
        require(t is want, f"operand {i} is {t}, the body takes {want}")
    for i, (v, out) in enumerate(zip(body.inputs[:carries], body.outputs, strict=False)):
        require(v.type is out.type, f"carry {i} is {v.type}, its next value {out.type}")
    ys = (v.type for v in body.outputs[carries:])
    return (*types[:carries], *(t.with_shape((length, *t.shape)) for t in ys))


def _meaning(
    arrays: tuple[Array, ...], body: Graph, carries: int, xs: int, length: int, reverse: bool
) -> tuple[Array, ...]:
    state = list(arrays[:carries])
    sequences, constants = arrays[carries : carries + xs], arrays[carries + xs :]
    ys = [np.zeros((length, *v.shape), NUMPY[v.dtype]) for v in body.outputs[carries:]]
    for t in reversed(range(length)) if reverse else range(length):
        out = interpret(body, [*state, *(x[t] for x in sequences), *constants])
        state = out[:carries]
        for y, value in zip(ys, out[carries:], strict=True):
            y[t] = value
    return (*state, *ys)


def _flops(
    types: tuple[Type, ...], body: Graph, carries: int, xs: int, length: DimLike, reverse: bool
) -> DimLike:
    return body_flops(body) * length


def _vjp(
    ct: Any,
    out: Any,
    operands: tuple[Value, ...],
    body: Graph,
    carries: int,
    xs: int,
    length: DimLike,
    reverse: bool,
) -> tuple[Value | None, ...]:
    cts: tuple[Value | None, ...] = ct if isinstance(ct, tuple) else (ct,)
    outs: tuple[Value, ...] = out if isinstance(out, tuple) else (out,)
    return _Backward(cts, outs, operands, body, carries, xs, length, reverse).run()


class _Backward:
    """The gradient of one scan: a twin that keeps what the way back needs, and the scan back.

    The gradient of a constant is a sum over time. Where one step's share is a contraction or a sum,
    its operands are stacked and contracted once over time (and batch); else it is a carry.
    """

    def __init__(
        self,
        cts: tuple[Value | None, ...],
        outs: tuple[Value, ...],
        operands: tuple[Value, ...],
        body: Graph,
        carries: int,
        xs: int,
        length: DimLike,
        reverse: bool,
    ):
        self.operands, self.body, self.length, self.reverse = operands, body, length, reverse
        self.n_carries, self.n_xs = carries, xs
        self.cts = cts
        # the cotangents of the body's results, as inputs of the body of the scan back
        self.dcarry = {
            i: Value(v.type) for i, v in enumerate(body.outputs[:carries]) if v.type.is_float
        }
        self.dy = {
            i: Value(v.type)
            for i, v in enumerate(body.outputs)
            if i >= carries and cts[i] is not None
        }
        self.outside: dict[Value, Value] = {}  # values of the body whose stacks exist outside
        for v, stack in zip(body.inputs[carries : carries + xs], operands[carries:], strict=False):
            self.outside[v] = stack
        for i, v in self.dy.items():
            given = cts[i]
            assert given is not None
            self.outside[v] = given
        # results that are stacked anyway
        self.stacked = [v for v in dict.fromkeys(body.outputs[carries:]) if v not in body.inputs]
        for v, stack in zip(body.outputs[carries:], outs[carries:], strict=True):
            self.outside.setdefault(v, stack)
        # values of the body of the scan back to stack, for want of a stack
        self.wanted: list[Value] = []
        self.plain: list[Value] = []  # shares of constants that are neither contractions nor sums
        self.sums: list[Value] = []  # those of them that are summed as carries
        self.totals: dict[Value, Value] = {}

    def run(self) -> tuple[Value | None, ...]:
        body, n_c, n_x = self.body, self.n_carries, self.n_xs
        cts = [self.dcarry.get(i, self.dy.get(i)) for i in range(len(body.outputs))]
        grads = gradients(body.outputs, body.inputs, cts)
        saved = self.keep(grads)
        constants = grads[n_c + n_x :]
        later = [None if g is None else self.summed(g) for g in constants]
        stacked = {*self.wanted, *self.outside}  # what is stacked anyway is summed after the loop
        self.sums = [g for g in dict.fromkeys(self.plain) if g not in stacked]
        steps = [zeros_like(body.inputs[i]) if (g := grads[i]) is None else g for i in self.dcarry]
        dxs = [g for g in grads[n_c : n_c + n_x] if g is not None]
        final = self.scan_back(steps, dxs, saved)
        dcarries = dict(zip(self.dcarry, final[: len(steps)], strict=True))
        stacks = iter(final[len(steps) + len(self.sums) :])
        dx = [None if g is None else next(stacks) for g in grads[n_c : n_c + n_x]]
        for v, stack in zip(self.wanted, stacks, strict=True):
            self.outside[v] = stack
        for v, total in zip(self.sums, final[len(steps) :], strict=False):
            self.totals[v] = total
        return (
            *(dcarries.get(i) for i in range(n_c)),
            *dx,
            *(None if f is None else f() for f in later),
        )

    def keep(self, grads: Sequence[Value | None]) -> list[Value]:
        """The values of the forward body that the way back reads, whose stacks the twin scan gives."""
        body, n_c, n_x = self.body, self.n_carries, self.n_xs
        results = [g for g in grads if g is not None]
        moving = {*self.dcarry.values(), *self.dy.values()}
        reads: list[Value] = []
        for n in reachable(results, set(body.inputs)):
            if any(v in moving for v in n.inputs):
                moving.update(n.outs)
                reads += [v for v in n.inputs if v not in moving]
        reads += [g for g in results if g not in moving]
        self.moving = moving
        nodes = reachable(reads, set(body.inputs))
        saved = choose(reads, nodes, [*body.inputs[n_c:], *self.stacked])
        if saved:
            twin = graph_of(body.name, body.inputs, [*body.outputs, *saved])
            path = here()
            with at(path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path):
                outs = scan(
                    *self.operands,
                    body=twin,
                    carries=n_c,
                    xs=n_x,
                    length=self.length,
                    reverse=self.reverse,
                )
            outs = (outs,) if isinstance(outs, Value) else outs
            self.outside.update(zip(saved, outs[len(body.outputs) :], strict=True))
        return saved

    def scan_back(self, steps: list[Value], dxs: list[Value], saved: list[Value]) -> list[Value]:
        """The results of the scan back: carries' cotangents, sums, stacks of dxs, wanted stacks."""
        body, n_c, n_x = self.body, self.n_carries, self.n_xs
        sequences = [*saved, *self.stacked, *body.inputs[n_c : n_c + n_x]]
        env = {v: Value(v.type, None, 0, v.name) for v in (*sequences, *body.inputs[n_c + n_x :])}
        totals = [Value(v.type) for v in self.sums]
        results = clone([*steps, *self.sums, *dxs, *self.wanted], env)
        n = len(steps)
        for k, total in enumerate(totals):
            results[n + k] = add(total, results[n + k])
        inputs = [
            *self.dcarry.values(), *totals,
            *(env[v] for v in sequences), *self.dy.values(),
            *(env[v] for v in body.inputs[n_c + n_x :]),
        ]  # fmt: skip
        back = graph_of(f"{body.name}_grad", inputs, results)
        start = [zeros_like(v) if (c := self.cts[i]) is None else c for i, v in self.dcarry.items()]
        outs = scan(
            *start, *(zeros_like(v) for v in totals),
            *(self.outside[v] for v in sequences), *(self.outside[v] for v in self.dy.values()),
            *self.operands[n_c + n_x :],
            body=back, carries=n + len(totals), xs=len(sequences) + len(self.dy),
            length=self.length, reverse=not self.reverse,
        )  # fmt: skip
        return [outs] if isinstance(outs, Value) else list(outs)

    # -- gradients of constants ------------------------------------------------------------------

    def summed(self, g: Value) -> Later:
        """How to have the sum over time of the step's share `g`, once the scan back is made."""
        node = g.node
        name = "" if node is None or g not in self.moving else node.op.name
        if node is None or name not in ("add", "reduce_sum", "contract", *_MOVES):
            self.plain.append(g)
            return lambda: self.total(g)
        if name == "add":
            a, b = (self.summed(v) for v in node.inputs)
            return lambda: add(a(), b())
        if name in _MOVES:
            attrs = {a.name: v for a, v in zip(node.op.attrs, node.attrs, strict=True)}
            inner = self.summed(node.inputs[0])
            return lambda: _MOVES[name](inner(), **attrs)
        for v in node.inputs:
            self.stack(v)
        if name == "reduce_sum":
            axes = (0, *(a + 1 for a in node.attr("axes")))
            return lambda: reduce_sum(self.outside[node.inputs[0]], axes=axes)
        spec, windows, out, precision = node.attrs
        lx, ly, lr = letters(spec)
        time = _unused(spec, windows)
        spec = f"{time}{lx},{time}{ly}->{lr}"
        return lambda: contract(
            self.outside[node.inputs[0]], self.outside[node.inputs[1]],
            spec=spec, windows=windows, out=out, precision=precision,
        )  # fmt: skip

    def total(self, g: Value) -> Value:
        """The sum over time of a plain share."""
        if g not in self.totals:
            self.totals[g] = reduce_sum(self.outside[g], axes=(0,))
        return self.totals[g]

    def stack(self, v: Value) -> None:
        """See to it that the values of `v` at every step will be in `outside`."""
        if v not in self.outside and v not in self.wanted:
            self.wanted.append(v)


def _unused(spec: str, windows: Any) -> str:
    taken = set(spec).union(*(w[:3] for w in windows))
    return next(c for c in "tTabcdefghijklmnopqrsuvwxyzABCDEFGHIJKLMNOPQRSUVWXYZ" if c not in taken)


scan = op(
    "scan", "The body run `length` times: carries from step to step, sequences and results by step.",
    arity=None,
    attrs=(
        Attr("body", "graph"), Attr("carries", "int"), Attr("xs", "int"), Attr("length", "dim"),
        Attr("reverse", "bool", False),
    ),
    type=_type, meaning=_meaning, vjp=_vjp, flops=_flops,
)  # fmt: skip
