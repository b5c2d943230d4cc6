"""Bookkeeping of Layer, Variable and Trace: weights and their order, training, masks, losses, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile.layers as layers
import kcompile.ops as ops
from ir.graph import Role
from ir.interpret import interpret
from ir.types import Type
from kcompile.errors import KCError, KCTypeError, KCValueError
from kcompile.input_layer import Input
from kcompile.layer import Layer
from kcompile.trace import Trace
from kcompile.variable import Variable

X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)


class Linear(Layer):
    """A dense layer by hand."""

    def __init__(self, units: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.count.assign_add(1.0)
        return ops.matmul(x, self.w) + self.b


class Block(Layer):
    """Sublayers in attributes, lists and dicts."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.stack = [Linear(3), Linear(2)]
        self.more = {"a": Linear(2, name="last")}
        self.scale = Variable(np.float32(2.0), name="scale")

    def call(self, x: Any) -> Any:
        for layer in self.stack:
            x = layer(x)
        return self.more["a"](x) * self.scale


def test_weights_in_order_trainable_first() -> None:
    layer = Linear(name="mine")
    assert not layer.built
    y = layer(X)
    assert y.shape == (3, 2)
    assert [v.name for v in layer.weights] == ["w", "b", "count"]
    assert [v.path for v in layer.trainable_weights] == ["mine/w", "mine/b"]
    layer.trainable = False
    assert [v.name for v in layer.weights] == ["w", "b", "count"]
    assert layer.trainable_weights == []
    assert layer.count_params() == 4 * 2 + 2 + 1


def test_sublayers_in_lists_and_dicts_and_paths() -> None:
    block = Block(name="block")
    block(X)
    assert [v.path for v in block.weights] == [
        "scale", "block/linear/w", "block/linear/b", "block/linear/count", "block/linear_1/w", "block/linear_1/b",
        "block/linear_1/count", "block/last/w", "block/last/b", "block/last/count",
    ] or [v.path.rpartition("/")[2] for v in block.weights] == ["scale", *["w", "b", "count"] * 3]  # fmt: skip
    weights = block.get_weights()
    block.set_weights([w + 1 for w in weights])
    np.testing.assert_array_equal(block.get_weights()[1], weights[1] + 1)


