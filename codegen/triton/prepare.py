"""What the Triton target makes of a step graph before its nodes are grouped: attention and the sorting of long lines in nodes of their
own; sorting of short lines, gradients of lookups along lines, running products of what comes before, and running sums and extremes of long rows in terms of ops that
have kernels.

A value's place in a sorted line is the number of those before it: that is a sum, and what stands at a place is another. Refuses to fuse.
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.triton.attention import attention
from codegen.triton.positions import LARGE
from codegen.triton.schedule import PERSISTENT, SORTED
from ir import ops
from ir.graph import Graph, Node, Value, graph_of
from ir.ops.fused import fused
from ir.rewrite import Replacement, clone, map_bodies, rewrite

SHORT = 64  # positions of a line that is sorted by comparing each with each, inside other kernels
COMPARED = 1 << 25  # updates times places of lines' gradients that are compared each with each
STRETCH = 1024  # positions of a long line that are summed up together


def prepare(graph: Graph) -> Graph:
    """`graph`, in which what has a kernel of its own is one `fused` node, and every op has a kernel."""
    return attention(rewrite(map_bodies(graph, prepare), _rule))


def _rule(n: Node) -> Replacement:
    name = n.op.name
    if name in ("sort", "argsort") and n.outs[0].type.size:
        x, axis = n.inputs[0], n.attr("axis")
        sorting = _sorted if x.shape[axis] <= SHORT else _in_order
        return sorting(x, axis, name == "argsort")
    if name == "scatter_along":
        return _flat(n)
    if name == "cumprod" and n.attr("exclusive") and n.outs[0].type.size:
        return _cumprod(n.inputs[0], n.attr("axis"), n.attr("reverse"))
    if name in ("argmax", "argmin", "cumsum", "cumprod"):
        (x,) = n.inputs
        if x.shape[n.attr("axis")] > PERSISTENT and x.type.size and x.dtype != "bool":
            return _place(x, n) if name.startswith("arg") else _running(x, n)
    return None


def _place(x: Value, n: Node) -> Value:
    """The place of the extreme of a row that no program holds whole: the least of those that have it, or of the NaN."""
    axis: int = n.attr("axis")
    rest = tuple(a for a in range(x.type.rank) if a != axis)
    reduce = ops.reduce_max if n.op.name == "argmax" else ops.reduce_min
    where = ops.iota(shape=x.shape, axis=axis, dtype=n.outs[0].dtype)
    none = ops.full(value=x.shape[axis], shape=x.shape, dtype=where.dtype)
    nan = None
    if x.type.is_float:
        nan = ops.is_nan(x)
        worst = -float("inf") if n.op.name == "argmax" else float("inf")
        x = ops.select(nan, ops.full(value=worst, shape=x.shape, dtype=x.dtype), x)
    (best,) = alone([x], [reduce(x, axes=(axis,))])
    here = ops.eq(x, ops.broadcast(best, shape=x.shape, axes=rest))
    first: Value = ops.reduce_min(ops.select(here, where, none), axes=(axis,))
    if nan is None:
        return first
    wrong = ops.reduce_min(ops.select(nan, where, none), axes=(axis,))
    found = ops.lt(wrong, ops.full(value=x.shape[axis], shape=wrong.shape, dtype=wrong.dtype))
    out: Value = ops.select(found, wrong, first)
    return out


def _running(x: Value, n: Node) -> Value:
    """A running sum or product of a long line: of stretches, times or plus what all stretches before come to."""
    axis, reverse, exclusive = n.attr("axis"), n.attr("reverse"), n.attr("exclusive")
    total = n.op.name == "cumsum"
    rank, length = x.type.rank, x.shape[axis]
    parts = -(-length // STRETCH)
    unit = 0 if total else 1
    high = tuple(parts * STRETCH - length if a == axis else 0 for a in range(rank))
    none = (0,) * rank
    whole = ops.pad(x, low=none, high=high, interior=none, value=unit)
    shape = (*x.shape[:axis], parts, STRETCH, *x.shape[axis + 1 :])
    lines: Value = ops.reshape(whole, shape=shape)
    op = ops.cumsum if total else ops.cumprod
    inner = op(lines, axis=axis + 1, reverse=reverse, exclusive=exclusive)
    reduce = ops.reduce_sum if total else ops.reduce_prod
    (each,) = alone([lines], [reduce(lines, axes=(axis + 1,))])
    before = (
        ops.cumsum(each, axis=axis, reverse=reverse, exclusive=True)
        if total
        else _cumprod(each, axis, reverse)
    )
    (inner,) = alone([lines], [inner])
    (before,) = alone([each], [before])
    axes = tuple(a for a in range(rank + 1) if a != axis + 1)
    join = ops.add if total else ops.mul
    both = join(inner, ops.broadcast(before, shape=shape, axes=axes))
    out: Value = ops.slice_(
        ops.reshape(both, shape=whole.shape), start=none, stop=x.shape, step=(1,) * rank
    )
    return out


def _sorted(x: Value, axis: int, positions: bool) -> Value:
    """x sorted along an axis, or the positions that sort it: stable, NaN last."""
    rank = x.type.rank
    perm = (*(a for a in range(rank) if a != axis), axis)
    line: Value = ops.transpose(x, perm=perm)
    n = x.shape[axis]
    shape = (*line.shape, n)
    rows = tuple(range(rank - 1))
    own = ops.broadcast(line, shape=shape, axes=(*rows, rank - 1))
    other = ops.broadcast(line, shape=shape, axes=(*rows, rank))
    i, j = (ops.iota(shape=shape, axis=a, dtype="i32") for a in (rank - 1, rank))
    before = ops.logical_or(
        _less(other, own), ops.logical_and(ops.lt(j, i), ops.logical_not(_less(own, other)))
    )
    counted = ops.reduce_sum(ops.cast(before, dtype="i32"), axes=(rank,))
    (place,) = alone([line], [counted])
    here = ops.eq(ops.broadcast(place, shape=shape, axes=(*rows, rank - 1)), j)
    what = i if positions else own
    found: Value = ops.reduce_sum(ops.select(here, what, ops.zeros_like(what)), axes=(rank - 1,))
    out: Value = ops.transpose(found, perm=tuple(perm.index(a) for a in range(rank)))
    return out


class Sorting(Graph):
    """The body of the kernels that sort lines: one node, `sort` or `argsort` of [lines, n] along n."""

    __slots__ = ()


def _in_order(x: Value, axis: int, positions: bool) -> Value:
    """Like `_sorted`, in n log n."""
    rank, n = x.type.rank, x.shape[axis]
    perm = (*(a for a in range(rank) if a != axis), axis)
    along = axis == rank - 1
    line = x if along else ops.transpose(x, perm=perm)
    given = ops.reshape(line, shape=(line.type.size // n, n))
    inner = Value(given.type, None, 0, x.name)
    result = (ops.argsort if positions else ops.sort)(inner, axis=1)
    body = Sorting("sorting", [inner], [result.node], [result])
    (found,) = Node(fused, (given,), (body, ()), [result.type]).outs
    out: Value = ops.reshape(found, shape=line.shape)
    return out if along else ops.transpose(out, perm=tuple(map(perm.index, range(rank))))


def _flat(n: Node) -> Value | None:
    """A `scatter_along` of many long lines as a `scatter_add` into all of them, one behind another; None where comparing each update
    with each place is quick."""
    idx, updates = n.inputs
    axis, extent, atomic = n.attrs
    rank, length = idx.type.rank, idx.shape[axis]
    lines = idx.type.size // max(length, 1)
    compared = idx.type.size * extent
    if lines < 2 or length <= SORTED or compared <= COMPARED or lines * extent > LARGE:
        return None
    perm = (*(a for a in range(rank) if a != axis), axis)
    shape, flat = (lines, length), (lines * length,)
    own, given = (ops.reshape(ops.transpose(v, perm=perm), shape=shape) for v in (idx, updates))
    least, most = (ops.full(value=k, shape=shape, dtype=idx.dtype) for k in (0, extent - 1))
    own = ops.cast(ops.minimum(ops.maximum(own, least), most), dtype="i32")
    before = ops.mul(
        ops.iota(shape=shape, axis=0, dtype="i32"),
        ops.full(value=extent, shape=shape, dtype="i32"),
    )
    at = ops.reshape(ops.add(before, own), shape=flat)
    summed = ops.scatter_add(
        at, ops.reshape(given, shape=flat), axis=0, extent=lines * extent, atomic=atomic
    )
    whole = (*(idx.shape[a] for a in perm[:-1]), extent)
    out: Value = ops.reshape(summed, shape=whole)
    return ops.transpose(out, perm=tuple(map(perm.index, range(rank))))  # type: ignore[no-any-return]


class Alone(Graph):
    """The body of a kernel that nothing joins: its results are needed whole."""

    __slots__ = ()


def alone(inputs: Sequence[Value], outputs: Sequence[Value]) -> tuple[Value, ...]:
    """`outputs` of `inputs` by a kernel of their own."""
    given = [Value(v.type, None, 0, v.name) for v in inputs]
    results = clone(outputs, dict(zip(inputs, given, strict=True)))
    made = graph_of("alone", given, results)
    body = Alone(made.name, made.inputs, made.nodes, made.outputs)
    return Node(fused, tuple(inputs), (body, ()), [v.type for v in outputs]).outs


def _less(x: Value, y: Value) -> Value:
    out: Value = ops.lt(x, y)
    if x.type.is_float:
        out = ops.logical_or(out, ops.logical_and(ops.is_nan(y), ops.logical_not(ops.is_nan(x))))
    return out


def _cumprod(x: Value, axis: int, reverse: bool) -> Value:
    """The product of those before (behind, if reverse): a running product of the line, moved by one."""
    rank, n = x.type.rank, x.shape[axis]
    shape = tuple(1 if a == axis else d for a, d in enumerate(x.shape))
    one = ops.full(value=1.0 if x.type.is_float else 1, shape=shape, dtype=x.dtype)
    if n == 1:
        return one  # type: ignore[no-any-return]
    first = int(reverse)
    start = tuple(first if a == axis else 0 for a in range(rank))
    stop = tuple(d - 1 + first if a == axis else d for a, d in enumerate(x.shape))
    rest = ops.slice_(x, start=start, stop=stop, step=(1,) * rank)
    parts = (rest, one) if reverse else (one, rest)
    out: Value = ops.cumprod(ops.concat(*parts, axis=axis), axis=axis, reverse=reverse)
    return out
