"""What the two text data sets share: word numbers shifted, cut and limited as Keras does.

Refuses to know files. Sequences are lists of ints; results are object arrays of lists, as in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.errors import KCValueError


def shuffled(rng: np.random.RandomState, xs: Any, labels: Any) -> tuple[list[list[int]], Any]:
    """Both in the same random order (the legacy generator: the orders are Keras's)."""
    order = np.arange(len(xs))
    rng.shuffle(order)
    return [xs[i] for i in order], np.asarray(labels)[order]


def marked(xs: list[list[int]], start_char: int | None, index_from: int | None) -> list[list[int]]:
    """Word numbers shifted by `index_from`, each sequence opened by `start_char`."""
    shift, head = index_from or 0, [] if start_char is None else [start_char]
    return [head + [w + shift for w in x] for x in xs]


def shorter(xs: list[list[int]], labels: Any, maxlen: int | None) -> tuple[list[list[int]], Any]:
    """The sequences shorter than `maxlen` (0 or None: all). Raises KCValueError KC303 for none."""
    if not maxlen:
        return xs, labels
    kept = [i for i, x in enumerate(xs) if len(x) < maxlen]
    if not kept:
        raise KCValueError(
            "KC303",
            f"maxlen={maxlen}",
            f"no sequence is shorter than {maxlen}",
            "pass a larger maxlen",
        )
    return [xs[i] for i in kept], labels[kept]


def limited(
    xs: list[list[int]], num_words: int | None, skip_top: int, oov_char: int | None
) -> list[list[int]]:
    """Words from `skip_top` up to `num_words` (None: all); others become `oov_char`, or go."""
    top = num_words or max(max(x) for x in xs)
    if oov_char is None:
        return [[w for w in x if skip_top <= w < top] for x in xs]
    return [[w if skip_top <= w < top else oov_char for w in x] for x in xs]


def ragged(xs: list[list[int]]) -> np.ndarray[Any, Any]:
    """An object array of lists."""
    out = np.empty(len(xs), object)
    out[:] = xs
    return out
