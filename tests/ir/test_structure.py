"""Rewriting, cloning, binding, keys, and the verifier."""

from __future__ import annotations

import numpy as np
import pytest

import ir.ops as ops
from ir.bind import bind, dim_names
from ir.dims import dim
from ir.graph import Graph, Node, Role, Value, at, graph_of, here
from ir.interpret import interpret
from ir.key import equal, key
from ir.op import IRError
from ir.rewrite import clone, map_bodies, rewrite, with_inputs
from ir.text import parse
from ir.types import Type
from ir.verify import verify


def vec(n: object = 4, dtype: str = "f32", name: str = "x") -> Value:
    return Value(Type(dtype, (n,)), name=name)


# -- rewrite --------------------------------------------------------------------------------------


def test_rewrite_shares_what_it_does_not_touch() -> None:
    x = vec()
    a = ops.exp(x)
    b = ops.tanh(a)
    c = ops.sin(b)
    g = graph_of("f", [x], [a, c])
    assert rewrite(g, lambda n: None) is g
    out = rewrite(g, lambda n: ops.sigmoid(n.inputs[0]) if n.op.name == "tanh" else None)
    assert out.nodes[0] is g.nodes[0]
    assert [n.op.name for n in out.nodes] == ["exp", "sigmoid", "sin"]
    assert [n.op.name for n in g.nodes] == ["exp", "tanh", "sin"]


def test_replacements_inherit_name_and_path_and_place() -> None:
    x = vec()
    with at("layer"):
        y = ops.exp(x)
    y.name = "y"
    z = ops.tanh(y)
    seen = []

    def rule(n: Node) -> Value | None:
        seen.append(here())
        return ops.neg(ops.neg(n.inputs[0])) if n.op.name == "exp" else None

    out = rewrite(graph_of("f", [x], [z]), rule)
    assert [n.op.name for n in out.nodes] == ["neg", "neg", "tanh"]
    assert [n.at for n in out.nodes] == ["layer", "layer", ""]
    assert out.nodes[1].outs[0].name == "y"
    assert seen[0] == "layer"
    assert here() == ""


def test_rules_see_their_own_replacements_until_none_applies() -> None:
    x = vec()
    chain = {"exp": ops.tanh, "tanh": ops.sin, "sin": ops.cos}
    g = graph_of("f", [x], [ops.exp(x)])

    def rule(n: Node) -> Value | None:
        found = chain.get(n.op.name)
        return None if found is None else found(n.inputs[0])

    assert rewrite(g, rule).nodes[0].op.name == "cos"
    assert rewrite(g, rule, again=False).nodes[0].op.name == "tanh"


def test_a_rule_that_does_not_settle_is_an_error() -> None:
    x = vec()
    g = graph_of("f", [x], [ops.exp(x)])
    with pytest.raises(IRError, match="settle"):
        rewrite(g, lambda n: ops.exp(n.inputs[0]))


def test_a_replacement_of_another_type_is_an_error() -> None:
    x = vec()
    g = graph_of("f", [x], [ops.exp(x)])
    with pytest.raises(IRError, match="type"):
        rewrite(g, lambda n: ops.cast(n.inputs[0], dtype="f64") if n.op.name == "exp" else None)
    with pytest.raises(IRError, match="2 values"):
        rewrite(g, lambda n: (n.inputs[0], n.inputs[0]))


