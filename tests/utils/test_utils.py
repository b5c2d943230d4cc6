"""The `utils` namespace: equal to Keras's, with errors of its own."""

from __future__ import annotations

import hashlib
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kcompile.random as kr
import kcompile.utils.seeds as seeds
from kcompile.errors import KCError
from kcompile.utils.files import get_file
from kcompile.utils.labels import normalize, to_categorical
from kcompile.utils.sequences import pad_sequences

keras = pytest.importorskip("keras")


@pytest.mark.parametrize(
    "x", [[0, 2, 1], [[0], [2]], [[0, 1], [1, 2]], 2, np.uint8([3, 0]), [[[1]]]]
)
@pytest.mark.parametrize("n", [None, 5])
def test_to_categorical(x, n):
    mine, real = to_categorical(x, n), keras.utils.to_categorical(x, n)
    assert mine.dtype == real.dtype and np.array_equal(mine, real)


@pytest.mark.parametrize(("x", "n"), [([0, 3], 3), ([-1], 3), ([], None)])
def test_labels_out_of_range(x, n):
    with pytest.raises(KCError, match="KC304"):
        to_categorical(x, n)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("order", [1, 2])
def test_normalize(rng, axis, order):
    x = rng.normal(size=(3, 4))
    x[1] = 0
    np.testing.assert_allclose(normalize(x, axis, order), keras.utils.normalize(x, axis, order) if axis else
                               keras.utils.normalize(x.T, -1, order).T)  # fmt: skip


@pytest.mark.parametrize(
    ("sequences", "options"),
    [
        ([[1], [2, 3], [4, 5, 6]], {}),
        ([[1], [2, 3], [4, 5, 6]], {"maxlen": 2}),
        (
            [[1], [2, 3], [4, 5, 6]],
            {"maxlen": 2, "truncating": "post", "padding": "post", "value": -1},
        ),
        ([[1.5], []], {"dtype": "float32", "value": 0.5}),
        ([[], []], {"maxlen": 3}),
        ([[[1, 2]], [[3, 4], [5, 6]]], {}),
        ([["a"], ["b", "c"]], {"dtype": object, "value": "pad"}),
        (np.arange(6).reshape(2, 3), {"maxlen": 4}),
    ],
)
def test_pad_sequences(sequences, options):
    mine, real = (
        pad_sequences(sequences, **options),
        keras.utils.pad_sequences(sequences, **options),
    )
    assert mine.dtype == real.dtype and np.array_equal(mine, real)


@pytest.mark.parametrize(
    ("sequences", "options", "words"),
    [
        ([[1]], {"padding": "left"}, "padding='left'"),
        ([[1]], {"truncating": "left"}, "truncating='left'"),
        ([1, 2], {}, r"sequences\[0\] = 1"),
        ([[1]], {"value": "x"}, "a filling has the array's dtype"),
        ([[[1]], [[1, 2]]], {}, "items have one shape"),
    ],
)
def test_pad_sequences_refuses(sequences, options, words):
    with pytest.raises(KCError, match=words):
        pad_sequences(sequences, **options)


@pytest.fixture
def source(tmp_path):
    """A folder with a file and archives that are reached by file: URLs."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    with tarfile.open(folder / "t.tar.gz", "w:gz") as tar:
        tar.add(folder / "a.txt", "inside/a.txt")
    with zipfile.ZipFile(folder / "z.zip", "w") as z:
        z.write(folder / "a.txt", "inside/a.txt")
    return folder


def test_get_file(source, tmp_path):
    url, cache = (source / "a.txt").as_uri(), tmp_path / "cache"
    want = hashlib.sha256(b"text").hexdigest()
    path = Path(get_file("b.txt", url, file_hash=want, cache_dir=cache))
    assert path == cache / "datasets" / "b.txt" and path.read_text() == "text"
    (source / "a.txt").write_text("changed")
    assert Path(get_file("b.txt", url, file_hash=want, cache_dir=cache)).read_text() == "text"
    with pytest.raises(KCError, match="KC402"):
        get_file("b.txt", url, file_hash=want, cache_dir=cache, force_download=True)
    assert path.read_text() == "text" and [p.name for p in path.parent.iterdir()] == ["b.txt"]
    with pytest.raises(KCError, match="KC406"):
        get_file("c.txt", (source / "missing").as_uri(), cache_dir=cache)
    with pytest.raises(KCError, match="bare name"):
        get_file("../c.txt", url, cache_dir=cache)


@pytest.mark.parametrize("archive", ["t.tar.gz", "z.zip"])
def test_get_file_unpacks(source, tmp_path, archive):
    found = Path(
        get_file("folder", (source / archive).as_uri(), extract=True, cache_dir=tmp_path / "cache")
    )
    assert (found / "inside" / "a.txt").read_text() == "text"


def test_an_archive_cannot_write_elsewhere(source, tmp_path):
    with tarfile.open(source / "evil.tar", "w") as tar:
        tar.add(source / "a.txt", "../../escaped.txt")
    with pytest.raises(tarfile.OutsideDestinationError):
        get_file(
            "folder", (source / "evil.tar").as_uri(), extract=True, cache_dir=tmp_path / "cache"
        )
    assert not list(tmp_path.rglob("escaped.txt"))


def test_set_random_seed():
    def draw():
        seeds.set_random_seed(7)
        return random.random(), np.random.rand(), np.asarray(kr.uniform((2,))).tolist()

    assert draw() == draw()
    with pytest.raises(KCError, match="KC209"):
        seeds.set_random_seed("7")
