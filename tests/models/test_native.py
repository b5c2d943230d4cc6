"""Whole models as C against the same models as NumPy: three steps of training, evaluation, prediction.

By SGD: Adam turns the sign of a gradient that is nothing but rounding into a whole step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
import runtime.native as native
from kcompile.fit.runner import step_function
from tests.models.programs import CASES, Case

BATCH = 4
SHORT = ("mlp", "lstm")  # whose last batch is a short one


def _leaves(v: Any) -> list[Any]:
    if isinstance(v, dict):
        v = list(v.values())
    return [x for part in v for x in _leaves(part)] if isinstance(v, (list, tuple)) else [v]


def _first(v: Any) -> Any:
    return [_first(a) for a in v] if isinstance(v, (list, tuple)) else v[:BATCH]


def _numbers(case: Case, rows: int, start: list[Any] | None) -> tuple[list[Any], list[Any]]:
    """The weights before, and every number that training, evaluation and prediction give."""
    x, y = case.data(np.random.default_rng(1), rows)
    model = case.build(keras)
    model.compile(keras.optimizers.SGD(case.lr), case.loss)
    if start is not None:
        model.set_weights(start)
    first = [w.copy() for w in model.get_weights()]
    found: list[Any] = []
    for _ in range(3):
        found += _leaves(model.train_on_batch(_first(x), _first(y)))
    found += model.get_weights()
    found += _leaves(model.evaluate(x, y, batch_size=BATCH, verbose=0))
    found += _leaves(model.predict(x, batch_size=BATCH, verbose=0))
    history = model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0).history
    found += [np.asarray(v) for v in history.values()] + model.get_weights()
    for kind in ("train", "test", "predict"):
        found.append(step_function(model, kind).log[-1].program.target)
    return first, found


@pytest.mark.parametrize("name", CASES)
def test_training_evaluation_and_prediction_equal_those_of_numpy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.compiler()  # where there is none, its error says so
    monkeypatch.setenv("KCOMPILE_TARGET", "numpy")
    rows = 2 * BATCH + 2 * (name in SHORT)
    start, plain = _numbers(CASES[name], rows, None)
    monkeypatch.setenv("KCOMPILE_TARGET", "native")
    _, fast = _numbers(CASES[name], rows, start)
    assert plain[-3:] == ["numpy"] * 3 and fast[-3:] == ["native"] * 3
    for a, b in zip(plain[:-3], fast[:-3], strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5)
