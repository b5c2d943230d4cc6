"""Regions and their lowering, run by a small evaluator of its own, against the meaning of the graph.

The evaluator knows named axes and the statement tree; it shares nothing with any renderer.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule, axis_aff
from codegen.lower import Acc, Fin, For, Init, Let, Put, Stmt, lower
from codegen.regions import region_of
from ir.graph import Node
from ir.interpret import apply, interpret
from ir.op import TABLE
from ir.ops.random import uniform_of_bits
from ir.passes.decompose import decompose
from ir.passes.fuse import fuse, fused
from ir.types import NUMPY, Type
from tests.ops.cases import CASES, Case, graph_for

Array = np.ndarray[Any, Any]


class Machine:
    """Runs a statement tree. A value is an array over the axes of its expression, in that order."""

    def __init__(self, memory: dict[Buf, Array]):
        self.memory = memory
        self.at: dict[Axis, Array] = {}  # the positions of looped axes in this pass
        self.known: dict[E, Array] = {}
        self.sums: dict[E, Array] = {}

    def places(self, a: Axis) -> Array:
        return self.at.get(a, np.arange(a.size))

    def spread(self, value: Array, axes: tuple[Axis, ...], over: tuple[Axis, ...]) -> Array:
        """A value over `axes` as one over more axes."""
        order = [axes.index(a) for a in over if a in axes]
        moved = value.transpose(order) if axes else value
        shape = [len(self.places(a)) if a in axes else 1 for a in over]
        return np.broadcast_to(moved.reshape(shape), [len(self.places(a)) for a in over])

    def affine(self, form: Aff, over: tuple[Axis, ...]) -> Array:
        out = np.full([len(self.places(a)) for a in over], form.const)
        for a, c in form.terms:
            out = out + self.spread(self.places(a) * c, (a,), over)
        return out

    def run(self, tree: list[Stmt]) -> None:
        for s in tree:
            if isinstance(s, For):
                (a,) = s.group.axes
                tile = s.group.tile or 1
                for start in range(0, a.size, tile):
                    self.at[a] = np.arange(start, min(start + tile, a.size))
                    self.run(s.body)
                del self.at[a]
            elif isinstance(s, Let):
                self.known[s.e] = self.value(s.e)
            elif isinstance(s, Init):
                self.sums.pop(s.e, None)
            elif isinstance(s, Acc):
                part = self.value(s.e)
                fn = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}.get(
                    s.e.attr[0], np.add
                )
                self.sums[s.e] = fn(self.sums[s.e], part) if s.e in self.sums else part
            elif isinstance(s, Fin):
                self.known[s.e] = self.sums.pop(s.e)
            else:
                assert isinstance(s, Put)
                axes = tuple(a for i in s.store.idx for a, _ in i.terms)
                idx = tuple(self.affine(i, axes) for i in s.store.idx)
                self.memory[s.store.buf][idx] = self.spread(
                    self.known[s.store.value], s.store.value.axes, axes
                )

    def shift(
        self, x: E, axes: tuple[Axis, ...], env: dict[Axis, Array], inside: Array, fill: Any
    ) -> Array:
        """x at positions that `env` gives for some axes, others as they are; `fill` outside."""
        idx = []
        for a in x.axes:
            n = a.size if a in env else len(self.places(a))
            if a in env:
                idx.append(np.clip(env[a], 0, n - 1))
            else:
                idx.append(self.spread(np.arange(n), (a,), axes))
        full = [len(self.places(a)) for a in axes]
        value = (
            self.known[x][tuple(np.broadcast_to(i, full) for i in idx)] if idx else self.known[x]
        )
        return np.where(inside, value, 0 if fill is None else fill).astype(NUMPY[x.dtype])

    def value(self, e: E) -> Array:
        full = tuple(len(self.places(a)) for a in e.axes)
        dtype = NUMPY[e.dtype]
        if e.op == "const":
            return np.array(e.attr[0], dtype)
        if e.op == "iota":
            return self.affine(e.attr[0], e.axes).astype(dtype)
        if e.op == "load":
            buf, idx, fill = e.attr
            array, inside, where = self.memory[buf], np.ones(full, bool), []
            for i, n in zip(idx, buf.shape, strict=True):
                given = isinstance(i, Aff)
                k = (
                    self.affine(i, e.axes)
                    if given
                    else self.spread(self.known[e.args[i]], e.args[i].axes, e.axes)
                )
                if given:
                    inside &= (k >= 0) & (k < n)
                where.append(np.clip(k, 0, n - 1))
            assert fill is not None or inside.all(), "a load outside without a fill"
            return np.where(inside, array[tuple(where)], 0 if fill is None else fill).astype(
                array.dtype
            )
        if e.op in ("red", "argred", "first"):
            fn, over = e.attr
            x, own = e.args[0], (*(a for a in e.axes if a not in over), *over)
            flat = self.spread(self.known[x], x.axes, own)
            flat = flat.reshape(*flat.shape[: len(own) - len(over)], -1)
            if e.op == "red":
                ufunc = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}[
                    fn
                ]
                return ufunc.reduce(flat, -1, dtype=None if fn in ("max", "min") else dtype)
            best = flat.argmax(-1) if fn == "max" else flat.argmin(-1)
            if e.op == "argred":
                return best.astype(np.int32)
            hit = np.arange(flat.shape[-1]) == best[..., None]
            return self.spread(hit.reshape([len(self.places(a)) for a in own]), own, e.axes)
        if e.op == "dot":
            over = e.attr[1]
            both = (*e.axes, *over)
            x, y = (self.spread(self.known[a], a.axes, both).astype("f8") for a in e.args)
            return (x * y).sum(tuple(range(len(e.axes), len(both)))).astype(dtype)
        if e.op == "at":
            (x,), (env, fill) = e.args, e.attr
            moved = {a: self.affine(f, e.axes) for a, f in env}
            inside = np.ones(full, bool)
            for a, k in moved.items():
                inside &= (k >= 0) & (k < a.size)
            return self.shift(x, e.axes, moved, inside, fill)
        if e.op == "spread":
            (x,), (cut, fill) = e.args, e.attr
            inside, env = np.ones(full, bool), {}
            for new, old, low, step in cut:
                k = self.affine(axis_aff(new), e.axes) - low
                inside &= (k >= 0) & (k % step == 0) & (k // step < old.size)
                env[old] = k // step
            if any(old.size == 0 for _, old, _, _ in cut):
                return np.full(full, fill, dtype)
            return self.shift(x, e.axes, env, inside, fill)
        if e.op == "concat":
            new, parts = e.attr
            out = np.zeros(full, dtype)
            for x, (old, start) in zip(e.args, parts, strict=True):
                k = self.affine(axis_aff(new), e.axes) - start
                inside = (k >= 0) & (k < old.size)
                if old.size:
                    out = np.where(inside, self.shift(x, e.axes, {old: k}, inside, 0), out)
            return out
        if e.op == "fold":
            out = np.zeros(full, dtype)
            (x,) = e.args
            for taps in itertools.product(*(range(w[2].size) for w in e.attr)):
                inside, env = np.ones(full, bool), {}
                for (new, o, t, stride, dilation, low), tap in zip(e.attr, taps, strict=True):
                    k = self.affine(axis_aff(new), e.axes) - dilation * tap + low
                    inside &= (k % stride == 0) & (k // stride >= 0) & (k // stride < o.size)
                    env[o], env[t] = k // stride, np.full(full, tap)
                out = out + self.shift(x, e.axes, env, inside, 0)
            return out.astype(dtype)
        if e.op == "scatter":
            (idx, x), (new, over, _) = e.args, e.attr
            kept = tuple(a for a in e.axes if a is not new)
            both = (*over, *kept)
            out = np.zeros((new.size, *(len(self.places(a)) for a in kept)), dtype)
            rows = np.clip(self.spread(self.known[idx], idx.axes, both), 0, max(new.size - 1, 0))
            grid = np.meshgrid(*(np.arange(len(self.places(a))) for a in kept), indexing="ij")
            if rows.size:
                np.add.at(out, (rows, *grid), self.spread(self.known[x], x.axes, both))
            moved = np.moveaxis(out, 0, -1)
            return self.spread(moved, (*kept, new), e.axes)
        if e.op in ("cum", "sort", "argsort"):
            axis = e.attr[1] if e.op == "cum" else e.attr[0]
            value = self.spread(self.known[e.args[0]], e.args[0].axes, e.axes)
            if axis not in e.axes:
                exclusive = e.op == "cum" and e.attr[3]
                unit = 0 if e.attr[0] == "sum" else 1
                return np.full(full, unit, dtype) if exclusive or e.op == "argsort" else value
            k = e.axes.index(axis)
            if e.op != "cum":
                found = getattr(np, e.op)(value, k, kind="stable")
                return found.astype(dtype)
            op = TABLE["cumsum" if e.attr[0] == "sum" else "cumprod"]
            assert op.meaning is not None
            return op.meaning(value, k, *e.attr[2:])
        if e.op in ("random", "uniform"):
            if e.op == "uniform":
                return uniform_of_bits(np.ascontiguousarray(self.known[e.args[0]]))
            flat = self.affine(e.attr[1], e.axes)
            op = TABLE["random_bits"]
            assert op.meaning is not None
            words = op.meaning(
                *(self.known[a] for a in e.args), e.attr[0], (int(flat.max(initial=0)) + 1,)
            )
            return words[flat]
        args = [self.spread(self.known[a], a.axes, e.axes) for a in e.args]
        types = tuple(Type(a.dtype, full) for a in e.args)
        attrs = e.attr
        node = Node(TABLE[e.op], (), attrs, TABLE[e.op].result_types(types, attrs))
        return apply(node, args)[0]


def region(c: Case, folds: bool = True) -> tuple[Region, list[Buf], list[Buf], Node] | None:
    """The one region of a case; None where it takes several kernels or none."""
    graph, arrays = graph_for(c)
    if c.op is fused or (c.op.name == "contract" and any(0 in a.shape for a in arrays)):
        return None
    graph = fuse(decompose(graph), lambda node, group: "")
    if (
        len(graph.nodes) != 1
        or graph.nodes[0].op is not fused
        or set(graph.inputs) != set(graph.nodes[0].inputs)
    ):
        return None
    node = graph.nodes[0]
    order = {v: k for k, v in enumerate(node.inputs)}
    ins = [Buf(f"x{order[v]}", v.shape, v.dtype) for v in node.inputs]
    outs = [Buf(f"y{k}", v.shape, v.dtype) for k, v in enumerate(node.outs)]
    by_value = dict(zip(node.inputs, ins, strict=True))
    found = region_of(node.attrs[0], ins, outs, folds)
    position = {v: k for k, v in enumerate(node.outs)}
    return (
        found,
        [by_value[v] for v in graph.inputs],
        [outs[position[v]] for v in graph.outputs],
        node,
    )


def run(
    found: Region, ins: list[Buf], outs: list[Buf], arrays: Any, schedule: Schedule
) -> list[Array]:
    memory = dict(zip(ins, arrays, strict=True))
    for buf in outs:
        memory[buf] = np.full(buf.shape, 77, NUMPY[buf.dtype])
    with np.errstate(all="ignore"):
        Machine(memory).run(lower(found, schedule))
    return [memory[b] for b in outs]


REGIONS = [c for c in CASES if region(c) is not None]


def test_nearly_every_op_is_one_region() -> None:
    several = {c.op.name for c in CASES} - {c.op.name for c in REGIONS}
    assert several <= {
        "scan", "lstm", "gru", "sparse_cross_entropy", "fused", "reshape", "stop_gradient",
    }  # fmt: skip


@pytest.mark.parametrize("c", REGIONS, ids=lambda c: c.id)
def test_a_region_means_what_its_graph_means(c: Case) -> None:
    graph, arrays = graph_for(c)
    expected = interpret(graph, arrays)
    for folds in (True, False):
        made = region(c, folds)
        assert made is not None
        found, ins, outs, _ = made
        schedules = [Schedule()]
        for a in found.order:
            if a.size > 1:
                schedules += [Schedule((Group((a,), "loop", n),)) for n in (1, 2)]
        looped = [Group((a,), "loop", 1) for a in found.order if a.size > 1]
        schedules += [Schedule(tuple(p)) for p in itertools.permutations(looped[:2])]
        for schedule in schedules:
            try:
                got = run(found, ins, outs, arrays, schedule)
            except ValueError as e:
                assert "at once" in str(e) or "in parts" in str(e), schedule
                continue
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=str(schedule))
