"""IMDB: 50,000 film reviews as word numbers, good or bad (A. Maas et al., 2011)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kcompile.datasets import words
from kcompile.datasets.cached import ORIGIN, find
from kcompile.datasets.plain_pickle import load_npz

_SHA256 = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
_WORDS_MD5 = "bfafd718b763782e994055a2d397834f"


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
    *,
    download: bool = True,
) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: object arrays of lists of word numbers, labels 0 or 1.

    Args:
        num_words: keep words of a smaller number only. skip_top: leave out that many of the commonest.
        maxlen: keep reviews that are shorter. seed: of the order.
        start_char: opens each review. oov_char: stands for words left out. index_from: first word's number.

    Read from Keras's cache, and fetched into it when missing, unless `download` is false.
    Raises KCOSError KC406, KCValueError KC402, KC405 (see `plain_pickle`), KC303 when nothing is left.
    """
    f = load_npz(find(path, ORIGIN + "imdb.npz", _SHA256, download))
    rng, parts = np.random.RandomState(seed), []
    for part in ("train", "test"):
        xs, labels = words.shuffled(rng, f[f"x_{part}"], f[f"y_{part}"])
        parts.append(words.shorter(words.marked(xs, start_char, index_from), labels, maxlen))
    (x_train, y_train), (x_test, y_test) = parts
    xs = words.limited(x_train + x_test, num_words, skip_top, oov_char)
    n = len(x_train)
    return (words.ragged(xs[:n]), y_train), (words.ragged(xs[n:]), y_test)


def get_word_index(path: str = "imdb_word_index.json", *, download: bool = True) -> dict[str, int]:
    """Word -> number, before `index_from` is added."""
    with open(find(path, ORIGIN + "imdb_word_index.json", _WORDS_MD5, download)) as f:
        return dict(json.load(f))
