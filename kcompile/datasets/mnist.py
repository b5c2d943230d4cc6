"""MNIST: 70,000 handwritten digits, 28x28 (Y. LeCun, C. Cortes; CC BY-SA 3.0)."""

from __future__ import annotations

from typing import Any

from kcompile.datasets.cached import ORIGIN, find
from kcompile.datasets.plain_pickle import load_npz

_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def load_data(path: str = "mnist.npz", *, download: bool = True) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: u8 images [60000 | 10000, 28, 28], u8 labels.

    Read from Keras's cache, and fetched into it when missing, unless `download` is false.
    Raises KCOSError KC406 when it can be had neither way.
    """
    f = load_npz(find(path, ORIGIN + "mnist.npz", _SHA256, download))
    return (f["x_train"], f["y_train"]), (f["x_test"], f["y_test"])
