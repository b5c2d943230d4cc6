"""Jobs run, all of them, at the same time; errors come back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime import threads


def test_jobs_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)
    seen = []
    threads.run([lambda: seen.append(meeting.wait()), lambda: seen.append(meeting.wait())])
    assert sorted(seen) == [0, 1]


def test_more_jobs_than_threads():
    seen = []
    threads.run([lambda i=i: seen.append(i) for i in range(50)])
    assert sorted(seen) == list(range(50))


def test_nothing_and_one():
    threads.run([])
    seen = []
    threads.run([lambda: seen.append(threading.current_thread())])
    assert seen == [threading.current_thread()]


@pytest.mark.parametrize("bad", [0, 1])
def test_the_error_of_a_job_is_raised_after_all_have_ended(bad):
    ended = []

    def job(i):
        if i == bad:
            raise KeyError(i)
        ended.append(i)

    with pytest.raises(KeyError):
        threads.run([lambda i=i: job(i) for i in range(3)])
    assert sorted(ended + [bad]) == [0, 1, 2]


def test_count(monkeypatch):
    monkeypatch.setenv("KCOMPILE_THREADS", "3")
    assert threads.count() == 3
    monkeypatch.setenv("KCOMPILE_THREADS", "none")
    with pytest.raises(ValueError, match="positive"):
        threads.count()
    monkeypatch.delenv("KCOMPILE_THREADS")
    assert 1 <= threads.count() <= (os.cpu_count() or 1)


def test_matrix_products_use_as_many_threads(tmp_path):
    code = """
import numpy as np, sys, threading
from runtime import blas, threads
from runtime.tools_numpy import make_tools
np.ones((600, 600)) @ np.ones((600, 600))
if not blas.set_threads(2):
    sys.exit("another library")
make_tools()
import ctypes
lib = ctypes.CDLL(blas._loaded()[0])
get = next(getattr(lib, n.replace("_set_", "_get_")) for n in blas._NAMES if hasattr(lib, n))
print(get())
"""
    env = os.environ | {"KCOMPILE_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "1" or "another library" in done.stderr
