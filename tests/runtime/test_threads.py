"""Two jobs run at the same time where a second thread is free; errors come back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pytest

from runtime import threads


def test_two_jobs_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)
    seen = []

    def job():
        seen.append(meeting.wait())  # for the other one

    for _ in range(20):
        threads.both(job, job)
    assert sorted(seen) == [0] * 20 + [1] * 20


def test_a_caller_that_is_done_first_does_the_rest_itself(monkeypatch):
    monkeypatch.setattr(threads, "_start", lambda: None)
    monkeypatch.setattr(threads, "_working", True)
    monkeypatch.setattr(threads, "_queue", SimpleQueue())  # nobody serves it
    seen = []
    for _ in range(3):
        threads.both(lambda: seen.append(1), lambda: seen.append(2))
    assert seen == [1, 2] * 3
    assert threads._queue.qsize() == 1  # offers do not pile up


@pytest.mark.parametrize("bad", [0, 1])
def test_the_error_of_a_job_is_raised_after_all_have_ended(bad):
    ended = []

    def job(i):
        time.sleep(0.01 * i)
        if i == bad:
            raise KeyError(i)
        ended.append(i)

    with pytest.raises(KeyError):
        threads.both(lambda: job(0), lambda: job(1))
    before = list(ended)
    time.sleep(0.03)
    assert ended == before and bad not in ended


@pytest.mark.parametrize("quick", ["both", "in_turn"])
def test_the_quicker_way_is_kept(monkeypatch, quick):
    ran = []

    def way(name):
        def run(first, second):
            ran.append(name)
            time.sleep(0 if name == quick else 0.002)
            first(), second()

        return run

    seen = []
    monkeypatch.setattr(threads, "both", way("both"))
    monkeypatch.setattr(threads, "in_turn", way("in_turn"))
    pair = threads.Both(lambda: seen.append(1), lambda: seen.append(2))
    calls = 10 * pair.TRIALS
    for _ in range(calls):
        pair()
    assert set(ran[: 2 * pair.TRIALS]) == {"both", "in_turn"}
    assert set(ran[2 * pair.TRIALS :]) == {quick}
    assert seen == [1, 2] * calls


def test_calls_from_several_threads():
    counts = [0] * 4

    def caller(k):
        got = []
        for n in range(1, 201):
            threads.both(lambda: got.append(1), lambda: got.append(2))
            assert got.count(1) == got.count(2) == n
            counts[k] += 1

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for t in callers:
        t.start()
    for t in callers:
        t.join(30)
    assert counts == [200] * 4


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
print(blas._function("get_num_threads")())
"""
    env = os.environ | {"KCOMPILE_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "1" or "another library" in done.stderr


GROUPS = {
    "no limit": ("0::/app", {"app/cpu.max": "max 100000"}, 1 << 20),
    "two cores": ("0::/app/x", {"app/x/cpu.max": "250000 100000"}, 2),
    "the group above": ("0::/app/x", {"app/cpu.max": "100000 100000", "app/x/cpu.max": "max 100000"}, 1),
    "less than one": ("0::/", {"cpu.max": "10000 100000"}, 1),
    "version 1": (
        "3:cpu,cpuacct:/app", {"cpu,cpuacct/app/cpu.cfs_quota_us": "300000", "cpu,cpuacct/app/cpu.cfs_period_us": "100000"}, 3,
    ),
    "another kind": ("4:memory:/app", {"memory/app/cpu.max": "100000 100000"}, 1 << 20),
    "hidden, as in a container": ("0::/../..", {"cpu.max": "400000 100000"}, 4),
    "damaged": ("0::/app", {"app/cpu.max": "much"}, 1 << 20),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_limits_of_control_groups(tmp_path: Path, name: str) -> None:
    line, files, cores = GROUPS[name]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(line + "\n")
    for path, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert threads._granted(tmp_path) == cores


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert threads._granted(tmp_path) == 1 << 20
