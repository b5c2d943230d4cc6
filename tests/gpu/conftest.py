"""Tests of real kernels on a real GPU: `KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu -n 16`, which fails where there is none.

Most of their time is the compiling of some 1,800 kernels; workers share the cores for that, and the GPU.

Without that the same tests run in Triton's interpreter for a sample of their cases (marked `sample`), so that a test that
is broken shows where no GPU is; the others are skipped and say so.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

ON_GPU = os.environ.get("KCOMPILE_GPU_TESTS") == "1"


class Loud:
    """Says at once what failed, for when time runs out before the summary."""

    def __init__(self, terminal: Any):
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash is not None else str(report.longrepr)
            self.terminal.write_line(f"\n{report.nodeid}: {why[:300]}")


def pytest_configure(config: pytest.Config) -> None:
    """A worker of several keeps to its part of the cores, for which kernels are compiled at once."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if ON_GPU and terminal is not None:
        config.pluginmanager.register(Loud(terminal))
    worker, count = (os.environ.get(f"PYTEST_XDIST_WORKER{end}") for end in ("", "_COUNT"))
    if ON_GPU and worker and count:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: int(count)] or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs a GPU: KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu")
    for item in items:
        if "gpu" in item.path.parts and not ON_GPU and item.get_closest_marker("sample") is None:
            item.add_marker(skip)
