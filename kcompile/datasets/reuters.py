"""Reuters: 11,228 newswires as word numbers, 46 topics (Reuters-21578, D. Lewis)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kcompile.datasets import words
from kcompile.datasets.cached import ORIGIN, find
from kcompile.datasets.plain_pickle import load_npz

_SHA256 = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
_WORDS_MD5 = "4d44cc38712099c9e383dc6e5f11a921"
_TOPICS = (
    "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton "
    "carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock "
    "retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead"
)


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
    *,
    download: bool = True,
) -> Any:
    """`(x_train, y_train), (x_test, y_test)`: object arrays of lists of word numbers, topics 0 to 45.

    `test_split`: the share for testing. The other arguments, and what is raised, as in `imdb.load_data`.
    """
    f = load_npz(find(path, ORIGIN + "reuters.npz", _SHA256, download))
    xs, labels = words.shuffled(np.random.RandomState(seed), f["x"], f["y"])
    if start_char is not None or index_from:
        xs = words.marked(xs, start_char, index_from)
    xs, labels = words.shorter(xs, labels, maxlen)
    xs = words.limited(xs, num_words, skip_top, oov_char)
    n = int(len(xs) * (1 - test_split))
    return (words.ragged(xs[:n]), labels[:n]), (words.ragged(xs[n:]), labels[n:])


def get_word_index(
    path: str = "reuters_word_index.json", *, download: bool = True
) -> dict[str, int]:
    """Word -> number, before `index_from` is added."""
    with open(find(path, ORIGIN + "reuters_word_index.json", _WORDS_MD5, download)) as f:
        return dict(json.load(f))


def get_label_names() -> tuple[str, ...]:
    """The topics, in the order of their numbers."""
    return tuple(_TOPICS.split())
