"""Writing `.keras` files, a ZIP of metadata.json, config.json and model.weights.h5; weights files both ways.

A file is written whole or not at all. Refuses to read models (`kcompile.saving.loading`, which knows all of
our classes) and to know where variables lie (`kcompile.saving.weights`).
"""

from __future__ import annotations

import datetime
import io
import json
import os
import zipfile
from typing import Any

import kcompile.saving.weights as weights
import kcompile.serialization as serialization
from kcompile.errors import KCFileNotFoundError, KCOSError, KCValueError
from kcompile.fit.build import build_optimizer
from kcompile.saving.atomic import replacing

KERAS_VERSION = "3.15.1"  # the version whose form is written
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_EXPANSION = (
    100  # a member that unpacks to more than this many times its size on disk is refused
)


def save_model(model: Any, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
    """Write the model (config, weights, optimizer) to a path ending in `.keras`, or to a binary file.

    Raises KCValueError KC404 for another ending, KCOSError for an existing file unless `overwrite`.
    """
    kwargs.pop("zipped", None)
    if "save_format" in kwargs:
        kwargs.pop("save_format")
    if kwargs:
        raise KCValueError(
            "KC404",
            f"save({', '.join(kwargs)}=...)",
            "save takes filepath and overwrite",
            "drop the argument",
        )
    if hasattr(filepath, "write"):
        _write(model, filepath)
        return
    path = os.fspath(filepath)
    if not path.endswith(".keras"):
        raise KCValueError(
            "KC404", f"filepath={path!r}", "a model is saved to a file ending in .keras",
            f"name it {os.path.splitext(path)[0] + '.keras'!r} (for weights alone: save_weights('....weights.h5'))",
        )  # fmt: skip
    _may_write(path, overwrite)
    with replacing(path) as f:
        _write(model, f)


def _write(model: Any, f: Any) -> None:
    config = json.dumps(serialization.serialize_keras_object(model))
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    facts = {"keras_version": KERAS_VERSION, "date_saved": now, "written_by": "kcompile"}
    data = io.BytesIO()
    with weights.open_h5(data, "w") as h5:
        weights.write(h5, model)
    with zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as z:
        z.writestr(METADATA, json.dumps(facts))
        z.writestr(CONFIG, config)
        z.writestr(WEIGHTS, data.getbuffer())


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Write weights and the optimizer's state to a path ending in `.weights.h5`. Raises KC404, KCOSError."""
    path = os.fspath(filepath)
    if not path.endswith(".weights.h5"):
        raise KCValueError(
            "KC404",
            f"filepath={path!r}",
            "weights are saved to a file ending in .weights.h5",
            "rename it",
        )
    if not model.built:
        raise KCValueError(
            "KC202", f"save_weights of the unbuilt model {model.name!r}", "weights exist after building",
            "call it on data, or build(shape)",
        )  # fmt: skip
    _may_write(path, overwrite)
    with replacing(path) as f, weights.open_h5(f, "w") as h5:
        weights.write(h5, model)


def existing(filepath: Any) -> str:
    """The path of a file that is there. Raises KCFileNotFoundError KC402."""
    path = os.fspath(filepath)
    if not os.path.exists(path):
        raise KCFileNotFoundError(
            "KC402", f"no file {path!r}", "a file is read from where it lies", "check the path"
        )
    return str(path)


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Read weights from a `.weights.h5` or `.keras` file. Raises as `load_model` does, before any change."""
    if kwargs:
        raise KCValueError(
            "KC107",
            f"load_weights({', '.join(kwargs)}=...)",
            "it takes skip_mismatch",
            "drop the argument",
        )
    path = existing(filepath)
    if not model.built:
        raise KCValueError(
            "KC202", f"load_weights into the unbuilt model {model.name!r}", "weights exist after building",
            "call it on data, or build(shape)",
        )  # fmt: skip
    build_optimizer(model)
    if path.endswith(".keras"):
        with zipfile.ZipFile(path) as z:
            info = member(z, WEIGHTS)
            no_bomb(info)
            with z.open(info) as f, weights.open_h5(f, "r") as h5:
                weights.read(h5, model, skip_mismatch=skip_mismatch)
        return
    if not path.endswith(".weights.h5"):
        raise KCValueError(
            "KC402",
            f"filepath={path!r}",
            "weights are in a file ending in .weights.h5 or .keras",
            "rename it",
        )
    with weights.open_h5(path, "r") as h5:
        weights.read(h5, model, skip_mismatch=skip_mismatch)


def _may_write(path: str, overwrite: bool) -> None:
    if os.path.exists(path) and not overwrite:
        raise KCOSError(
            "KC404",
            f"{path!r} exists",
            "a file is kept unless overwrite=True",
            "pass overwrite=True or another path",
        )


def member(z: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """The entry of a member. Raises KCValueError KC402 where it is missing."""
    try:
        return z.getinfo(name)
    except KeyError:
        raise KCValueError(
            "KC402", f"a file without {name}", "a .keras file holds config.json and model.weights.h5",
            "use another copy of the file",
        ) from None  # fmt: skip


def no_bomb(info: zipfile.ZipInfo) -> None:
    """Raise KCValueError KC405 for a member that unpacks to far more than it is."""
    if info.file_size > _MOST_EXPANSION * max(info.compress_size, 1 << 20):
        raise KCValueError(
            "KC405", f"{info.filename} of {info.compress_size:,} bytes that unpacks to {info.file_size:,}",
            "a member is not more than 100 times larger than it is stored", "use another copy of the file",
        )  # fmt: skip


def read_member(z: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a member, at most `most` of them. Raises KCValueError KC402, KC405."""
    info = member(z, name)
    no_bomb(info)
    if info.file_size > most:
        raise KCValueError(
            "KC405",
            f"{name} of {info.file_size:,} bytes",
            f"at most {most:,} are read",
            "use another copy of the file",
        )
    with z.open(info) as f:
        return f.read(most + 1)
