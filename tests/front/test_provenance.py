"""Layer paths go with the nodes through every pass, into kernels and ONNX names; names never reach sources and keys."""

from __future__ import annotations

from typing import Any

import pytest

import kcompile.layers as layers
from codegen.pipeline import generate
from codegen.program import Program
from ir.bind import bind
from ir.graph import Graph
from ir.key import key
from ir.pipeline import optimise, stages
from kcompile.dump import program_of
from kcompile.export import to_onnx
from kcompile.fit.runner import step_function
from kcompile.input_layer import Input
from kcompile.model import Model
from kcompile.sequential import Sequential
from kcompile.specimen import specimen

NAMES = ("alpha", "beta", "gamma", "delta")


def model(names: tuple[str, ...] = NAMES) -> Any:
    """A convolution, a nested model of two layers, and a head."""
    first, inner, second, head = names
    x = Input((8, 8, 1))
    part = Sequential([layers.Dense(4, "tanh", name=second), layers.Flatten()], name=inner)
    h = layers.Conv2D(4, 3, activation="relu", name=first)(x)
    m = Model(x, layers.Dense(3, "softmax", name=head)(part(h)))
    m.compile("adam", "sparse_categorical_crossentropy")
    return m


def traced(m: Any) -> Graph:
    graph = step_function(m, "train").trace(*specimen(m, "train")).graph
    return bind(graph, N=8)


PATHS = {"alpha", "beta/gamma", "delta", "loss", "optimizer"}
BACK = {"alpha:grad", "beta/gamma:grad", "delta:grad"}


def paths(graph: Graph) -> set[str]:
    return {n.at for n in graph.nodes}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return traced(model())


def test_through_every_pass(graph: Graph) -> None:
    for name, after in stages(graph):
        missing = (PATHS | BACK) - paths(after)
        assert not missing, name
        assert "" not in paths(after), name


def test_into_kernels(graph: Graph) -> None:
    program = generate(optimise(graph))
    assert all(k.at and all(k.at) for k in program.kernels)
    assert {p for k in program.kernels for p in k.at} >= PATHS | BACK
    assert {"alpha/kernel", "beta/gamma/bias"} <= {b.path for b in program.buffers}


def test_into_onnx_names() -> None:
    pytest.importorskip("onnx")
    proto = to_onnx(model())
    roots = ("alpha", "beta/", "delta")
    odd = [n.name for n in proto.graph.node if not n.name.startswith(roots)]
    assert not [n for n in odd if not n.startswith("output")]
    assert {"alpha/kernel", "beta/gamma/kernel", "delta/bias"} <= {
        i.name for i in proto.graph.initializer
    }


def test_names_reach_neither_sources_nor_keys() -> None:
    ours, others = model(), model(("eins", "zwei", "drei", "vier"))
    assert key(traced(ours)) == key(traced(others))
    a, b = (program_of(m) for m in (ours, others))
    assert a.source == b.source
    assert not [n for n in (*NAMES, "optimizer", "adam") if n in a.source]
    assert a.key == b.key and a != b
    assert Program.from_json(a.to_json()) == a
