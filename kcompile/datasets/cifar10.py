"""CIFAR-10: 60,000 colour pictures, 32x32, ten classes. See `kcompile.datasets.cifar`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.datasets.cifar import read_batches

_ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def load_data(*, download: bool = True) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: u8 images [50000 | 10000, 32, 32, 3], u8 labels [n, 1].

    Read from Keras's cache, and fetched into it when missing, unless `download` is false.
    Raises KCOSError KC406 when it can be had neither way, KCValueError KC402 when damaged.
    """
    members = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    parts = read_batches("cifar-10-batches-py", _ORIGIN, _SHA256, members, b"labels", download)
    (*train, (x_test, y_test)) = [(x, y.astype(np.uint8)) for x, y in parts]
    x_train, y_train = (np.concatenate(p) for p in zip(*train, strict=True))
    return (x_train, y_train), (x_test, y_test)