def test_ambient_path_is_restored_after_an_error() -> None:
    x = vec()
    with at("layer"):
        g = graph_of("f", [x], [ops.exp(x)])
    with pytest.raises(ZeroDivisionError):
        rewrite(g, lambda n: 1 // 0)  # type: ignore[arg-type,return-value]
    assert here() == ""


def test_clone() -> None:
    x, y = vec(), vec(name="y")
    k = ops.full(value=2.0, shape=(4,), dtype="f32")
    a = ops.mul(x, k)
    b = ops.add(a, y)
    (c,) = clone([b], {x: y})
    assert c is not b
    assert c.node.inputs[0].node.inputs[1] is k, "what does not depend on x is shared"
    assert clone([b], {}) == [b]
    g = graph_of("g", [y], [c])
    np.testing.assert_array_equal(interpret(g, [np.float32([1, 2, 3, 4])])[0], [3, 6, 9, 12])


def test_with_inputs_infers_types_anew() -> None:
    x, y = vec(4), vec(5)
    n = ops.exp(x).node
    assert with_inputs(n, (y,)).outs[0].type is y.type


def test_a_shared_body_is_mapped_once() -> None:
    h = vec(name="h")
    body = graph_of("b", [h], [ops.exp(h)])
    x = vec()
    y = ops.scan(
        ops.scan(x, body=body, carries=1, xs=0, length=2), body=body, carries=1, xs=0, length=2
    )
    calls = []

    def again(g: Graph) -> Graph:
        calls.append(g)
        return g.replace(name="c")

    out = map_bodies(graph_of("f", [x], [y]), again)
    assert len(calls) == 1
    assert out.nodes[0].attr("body") is out.nodes[1].attr("body")


# -- bind -----------------------------------------------------------------------------------------

NAMED = """
def step(h: f32[N, 2], x: f32[N, 2]):
    a = add(h, x)
    return a, a,

def f(h: f32[N, 2], xs: f32[T, N, 2]):
    a, ys = scan(h, xs, body=step, carries=1, xs=1, length=T)
    m = reduce_sum(ys, axes=(0, 1))
    n = size(dim=N*T, dtype=f32)
    c = broadcast(n, shape=(2,), axes=())
    d = div(m, c)
    r = reshape(ys, shape=(N*T, 2))
    return d, r,
"""


def test_bound_graph_equals_the_static_one() -> None:
    g = parse(NAMED)
    b = bind(g, N=3, T=4)
    verify(b)
    text = NAMED.replace(
        "n = size(dim=N*T, dtype=f32)", "n = full(value=12.0, shape=(), dtype=f32)"
    )
    static = parse(text.replace("N*T", "12").replace("N", "3").replace("T", "4"))
    assert equal(b, static)
    assert dim_names(b) == frozenset()
    assert dim_names(g) == {"N", "T"}
    rng = np.random.default_rng(0)
    operands = [rng.random((3, 2), np.float32), rng.random((4, 3, 2), np.float32)]
    for u, v in zip(interpret(g, operands), interpret(b, operands), strict=True):
        np.testing.assert_array_equal(u, v)


def test_binding_some_names() -> None:
    g = bind(parse(NAMED), N=3)
    verify(g)
    assert dim_names(g) == {"T"}
    assert bind(g, T=4).inputs[1].shape == (4, 3, 2)
    assert equal(bind(bind(parse(NAMED), T=dim("M")), M=4, N=3), bind(parse(NAMED), N=3, T=4))


def test_bind_keeps_what_has_no_name() -> None:
    x, y = vec(4), vec(dim("N"), name="y")
    g = graph_of("f", [x, y], [ops.exp(x), ops.exp(y)])
    b = bind(g, N=4)
    assert b.inputs[0] is x
    assert b.nodes[0] is g.nodes[0]
    assert b.inputs[1].name == "y"
    assert bind(g) is g


@pytest.mark.parametrize("given", [{"M": 1}, {"N": -1}])
def test_bind_errors(given: dict[str, int]) -> None:
    with pytest.raises(IRError, match="bind"):
        bind(parse(NAMED), **given)


# -- key ------------------------------------------------------------------------------------------


def test_key_ignores_names_and_paths() -> None:
    a = parse('def f(x: f32 = state("p")):\n    y = exp(x, at="a")\n    return y,')
    b = parse('def g(z: f32 = state("q")):\n    w = exp(z, at="b")\n    return w,')
    assert key(a) == key(b)
    assert not equal(a, b), "state paths differ"


@pytest.mark.parametrize(
    "one, two",
    [
        ("x: f32", "x: f64"),
        ("exp", "tanh"),
        ("return y,", "return x,"),
        ("return y,", "return y, y,"),
        ("value=1.0", "value=1"),
        ("value=1.0", "value=-1.0"),
        ("x: f32", 'x: f32 = data("x")'),
        ('x: f32 = data("x")', 'x: f32 = state("x")'),
    ],
)
def test_key_sees_structure(one: str, two: str) -> None:
    text = "def f(x: f32):\n    k = full(value=1.0, shape=(), dtype=f32)\n    y = exp(x)\n    return y,"
    base = text if one in text else text.replace("x: f32", one)
    assert key(parse(base)) == key(parse(base))
    assert key(parse(base)) != key(parse(base.replace(one, two, 1)))


# -- verify ---------------------------------------------------------------------------------------


def test_verify_accepts_a_step() -> None:
    w, x = vec(name="w"), vec()
    verify(graph_of("f", [w, x], [ops.add(w, x)], [Role("state", "w"), Role("data", "x")]))


def test_verify_errors() -> None:
    x, y = vec(), vec(name="y")
    a = ops.exp(x)
    b = ops.tanh(a)
    late = Graph("f", [x], [b.node, a.node], [b])
    twice = Graph("f", [x, x], [a.node], [a])
    free = Graph("f", [x], [], [y])
    computed = Graph("f", [a], [b.node], [b])
    again = Graph("f", [x], [a.node, a.node], [a])
    states = Graph("f", [x, y], [], [x], [Role("data", "x"), Role("state", "y")])
    short = Graph("f", [x], [], [], [Role("state", "x")])
    other = Graph("f", [x], [], [ops.size(dim=2, dtype="f32")], [Role("state", "x")])
    other = other.replace(nodes=[other.outputs[0].node])
    for graph, why in (
        (late, "before it is defined"), (twice, "occurs twice"), (free, "not defined"),
        (computed, "is computed by"), (again, "occurs twice"), (states, "states must be"),
        (short, "next value"), (other, "its next value"),
    ):  # fmt: skip
        with pytest.raises(IRError, match=why):
            verify(graph)


def test_verify_checks_types_attributes_and_bodies() -> None:
    x = vec()
    wrong = Node(ops.exp, (x,), (), [Type("f32", (5,))])
    with pytest.raises(IRError, match="the type rule gives"):
        verify(Graph("f", [x], [wrong], wrong.outs))
    wide = Node(ops.reduce_sum, (x,), ([0],), [Type("f32")])
    with pytest.raises(IRError, match="normal form"):
        verify(Graph("f", [x], [wide], wide.outs))
    many = Node(ops.exp, (x, x), (), [x.type])
    with pytest.raises(IRError, match="takes 1 operands"):
        verify(Graph("f", [x], [many], many.outs))
    h = vec(name="h")
    body = Graph("b", [h], [], [vec()])
    loop = Node(ops.scan, (x,), (body, 1, 0, 2, False), [x.type])
    with pytest.raises(IRError, match="graph 'b'"):
        verify(Graph("f", [x], [loop], loop.outs))
