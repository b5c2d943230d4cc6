"""Compiling grows linearly with the model: four times the layers, about four times the calls of Python functions.

Counts, not seconds, so that a busy machine changes nothing; one bound in seconds catches what counts do not see.
"""

from __future__ import annotations

import cProfile
import pstats
import time

import numpy as np

import kcompile.layers as L
from codegen.pipeline import generate
from codegen.program import Program
from ir.bind import bind
from ir.key import key
from ir.pipeline import collector_paused, optimise
from kcompile.compile import _store
from kcompile.model import Model
from kcompile.step import StepFunction
from runtime.executable import Executable


def residual(blocks: int) -> Model:
    inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    for _ in range(blocks):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, padding="same", use_bias=False)(x)))
        y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", use_bias=False)(y))
        x = L.ReLU()(L.Add()([x, y]))
    model = Model(inputs, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def compiled(blocks: int) -> tuple[Program, int, float]:
    """The train step's program, with the calls and the seconds from model to executable."""
    model = residual(blocks)
    x, y = np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, np.int32)
    profile = cProfile.Profile()
    start = time.process_time()
    with collector_paused():
        profile.enable()
        traced = StepFunction(model, "train").trace(x, y)
        static = bind(traced.graph, N=4)
        key(static)
        program = generate(optimise(static), "numpy")
        Program.from_json(program.to_json())
        profile.disable()
    Executable(program, _store(static, traced.variables))
    return program, pstats.Stats(profile).total_calls, time.process_time() - start  # type: ignore[attr-defined]


def test_compiling_grows_linearly():
    few, calls, seconds = compiled(4)
    many, more_calls, more_seconds = compiled(16)
    assert len(many.kernels) > 3 * len(few.kernels)
    assert more_calls < 4.2 * calls
    assert len(many.source) < 4.4 * len(few.source)
    assert more_seconds < 9 * seconds  # a quadratic part that dominates would make it 16
