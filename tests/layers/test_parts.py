"""Activations, initializers, regularizers and constraints against real Keras."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import kcompile.activations as activations
import kcompile.constraints as constraints
import kcompile.initializers as initializers
import kcompile.random as random
import kcompile.regularizers as regularizers
from kcompile.errors import KCError
from tests.layers.layer_oracle import close, data, keras, plain, torch

X = np.concatenate(
    [data(3, 6) * 3, [[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0], [30, -30, 3, -3, 6, 2]]]
).astype("float32")
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "relu": [
        {},
        {"negative_slope": 0.1},
        {"max_value": 6},
        {"threshold": 1.0, "max_value": 2.0, "negative_slope": 0.3},
    ],
    "leaky_relu": [{}, {"negative_slope": 0.4}],
    "elu": [{}, {"alpha": 0.3}],
    "celu": [{}, {"alpha": 0.3}],
    "gelu": [{}, {"approximate": True}],
    "softmax": [{}, {"axis": 0}],
    "log_softmax": [{}, {"axis": 0}],
    "soft_shrink": [{}, {"threshold": 1.0}],
    "hard_shrink": [{}, {"threshold": 1.0}],
    "squareplus": [{}, {"b": 1}],
    "glu": [{}],
    "threshold": [{"threshold": 0.2, "default_value": -1.0}],
}


@pytest.mark.parametrize("name", sorted(set(activations.BY_NAME) - {"sparsemax"}))
def test_an_activation_is_keras(name: str) -> None:
    for settings in SETTINGS.get(name, [{}]):
        want = getattr(keras.activations, name)(torch.tensor(X), **settings)
        close(activations.BY_NAME[name](X, **settings), want, what=f"{name} {settings}")


def test_sparsemax_projects_on_the_simplex() -> None:
    # by its definition: on the torch backend Keras's own does not sum to 1
    p = np.asarray(activations.sparsemax(X))
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)
    for row, q in zip(X, p, strict=True):
        threshold = (row - q)[q > 0]
        assert np.ptp(threshold) < 1e-4 and (row[q == 0] <= threshold.min() + 1e-4).all()


def test_every_activation_of_keras_is_here() -> None:
    public = {n for n in dir(keras.activations) if not n.startswith("_")} - {
        "get",
        "serialize",
        "deserialize",
    }
    assert public <= set(activations.BY_NAME)


def test_names_and_activations() -> None:
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.serialize(activations.hard_swish) == "hard_silu"
    assert activations.deserialize("relu") is activations.relu
    for wrong in ("rleu", 3):
        with pytest.raises(ValueError, match="relu"):
            activations.get(wrong)


SHAPES = [(40, 50), (3, 3, 16, 32), (2000,)]
RANDOM: list[tuple[str, dict[str, Any]]] = [
    ("RandomNormal", {"mean": 1.0, "stddev": 0.3}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.3}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
    ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"scale": 3.0, "mode": "fan_avg", "distribution": "uniform"}),
]


@pytest.mark.parametrize("case", RANDOM, ids=lambda c: f"{c[0]}{c[1]}")
def test_a_random_initializer_has_the_law_of_keras(case: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = case
    ours = getattr(initializers, name)(**kwargs, seed=1)
    theirs = getattr(keras.initializers, name)(**kwargs, seed=1)
    for shape in SHAPES:
        got, want = ours(shape), theirs(shape).cpu().numpy()
        assert got.shape == shape and got.dtype == np.float32
        spread = want.std()
        assert abs(got.mean() - want.mean()) < 0.15 * spread
        assert abs(got.std() - spread) < 0.06 * spread
        assert abs(np.abs(got).max() - np.abs(want).max()) < 0.25 * np.abs(want).max()
    assert plain(ours.get_config()) == plain(theirs.get_config())
    np.testing.assert_array_equal(ours.clone()(shape), got)


@pytest.mark.parametrize(
    "case",
    [
        ("Zeros", {}), ("Ones", {}), ("Constant", {"value": 3.0}), ("Identity", {"gain": 2.0}),
    ],
    ids=lambda c: c[0],
)  # fmt: skip
def test_a_plain_initializer_is_keras(case: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = case
    ours, theirs = (
        getattr(initializers, name)(**kwargs),
        getattr(keras.initializers, name)(**kwargs),
    )
    for dtype in ("float32", "float64", "int32"):
        close(ours((3, 4), dtype=dtype), theirs((3, 4), dtype=dtype))
    # Keras loses the gain of an Identity in its config
    assert plain(ours.get_config()) == plain(theirs.get_config()) | (
        {"gain": 2.0} if name == "Identity" else {}
    )


@pytest.mark.parametrize(
    "kwargs", [{}, {"side": "imag"}, {"scaling": "spectrum", "window": "hamming"}, {"window": None}]
)
def test_stft(kwargs: dict[str, Any]) -> None:
    pytest.importorskip("scipy")
    ours, theirs = initializers.STFT(**kwargs), keras.initializers.STFT(**kwargs)
    close(ours((8, 1, 5)), theirs((8, 1, 5)), atol=1e-5)
    assert plain(ours.get_config()) == plain(theirs.get_config())


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 2, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = initializers.Orthogonal(gain=2.0, seed=3)(shape).reshape(-1, shape[-1])
    square = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=1e-5)


def test_seeds() -> None:
    unseeded = initializers.GlorotUniform()
    np.testing.assert_array_equal(unseeded((4, 4)), unseeded((4, 4)))
    assert not np.array_equal(initializers.GlorotUniform()((4, 4)), unseeded((4, 4)))
    moving = initializers.RandomNormal(seed=random.SeedGenerator(1))
    assert not np.array_equal(moving((4, 4)), moving((4, 4)))
    with pytest.raises(ValueError, match="seed"):
        initializers.RandomNormal(seed="one")


@pytest.mark.parametrize("side", [initializers, regularizers, constraints])
def test_every_public_name_of_keras_is_here(side: Any) -> None:
    module = getattr(keras, side.__name__.rpartition(".")[2])
    public = [n for n in dir(module) if not n.startswith("_")]
    assert [n for n in public if not hasattr(side, n)] == []


@pytest.mark.parametrize("side", [initializers, regularizers, constraints])
def test_get_by_name_and_config(side: Any) -> None:
    module = getattr(keras, side.__name__.rpartition(".")[2])
    assert side.get(None) is None
    for name, cls in side.BY_NAME.items():
        if name == "STFT" or name == "stft":
            continue
        made = side.get(name)
        assert type(made) is cls
        config = side.serialize(made)
        again = side.deserialize(config)
        assert type(again) is cls and again.get_config() == made.get_config()
        theirs = getattr(module, cls.__name__)
        mine, other = plain(config), plain(module.serialize(theirs()))
        assert mine["class_name"] == other["class_name"]
        if cls.__name__ != "Identity":
            assert mine["config"].keys() == other["config"].keys()
            for k, v in mine["config"].items():
                assert v == (
                    pytest.approx(other["config"][k])
                    if isinstance(v, float)
                    else other["config"][k]
                )
        assert type(side.get(module.serialize(theirs()))) is cls
    for wrong in ("glorot_unifrom", "l22", 1j):
        with pytest.raises(KCError, match=r"known|Pass|pass"):
            side.get(wrong)


@pytest.mark.parametrize(
    "case",
    [
        ("L1", {"l1": 0.3}), ("L2", {"l2": 0.3}), ("L1L2", {"l1": 0.1, "l2": 0.2}), ("L1L2", {}),
        ("OrthogonalRegularizer", {"factor": 0.3}), ("OrthogonalRegularizer", {"mode": "columns"}),
    ],
    ids=lambda c: f"{c[0]}{c[1]}",
)  # fmt: skip
def test_a_regularizer_is_keras(case: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = case
    w = data(4, 5)
    ours, theirs = (
        getattr(regularizers, name)(**kwargs),
        getattr(keras.regularizers, name)(**kwargs),
    )
    close(ours(w), theirs(torch.tensor(w)))
    mine, other = ours.get_config(), theirs.get_config()
    assert mine.keys() == other.keys()
    assert all(v == other[k] or abs(v - other[k]) < 1e-7 for k, v in mine.items())


@pytest.mark.parametrize(
    "case",
    [
        ("MaxNorm", {"max_value": 1.0}), ("NonNeg", {}), ("UnitNorm", {"axis": 1}),
        ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.5}), ("MaxNorm", {"axis": [0, 1]}),
    ],
    ids=lambda c: f"{c[0]}{c[1]}",
)  # fmt: skip
def test_a_constraint_is_keras(case: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = case
    w = data(4, 5)
    ours, theirs = getattr(constraints, name)(**kwargs), getattr(keras.constraints, name)(**kwargs)
    close(ours(w), theirs(torch.tensor(w)))
    assert plain(ours.get_config()) == plain(theirs.get_config())


@pytest.mark.parametrize(
    "make",
    [
        lambda: regularizers.L2(-1.0), lambda: regularizers.L1("a"), lambda: regularizers.OrthogonalRegularizer(mode="x"),
        lambda: initializers.VarianceScaling(scale=0), lambda: initializers.VarianceScaling(mode="fan"),
        lambda: initializers.VarianceScaling(distribution="x"), lambda: initializers.Identity()((2, 2, 2)),
        lambda: initializers.Orthogonal()((3,)), lambda: initializers.STFT(side="x"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as found:
            make()
    assert "what to do" in str(found.value)
