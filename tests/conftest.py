"""What every test shares: the oracle's backend, seeded generators, and the options of the runners."""

from __future__ import annotations

import os
import random

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# NumPy compiles in no time; the tests that run as C too are named in the Makefile (`make test-native`)
os.environ.setdefault("KCOMPILE_TARGET", "numpy")
# Triton's kernels run in its interpreter, which must be asked for before anything imports triton; on a GPU: see tests/gpu
if os.environ.get("KCOMPILE_GPU_TESTS") != "1":
    os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regold", action="store_true", default=False, help="rewrite expectations of golden tests"
    )
    parser.addoption(
        "--watch",
        action="store_true",
        default=False,
        help="run Triton's kernels as tests/triton/watch.py says",
    )


@pytest.fixture
def regold(request: pytest.FixtureRequest) -> bool:
    """Whether this run rewrites expectations instead of comparing with them."""
    return bool(request.config.getoption("--regold"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Python's and NumPy's global generators start equal for each test; compiled programs go to a scratch cache."""
    random.seed(0)  # what layers and optimizers without a seed draw theirs from
    np.random.seed(0)
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path_factory.getbasetemp() / "kcompile-cache"))
