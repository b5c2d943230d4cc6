"""benchmarks/gpu.py runs from end to end without a GPU; its figures mean nothing then."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.tune import TABLE

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.sample
def test_a_dry_run_writes_a_row_for_each_cell(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [
        sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry", "--models", "binary_mlp:4",
        "--backends", "kcompile,torch-eager", "--rounds", "2", "--options", "--steps 2 --repeats 1", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["dry"]
    assert [c["backend"] for c in found["cells"]] == ["kcompile", "torch-eager"]
    for cell in found["cells"]:
        assert {"ms_step", "first_step_s", "warm_start_s", "peak_mb"} <= cell.keys(), cell
    assert "| binary_mlp 4 f32 |" in done.stdout


@pytest.mark.sample
def test_without_a_gpu_nothing_is_measured() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--models", "mlp:4"]
    env = os.environ | {"PATH": "/nowhere"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert "no GPU" in done.stderr


@pytest.mark.sample
def test_what_was_tuned_joins_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    table = {"old": {"b": "library"}, "new": {"c": [[], 4, 2], "a": [[], 1, 2]}}
    runs = [
        {"kind": "new", "choices": {"b": [[], 8, 3], "a": "library"}},
        {"kind": "none", "choices": {}},
    ]
    joined = gpu.with_choices(table, runs)
    assert json.dumps(joined) == json.dumps(
        {"new": {"a": "library", "b": [[], 8, 3], "c": [[], 4, 2]}, "old": {"b": "library"}}
    )
    assert gpu.TABLE == TABLE