def test_set_weights_checks_first() -> None:
    layer = Linear()
    layer(X)
    before = layer.get_weights()
    with pytest.raises(KCValueError, match="KC204"):
        layer.set_weights([before[0] + 1, before[1][:1], before[2]])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_training_reaches_inner_layers() -> None:
    seen = []

    class Probe(Layer):
        def call(self, x: Any, training: Any = None) -> Any:
            seen.append(training)
            return x

    class Outer(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.probe = Probe()

        def call(self, x: Any) -> Any:
            return self.probe(x)

    outer = Outer()
    with Trace() as t:
        x = t.data("x", Type("f32", (3, 4)))
        outer(x)
        outer(x, training=True)
        outer.probe(x, training=False)
    assert seen == [None, True, False]


def test_eager_call_updates_state() -> None:
    layer = Linear()
    layer(X, training=True)
    layer(X, training=True)
    layer(X)
    assert float(layer.count) == 2.0


def test_trace_of_a_layer_is_a_step_graph() -> None:
    layer = Linear(name="lin")
    layer(X)
    with Trace() as t:
        x = t.data("x", Type("f32", (3, 4)))
        y = layer(x, training=True)
        graph, variables = t.finish("step", [y])
    assert [r.kind for r in graph.roles] == ["state"] * 3 + ["data"]
    assert graph.roles[-1] == Role("data", "x")
    assert {n.at for n in graph.nodes} == {"lin"}
    outs = interpret(graph, [v.array for v in variables] + [X])
    assert outs[[v.name for v in variables].index("count")] == 1.0
    np.testing.assert_allclose(outs[-1], layer(X), rtol=1e-6)


def test_add_loss_and_regularizers() -> None:
    class Penalised(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(2, kernel_regularizer="l2")

        def call(self, x: Any) -> Any:
            y = self.inner(x)
            self.add_loss(ops.mean(y))
            return y

    layer = Penalised()
    with Trace() as t:
        x = t.data("x", Type("f32", (3, 4)))
        layer(x)
        assert len(layer.losses) == 2
    layer(X)
    assert len(layer.losses) == 2


def test_masks_travel_and_are_dropped() -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    emb = layers.Embedding(5, 4, mask_zero=True)
    y = emb(ids)
    np.testing.assert_array_equal(y._keras_mask, ids != 0)
    z = layers.Dense(2)(y)
    np.testing.assert_array_equal(z._keras_mask, ids != 0)

    class Deaf(Layer):
        def call(self, x: Any) -> Any:
            return x * 2.0

    with pytest.warns(UserWarning, match="mask"):
        Deaf()(y)


def test_errors_name_layer_and_line() -> None:
    with pytest.raises(KCValueError) as e:
        layers.Dense(3, name="head")(np.ones(4, "float32"))
    assert (
        "head" in str(e.value) and "test_layer.py" in str(e.value) and "what to do" in str(e.value)
    )

    class Broken(Layer):
        def call(self, x: Any) -> Any:
            return ops.matmul(x, np.ones((5, 2), "float32"))

    with pytest.raises(KCValueError, match="KC102") as e:
        Broken(name="broken")(X)
    assert "broken" in str(e.value)
    with pytest.raises(ZeroDivisionError) as z:

        class Other(Layer):
            def call(self, x: Any) -> Any:
                return 1 / 0

        Other(name="other")(X)
    assert any("other" in n for n in z.value.__notes__)


def test_missing_super_init() -> None:
    class Forgot(Layer):
        def __init__(self) -> None:
            self.inner = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    with pytest.raises(KCError, match="super"):
        Forgot()(X)


def test_symbolic_tensors_have_no_truth() -> None:
    x = Input((4,))
    for use in (bool, float, int, np.asarray, list):
        with pytest.raises(KCTypeError, match="KC101"):
            use(x > 0 if use is bool else x)


def test_leaked_tensor() -> None:
    with Trace() as t:
        x = t.data("x", Type("f32", (3,)))
    with pytest.raises((KCTypeError, ValueError)):
        np.asarray(x)
    with pytest.raises(KCTypeError, match="KC105"):
        ops.exp(x)


def test_variable_contract() -> None:
    v = Variable(np.arange(3.0), name="v")
    assert v.dtype == "float64" or v.dtype == "float32"
    v.assign_add(1)
    v.assign_sub(np.ones(3))
    np.testing.assert_array_equal(v.numpy(), [0, 1, 2])
    with pytest.raises(KCValueError, match="KC108"):
        v.assign(np.ones(4))
    np.testing.assert_array_equal(np.asarray(v + 1), [1, 2, 3])
    assert float(v[1]) == 1.0


def test_constants_are_states_or_rebuilt() -> None:
    table = np.arange(12.0, dtype="float32").reshape(3, 4) ** 2
    with Trace() as t:
        x = t.data("x", Type("f32", (3, 4)))
        y = x + table + np.ones((3, 4), "float32") + np.arange(4)
        graph, variables = t.finish("step", [y])
    assert [v.path.startswith("constant/") for v in variables] == [True]
    np.testing.assert_allclose(
        interpret(graph, [table, X])[-1], X + table + 1 + np.arange(4), rtol=1e-6
    )


def test_random_draws_differ_by_site_and_step() -> None:
    with Trace() as t:
        x = t.data("x", Type("f32", (64,)))
        a, b = kcompile.random.dropout(x, 0.5), kcompile.random.dropout(x, 0.5)
        graph, variables = t.finish("step", [a, b])
    assert [v.path for v in variables] == ["random/seed", "random/step"]
    ones = np.ones(64, "float32")
    states = [np.uint32(1), np.uint32(0)]
    seed, step, m1, m2 = interpret(graph, [*states, ones])
    assert step == 1 and not np.array_equal(m1, m2)
    *_, m3, _ = interpret(graph, [seed, step, ones])
    assert not np.array_equal(m1, m3)
    assert set(np.unique(m1)) == {0.0, 2.0}


def test_random_statistics() -> None:
    from kcompile.random import SeedGenerator, normal, randint, truncated_normal, uniform

    g = SeedGenerator(3)
    for draw in (
        lambda: normal((5000,), 1.0, 2.0, seed=g),
        lambda: uniform((5000,), -1, 3, seed=g),
    ):
        eager = np.asarray(draw())
        with Trace() as t:
            graph, variables = t.finish("d", [draw()])
        traced = interpret(graph, [v.array for v in variables])[-1]
        for found in (eager, traced):
            assert abs(found.mean() - 1.0) < 0.15
            assert found.dtype == np.float32
    assert np.abs(truncated_normal((5000,), seed=g)).max() <= 2
    assert set(np.unique(randint((500,), 2, 5, seed=g))) == {2, 3, 4}
    np.testing.assert_array_equal(uniform((4,), seed=7), uniform((4,), seed=7))


def test_scan_and_loops() -> None:
    xs = np.arange(5, dtype="float32")
    w = np.float32(2.0)
    carry, ys = ops.scan(lambda c, x: (c + x * w, c), np.float32(0), xs)
    assert float(carry) == 20.0
    np.testing.assert_array_equal(ys, [0, 0, 2, 6, 12])

    def traced(n: Any) -> Any:
        return ops.fori_loop(0, 3, lambda i, v: v * 2.0 + ops.cast(i, "float32"), n)

    assert float(ops.map(traced, np.ones(1, "float32"))[0]) == 12.0
    i, s = ops.while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, s + i), (0, 0))
    assert (int(i), int(s)) == (4, 6)


def test_layer_config_round_trip() -> None:
    layer = Linear(5, name="abc")
    config = layer.get_config()
    assert config["units"] == 5 and config["name"] == "abc"
    again = Linear.from_config(config)
    assert again.units == 5 and again.name == "abc"


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(KCTypeError, match="KC107"):
        Linear(2, batch_input_shape=(None, 3))
    with pytest.raises(ValueError, match="KC207"):
        Linear(2, name="a/b")


def test_compute_output_shape_and_mixed_precision() -> None:
    assert Linear(7).compute_output_shape((None, 3)) == (None, 7)
    layer = layers.Dense(3, dtype="mixed_bfloat16")
    y = layer(Input((4,)))
    assert y.dtype == "bfloat16" and layer.kernel.storage_dtype == "float32"
    half = layers.Dense(3, dtype="mixed_float16")
    assert np.asarray(half(X)).dtype == np.float16
