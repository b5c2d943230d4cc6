"""Attention found in a step graph: scores, softmax and weighted sum as one node, its gradients as two.

The nodes that would write all scores to memory go into `fused` nodes whose body is an `Attention`: a graph with the meaning they
had, and what each operand is. The way back starts from the rows' maxima and sums. Whatever is not exactly this (scores that
something else reads, heads of more than 256 positions) stays as it was. Long, because one match finds the way forward and the way back
together. Refuses to write kernels (`codegen.triton.flash`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from codegen.triton.dropout import Dropout, by_number, dropout_of, number
from codegen.triton.masks import Axes, Mask, parts
from ir import ops
from ir.graph import Graph, Node, Value, graph_of, reachable
from ir.ops.contract import letters
from ir.ops.fused import fused
from ir.types import Type

LARGEST = 256  # positions of a head


class Attention(Graph):
    """The body of a kernel of attention. kind: "forward", "queries" or "keys" (gradients of).

    axes: for each input, and each output, what its dimensions are. t, s: the rows' and the columns' axes of the scores.
    """

    __slots__ = ("axes", "dropout", "fill", "kind", "masks", "operands", "precision", "s", "scale", "score", "t",
                 "zeroed")  # fmt: skip

    kind: str
    # q, k, v, mask0, .., seed, step, g (the result's gradient), m, l (maxima and sums), o, delta: which input
    operands: dict[str, int]
    axes: dict[str, Axes]
    masks: tuple[Mask, ...]
    dropout: Dropout | None
    scale: float  # of the product of queries and keys
    zeroed: bool  # what the mask forbids is no part of the weighted sum, even where it forbids all of a row
    t: int
    s: int
    score: tuple[int, ...]
    precision: str
    fill: float


class _No(Exception):
    """Not attention."""


def attention(graph: Graph) -> Graph:
    """`graph` with each attention in `fused` nodes."""
    users: dict[Value, list[Node]] = {}
    for n in graph.nodes:
        for v in dict.fromkeys(n.inputs):
            users.setdefault(v, []).append(n)
    gone: set[Node] = set()
    placed: dict[Node, list[Node]] = {}
    env: dict[Value, Value] = {}
    place = {n: i for i, n in enumerate(graph.nodes)}
    for n in graph.nodes:
        if n.op.name != "div":
            continue
        try:
            found = _Match(n, users, set(graph.outputs))
        except _No:
            continue
        gone |= found.inside
        for at, nodes, results in found.made(place):
            placed.setdefault(at, []).extend(nodes)
            env.update(results)
    if not gone:
        return graph

    def now(v: Value) -> Value:
        while v in env:
            v = env[v]
        return v

    out: list[Node] = []
    for n in graph.nodes:
        for m in (*placed.get(n, ()), *(() if n in gone else (n,))):
            inputs = tuple(map(now, m.inputs))
            if inputs != m.inputs:
                copy = Node(m.op, inputs, m.attrs, [v.type for v in m.outs], m.at)
                for old, new in zip(m.outs, copy.outs, strict=True):
                    new.name = old.name
                    env[old] = new
                m = copy
            out.append(m)
    return graph.replace(nodes=out, outputs=list(map(now, graph.outputs)))


class _Match:
    """The nodes around one softmax. Raises _No."""

    def __init__(self, div: Node, users: dict[Value, list[Node]], results: set[Value]):
        self.users, self.div = users, div
        self.p = div.outs[0]
        e, total = div.inputs[0], _spread(div.inputs[1])
        self.l = total
        exp = _made(e, "exp")
        add = _made(total, "reduce_sum")
        sub = _made(exp.inputs[0], "sub")
        scores, self.m = sub.inputs[0], _spread(sub.inputs[1])
        top = _made(self.m, "reduce_max")
        if add.inputs[0] is not e or top.inputs[0] is not scores or add.attrs != top.attrs:
            raise _No
        if len(add.attr("axes")) != 1:
            raise _No
        self.s: int = add.attr("axes")[0]
        rank = scores.type.rank
        for v in (div.inputs[1], sub.inputs[1]):
            if _made(v, "broadcast").attr("axes") != tuple(a for a in range(rank) if a != self.s):
                raise _No
        self.masks: list[Mask] = []
        self.cond: Value | None = None
        self.fill = 0.0
        made = scores.node
        if made is not None and made.op.name == "select":
            self.cond, scores, fill = made.inputs
            self.fill = float(_made(fill, "full").attrs[0])
            self.masks = list(parts(self.cond, tuple(range(rank))))
        self.inside: set[Node] = set()
        self.scale = 1.0
        if scores.node is not None and (times := by_number(scores.node, None)):
            self.inside.add(scores.node)
            scores, self.scale = times
        self.first = _made(scores, "contract")
        if self.first.attr("windows"):
            raise _No
        self.axes: dict[str, Axes] = {}
        self.dropout: Dropout | None = None
        self.given = self.p  # what the values are weighted by
        again = [n for n in users.get(self.p, ()) if self._masked(n, self.p)]
        self.zeroed = bool(again)
        if again:
            self.given = again[0].outs[0]
            self.inside.add(again[0])
        dropped = dropout_of(self.given, users)
        if dropped is not None:
            self.dropout, self.given, made_by = dropped
            self.inside.update(made_by)
        self._operands()
        self._weighted()
        inner = {div, exp, add, sub, top, self.first}
        inner |= {x.node for x in (div.inputs[1], sub.inputs[1]) if x.node}
        if made is not None and made is not self.first:
            inner.add(made)
        self.inside |= {*inner, self.second}
        self._back()
        for n in self.inside:
            for v in n.outs:
                outer = [u for u in users.get(v, ()) if u not in self.inside]
                if v in (self.o, *self.gradients):
                    continue
                if outer or v in results:
                    raise _No

    def _masked(self, n: Node | None, v: Value) -> bool:
        """Whether a node makes 0 of what `v` has where the mask forbids it."""
        if self.cond is None or n is None or n.op.name != "select":
            return False
        return n.inputs[0] is self.cond and n.inputs[1] is v and number(n.inputs[2]) == 0

    def _operands(self) -> None:
        """q and k, and which of their dimensions is what."""
        lx, ly, lr = letters(self.first.attr("spec"))
        of = {c: i for i, c in enumerate(lr)}
        a, b = self.first.inputs
        s = lr[self.s]
        (self.q, lq), (self.k, lk) = ((a, lx), (b, ly)) if s in ly else ((b, ly), (a, lx))
        rows = [c for c in lq if c in of and c not in lk]
        summed = [c for c in lq if c not in of]
        batch = {c for c in lr if c in lq and c in lk}
        if s in lq or len(rows) != 1 or len(summed) != 1 or set(lk) != {*batch, s, *summed}:
            raise _No
        self.t = of[rows[0]]
        if len(batch) != len(lr) - 2 or len(set(lq)) != len(lq) or len(set(lk)) != len(lk):
            raise _No
        self.axes["q"] = tuple(of.get(c, "d") for c in lq)
        self.axes["k"] = tuple(of.get(c, "d") for c in lk)
        rest = tuple(i for i in range(len(lr)) if i != self.s)
        for name in "ml":
            self.axes[name] = rest
        if (
            self.q.type.dtype not in ("f32", "f16", "bf16")
            or self.q.shape[lq.index(summed[0])] > LARGEST
        ):
            raise _No

    def _weighted(self) -> None:
        """o = p v, p after its dropout."""
        found = [
            n
            for n in self.users.get(self.given, ())
            if n.op.name == "contract" and not self._same(n)
        ]
        for n in found:
            own = self._product(n, self.given, {self.t}, "v")
            if own is not None:
                self.second = n
                self.v, self.axes["v"], self.axes["o"] = own
                self.o = n.outs[0]
                if self.v.shape[self.axes["v"].index("v")] > LARGEST:
                    raise _No
                return
        raise _No

    def _same(self, n: Node) -> bool:
        return n.inputs[0] is n.inputs[1] or bool(n.attr("windows"))

    def _product(
        self, n: Node, scores: Value, kept: set[int], width: str
    ) -> tuple[Value, Axes, Axes] | None:
        """Of a product of something like the scores: the other operand, its dimensions, and those of the result, which
        keeps the axis `kept` of the scores and has the other operand's own axis `width`."""
        if n.op.name != "contract" or self._same(n):
            return None
        lx, ly, lr = letters(n.attr("spec"))
        x, y = n.inputs
        (lp, other, lo) = (lx, y, ly) if x is scores else (ly, x, lx)
        of = {c: i for i, c in enumerate(lp)}
        own = [c for c in lo if c not in of]
        gone = {of[c] for c in lp if c not in lr}
        want = {self.t, self.s} - kept
        if (
            len(own) != 1
            or own[0] not in lr
            or gone != want
            or set(lo) != {*(c for c in lp if of[c] not in kept), *own}
        ):
            return None
        return other, tuple(of.get(c, width) for c in lo), tuple(of.get(c, width) for c in lr)

    # -- the way back -----------------------------------------------------------------------------

    def _back(self) -> None:
        """The nodes of the gradients, where there are any: all of them or none."""
        self.gradients: list[Value] = []
        self.exact = {self.m, self.l}
        read = {self.p, self.given}
        rest = [n for v in read for n in self.users[v] if n not in self.inside]
        if not rest:
            return
        dv = [n for n in rest if self._product(n, self.given, {self.s}, "v")]
        muls = [n for n in rest if n.op.name == "mul"]
        if len(dv) != 1 or len(muls) != 2 or len(rest) != 3:
            raise _No
        found = self._product(dv[0], self.given, {self.s}, "v")
        assert found is not None
        self.do, self.axes["g"], self.axes["dv"] = found
        for first, last in (muls, muls[::-1]):
            sub = next((v.node for v in last.inputs if v is not self.p), None)
            dp = next((v for v in first.inputs if v is not self.p), None)
            if sub is not None and dp is not None and sub.op.name == "sub" and sub.inputs[0] is dp:
                break
        else:
            raise _No
        total = _made(_spread(sub.inputs[1]), "reduce_sum")
        if total.inputs[0] is not first.outs[0] or total.attr("axes") != (self.s,):
            raise _No
        if self.zeroed:
            chosen = _made(dp, "select")
            if not self._masked(chosen, chosen.inputs[1]):
                raise _No
            dp = chosen.inputs[1]
            self.inside.add(chosen)
        if self.dropout is not None:
            back = self.dropout.behind(dp)
            if back is None:
                raise _No
            dp = back[0]
            self.inside.update(back[1])
        again = _made(dp, "contract")
        if {*again.inputs} != {self.do, self.v} or again.attr("windows"):
            raise _No
        self._check(again)
        self.delta = total.outs[0]
        self.exact.add(self.delta)
        self.axes["delta"] = self.axes["m"]
        ds = last.outs[0]
        self.inside |= {dv[0], first, last, sub, total, again}
        self.inside.add(_made(sub.inputs[1], "broadcast"))
        if self.cond is not None:
            if len(self.users.get(ds, ())) != 1:
                raise _No
            (chosen,) = self.users[ds]
            if not self._masked(chosen, ds):
                raise _No
            ds = chosen.outs[0]
            self.inside.add(chosen)
        if self.scale != 1.0:
            (last,) = self.users[ds]
            if by_number(last, ds) != (ds, self.scale):
                raise _No
            ds = last.outs[0]
            self.inside.add(last)
        ends = {}
        for n in self.users.get(ds, ()):
            for name, other, kept in (("dq", self.k, self.t), ("dk", self.q, self.s)):
                got = self._product(n, ds, {kept}, "d")
                if got is not None and got[0] is other:
                    ends[name] = (n, got[2])
        if len(ends) != 2 or len(self.users.get(ds, ())) != 2:
            raise _No
        self.inside |= {n for n, _ in ends.values()}
        for name, (n, axes) in ends.items():
            self.axes[name] = axes
            setattr(self, name, n.outs[0])
        self.dv = dv[0].outs[0]
        self.gradients = [ends["dq"][0].outs[0], ends["dk"][0].outs[0], self.dv]

    def _check(self, n: Node) -> None:
        """That a product of the result's gradient and v has the scores' axes."""
        lx, ly, lr = letters(n.attr("spec"))
        if len(lr) != len(self.axes["m"]) + 1:
            raise _No
        of = {c: i for i, c in enumerate(lr)}
        for v, part in zip(n.inputs, (lx, ly), strict=True):
            name = "g" if v is self.do else "v"
            if tuple(of.get(c, "v") for c in part) != self.axes[name]:
                raise _No

    # -- the nodes --------------------------------------------------------------------------------

    def made(
        self, place: Mapping[Node, int]
    ) -> Iterable[tuple[Node, list[Node], dict[Value, Value]]]:
        """Nodes to be placed: before which node, which, and what their results stand for."""
        masks = [m.value for m in self.masks if m.value is not None]
        names = ["q", "k", "v", *(f"mask{i}" for i in range(len(masks)))]
        given = [self.q, self.k, self.v, *masks]
        if self.dropout is not None:
            names += ["seed", "step"]
            given += [self.dropout.seed, self.dropout.step]
        outs = {"o": self.o}
        if self.gradients:
            outs |= {"m": self.m, "l": self.l}
        forward = self._node("forward", names, given, outs)
        env = dict(zip(outs.values(), forward.outs, strict=True))
        yield self.second, [forward], env
        if not self.gradients:
            return
        dq, dk, dv = self.gradients
        names = [*names, "g", "m", "l"]
        given = [*given, self.do, self.m, self.l]
        queries = self._node(
            "queries", [*names, "o"], [*given, self.o], {"dq": dq, "delta": self.delta}
        )
        keys = self._node("keys", [*names, "delta"], [*given, self.delta], {"dk": dk, "dv": dv})
        at = min(self.inside & {*self.users[self.do]}, key=place.__getitem__)
        yield at, [queries, keys], {dq: queries.outs[0], self.delta: queries.outs[1],
                                    dk: keys.outs[0], dv: keys.outs[1]}  # fmt: skip

    def _node(
        self, kind: str, names: Sequence[str], given: Sequence[Value], outs: dict[str, Value]
    ) -> Node:
        inputs = {v: Value(self._type(v), None, 0, v.name) for v in given}
        env = {v: _cast(x, v.dtype) for v, x in inputs.items()}
        for n in reachable(outs.values(), set(given)):
            copy = Node(
                n.op, tuple(env[v] for v in n.inputs), n.attrs, [v.type for v in n.outs], n.at
            )
            env.update(zip(n.outs, copy.outs, strict=True))
        results = [_cast(env[v], self._type(v).dtype) for v in outs.values()]
        made = graph_of(kind, list(inputs.values()), results)
        body = Attention(kind, made.inputs, made.nodes, made.outputs)
        body.kind, body.t, body.s = kind, self.t, self.s
        body.operands = dict(zip(names, map(list(inputs).index, given), strict=True))
        body.masks, body.dropout = tuple(self.masks), self.dropout
        body.score = tuple(int(d) for d in self.first.outs[0].shape)
        body.precision = self.first.attr("precision")
        body.fill, body.zeroed, body.scale = self.fill, self.zeroed, self.scale
        body.axes = {name: self.axes[name] for name in (*names, *outs) if name in self.axes}
        types = [self._type(v) for v in outs.values()]
        node = Node(fused, tuple(inputs), (body, ()), types, self.first.at)
        for v, new in zip(outs.values(), node.outs, strict=True):
            new.name = v.name
        return node

    def _type(self, v: Value) -> Type:
        """Of a value outside the kernels: what is of a row, and rounded would be off for all of it, is f32."""
        return v.type.with_dtype("f32") if v in self.exact else v.type


def _made(v: Value, name: str) -> Node:
    if v.node is None or v.node.op.name != name:
        raise _No
    return v.node


def _cast(v: Value, dtype: str) -> Value:
    return v if v.dtype == dtype else ops.cast(v, dtype=dtype)


def _spread(v: Value) -> Value:
    """What a value repeats along other axes."""
    return _made(v, "broadcast").inputs[0]
