"""Fashion-MNIST: 70,000 pictures of clothes, 28x28, ten classes (Zalando SE; MIT licence)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.datasets.cached import ORIGIN, find
from kcompile.errors import KCValueError

_PIXELS = 28 * 28


def load_data(*, download: bool = True) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: u8 images [60000 | 10000, 28, 28], u8 labels.

    Read from Keras's cache, and fetched into it when missing, unless `download` is false.
    Raises KCOSError KC406 when it can be had neither way, KCValueError KC402 when damaged.
    """
    return _part("train", download), _part("t10k", download)


def _part(part: str, allow: bool) -> tuple[Any, Any]:
    def read(what: str, skip: int) -> Any:
        name = f"{part}-{what}-ubyte.gz"
        return _bytes(find(f"fashion-mnist/{name}", ORIGIN + name, None, allow), skip)

    labels, pixels = read("labels-idx1", 8), read("images-idx3", 16)
    if pixels.size != labels.size * _PIXELS:
        raise KCValueError(
            "KC402",
            f"fashion-mnist, {part}: {labels.size} labels and {pixels.size} pixels",
            f"each label has {_PIXELS} pixels",
            "delete the folder fashion-mnist in Keras's cache and load again",
        )
    return pixels.reshape(-1, 28, 28), labels


def _bytes(path: Path, skip: int) -> Any:
    try:
        with gzip.open(path) as f:
            return np.frombuffer(f.read(), np.uint8, offset=skip)
    except (OSError, EOFError, zlib.error, ValueError) as e:
        raise KCValueError(
            "KC402", f"{path}: {e}", "a data file is a whole gzip file", "delete it and load again"
        ) from e
