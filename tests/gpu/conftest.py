"""Tests of real kernels on a real GPU: `KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu`, which fails where there is none.

Without that the same tests run in Triton's interpreter for a sample of their cases (marked `sample`), so that a test that
is broken shows where no GPU is; the others are skipped and say so.
"""

from __future__ import annotations

import os

import pytest

ON_GPU = os.environ.get("KCOMPILE_GPU_TESTS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs a GPU: KCOMPILE_GPU_TESTS=1 python -m pytest tests/gpu")
    for item in items:
        if "gpu" in item.path.parts and not ON_GPU and item.get_closest_marker("sample") is None:
            item.add_marker(skip)
