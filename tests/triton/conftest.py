"""These tests run in Triton's interpreter; with KCOMPILE_GPU_TESTS=1 on a GPU, but for those that ask for the interpreter."""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("KCOMPILE_GPU_TESTS") == "1":
        monkeypatch.setattr("runtime.device.Interpreted.__init__", skip)


def skip(*given: Any) -> None:
    pytest.skip("is about what runs without a GPU")
