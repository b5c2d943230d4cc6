"""The disk cache: round trip, damage, foreign hands, interrupted writes, the switch."""

from __future__ import annotations

import os
import time

import pytest

from codegen.program import Buffer, Program
from runtime import cache
from runtime.cache import CacheError, ProgramCache

PROGRAM = Program(
    "train", "numpy", "def build(b, t):\n    return lambda: None\n", (),
    (Buffer("w", "f32", (2, 3), "state", "dense/kernel", -1, 24),), 0, ("w",), (), (), "k1",
)  # fmt: skip


@pytest.fixture
def programs(tmp_path):
    return ProgramCache(tmp_path / "cache")


def test_round_trip(programs):
    assert programs.load("k1") is None
    programs.save("k1", PROGRAM)
    assert programs.load("k1") == PROGRAM
    assert programs.load("k2") is None
    assert os.stat(programs.directory).st_mode & 0o777 == 0o700
    assert os.stat(programs.path("k1")).st_mode & 0o777 == 0o600
    assert programs.clear() == 1 and programs.load("k1") is None


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "other version", "nonsense"])
def test_a_damaged_entry_is_dropped(programs, damage, caplog):
    programs.save("k1", PROGRAM)
    path = programs.path("k1")
    text = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": text[:-20],
            "flip": text.replace(b"lambda", b"lambdb"),
            "other version": text.replace(b"program 1 ", b"program 0 ", 1),
            "nonsense": b"\xff\x00" * 100,
        }[damage]
    )
    assert programs.load("k1") is None
    assert "dropped the cached program" in caplog.text
    assert not path.exists()
    programs.save("k1", PROGRAM)
    assert programs.load("k1") == PROGRAM


def test_an_entry_others_may_write_is_not_run(programs, caplog):
    programs.save("k1", PROGRAM)
    os.chmod(programs.path("k1"), 0o666)
    assert programs.load("k1") is None and "others may write it" in caplog.text


def test_a_link_is_not_followed(programs, tmp_path):
    programs.save("k1", PROGRAM)
    path = programs.path("k1")
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert programs.load("k1") is None


def test_an_open_directory_is_refused(tmp_path):
    where = tmp_path / "open"
    where.mkdir()
    os.chmod(where, 0o777)
    with pytest.raises(CacheError, match="chmod 700"):
        ProgramCache(where)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CacheError):
        ProgramCache(file)


def test_a_directory_behind_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(CacheError, match="link"):
        ProgramCache(tmp_path / "link")


def test_a_foreign_entry_is_not_run(programs, monkeypatch, caplog):
    programs.save("k1", PROGRAM)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert programs.load("k1") is None and "not a file of this user" in caplog.text


def test_a_foreign_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CacheError, match="belongs to user"):
        ProgramCache(tmp_path / "mine")


def test_a_failed_write_leaves_the_old_entry(programs, monkeypatch, caplog):
    programs.save("k1", PROGRAM)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    programs.save("k1", PROGRAM)
    assert "was not cached" in caplog.text
    assert programs.load("k1") == PROGRAM
    assert [p.name for p in programs.directory.iterdir()] == [programs.path("k1").name]


def test_old_entries_and_leftovers_go(programs, monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    leftover = programs.directory / ".new-abc"
    leftover.write_text("half")
    os.utime(leftover, (time.time() - 1e5,) * 2)
    for i, key in enumerate("abc"):
        programs.save(key, PROGRAM)
        os.utime(programs.path(key), (i, i))
    programs.save("d", PROGRAM)
    assert programs.load("a") is None and programs.load("b") is None
    assert programs.load("c") and programs.load("d")
    assert not leftover.exists()


def test_the_key_covers_the_compiler(programs, monkeypatch):
    programs.save("k1", PROGRAM)
    monkeypatch.setattr(cache, "fingerprint", lambda: "another compiler")
    assert programs.load("k1") is None


def test_where(monkeypatch, tmp_path, caplog):
    for off in ("0", "off", ""):
        monkeypatch.setenv("KCOMPILE_CACHE", off)
        assert cache.default() is None
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "here"))
    assert cache.default().directory == tmp_path / "here"
    monkeypatch.delenv("KCOMPILE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "kcompile"
    bad = tmp_path / "bad"
    bad.mkdir()
    os.chmod(bad, 0o755)
    monkeypatch.setenv("KCOMPILE_CACHE", str(bad))
    assert cache.default() is None and "not cached" in caplog.text
