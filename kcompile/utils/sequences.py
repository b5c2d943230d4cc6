"""Sequences of unequal length made one array. NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.errors import KCTypeError, KCValueError


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray[Any, Any]:
    """One array [len(sequences), maxlen, ...] from sequences of items of one shape.

    Args:
        maxlen: the common length; by default the longest sequence's.
        padding, truncating: "pre" or "post", the end at which to fill with `value` or to cut.

    Raises KCTypeError KC303 for an element without a length, KCValueError KC303 for items of unequal
    shape or an unknown end.
    """
    for name, end in (("padding", padding), ("truncating", truncating)):
        if end not in ("pre", "post"):
            raise KCValueError(
                "KC303", f"{name}={end!r}", "an end is 'pre' or 'post'", "pass one of the two"
            )
    for i, s in enumerate(sequences):
        if not hasattr(s, "__len__"):
            raise KCTypeError(
                "KC303",
                f"sequences[{i}] = {s!r}",
                "every element is itself a sequence",
                "wrap it in a list",
            )
    if maxlen is None:
        maxlen = max((len(s) for s in sequences), default=0)
    item = next((np.shape(s)[1:] for s in sequences if len(s)), ())
    is_text = np.issubdtype(np.dtype(dtype), np.str_)
    if isinstance(value, str) and np.dtype(dtype) != object and not is_text:
        raise KCValueError(
            "KC303",
            f"value={value!r} with dtype={dtype!r}",
            "a filling has the array's dtype",
            "pass dtype=object",
        )
    out = np.full((len(sequences), maxlen, *item), value, dtype=dtype)
    for row, s in zip(out, sequences, strict=True):
        if not len(s):
            continue
        kept = np.asarray(s[-maxlen:] if truncating == "pre" else s[:maxlen], dtype=dtype)
        if maxlen == 0:
            continue
        if kept.shape[1:] != item:
            raise KCValueError(
                "KC303",
                f"items of shape {kept.shape[1:]} and {item}",
                "items have one shape",
                "reshape the odd ones",
            )
        if padding == "pre":
            row[-len(kept) :] = kept
        else:
            row[: len(kept)] = kept
    return out
