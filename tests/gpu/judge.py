"""When a result of the GPU is right: its error against f64 is at most a few times that of the same operations done one by one.

The rule is Dynamo's: RMSE at most twice the eager reference's (three times for bf16), and 1e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ir.types import round_bf16

Array = np.ndarray[Any, Any]
FACTOR = {"ieee": 2.0, "tf32": 2.0, "bf16": 3.0}


def rmse(found: Array, exact: Array) -> float:
    """The root mean square error, relative where the exact values are large."""
    finite = np.isfinite(exact)
    if not finite.any():
        return 0.0
    a, b = found[finite].astype("f8"), exact[finite]
    scale = max(1.0, float(np.sqrt(np.mean(b * b))))
    return float(np.sqrt(np.mean((a - b) ** 2))) / scale


def judge(
    found: Sequence[Array], eager: Sequence[Array], exact: Sequence[Array], precision: str = "ieee", slack: float = 1e-5
) -> None:  # fmt: skip
    """Raise AssertionError unless every result is right. Integers and bools are equal, what is not finite is in the same places.

    slack: what the error may be beside some times that of `eager`, relative where the exact values are large.
    """
    for n, (a, e, x) in enumerate(zip(found, eager, exact, strict=True)):
        assert a.shape == x.shape
        if a.dtype.kind not in "f":
            np.testing.assert_array_equal(a, e)
            continue
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(e))
        error, most = rmse(a, x), FACTOR[precision] * rmse(e, x) + slack
        assert error <= most, f"result {n}: its error is {error:.3g}, {most:.3g} at most"


def rounded(x: Array, precision: str) -> Array:
    """f32 numbers as the matrix units take them."""
    if precision == "bf16":
        return round_bf16(x)
    if precision == "tf32":
        bits = np.ascontiguousarray(x).view(np.uint32)
        kept = (bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(
            0xFFFFE000
        )
        return kept.view(np.float32)
    return x
