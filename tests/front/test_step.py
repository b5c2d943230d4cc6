"""Tracing a step: one graph for every batch size where shapes can be said with a name, else one for each size."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from kcompile.fit.runner import step_function
from kcompile.input_layer import Input
from kcompile.layer import Layer
from kcompile.layers import Dense
from kcompile.sequential import Sequential
from kcompile.step import StepFunction


class Halved(Layer):
    """Uses the batch size as a Python number, which it is in no named trace."""

    def call(self, x: Any) -> Any:
        return x * (1.0 / (x.shape[0] + 0))


class Typo(Layer):
    def call(self, x: Any) -> Any:
        return undefined * x  # type: ignore[name-defined]  # noqa: F821

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def test_one_trace_serves_every_batch_size() -> None:
    m = Sequential([Input((3,)), Dense(2)])
    for rows in (4, 5):
        m.predict(np.ones((rows, 3), np.float32), verbose=0)
    step = step_function(m, "predict")
    assert len(step._traced) == 1 and len(step.log) == 2


def test_a_shape_without_a_name_takes_a_trace_for_each_size(
    caplog: pytest.LogCaptureFixture,
) -> None:
    m = Sequential([Input((3,)), Halved()])
    with caplog.at_level(logging.INFO, "kcompile.step"):
        for rows in (4, 5):
            x = np.ones((rows, 3), np.float32)
            np.testing.assert_allclose(m.predict(x, verbose=0, batch_size=rows), x / rows)
    assert "traced for each batch size" in caplog.text
    assert len(step_function(m, "predict")._traced) == 2


def test_a_mistake_in_a_layer_is_never_taken_for_an_unnamed_shape() -> None:
    with pytest.raises(NameError, match="undefined"):
        Sequential([Input((3,)), Typo()])


def test_a_model_that_cannot_be_traced_fails_as_it_did_first() -> None:
    m = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(ValueError, match=r"KC\d+"):
        m.predict(np.ones((4, 7), np.float32), verbose=0)


def test_kinds() -> None:
    with pytest.raises(ValueError, match="train"):
        StepFunction(Sequential([Dense(1)]), "sleep")
