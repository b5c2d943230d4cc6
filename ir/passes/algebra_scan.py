"""Rules of `simplify` for `scan`: what does not move leaves the loop.

A carry that keeps its value becomes a constant, carries that are always equal become one, equal operands and equal results become one, constant
operands move into the body, and work on constants alone moves out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ir.graph import Graph, Node, Role, Value
from ir.ops.movement import broadcast
from ir.ops.scan import scan
from ir.passes.fold import constant, filled
from ir.rewrite import Replacement, clone, with_inputs

# made again at each step for nothing, or next to nothing
_STAYS = frozenset(("full", "iota", "size", "broadcast", "reshape", "transpose"))


class _Loop:
    """A scan taken apart: operands and results by kind, beside the values that are theirs in the body."""

    def __init__(self, n: Node):
        self.node = n
        body: Graph = n.attr("body")
        n_c, n_x = n.attr("carries"), n.attr("xs")
        self.body, self.length, self.reverse = body, n.attr("length"), n.attr("reverse")
        pairs = list(zip(body.inputs, n.inputs, strict=True))
        self.carries = [(*p, after) for p, after in zip(pairs[:n_c], body.outputs, strict=False)]
        self.xs, self.consts = pairs[n_c : n_c + n_x], pairs[n_c + n_x :]
        self.ys = list(body.outputs[n_c:])

    def build(
        self,
        carries: Sequence[tuple[Value, Value, Value]],
        xs: Sequence[tuple[Value, Value]],
        consts: Sequence[tuple[Value, Value]],
        ys: Sequence[Value],
        env: dict[Value, Value],
    ) -> tuple[Value, ...]:
        """The results of the scan with these parts; values of the body in `env` are replaced in it."""
        outputs = clone([*(c[2] for c in carries), *ys], env)
        inputs = [*(c[0] for c in carries), *(x[0] for x in xs), *(k[0] for k in consts)]
        body = _body(self.body, inputs, outputs)
        operands = [*(c[1] for c in carries), *(x[1] for x in xs), *(k[1] for k in consts)]
        node = scan.node(
            tuple(operands),
            scan.normalise(
                {
                    "body": body, "carries": len(carries), "xs": len(xs), "length": self.length,
                    "reverse": self.reverse,
                }
            ),
        )  # fmt: skip
        return node.outs


def _body(old: Graph, inputs: Sequence[Value], outputs: Sequence[Value]) -> Graph:
    """A body for `outputs`: the nodes of the old one that are left, and the new ones, in order."""
    known = set(inputs)
    seen: set[Node] = set()
    todo = [v.node for v in outputs if v.node is not None and v not in known]
    while todo:
        n = todo.pop()
        if n not in seen:
            seen.add(n)
            todo.extend(v.node for v in n.inputs if v.node is not None and v not in known)
    nodes = sorted(seen, key=lambda n: n.serial)
    return Graph(old.name, inputs, nodes, outputs, (Role(),) * len(inputs))


def _scan(n: Node) -> Replacement:
    for rule in (_still_carries, _one_carry, _settled_operands, _equal_results, _hoist):
        found = rule(_Loop(n))
        if found is not None:
            return found
    return None


def _still_carries(s: _Loop) -> Replacement:
    """A carry whose next value is itself is a constant, and its final value the first one."""
    still = [c for c in s.carries if c[0] is c[2]]
    if not still:
        return None
    moving = [c for c in s.carries if c[0] is not c[2]]
    consts = [*s.consts, *((c[0], c[1]) for c in still)]
    if not moving and not s.ys:
        return tuple(c[1] for c in s.carries)
    outs = iter(s.build(moving, s.xs, consts, s.ys, {}))
    finals = [c[1] if c[0] is c[2] else next(outs) for c in s.carries]
    return (*finals, *outs)


def one_carry(n: Node) -> Replacement:
    """A scan with two carries that are always equal as one with one; None for any other node."""
    return _one_carry(_Loop(n)) if n.op is scan else None


def _one_carry(s: _Loop) -> Replacement:
    """Of two carries with one next value, one goes where both begin alike, or where it is never read."""
    read = {v for n in s.body.nodes for v in n.inputs} | set(s.body.outputs)
    steps = isinstance(s.length, int) and s.length > 0
    for j, (inner, start, after) in enumerate(s.carries):
        for i, other in enumerate(s.carries):
            alike = other[1] is start and i < j
            if i != j and other[2] is after and (alike or (steps and inner not in read)):
                kept = [c for k, c in enumerate(s.carries) if k != j]
                outs = s.build(kept, s.xs, s.consts, s.ys, {inner: other[0]})
                n = len(kept)
                same = outs[i - (i > j)]
                return (*outs[:j], same, *outs[j:n], *outs[n:])
    return None


def _settled_operands(s: _Loop) -> Replacement:
    """Operands that are uniform constants, given twice, or the same at each step."""
    env: dict[Value, Value] = {}
    xs: list[tuple[Value, Value]] = []
    consts: list[tuple[Value, Value]] = []
    repeated: dict[Value, tuple[Value, Value, tuple[int, ...]]] = {}
    for inner, operand in s.xs:
        made = operand.node
        if made is not None and made.op.name == "broadcast" and 0 not in made.attrs[1]:
            stands = Value(made.inputs[0].type, None, 0, inner.name)
            repeated[inner] = (stands, made.inputs[0], tuple(a - 1 for a in made.attrs[1]))
        else:
            _keep(inner, operand, xs, env)
    for inner, operand in (*s.consts, *((stands, o) for stands, o, _ in repeated.values())):
        _keep(inner, operand, consts, env)
    for inner, (stands, _, axes) in repeated.items():
        one = env.get(stands, stands)
        plain = axes == tuple(range(inner.type.rank))
        env[inner] = one if plain else broadcast(one, shape=inner.shape, axes=axes)
    return s.build(s.carries, xs, consts, s.ys, env) if env else None


def _keep(
    inner: Value, operand: Value, kept: list[tuple[Value, Value]], env: dict[Value, Value]
) -> None:
    """Add an operand to those kept, or say in `env` what its value in the body is."""
    c = constant(operand)
    same = next((i for i, o in kept if o is operand), None)
    if c is not None:
        env[inner] = filled(c, inner.type)
    elif same is not None:
        env[inner] = same
    else:
        kept.append((inner, operand))


def _equal_results(s: _Loop) -> Replacement:
    """Stacked results that are equal, or are an operand."""
    of_xs = dict(s.xs)
    of_consts = dict(s.consts)
    kept: list[Value] = []
    for v in s.ys:
        if v not in kept and v not in of_xs and v not in of_consts:
            kept.append(v)
    if len(kept) == len(s.ys):
        return None
    outs = s.build(s.carries, s.xs, s.consts, kept, {})
    n_c = len(s.carries)
    ys = []
    for v in s.ys:
        if v in of_xs:
            ys.append(of_xs[v])
        elif v in of_consts:
            shape = (s.length, *v.shape)
            axes = tuple(range(1, len(shape)))
            ys.append(broadcast(of_consts[v], shape=shape, axes=axes))
        else:
            ys.append(outs[n_c + kept.index(v)])
    return (*outs[:n_c], *ys)


def _hoist(s: _Loop) -> Replacement:
    """Nodes of the body that read nothing but constants, unless they are next to free."""
    outer = dict(s.consts)
    moved: dict[Value, Value] = {}
    settled = set(outer)
    for n in s.body.nodes:
        if not n.inputs or any(v not in settled and v not in outer for v in n.inputs):
            continue
        if n.op.name in _STAYS:
            continue
        copy = with_inputs(n, tuple(outer[v] for v in n.inputs))
        for old, new in zip(n.outs, copy.outs, strict=True):
            outer[old] = new
            moved[old] = new
    if not moved:
        return None
    env = {v: Value(v.type, None, 0, v.name) for v in moved}
    consts = [*s.consts, *((env[v], o) for v, o in moved.items())]
    return s.build(s.carries, s.xs, consts, s.ys, env)


SCAN: dict[str, Callable[[Node], Replacement]] = {"scan": _scan}
