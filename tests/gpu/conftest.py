"""Tests of real kernels on a real GPU: `KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu -n 8`, which fails where there is none.

Most of their time is the compiling of some 1,800 kernels; workers share the cores for that, and the GPU.

Without that the same tests run in Triton's interpreter for a sample of their cases (marked `sample`), so that a test that
is broken shows where no GPU is; the others are skipped and say so.
"""

from __future__ import annotations

import os

import pytest

ON_GPU = os.environ.get("KCOMPILE_GPU_TESTS") == "1"


def pytest_configure() -> None:
    """A worker of several keeps to its part of the cores, for which kernels are compiled at once."""
    worker, count = (os.environ.get(f"PYTEST_XDIST_WORKER{end}") for end in ("", "_COUNT"))
    if ON_GPU and worker and count:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: int(count)] or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs a GPU: KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu")
    for item in items:
        if "gpu" in item.path.parts and not ON_GPU and item.get_closest_marker("sample") is None:
            item.add_marker(skip)
