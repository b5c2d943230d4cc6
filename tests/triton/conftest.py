"""These tests run in Triton's interpreter, with `--watch` one that watches memory; with KCOMPILE_GPU_TESTS=1 on a GPU, but for those
that ask for the interpreter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("KCOMPILE_GPU_TESTS") == "1":
        monkeypatch.setattr("runtime.device.Interpreted.__init__", skip)


def skip(*given: Any) -> None:
    pytest.skip("is about what runs without a GPU")


@pytest.fixture(autouse=True)
def watching(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run each launch as `tests.triton.watch` says, where a test does not see to that itself."""
    if request.config.getoption("--watch") and not hasattr(request.module, "watched"):
        from tests.triton.watch import watched

        with watched():
            yield
    else:
        yield
