"""CIFAR-100: 60,000 colour pictures, 32x32, 100 classes in 20 groups. See `kcompile.datasets.cifar`."""

from __future__ import annotations

from typing import Any

from kcompile.datasets.cifar import read_batches
from kcompile.errors import KCValueError

_ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def load_data(label_mode: str = "fine", *, download: bool = True) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: u8 images [50000 | 10000, 32, 32, 3], labels [n, 1].

    `label_mode`: "fine" (100 classes) or "coarse" (20 groups).
    Read from Keras's cache, and fetched into it when missing, unless `download` is false.
    Raises KCValueError KC302 for another mode, KCOSError KC406, KCValueError KC402 as `cifar10`.
    """
    if label_mode not in ("fine", "coarse"):
        raise KCValueError(
            "KC302",
            f"label_mode={label_mode!r}",
            "the labels are 'fine' or 'coarse'",
            "pass one of the two",
        )
    label = f"{label_mode}_labels".encode()
    train, test = read_batches(
        "cifar-100-python", _ORIGIN, _SHA256, ["train", "test"], label, download
    )
    return train, test
