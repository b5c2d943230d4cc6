"""One call that makes a program repeatable."""

from __future__ import annotations

import random as python_random

import numpy as np

import kcompile.random as random
from kcompile.errors import KCTypeError


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy, and the draws of layers, initializers and shuffling.

    Raises KCTypeError KC209 for a seed that is not an int.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise KCTypeError("KC209", f"seed={seed!r}", "a seed is an int", "pass an int")
    random.reseed(int(seed))
    python_random.seed(int(seed))
    np.random.seed(int(seed) & 0xFFFFFFFF)
