"""The text form: exact strings, what reads back, and one error with its line for what does not."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

import ir.ops as ops
from ir.dims import dim
from ir.graph import Graph, Role, Value, at, graph_of
from ir.key import equal
from ir.op import IRError
from ir.text import TextError, dump, identifier, named, parse, quoted
from ir.types import Type
from ir.verify import verify

DENSE = """\
def step(w: f32[3, 4] = state("dense/kernel"), x: f32[N, 3] = data("x")) -> (f32[3, 4], f32[N, 4],):
    z: f32[N, 4] = contract(x, w, spec="mk,kn->mn", at="dense")
    return w, z,
"""


def dense() -> Graph:
    w = Value(Type("f32", (3, 4)), name="w")
    x = Value(Type("f32", (dim("N"), 3)), name="x")
    with at("dense"):
        z = ops.contract(x, w, spec="mk,kn->mn")
    z.name = "z"
    return graph_of("step", [w, x], [w, z], [Role("state", "dense/kernel"), Role("data", "x")])


def test_exact_text() -> None:
    assert dump(dense()) == DENSE
    back = parse(DENSE)
    assert equal(back, dense())
    assert [v.name for v in back.inputs] == ["w", "x"]
    assert back.nodes[0].at == "dense"


def test_ambient_path_is_not_taken_over() -> None:
    with at("elsewhere"):
        assert parse(DENSE.replace(', at="dense"', "")).nodes[0].at == ""


@pytest.mark.parametrize(
    "value, dtype, shown",
    [
        (0.1, "f32", "0.1"), (-0.0, "f32", "-0.0"), (math.inf, "f32", "inf"), (-math.inf, "f32", "-inf"),
        (math.nan, "f32", "nan"), (1e-45, "f64", "1e-45"), (True, "bool", "True"), (-7, "i32", "-7"),
        (2**63, "u64", str(2**63)), (1.0, "f32", "1.0"), (1, "f32", "1"),
    ],
)  # fmt: skip
def test_scalars(value: object, dtype: str, shown: str) -> None:
    v = ops.full(value=value, shape=(), dtype=dtype)
    text = dump(graph_of("f", [], [v]))
    assert f"full(value={shown}, shape=(), dtype={dtype})" in text
    back = parse(text).nodes[0].attr("value")
    assert type(back) is type(v.node.attr("value"))
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "path",
    ["a/b c", 'q"uote', "back\\slash", "new\nline", "tab\t", "é", "\u2028", "\x00", "😀", "\ud800"],
)
def test_paths_are_strings_of_any_kind(path: str) -> None:
    x = Value(Type("f32"), name=path)
    with at(path):
        y = ops.exp(x)
    g = graph_of(path, [x], [y], [Role("data", path)])
    text = dump(g)
    back = parse(text)
    assert back.roles == g.roles
    assert back.nodes[0].at == path
    assert dump(back) == text
    assert quoted(path).isprintable()


def test_names_are_distinct_identifiers() -> None:
    t = Type("f32")
    inputs = [
        Value(t, name=n)
        for n in ("a", "a", "add", "for", "1st", "f32", "data", "", "a/b", "inf", "f")
    ]
    out = inputs[0]
    for v in inputs[1:]:
        out = ops.add(out, v)
        out.name = "a"
    g = graph_of("f", inputs, [out])
    back = parse(dump(g))
    assert equal(back, g)
    assert len({v.name for v in back.inputs}) == len(inputs)
    assert identifier("1st layer/kernel") == "_1st_layer_kernel"


def test_names_stay_when_something_else_changes() -> None:
    x = Value(Type("f32", (2,)), name="x")
    a, b = ops.exp(x), ops.tanh(x)
    long = named(graph_of("f", [x], [a, b]))
    short = graph_of("f", [x], [b])
    assert set(dump(short).splitlines()[1:-1]) < set(dump(long).splitlines())


def test_dimensions() -> None:
    n, t = dim("N"), dim("T")
    for d in (
        n,
        n * t,
        n + 1,
        2 * n - t,
        n // 2,
        (n * t + 3) // 4,
        n * n,
        (n + t) // (t - 1),
        -n + 5,
        n // 2 * 3,
    ):
        x = Value(Type("f32", (d, 2)), name="x")
        g = graph_of("f", [x], [ops.exp(x)])
        assert parse(dump(g)).inputs[0].type is x.type, dump(g)


def test_inputs_without_a_role_after_those_with_one() -> None:
    t = Type("f32")
    x, y = Value(t, name="x"), Value(t, name="y")
    g = graph_of("f", [x, y], [ops.add(x, y)], [Role("data", "x"), Role()])
    assert "y: f32 = unnamed()" in dump(g)
    assert equal(parse(dump(g)), g)


def test_empty_graphs() -> None:
    g = graph_of("f", [], [])
    assert dump(g) == "def f() -> ():\n    return ()\n"
    assert equal(parse(dump(g)), g)


def test_shared_bodies_print_once() -> None:
    h = Value(Type("f32"), name="h")
    body = graph_of("double", [h], [ops.add(h, h)])
    x = Value(Type("f32"), name="x")
    y = ops.scan(x, body=body, carries=1, xs=0, length=2)
    z = ops.scan(y, body=body, carries=1, xs=0, length=3)
    g = graph_of("f", [x], [z])
    text = dump(g)
    assert text.count("def double(") == 1
    back = parse(text)
    assert back.nodes[0].attr("body") is back.nodes[1].attr("body")
    assert equal(back, g)


def test_long_signatures_wrap() -> None:
    inputs = [Value(Type("f32", (100, 100)), name=f"weight{i}") for i in range(20)]
    text = dump(graph_of("f", inputs, inputs))
    assert max(map(len, text.splitlines()[:-2])) <= 100
    assert equal(parse(text), graph_of("f", inputs, inputs))


BAD = [
    ("", 1, "no graph"),
    ("x = 1", 1, "plain `def`"),
    ("def f(:", 1, ""),
    ("def f(x):\n    return x,", 1, "needs a type"),
    ("def f(x: f33):\n    return x,", 1, "a type is expected"),
    ("def f(x: f32[-1]):\n    return x,", 1, "negative extent"),
    ("def f(x: f32[True]):\n    return x,", 1, "an extent"),
    ("def f(x: f32[1.5]):\n    return x,", 1, "an extent"),
    ("def f(x: f32[()]):\n    return x,", 1, "no brackets"),
    ("def f(x: f32[1 // 0]):\n    return x,", 1, ""),
    ("def f(x: f32[N ** 2]):\n    return x,", 1, "only + - * //"),
    ("def f(*x: f32):\n    return x,", 1, "plain parameters"),
    ("def f(x: f32 = 3):\n    return x,", 1, "an input is"),
    ("def f(x: f32):\n    return x", 2, "a tuple"),
    ("def f(x: f32):\n    pass", 2, "ends with"),
    ("def f(x: f32):\n    return y,", 2, "not defined"),
    ("def f(x: f32):\n    y = exp(z)\n    return y,", 2, "not defined"),
    ("def f(x: f32):\n    y = exq(x)\n    return y,", 2, "unknown op"),
    ("def f(x: f32):\n    y = x\n    return y,", 2, "a call"),
    ("def f(x: f32):\n    y = a.b(x)\n    return y,", 2, "a call"),
    ("def f(x: f32):\n    y = exp(x, x)\n    return y,", 2, "operands"),
    ("def f(x: f32):\n    y = exp(x, z=1)\n    return y,", 2, "no attribute"),
    ("def f(x: f32):\n    y = exp(**x)\n    return y,", 2, "`**`"),
    ("def f(x: f32):\n    y = exp(*x)\n    return y,", 2, "a value's name"),
    ("def f(x: f32):\n    y = exp(x, at=3)\n    return y,", 2, "a string"),
    ("def f(x: f32):\n    y: f32[2] = exp(x)\n    return y,", 2, "the type is f32"),
    ("def f(x: f32):\n    x = exp(x)\n    return x,", 2, "twice"),
    ("def f(x: f32):\n    exp = exp(x)\n    return exp,", 2, "reserved"),
    ("def f(x: f32):\n    y, z = exp(x)\n    return y,", 2, "1 results, not 2"),
    ("def f(x: f32):\n    y[0] = exp(x)\n    return y,", 2, "a name"),
    ("def f(x: f32):\n    y += exp(x)\n    return y,", 2, "a statement is"),
    ("def f(x: f32[2]):\n    y = reduce_sum(x, axes=0)\n    return y,", 2, "ints"),
    ("def f(x: f32[2]):\n    y = reduce_sum(x, axes=(5,))\n    return y,", 2, "reduce_sum"),
    ("def f(x: f32[2]):\n    y = reduce_sum(x, axes=f())\n    return y,", 2, "literal"),
    ("def f(x: f32[2]):\n    y = reduce_sum(x)\n    return y,", 2, "needs the attribute"),
    ("def f(x: f32):\n    y = cast(x, dtype=float)\n    return y,", 2, "dtype"),
    ("def f(x: f32):\n    y = scan(x, body=f, carries=1, xs=0, length=2)\n    return y,", 2, "a graph above"),
    ("def f(x: f32) -> (f64,):\n    return x,", 1, "is f32"),
    ("def f(x: f32) -> f32:\n    return x,", 1, "a tuple of 1"),
    ("def g(x: f32):\n    return x,\ndef f(x: f32):\n    return x,", 1, "never called"),
    ("def f(x: f32):\n    return x,\ndef f(x: f32):\n    return x,", 3, "twice"),
    ("@d\ndef f(x: f32):\n    return x,", 1, "plain `def`"),
    ("def f(x: f32[" + "(" * 500 + ")" * 500 + "]):\n    return x,", 1, ""),
    ("def f(x: f32[" + "-" * 5000 + "1]):\n    return x,", 1, ""),
    ("def f(x: f32[" + "+".join(["N*N"] * 500) + "]):\n    return x,", 1, ""),
    ("def f(\x00):\n    return x,", 1, ""),
]  # fmt: skip


@pytest.mark.parametrize("text, line, why", BAD)
def test_malformed(text: str, line: int, why: str) -> None:
    with pytest.raises(TextError) as e:
        parse(text)
    assert why in e.value.why
    assert e.value.line == line or (text.startswith("@") and e.value.line <= 2)
    assert str(e.value).startswith(f"line {e.value.line}: ")


def seeds() -> list[str]:
    cases = Path(__file__).parent.parent.joinpath("passes").glob("*/*.ir")
    return [DENSE, *(t for p in sorted(cases) for t in p.read_text().split("# ---\n"))]


SCRAPS = ["(", ")", ",", ":", "=", "0", "-1", "N", "x", '"a"', "f32", "inf", "None", "*", "//", "[", "]", "\n", "    ",
          "at", "add", "scan", "def f():", "True", "1.5", "1e999", "...", "lambda: 0", "{}", "b''", "0j", "'", "\\"]  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    """A few characters, words or lines of `text` lost, doubled, swapped or replaced by scraps."""
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(text) + 1)
        j = min(len(text), i + rng.choice((0, 1, 1, 2, 5, 20)))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:i] + text[j:]
        elif kind == 1:
            text = text[:i] + rng.choice(SCRAPS) + text[j:]
        elif kind == 2:
            k = rng.randrange(len(text) + 1)
            text = text[:i] + text[k : k + rng.choice((1, 4, 12))] + text[i:]
        else:
            words = text.split(" ")
            a, b = rng.randrange(len(words)), rng.randrange(len(words))
            words[a], words[b] = words[b], words[a]
            text = " ".join(words)
    return text


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_mutated_text_gives_a_graph_or_one_error() -> None:
    rng = random.Random(0)
    texts = seeds()
    read = 0
    for _ in range(3000):
        text = mutated(rng.choice(texts), rng)
        try:
            graph = parse(text)
        except TextError as e:
            assert e.line >= 1
        else:
            read += 1
            verify_quietly(graph)
            assert equal(parse(dump(graph)), graph)
    assert 100 < read < 2900


def verify_quietly(graph: Graph) -> None:
    """Verify, but for states: their next values are not the parser's business."""
    try:
        verify(graph)
    except IRError as e:
        assert "state" in str(e), e


KERNEL = """\
def k0(a: f32[4], b: f32[4]) -> (f32[4], f32[4],):
    add_0: f32[4] = add(a, b)
    exp_0: f32[4] = exp(add_0)
    return add_0, exp_0,


def f(x: f32[4]) -> (f32[4],):
    s, e = k0(x, x, why=("exp: too dear",), at="layer")
    mul_0: f32[4] = mul(s, e)
    return mul_0,
"""


def test_kernels_are_called_by_name() -> None:
    g = parse(KERNEL)
    verify(g)
    assert g.nodes[0].op is ops.fused
    assert g.nodes[0].attr("why") == ("exp: too dear",)
    assert dump(g) == KERNEL
