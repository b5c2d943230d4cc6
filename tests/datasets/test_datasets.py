"""Each data set from a small cache file of its own format; the text sets equal to real Keras's."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile

import numpy as np
import pytest

from kcompile.datasets import cifar10, cifar100, digits, fashion_mnist, imdb, mnist, reuters
from kcompile.errors import KCOSError, KCValueError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of data sets below a Keras home of the test's own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def test_digits():
    (x, y), (x_test, y_test) = digits.load_data()
    assert x.shape == (1442, 8, 8) and x_test.shape == (355, 8, 8)
    assert x.dtype == y.dtype == np.uint8 and y.shape == (1442,) and y_test.shape == (355,)
    assert x.min() == 0 and x.max() == 16
    assert set(np.bincount(y)) <= set(range(139, 148))
    assert set(np.bincount(y_test)) <= {34, 35, 36}
    assert np.all(
        np.bincount(np.concatenate([y, y_test]))
        == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )


def test_mnist(home, rng):
    arrays = {
        "x_train": rng.integers(0, 256, (6, 28, 28), np.uint8), "y_train": np.arange(6, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 28, 28), np.uint8), "y_test": np.arange(3, dtype=np.uint8),
    }  # fmt: skip
    np.savez(home / "mnist.npz", **arrays)
    (x, y), (x_test, y_test) = mnist.load_data()
    for got, name in ((x, "x_train"), (y, "y_train"), (x_test, "x_test"), (y_test, "y_test")):
        assert np.array_equal(got, arrays[name]) and got.dtype == np.uint8


def test_fashion_mnist(home, rng):
    folder = home / "fashion-mnist"
    folder.mkdir()
    images = rng.integers(0, 256, (4, 28, 28), np.uint8)
    for part in ("train", "t10k"):
        for what, head, body in (
            ("labels-idx1", 8, np.arange(4, dtype=np.uint8)),
            ("images-idx3", 16, images),
        ):
            with gzip.open(folder / f"{part}-{what}-ubyte.gz", "wb") as f:
                f.write(b"\0" * head + body.tobytes())
    (x, y), (x_test, _) = fashion_mnist.load_data()
    assert np.array_equal(x, images) and y.tolist() == [0, 1, 2, 3] and x_test.shape == (4, 28, 28)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(KCValueError, match="KC402"):
        fashion_mnist.load_data()


def _batch(rng, n, **labels):
    return pickle.dumps(
        {
            b"data": rng.integers(0, 256, (n, 3072), np.uint8),
            **{k.encode(): v for k, v in labels.items()},
        },
        2,
    )


def _tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("where", ["archive", "old archive", "folder"])
def test_cifar10(home, rng, where):
    folder = "cifar-10-batches-py"
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    members = {f"{folder}/{n}": _batch(rng, 2, labels=[3, i]) for i, n in enumerate(names)}
    if where == "folder":
        (home / f"{folder}-target" / folder).mkdir(parents=True)
        for name, data in members.items():
            (home / f"{folder}-target" / name).write_bytes(data)
    else:
        _tar(
            home / (f"{folder}-target_archive" if where == "archive" else f"{folder}.tar.gz"),
            members,
        )
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (10, 32, 32, 3) and x_test.shape == (2, 32, 32, 3) and x.dtype == np.uint8
    assert y[:, 0].tolist() == [3, 0, 3, 1, 3, 2, 3, 3, 3, 4] and y_test.dtype == np.uint8
    first = pickle.loads(members[f"{folder}/data_batch_1"])[b"data"]
    assert np.array_equal(x[0, :, :, 1], first[0].reshape(3, 32, 32)[1])


def test_cifar100(home, rng):
    batch = {
        n: _batch(rng, 2, fine_labels=[7, 99], coarse_labels=[1, 19]) for n in ("train", "test")
    }
    _tar(
        home / "cifar-100-python-target_archive",
        {f"cifar-100-python/{n}": b for n, b in batch.items()},
    )
    assert cifar100.load_data()[0][1].tolist() == [[7], [99]]
    assert cifar100.load_data("coarse")[1][1].tolist() == [[1], [19]]
    with pytest.raises(KCValueError, match="label_mode='rough'"):
        cifar100.load_data("rough")


def _reviews(rng, n):
    out = np.empty(n, object)
    out[:] = [[int(w) for w in rng.integers(1, 40, rng.integers(1, 12))] for _ in range(n)]
    return out


TEXT_OPTIONS = [
    {},
    {"num_words": 20, "skip_top": 4},
    {"num_words": 20, "oov_char": None, "start_char": None},
    {"maxlen": 8, "seed": 3, "index_from": 0},
    {"start_char": None, "index_from": None},
]


@pytest.mark.parametrize("options", TEXT_OPTIONS)
@pytest.mark.parametrize("module", [imdb, reuters])
def test_text_equals_keras(home, rng, monkeypatch, module, options):
    keras = pytest.importorskip("keras")
    name = module.__name__.rsplit(".", 1)[1]
    if name == "imdb" and "index_from" in options and options["index_from"] is None:
        options = {**options, "index_from": 0}  # Keras adds None to the words there
    path = home / f"{name}.npz"
    parts = ("_train", "_test") if name == "imdb" else ("",)
    arrays = {}
    for p in parts:
        arrays |= {f"x{p}": _reviews(rng, 20), f"y{p}": rng.integers(0, 2, 20)}
    np.savez(path, **arrays)
    theirs = getattr(keras.datasets, name)
    source = __import__(f"keras.src.datasets.{name}", fromlist=["get_file"])
    monkeypatch.setattr(source, "get_file", lambda *a, **k: str(path))
    for mine, real in zip(module.load_data(**options), theirs.load_data(**options)):
        assert [list(s) for s in mine[0]] == [list(s) for s in real[0]]
        assert np.array_equal(mine[1], real[1])


def test_word_index(home):
    (home / "imdb_word_index.json").write_text(json.dumps({"the": 1}))
    (home / "reuters_word_index.json").write_text(json.dumps({"a": 2}))
    assert imdb.get_word_index() == {"the": 1} and reuters.get_word_index() == {"a": 2}
    assert len(reuters.get_label_names()) == 46


def test_nothing_is_left_after_maxlen(home, rng):
    np.savez(home / "reuters.npz", x=_reviews(rng, 5), y=np.arange(5))
    with pytest.raises(KCValueError, match="pass a larger maxlen"):
        reuters.load_data(maxlen=1)


@pytest.mark.parametrize("module", [mnist, fashion_mnist, cifar10, cifar100, imdb, reuters])
def test_without_the_network(home, module, monkeypatch):
    with pytest.raises(KCOSError, match="KC406") as e:
        module.load_data(download=False)
    assert "load_data()" in str(e.value) and not list(home.iterdir())

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(KCOSError, match="go online"):
        module.load_data()
    assert not [p for p in home.rglob("*") if p.is_file()]
