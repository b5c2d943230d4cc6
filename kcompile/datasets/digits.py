"""The 1,797 handwritten digits of the UCI repository, 8x8 pixels each, inside the package.

Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits* (the test set), UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Changed here: stored as bytes, and split as below.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """`(x_train, y_train), (x_test, y_test)`: u8 images [1442 | 355, 8, 8] from 0 to 16, u8 labels.

    The split is fixed: of the images of each digit, in the order of the source, every fifth is for
    testing. Both parts keep that order.
    """
    with files("kcompile.datasets").joinpath("digits.npz").open("rb") as f:
        saved = np.load(f, allow_pickle=False)
        x, y = saved["x"], saved["y"]
    nth = np.zeros(len(y), np.int64)
    for digit in range(10):
        where = y == digit
        nth[where] = np.arange(where.sum())
    test = nth % 5 == 4
    return (x[~test], y[~test]), (x[test], y[test])
