"""From a fused body to a `Region`: expressions over named axes, with affine loads.

Axes come from `ir.spaces`: what corresponds is one axis, what a reshape splits is several. Refuses to
hold schedules and any target; what a region cannot say (`scan`, composites) never comes here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region, Store, axis_aff, load, union_axes
from codegen.reindex import at, renamed
from ir.graph import Graph, Node, Value
from ir.ops.contract import letters
from ir.spaces import Extent, Mismatch, Spaces, free_of_axes, labels

REDUCE = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod"}
OPAQUE = ("scan",)


def region_of(
    body: Graph, inputs: Sequence[Buf], outputs: Sequence[Buf], fold_gradients: bool = True
) -> Region:
    """The region that computes `body` from `inputs` into `outputs`.

    fold_gradients: spell the input gradient of a convolution as a product and a `fold` (else as a
    product that reads its operand at shifted positions, which needs stride 1).
    Raises Mismatch when two axes of a value inside become one.
    """
    return _Builder(body, inputs, fold_gradients).run(outputs)


class _Builder:
    def __init__(self, body: Graph, inputs: Sequence[Buf], fold_gradients: bool):
        self.body, self.fold_gradients = body, fold_gradients
        self.bufs: Mapping[Value, Buf] = dict(zip(body.inputs, inputs, strict=True))
        self.spaces = Spaces()
        self.uses: dict[tuple[Node, int], list[Extent]] = {}
        self.axes: dict[Extent, Axis] = {}
        self.known: dict[Value, E] = {}

    def run(self, outputs: Sequence[Buf]) -> Region:
        for node in self.body.nodes:
            self.spaces.tie(node, [self.extents(node, k) for k in range(len(node.inputs))])
        for node in self.body.nodes:
            given = [self.extents(node, k) for k in range(len(node.inputs))]
            if not self.spaces.apart(node, given) or not all(map(self.spaces.distinct, node.outs)):
                raise Mismatch(f"two axes of {node!r} are one")
        for node in self.body.nodes:
            args = [self.operand(node, k) for k in range(len(node.inputs))]
            self.known[node.outs[0]] = self.expression(node, args)
        stores = []
        for v, buf in zip(self.body.outputs, outputs, strict=True):
            if v in self.known:
                idx = tuple(self.aff(e) for e in self.spaces.dims(v))
                stores.append(Store(buf, idx, self.known[v]))
            else:  # an input handed through
                fresh = [Axis(f"i{k}", n) for k, n in enumerate(buf.shape)]
                same = tuple(axis_aff(a) for a in fresh)
                stores.append(Store(buf, same, load(self.bufs[v], same)))
        region = Region(stores)
        region.order = self.order(region)
        return region

    def extents(self, node: Node, k: int) -> list[Extent]:
        """The extents of operand k: those of the value, or, of an input or a constant, of this use."""
        v = node.inputs[k]
        if v not in self.bufs and not free_of_axes(v):
            return self.spaces.dims(v)
        found = self.uses.get((node, k))
        if found is None:
            found = self.uses[node, k] = [Extent(d) for d in v.shape]
        return found

    def axis(self, leaf: Extent) -> Axis:
        found = self.axes.get(leaf)
        if found is None:
            found = self.axes[leaf] = Axis(f"i{len(self.axes)}", leaf.size)
        return found

    def leaves(self, e: Extent) -> list[Axis]:
        return [self.axis(leaf) for leaf in self.spaces.leaves(e)]

    def aff(self, e: Extent) -> Aff:
        """The position along an axis: its factors, the most significant first."""
        out, step = Aff(), 1
        for a in reversed(self.leaves(e)):
            out = out + Aff(((a, step),))
            step *= a.size
        return out

    def single(self, e: Extent) -> Axis:
        """The axis of an extent that is not split (a fresh one of size 1 where it has none)."""
        found = self.leaves(e)
        if len(found) == 1:
            return found[0]
        if found:
            raise Mismatch("an indexed axis is split")
        return self.axis(self.spaces.find(e))

    def operand(self, node: Node, k: int) -> E:
        v = node.inputs[k]
        if v not in self.bufs:
            return self.known[v]
        if node.op.name in ("gather", "take_along") and k == 0:
            return E("load", (), (self.bufs[v], (), None), v.dtype, ())  # indexed by the node
        return load(self.bufs[v], tuple(self.aff(e) for e in self.extents(node, k)))

    # -- nodes ------------------------------------------------------------------------------------

    def expression(self, node: Node, args: list[E]) -> E:
        """What `node` computes, over the axes of its result."""
        op, out = node.op.name, node.outs[0]
        dims = self.spaces.dims(out)
        axes = tuple(a for e in dims for a in self.leaves(e))
        if op in ("full", "size"):
            return E("const", (), (node.attrs[0],), out.dtype, ())
        if op == "iota":
            form = self.aff(dims[node.attrs[1]])
            return E("iota", (), (form,), out.dtype, tuple(a for a, _ in form.terms))
        if op in ("random_bits", "random_uniform"):
            flat, step = Aff(), 1
            for e, n in zip(reversed(dims), reversed(out.shape), strict=True):
                flat = flat + self.aff(e) * step
                step *= n
            bits = E("random", tuple(args), (node.attrs[0], flat), "u32", axes)
            return bits if op == "random_bits" else E("uniform", (bits,), (), "f32", axes)
        if op in ("broadcast", "reshape", "transpose", "stop_gradient"):
            return args[0]
        if op in REDUCE:
            over = tuple(a for i in node.attrs[0] for a in self.leaves(self.extents(node, 0)[i]))
            return self.red(REDUCE[op], args[0], over, node)
        if op in ("argmax", "argmin"):
            over = tuple(self.leaves(self.extents(node, 0)[node.attrs[0]]))
            if not over:
                return E("const", (), (0,), "i32", ())
            return E("argred", (args[0],), (op[3:], over), "i32", union_axes(args, over))
        if op in ("cumsum", "cumprod"):
            a = self.single(dims[node.attrs[0]])
            return E("cum", (args[0],), (op[3:], a, *node.attrs[1:]), out.dtype, axes)
        if op in ("sort", "argsort"):
            return E(op, (args[0],), (self.single(dims[node.attrs[0]]),), out.dtype, axes)
        if op in ("slice", "flip", "unfold"):
            return self.reindexed(node, args[0], axes)
        if op == "pad":
            low, _, interior, value = node.attrs
            cut = tuple(
                (
                    self.single(dims[i]),
                    self.single(self.extents(node, 0)[i]),
                    low[i],
                    interior[i] + 1,
                )
                for i in self.cut(node)
            )
            return E("spread", (args[0],), (cut, value), out.dtype, axes) if cut else args[0]
        if op == "concat":
            k = node.attrs[0]
            parts, start = [], 0
            for j, v in enumerate(node.inputs):
                parts.append((self.single(self.extents(node, j)[k]), start))
                start += v.shape[k]
            return E("concat", tuple(args), (self.single(dims[k]), tuple(parts)), out.dtype, axes)
        if op == "contract":
            return self.contract(node, args)
        if op == "fold":
            src = self.extents(node, 0)
            m = len(node.attrs[0])
            wins = tuple(
                (
                    self.single(dims[w[0]]),
                    self.single(src[w[0]]),
                    self.single(src[len(src) - m + k]),
                    *w[2:5],
                )
                for k, w in enumerate(node.attrs[0])
            )
            return E("fold", (args[0],), wins, out.dtype, axes)
        if op in ("gather", "take_along"):
            return self.gather(node, args, axes)
        if op == "scatter_add":
            rows = self.extents(node, 1)
            a = node.attrs[0]
            over = tuple(x for e in rows[a : a + node.inputs[0].type.rank] for x in self.leaves(e))
            where = (self.single(dims[a]), over, node.attr("atomic"))
            return E("scatter", (args[0], args[1]), where, out.dtype, axes)
        if op == "scatter_along":
            a = node.attrs[0]
            old = self.single(self.extents(node, 1)[a])
            where = (self.single(dims[a]), (old,), node.attr("atomic"))
            return E("scatter", (args[0], args[1]), where, out.dtype, axes)
        if op == "eq":
            found = first_extreme(args[0], args[1]) or first_extreme(args[1], args[0])
            if found is not None:
                return found
        assert not node.op.is_composite and op not in OPAQUE, f"{op} in a region"
        return E(op, tuple(args), node.attrs, out.dtype, union_axes(args))

    def cut(self, node: Node) -> list[int]:
        """The axes of the result that are another axis than the operand's."""
        ins, outs, _ = labels(node)
        return [i for i, name in enumerate(outs[0]) if i < len(ins[0]) and ins[0][i] != name]

    def red(self, fn: str, x: E, over: tuple[Axis, ...], node: Node) -> E:
        """A reduction; axes that `x` does not have repeat it."""
        repeats = 1
        for a in over:
            if a not in x.axes:
                repeats *= a.size
        own = tuple(a for a in over if a in x.axes)
        out = E("red", (x,), (fn, own), x.dtype, union_axes((x,), own)) if own else x
        return (
            repeated(out, repeats, "mul" if fn == "sum" else "power")
            if fn in ("sum", "prod")
            else out
        )

    def reindexed(self, node: Node, x: E, axes: tuple[Axis, ...]) -> E:
        """slice, flip, unfold: the operand at affine positions."""
        src, dims = self.extents(node, 0), self.spaces.dims(node.outs[0])
        env: list[tuple[Axis, Aff]] = []
        fill: Any = None
        if node.op.name == "unfold":
            windows, fill = node.attrs
            for k, (axis, _, stride, dilation, low, _) in enumerate(windows):
                o, t = self.single(dims[axis]), self.single(dims[len(src) + k])
                env.append((self.single(src[axis]), Aff(((o, stride), (t, dilation)), -low)))
        else:
            for i in self.cut(node):
                o, old = self.single(dims[i]), self.single(src[i])
                if node.op.name == "slice":
                    env.append((old, Aff(((o, node.attrs[2][i]),), node.attrs[0][i])))
                else:
                    env.append((old, Aff(((o, -1),), o.size - 1)))
        return at(x, env, fill, axes)

    def gather(self, node: Node, args: list[E], axes: tuple[Axis, ...]) -> E:
        table, idx = args
        a = node.attrs[0]
        dims, extents = self.spaces.dims(node.outs[0]), self.extents(node, 0)
        if table.op == "load" and node.inputs[0] in self.bufs:
            rows: list[Any] = [self.aff(e) for e in extents]
            rows[a] = 0
            if node.op.name == "gather":
                return load(table.attr[0], tuple(rows), (idx,))
            rows = [self.aff(e) for e in dims]
            rows[a] = 0
            return load(table.attr[0], tuple(rows), (idx,))
        raise Mismatch("a table that is computed in the region cannot be indexed there")

    def contract(self, node: Node, args: list[E]) -> E:
        spec, windows, _, precision = node.attrs
        lx, ly, lr = letters(spec)
        home: dict[str, tuple[int, Extent]] = {}
        for k, part in enumerate((lx, ly)):
            for c, e in zip(part, self.extents(node, k), strict=True):
                home.setdefault(c, (k, e))
        result = dict(zip(lr, self.spaces.dims(node.outs[0]), strict=True))
        x, y = args
        over = [a for c in lx + ly if c not in lr and home[c][0] == (0 if c in lx else 1)
                for a in self.leaves(home[c][1])]  # fmt: skip
        over = list(dict.fromkeys(over))
        folds: list[tuple[Any, ...]] = []
        env: tuple[list[tuple[Axis, Aff]], list[tuple[Axis, Aff]]] = ([], [])
        for i, o, t, stride, dilation, low in windows:
            if i in home:  # forward (o in the result) or weight gradient (t in the result)
                k, e = home[i]
                wi = self.single(e)
                wo = self.single(result[o] if o in result else home[o][1])
                wt = self.single(result[t] if t in result else home[t][1])
                env[k].append((wi, Aff(((wo, stride), (wt, dilation)), -low)))
                over = [a for a in over if a is not wi]
                over += [a for a, c in ((wo, o), (wt, t)) if c in home and a not in over]
            elif stride == 1 and not self.fold_gradients:
                k, e = home[o]
                wi, wo, wt = self.single(result[i]), self.single(e), self.single(home[t][1])
                over = [a for a in over if a is not wo]
                if wt.size > 1:  # taps backwards, so that a window is read forwards
                    last, tap = wt.size - 1, Axis(f"{wt.name}r", wt.size)
                    env[home[t][0]].append((wt, Aff(((tap, -1),), last)))
                    over = [tap if a is wt else a for a in over]
                    env[k].append((wo, Aff(((wi, 1), (tap, dilation)), low - dilation * last)))
                else:
                    env[k].append((wo, Aff(((wi, 1),), low)))
            else:
                wo, wt = self.single(home[o][1]), self.single(home[t][1])
                folds.append((self.single(result[i]), wo, wt, stride, dilation, low))
                over = [a for a in over if a is not wo and a is not wt]
        operands = [at(v, es, 0) if es else v for v, es in zip((x, y), env, strict=True)]
        have = union_axes(operands)
        summed = tuple(a for a in over if a.size > 1 and a in have)
        repeats = math.prod(a.size for a in over if a not in have)
        axes = union_axes(operands, summed)
        dtype = node.outs[0].dtype
        product = E("dot", tuple(operands), (precision, summed), dtype, axes)
        if not folds:
            return repeated(product, repeats)
        kept = tuple(a for a in axes if all(a is not w[1] and a is not w[2] for w in folds))
        folded = E("fold", (product,), tuple(folds), dtype, (*kept, *(w[0] for w in folds)))
        return repeated(folded, repeats)

    # -- order ------------------------------------------------------------------------------------

    def order(self, region: Region) -> tuple[Axis, ...]:
        """Every axis; those of the largest stores first, as they stand there.

        The taps of what is folded come before all, so that each tap is a stretch of memory; those of a product
        that is folded come before its channels. What is folded stands where the result does.
        """
        seen: dict[Axis, None] = {}
        beside: dict[Axis, tuple[Axis, ...]] = {}
        for e in region.nodes():
            if e.op == "fold":
                beside.update((w[0], (w[1],)) for w in e.attr)
                taps = [w[2] for w in e.attr]
                if e.args[0].op == "dot":
                    last = e.attr[-1]
                    beside[last[0]] = (last[1], *taps)
                else:
                    seen.update((t, None) for t in taps)
        for s in sorted(region.stores, key=lambda s: -_size(s.buf.shape)):
            for i in s.idx:
                for a, _ in sorted(i.terms, key=lambda t: -abs(t[1])):
                    seen.setdefault(a)
                    for b in beside.get(a, ()):
                        seen.setdefault(b)
        nodes = region.nodes()
        for e in reversed(nodes):
            if e.op == "load":
                for i in e.attr[1]:
                    if isinstance(i, Aff):
                        for a, _ in sorted(i.terms, key=lambda t: -abs(t[1])):
                            seen.setdefault(a)
        for e in nodes:
            for a in e.axes:
                seen.setdefault(a)
        return tuple(seen)


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def repeated(x: E, times: int, op: str = "mul") -> E:
    """`x` times (or to the power of) a number of repetitions."""
    if times == 1:
        return x
    value: Any = float(times) if x.dtype.startswith(("f", "b")) else times
    return E(op, (x, E("const", (), (value,), x.dtype, ())), (), x.dtype, x.axes)


def first_extreme(iota: E, where: E) -> E | None:
    """`position == argmax(x)` as one expression, where the positions run over the axes of the argmax."""
    if iota.op != "iota" or where.op != "argred":
        return None
    fn, over = where.attr
    (form,) = iota.attr
    here = [a for a, _ in sorted(form.terms, key=lambda t: -t[1])]
    steps = [math.prod(a.size for a in over[k + 1 :]) for k in range(len(over))]
    alike = [a.size for a in here] == [a.size for a in over] and [
        c for _, c in sorted(form.terms, key=lambda t: -t[1])
    ]
    x = where.args[0]
    if alike != steps or form.const or any(a in x.axes for a in here):
        return None
    moved = renamed(x, dict(zip(over, here, strict=True)))
    if any(a not in moved.axes for a in here):
        return None  # repeated along positions: its axes are not those of the result
    return E("first", (moved,), (fn, tuple(here)), "bool", moved.axes)
