"""Where the data sets lie in Keras's cache, and how one gets there.

Refuses to fetch anything unless the caller of `load_data` allows it.
"""

from __future__ import annotations

from pathlib import Path

from kcompile.errors import KCOSError
from kcompile.utils.files import download, keras_home

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


def folder() -> Path:
    """The folder of Keras's data sets."""
    return keras_home() / "datasets"


def find(name: str, origin: str, sha256: str | None, allow: bool) -> Path:
    """The path of the cached file `name`, fetched from the URL `origin` when it is missing.

    A cached file is taken as it is (its reader does not trust it); a fetched one must have `sha256`.
    Raises KCOSError KC406 when it is missing and `allow` is false, or cannot be fetched.
    """
    path = folder() / name
    if not path.exists():
        if not allow:
            raise KCOSError(
                "KC406",
                f"{path} is not there",
                "load_data(download=False) reads Keras's cache only",
                f"call load_data() to fetch {origin}, or put the file there",
            )
        download(origin, path, sha256)
    return path
