"""Functional, Sequential and subclassed models: graphs, weights and configs against real Keras."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.errors import KCError, KCTypeError, KCValueError
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

keras = pytest.importorskip("keras")

rng = np.random.default_rng(0)


def shared(k: Any) -> Any:
    """Two inputs, a shared layer, operators, slices and ops as nodes, two outputs."""
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    d = k.layers.Dense(6, activation="tanh", name="d")
    x, y = d(a), d(b)
    z = k.layers.Concatenate(name="c")([x, y * 2.0 + 1.0])
    z = k.ops.reshape(z, (-1, 3, 4))
    z = k.ops.mean(z, axis=1) - x[:, :4]
    out = k.layers.Dense(2, name="out")(z)
    return k.Model([a, b], [out, k.layers.Add(name="s")([x, y])], name="m")


def residual(k: Any) -> Any:
    i = k.Input((6, 6, 3), name="i")
    x = k.layers.Conv2D(4, 3, padding="same", name="c1")(i)
    x = k.layers.BatchNormalization(name="bn")(x)
    y = k.layers.Activation("relu", name="r")(x)
    y = k.layers.Conv2D(4, 3, padding="same", name="c2")(y)
    x = k.layers.Add(name="add")([x, y])
    x = k.layers.GlobalAveragePooling2D(name="g")(x)
    return k.Model(i, k.layers.Dense(3, activation="softmax", name="o")(x), name="res")


def nested(k: Any) -> Any:
    inner_in = k.Input((4,), name="ii")
    inner = k.Model(inner_in, k.layers.Dense(3, name="id")(inner_in), name="inner")
    i = k.Input((4,), name="i")
    j = k.Input((4,), name="j")
    x = k.layers.Multiply(name="mul")([inner(i), inner(j)])
    return k.Model({"i": i, "j": j}, {"o": k.layers.Dense(1, name="o")(x), "x": x}, name="outer")


def stack(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((5,), name="i"),
            k.layers.Dense(4, activation="relu", name="d1"),
            k.layers.Dense(2, name="d2"),
        ],
        name="seq",
    )


def sequence(k: Any) -> Any:
    i = k.Input((None,), dtype="int32", name="i")
    x = k.layers.Embedding(11, 5, mask_zero=True, name="e")(i)
    x = k.layers.LSTM(4, return_sequences=True, name="l")(x)
    x = k.layers.GlobalAveragePooling1D(name="g")(x)
    return k.Model(i, k.layers.Dense(1, activation="sigmoid", name="o")(x), name="text")


def feeds(model: Any) -> Any:
    def one(t: Any) -> Any:
        shape = [3, *(7 if d is None else d for d in t.shape[1:])]
        return (
            rng.integers(0, 11, shape).astype("int32")
            if "int" in str(t.dtype)
            else rng.normal(size=shape).astype("float32")
        )

    given = model.input
    if isinstance(given, dict):
        return {k: one(t) for k, t in given.items()}
    return [one(t) for t in given] if isinstance(given, (list, tuple)) else one(given)


def flat(x: Any) -> list[np.ndarray[Any, Any]]:
    if isinstance(x, dict):
        return [a for k in sorted(x) for a in flat(x[k])]
    if isinstance(x, (list, tuple)):
        return [a for v in x for a in flat(v)]
    return [np.asarray(x.detach() if hasattr(x, "detach") else x)]


MODELS = [shared, residual, nested, stack, sequence]


def agree(a: Any, b: Any, x: Any) -> None:
    for p, q in zip(flat(a(x)), flat(b(x)), strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("make", MODELS)
def test_same_outputs_and_weight_order(make: Any) -> None:
    theirs, ours = make(keras), make(kcompile)
    assert [v.shape for v in ours.weights] == [tuple(v.shape) for v in theirs.weights]
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    ours.set_weights(theirs.get_weights())
    agree(ours, theirs, feeds(ours))


@pytest.mark.parametrize("make", MODELS)
def test_config_goes_both_ways(make: Any) -> None:
    theirs, ours = make(keras), make(kcompile)
    from_theirs = deserialize_keras_object(
        json.loads(json.dumps(keras.saving.serialize_keras_object(theirs)))
    )
    from_theirs.set_weights(theirs.get_weights())
    x = feeds(ours)
    agree(from_theirs, theirs, x)
    from_ours = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(serialize_keras_object(ours)))
    )
    from_ours.set_weights(ours.get_weights())
    agree(ours, from_ours, x)
    again = kcompile.models.clone_model(ours)
    again.set_weights(ours.get_weights())
    agree(again, ours, x)


@pytest.mark.parametrize("make", MODELS[:-1])
def test_config_equals_keras(make: Any) -> None:
    """Entry for entry, but for masks: Keras writes them as nodes, we find them again when rebuilding."""

    def plain(config: Any) -> Any:
        if isinstance(config, dict):
            return {
                k: plain(v)
                for k, v in config.items()
                if k not in ("compile_config", "build_config", "mask")
            }
        return [plain(v) for v in config] if isinstance(config, (list, tuple)) else config

    keras.utils.clear_session()  # names are made up from 0 on in both
    kcompile.backend.clear_session()
    theirs = plain(json.loads(json.dumps(keras.saving.serialize_keras_object(make(keras)))))
    ours = plain(json.loads(json.dumps(serialize_keras_object(make(kcompile)))))
    assert ours == theirs


def test_dict_and_name_inputs() -> None:
    m = shared(kcompile)
    a, b = feeds(m)
    agree(lambda _: m([a, b]), lambda _: m({"b": b, "a": a}), None)


def test_operators_have_unique_names_in_a_model() -> None:
    i = kcompile.Input((4,))
    m = kcompile.Model(i, (i + 1.0) * (i + 2.0))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(m(x), 2 * 3 * x)
    assert len(m.layers) == 1


def test_subclassed_and_functional_init() -> None:
    class Two(kcompile.Model):
        def __init__(self, units: int = 3, **kwargs: Any):
            super().__init__(**kwargs)
            self.a = kcompile.layers.Dense(units)
            self.b = kcompile.layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.b(self.a(x))

    m = Two()
    assert not m.built
    assert m(np.ones((2, 5), "float32")).shape == (2, 1)
    assert [v.shape for v in m.weights] == [(5, 3), (3,), (3, 1), (1,)]
    assert m.get_config()["units"] == 3 if "units" in m.get_config() else True

    class Fixed(kcompile.Model):
        def __init__(self) -> None:
            i = kcompile.Input((5,))
            super().__init__(inputs=i, outputs=kcompile.layers.Dense(2)(i))

    f = Fixed()
    assert f(np.ones((2, 5), "float32")).shape == (2, 2)
    assert f.outputs[0].shape == (None, 2)


def test_sequential_deferred_add_and_pop() -> None:
    m = kcompile.Sequential()
    m.add(kcompile.layers.Dense(3))
    m.add(kcompile.layers.Dense(2))
    assert not m.built and m.layers[0].name.startswith("dense")
    with pytest.raises(AttributeError):
        m.outputs
    assert m(np.ones((4, 6), "float32")).shape == (4, 2)
    assert m.input_shape == (None, 6) and m.output_shape == (None, 2)
    m.pop()
    assert m.output_shape == (None, 3)
    m.add(kcompile.layers.Dense(7))
    assert m.output_shape == (None, 7)
    with pytest.warns(UserWarning, match="Input"):
        legacy = kcompile.Sequential(
            [kcompile.layers.Dense(3, input_shape=(8,)), kcompile.layers.Dense(1)]
        )
    assert legacy.count_params() == 8 * 3 + 3 + 4
    with pytest.warns(UserWarning):
        assert kcompile.Sequential([kcompile.layers.Dense(3, input_dim=8)]).input_shape == (None, 8)


def test_refusals() -> None:
    with pytest.raises(KCTypeError, match="KC206"):
        kcompile.Sequential([lambda x: x])
    with pytest.raises(TypeError):
        kcompile.Sequential().add(kcompile.layers.Dense(2), activation="relu")  # type: ignore[call-arg]
    i, j = kcompile.Input((2,)), kcompile.Input((2,))
    with pytest.raises(KCValueError, match="KC205"):
        kcompile.Model(i, kcompile.layers.Add()([i, j]))
    d = kcompile.layers.Dense(2, name="same")
    e = kcompile.layers.Dense(2, name="same")
    with pytest.raises(KCValueError, match="KC207"):
        kcompile.Model(i, e(d(i)))
    m = kcompile.Model(i, d(i))
    with pytest.raises(KCValueError, match="KC201"):
        m(np.ones((3, 5), "float32"))
    with pytest.raises(KCValueError, match="KC201"):
        m([np.ones((3, 2), "float32")] * 2)
    with pytest.raises(KCValueError, match="KC207"):
        m.get_layer("nothing")
    assert m(np.ones((3, 2), "float32")).shape == (3, 2)


def test_configs_name_only_what_is_known() -> None:
    for config in (
        {"module": "os", "class_name": "system", "config": "true", "registered_name": None},
        {
            "module": "builtins",
            "class_name": "function",
            "config": "eval",
            "registered_name": "eval",
        },
        {
            "module": "kcompile.layer",
            "class_name": "run_eagerly",
            "config": {},
            "registered_name": None,
        },
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"module": "keras.layers", "class_name": "np", "config": {}, "registered_name": None},
    ):
        with pytest.raises(KCError):
            deserialize_keras_object(config)


def test_registered_classes_and_scopes() -> None:
    @kcompile.saving.register_keras_serializable(package="mine")
    class Twice(kcompile.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2.0

    i = kcompile.Input((3,))
    m = kcompile.Model(i, Twice()(i))
    config = serialize_keras_object(m)
    assert config["config"]["layers"][1]["registered_name"] == "mine>Twice"
    again = deserialize_keras_object(json.loads(json.dumps(config)))
    np.testing.assert_array_equal(again(np.ones((1, 3), "float32")), 2)

    class Thrice(kcompile.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 3.0

    config = serialize_keras_object(kcompile.Model(i, Thrice()(i)))
    with pytest.raises(KCValueError, match="KC401"):
        deserialize_keras_object(config)
    with kcompile.saving.CustomObjectScope({"Thrice": Thrice}):
        assert deserialize_keras_object(config) is not None
    assert deserialize_keras_object(config, custom_objects={"Thrice": Thrice}) is not None


def test_lambda_is_never_written() -> None:
    with pytest.raises(KCTypeError, match="KC404"):
        serialize_keras_object(lambda x: x)


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    shared(kcompile).summary()
    out = capsys.readouterr().out
    assert "d (Dense)" in out and "Total params" in out and "Connected to" in out
    lines: list[str] = []
    stack(kcompile).summary(print_fn=lines.append)
    assert "d1" in "".join(lines)


def test_summary_of_some_layers() -> None:
    m = kcompile.Sequential([kcompile.Input((2,))])
    for name in ("one", "two", "three", "four"):
        m.add(kcompile.layers.Dense(2, name=name))
    found: list[str] = []
    m.summary(print_fn=found.append, layer_range=["two", "th.*"])
    assert [n for n in ("one", "two", "three", "four") if f"{n} (" in found[0]] == ["two", "three"]
    with pytest.raises(ValueError, match="KC207"):
        m.summary(layer_range=["five", "one"])


def test_clear_session_restarts_names() -> None:
    kcompile.backend.clear_session()
    assert kcompile.layers.Dense(2).name == "dense"
    assert kcompile.layers.Dense(2).name == "dense_1"


def test_training_of_the_call_goes_before_that_of_the_node() -> None:
    i = kcompile.Input((50,))
    m = kcompile.Model(i, kcompile.layers.Dropout(0.5)(i, training=False))
    x = np.ones((1, 50), "float32")
    assert np.asarray(m(x)).min() == 1
    assert np.asarray(m(x, training=True)).min() == 0


def test_frozen_layers() -> None:
    m = stack(kcompile)
    m.get_layer("d1").trainable = False
    assert [v.path for v in m.trainable_weights] == ["seq/d2/kernel", "seq/d2/bias"]
    m.trainable = True
    assert len(m.trainable_weights) == 4
