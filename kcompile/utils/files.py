"""Files from the network, kept where Keras keeps them, so that either finds what the other fetched.

`~/.keras` (or `$KERAS_HOME`) is the root. Refuses to fetch at import, to trust a file without its
digest where one is known, and to unpack an archive member outside its folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.parse
import zipfile
from pathlib import Path

from kcompile.errors import KCOSError, KCValueError

_DIGESTS = {32: "md5", 64: "sha256"}
_TIMEOUT_SECONDS = 60.0


def keras_home() -> Path:
    """The folder that Keras keeps its files in: `$KERAS_HOME`, else `~/.keras`."""
    found = os.environ.get("KERAS_HOME")
    return Path(found).expanduser() if found else Path.home() / ".keras"


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """The path of a file fetched from the URL `origin`, from the cache when it is there.

    Args:
        fname: its name in the cache; by default the last part of `origin`.
        file_hash: the expected SHA-256 or MD5 in hexadecimal (`md5_hash`: the latter's old name).
        hash_algorithm: "auto" (told by the digest's length), "sha256" or "md5".
        cache_subdir: folder below `cache_dir` (default: `keras_home()`).
        extract: unpack the archive (tar or zip); the result is the folder. `untar`: its old name.

    Raises KCOSError KC406 when the download fails, KCValueError KC402 when the digest differs.
    """
    if origin is None:
        raise KCValueError(
            "KC406", "get_file(origin=None)", "a file comes from a URL", "pass origin="
        )
    expected = file_hash or md5_hash
    if hash_algorithm not in ("auto", *_DIGESTS.values()):
        raise KCValueError(
            "KC402",
            f"hash_algorithm={hash_algorithm!r}",
            "a digest is SHA-256 or MD5",
            "pass 'auto', 'sha256' or 'md5'",
        )
    name = os.fspath(fname) if fname else os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name or os.sep in name or name in (".", ".."):
        raise KCValueError(
            "KC406",
            f"fname={name!r}",
            "fname is the bare name of a file",
            "pass fname= without a folder",
        )
    folder = Path(cache_dir or keras_home()).expanduser() / cache_subdir
    unpack = extract or untar
    unpacked = folder / (f"{name.partition('.')[0]}_extracted" if fname and "." in name else name)
    target = folder / (f"{name}_archive" if unpack and not (fname and "." in name) else name)
    fresh = force_download or not target.exists()
    if not fresh and expected and digest(target, expected) != expected.lower():
        fresh = True
    if fresh:
        download(origin, target, expected)
    if unpack and (fresh or not unpacked.exists()):
        _unpack(target, unpacked, archive_format)
    return str(unpacked if unpack else target)


def digest(path: Path, like: str) -> str:
    """The digest of a file in hexadecimal, by the algorithm whose digests are as long as `like`.

    Raises KCValueError KC402 for a length of neither SHA-256 nor MD5.
    """
    kind = _DIGESTS.get(len(like))
    if kind is None:
        raise KCValueError(
            "KC402",
            f"a digest of {len(like)} characters",
            "SHA-256 has 64, MD5 has 32",
            "check file_hash",
        )
    with open(path, "rb") as f:
        return hashlib.file_digest(f, kind).hexdigest()


def download(origin: str, target: Path, expected: str | None = None) -> None:
    """Fetch `origin` into `target`, whole or not at all; the digest is checked before it counts.

    Raises KCOSError KC406 when it cannot be fetched, KCValueError KC402 when the digest differs.
    """
    import urllib.request  # a tenth of the import time of the whole package, for the rare download

    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".download-")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            try:
                with urllib.request.urlopen(origin, timeout=_TIMEOUT_SECONDS) as source:
                    shutil.copyfileobj(source, out, 1 << 20)
            except OSError as e:  # urllib's errors are among them
                raise KCOSError(
                    "KC406",
                    f"{origin} could not be fetched: {getattr(e, 'reason', e)}",
                    f"the file is not in the cache ({target}), so it has to come from the network",
                    f"go online and try again, or put the file at {target} yourself",
                ) from e
        if expected and (found := digest(part, expected)) != expected.lower():
            raise KCValueError(
                "KC402",
                f"{origin} came with digest {found}",
                f"the digest is {expected}",
                "try again; when it persists, the file at the source has changed: do not use it",
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path, archive_format: str | None) -> None:
    kinds = ("tar", "zip") if archive_format in (None, "auto") else (archive_format,)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
    try:
        if "tar" in kinds and tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                tar.extractall(staging, filter="data")
        elif "zip" in kinds and zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as z:
                z.extractall(staging)
        else:
            raise KCValueError(
                "KC402",
                str(archive),
                f"an archive is one of {', '.join(kinds)}",
                "pass extract=False",
            )
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
