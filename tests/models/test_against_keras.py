"""Whole models against real Keras: same weights in, same outputs, losses, and weights after SGD steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from tests.models.programs import CASES, Case

keras = pytest.importorskip("keras")


def _pair(case: Case) -> tuple[Any, Any]:
    """The model in real Keras and here, with the same weights."""
    keras.utils.set_random_seed(0)
    oracle = case.build(keras)
    model = case.build(kcompile)
    model.set_weights(oracle.get_weights())
    for m, k in ((oracle, keras), (model, kcompile)):
        m.compile(optimizer=k.optimizers.SGD(case.lr, momentum=0.9), loss=case.loss)
    return oracle, model


def _same(got: Any, want: Any, rtol: float = 2e-4, atol: float = 2e-5) -> None:
    got = got if isinstance(got, (list, tuple)) else [got]
    want = want if isinstance(want, (list, tuple)) else [want]
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_a_model_gives_the_numbers_of_keras(name: str) -> None:
    case = CASES[name]
    oracle, model = _pair(case)
    x, y = case.data(np.random.default_rng(1), 10)
    _same(model.predict(x, batch_size=4, verbose=0), oracle.predict(x, batch_size=4, verbose=0))
    _same(
        model.evaluate(x, y, batch_size=4, verbose=0),
        oracle.evaluate(x, y, batch_size=4, verbose=0),
    )
    for _ in range(3):
        _same(model.train_on_batch(x, y), oracle.train_on_batch(x, y))
    for got, want in zip(model.get_weights(), oracle.get_weights(), strict=True):
        _same(got, want)
