"""Arrays of numbers made ready for a loss: one-hot classes, unit rows. NumPy in, NumPy out."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.errors import KCIndexError, KCValueError


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray[Any, Any]:
    """Class numbers as one-hot rows, f64 as in Keras: [...] or [..., 1] -> [..., num_classes].

    `num_classes` defaults to the largest class + 1.
    Raises KCIndexError KC304 for a class below 0 or beyond `num_classes`, KCValueError KC304 for none.
    """
    classes = np.asarray(x)
    if classes.size and classes.dtype.kind not in "iufb":
        raise KCValueError(
            "KC304", f"to_categorical of labels such as {classes.flat[0].item()!r}", "labels are integers",
            "number the classes first, for example with np.unique(labels, return_inverse=True)",
        )  # fmt: skip
    classes = classes.astype(np.int64)
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    if num_classes is None:
        if classes.size == 0:
            raise KCValueError(
                "KC304",
                "to_categorical of no labels",
                "classes are counted from labels",
                "pass num_classes=",
            )
        num_classes = int(classes.max()) + 1
    bad = classes[(classes < 0) | (classes >= num_classes)]
    if bad.size:
        raise KCIndexError(
            "KC304",
            f"to_categorical: {bad.size} labels like {bad[0]}",
            f"a label is from 0 to num_classes - 1 = {num_classes - 1}",
            "pass a larger num_classes, or correct the labels",
        )
    out = np.zeros((*classes.shape, num_classes))
    np.put_along_axis(out, classes[..., None], 1.0, axis=-1)
    return out


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray[Any, Any]:
    """`x` divided by its norm of `order` along `axis`; zeros stay zeros."""
    x = np.asarray(x)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)
