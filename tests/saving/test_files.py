"""`.keras` and weights files: written here and read by real Keras, and the other way round, training state
included; damaged and hostile files are refused."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile.layers as our_layers
import kcompile.ops as ops
import kcompile.regularizers as regularizers
import kcompile.saving as saving
from kcompile.errors import KCOSError, KCValueError
from kcompile.input_layer import Input
from kcompile.model import Model
from kcompile.saving.from_keras import from_keras
from kcompile.sequential import Sequential
from tests.models.programs import CASES as PROGRAMS

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
KERAS: Any = keras


class Ours:
    layers, ops, regularizers = our_layers, ops, regularizers
    Input, Model, Sequential = Input, Model, Sequential


PORTABLE = [name for name in PROGRAMS if "custom" not in name]


def compiled(k: Any, name: str, optimizer: str = "adam") -> tuple[Any, Any, Any]:
    case = PROGRAMS[name]
    x, y = case.data(np.random.default_rng(0), 8)
    m = case.build(k)
    m.compile(optimizer, case.loss)
    return m, x, y


def close(a: Any, b: Any) -> None:
    a, b = (v if isinstance(v, list) else [v] for v in (a, b))
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(q, p, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", PORTABLE)
def test_ours_open_in_keras(name: str, tmp_path: Path) -> None:
    ours, x, y = compiled(Ours, name)
    ours.fit(x, y, verbose=0, shuffle=False)
    path = tmp_path / "m.keras"
    ours.save(path)
    theirs = KERAS.models.load_model(path)
    close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    for a, b in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_allclose(np.asarray(b.numpy()), a.numpy(), rtol=1e-6)
    close(
        ours.fit(x, y, verbose=0, shuffle=False).history["loss"],
        theirs.fit(x, y, verbose=0, shuffle=False).history["loss"],
    )


@pytest.mark.parametrize("name", PORTABLE)
def test_files_of_keras_open_here(name: str, tmp_path: Path) -> None:
    theirs, x, y = compiled(KERAS, name)
    theirs.fit(x, y, verbose=0, shuffle=False)
    path = tmp_path / "m.keras"
    theirs.save(path)
    ours = saving.load_model(path)
    close(theirs.predict(x, verbose=0), ours.predict(x, verbose=0))
    for a, b in zip(theirs.optimizer.variables, ours.optimizer.variables, strict=True):
        np.testing.assert_allclose(b.numpy(), np.asarray(a.numpy()), rtol=1e-6)
    close(
        theirs.fit(x, y, verbose=0, shuffle=False).history["loss"],
        ours.fit(x, y, verbose=0, shuffle=False).history["loss"],
    )


@pytest.mark.parametrize("name", PORTABLE)
def test_weights_files_both_ways(name: str, tmp_path: Path) -> None:
    theirs, x, _ = compiled(KERAS, name)
    ours, _, _ = compiled(Ours, name)
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours.load_weights(tmp_path / "a.weights.h5")
    close(theirs.predict(x, verbose=0), ours.predict(x, verbose=0))
    other, _, _ = compiled(KERAS, name)
    ours.save_weights(tmp_path / "b.weights.h5")
    other.load_weights(tmp_path / "b.weights.h5")
    close(theirs.predict(x, verbose=0), other.predict(x, verbose=0))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "adagrad", "nadam"])
def test_from_keras_goes_on_as_keras_would(optimizer: str) -> None:
    theirs, x, y = compiled(KERAS, "mlp", optimizer)
    theirs.fit(x, y, verbose=0, shuffle=False)
    ours = from_keras(theirs)
    close(theirs.predict(x, verbose=0), ours.predict(x, verbose=0))
    kwargs = {"epochs": 3, "verbose": 0, "shuffle": False}
    close(theirs.fit(x, y, **kwargs).history["loss"], ours.fit(x, y, **kwargs).history["loss"])


def small(units: int = 3) -> Any:
    m = Sequential(
        [Input((4,)), our_layers.Dense(units), our_layers.Dropout(0.5), our_layers.Dense(2)]
    )
    m.compile("adam", "mse")
    return m


X, Y = np.ones((6, 4), "float32"), np.zeros((6, 2), "float32")


def test_a_resumed_run_draws_the_same_numbers(tmp_path: Path) -> None:
    m = small()
    m.fit(X, Y, epochs=2, verbose=0, shuffle=False)
    m.save(tmp_path / "m.keras")
    straight = m.fit(X, Y, epochs=3, verbose=0, shuffle=False).history["loss"]
    again = saving.load_model(tmp_path / "m.keras")  # and the random state as it was
    assert again.fit(X, Y, epochs=3, verbose=0, shuffle=False).history["loss"] == straight


def test_without_compile_and_into_memory() -> None:
    m = small()
    f = io.BytesIO()
    m.save(f)
    f.seek(0)
    again = saving.load_model(f, compile=False)
    assert not again.compiled
    np.testing.assert_array_equal(again.predict(X, verbose=0), m.predict(X, verbose=0))


def test_another_model_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    m, other = small(), small(5)
    path = tmp_path / "m.weights.h5"
    other.save_weights(path)
    before = m.get_weights()
    with pytest.raises(KCValueError, match="KC403"):
        m.load_weights(path)
    for a, b in zip(before, m.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    m.load_weights(path, skip_mismatch=True)


def test_names_and_overwriting(tmp_path: Path) -> None:
    m = small()
    for bad in ("m.h5", "m", "m.weights.h5"):
        with pytest.raises(KCValueError, match=r"\.keras"):
            m.save(tmp_path / bad)
    with pytest.raises(KCValueError, match=r"\.weights\.h5"):
        m.save_weights(tmp_path / "m.h5")
    m.save(tmp_path / "m.keras")
    with pytest.raises(KCOSError, match="exists"):
        m.save(tmp_path / "m.keras", overwrite=False)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = small()
    path = tmp_path / "m.keras"
    m.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("kcompile.saving.weights.write", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        m.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.keras"]


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".m.keras.999999999.part"
    left.write_bytes(b"half")
    small().save(tmp_path / "m.keras")
    assert not left.exists()


def edited(path: Path, **members: bytes) -> Path:
    out = path.with_name("edited.keras")
    with zipfile.ZipFile(path) as a, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as b:
        for info in a.infolist():
            key = info.filename.split(".")[0]
            b.writestr(info.filename, members.get(key, a.read(info.filename)))
    return out


def test_damaged_and_hostile_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    small().save(path)
    with pytest.raises(FileNotFoundError):
        saving.load_model(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("no zip")
    with pytest.raises(KCValueError, match="KC402"):
        saving.load_model(tmp_path / "text.keras")
    with pytest.raises(KCValueError, match="KC402"):
        saving.load_model(edited(path, config=b"{"))
    with pytest.raises(KCValueError, match="KC402"):
        saving.load_model(edited(path, model=b"not hdf5"))
    with pytest.raises(KCValueError, match="KC405"):
        saving.load_model(edited(path, config=b" " * (200 << 20)))
    with zipfile.ZipFile(path) as z:
        config = json.loads(z.read("config.json"))
    config["config"]["layers"][1]["class_name"] = "system"
    config["config"]["layers"][1]["module"] = "os"
    with pytest.raises(KCValueError, match="KC401"):
        saving.load_model(edited(path, config=json.dumps(config).encode()))


def test_links_are_refused(tmp_path: Path) -> None:
    m = small()
    path = tmp_path / "m.weights.h5"
    m.save_weights(path)
    with h5py.File(path, "r+") as f:
        del f["layers/dense/vars/0"]
        f["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(KCValueError, match="KC405"):
        m.load_weights(path)
