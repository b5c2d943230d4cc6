"""`validation_split`: the tail of arrays in memory, before any shuffling, as validation data.

Refuses anything that is not in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kcompile.errors import KCValueError
from kcompile.fit.arrays import all_arrays, check_lengths, convert
from kcompile.fit.batch import Batch


def split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[Batch, Batch]:
    """Training and validation data. Raises KCValueError KC305 for streams and for an empty part."""
    number = isinstance(fraction, (int, float, np.number)) and not isinstance(fraction, bool)
    if not number or not 0 < fraction < 1:
        raise KCValueError(
            "KC305",
            f"validation_split={fraction!r}",
            "it lies between 0 and 1",
            "pass for example 0.2",
        )
    if not all_arrays(x, y, sample_weight):
        raise KCValueError(
            "KC305", f"validation_split with x of type {type(x).__name__}", "`validation_split` is only supported for arrays",
            "pass validation_data",
        )  # fmt: skip
    data = Batch(convert(x, "x"), convert(y, "y"), convert(sample_weight, "sample_weight"))
    n = check_lengths(*data)
    at = math.floor(n * (1.0 - fraction))
    if at in (0, n):
        raise KCValueError(
            "KC305", f"validation_split={fraction} of {n} samples", "both parts have at least one sample",
            "provide more data, or another fraction",
        )  # fmt: skip
    return data.map(lambda a: a[:at]), data.map(lambda a: a[at:])
