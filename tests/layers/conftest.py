"""Each test of layers starts from the same seeds."""

from __future__ import annotations

import random

import pytest

import kcompile.random


@pytest.fixture(autouse=True)
def same_seeds() -> None:
    random.seed(1)
    kcompile.random.reseed(1)
