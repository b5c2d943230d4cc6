"""benchmarks/gpu.py runs from end to end without a GPU; its figures mean nothing then."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.tune import TABLE

ROOT = Path(__file__).parent.parent.parent


def dry(out: Path, *options: str) -> Any:
    command = [
        sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry", "--models", "binary_mlp:4", "--out", str(out),
        "--caches", str(out.parent / "caches"), "--options", "--steps 2 --repeats 1", *options,
    ]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| binary_mlp 4 f32 |" in done.stdout
    return json.loads(out.read_text())


@pytest.mark.sample
def test_a_dry_run_writes_a_row_for_each_cell_and_another_goes_on_from_there(
    tmp_path: Path,
) -> None:
    out = tmp_path / "found.json"
    found = dry(out, "--backends", "kcompile", "--rounds", "1")
    assert found["dry"]
    (cell,) = found["cells"]
    assert {"ms_step", "first_step_s", "peak_mb"} <= cell.keys(), cell
    (run,) = found["runs"][0]["runs"]
    assert [k["launches"] for k in run["kernels"]] == [1] * len(run["kernels"]) != []
    assert all(k["us"] > k["floor_us"] > 0 for k in run["kernels"])
    assert (run["kind"], run["choices"]) == ("", {})  # nothing is tuned where there is no GPU
    again = dry(out, "--backends", "kcompile,torch-eager", "--rounds", "1")
    assert again["runs"][0] == found["runs"][0]
    assert [c["backend"] for c in again["cells"]] == ["kcompile", "torch-eager"]
    assert all("ms_step" in c for c in again["cells"])
    assert dry(out, "--backends", "kcompile", "--rounds", "2", "--seconds", "1")["runs"] == again["runs"]  # fmt: skip


@pytest.mark.sample
def test_figures_of_processes_become_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that failed is measured again by the next run; the first step counts as cold where every cache was empty."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    tables = importlib.import_module("gpu_tables")
    ran = lambda ms, first, cold: {"ms_step": ms, "first_step_s": first, "cold": cold, "peak_mb": 9}
    kernel = lambda us: {"name": "k0", "kind": "rows", "us": us, "floor_us": 1.5, "ops": "add", "launches": 2}  # fmt: skip
    mine = [ran(0.010, 8.0, True), ran(0.008, 1.0, False) | {"kernels": [kernel(4.0), kernel(2.0)]}]
    runs = {
        ("kcompile", "mlp", 32, "f32"): mine,
        ("jax", "mlp", 32, "f32"): [{"error": "no room"}, ran(0.045, 5.0, False)],
    }
    cells = {c: tables.summary(r) for c, r in runs.items()}
    rows = tables.table(cells, ["kcompile", "jax"], "ms_step", "ms a step").splitlines()
    assert rows[2] == "| mlp 32 f32 | 0.009 | 0.045 | 5.00 |"
    rows = tables.table(cells, ["kcompile", "jax"], "first_step_s", "s").splitlines()
    assert rows[2] == "| mlp 32 f32 | 8 | - | - |"
    assert tables.overview(runs).splitlines()[2] == "| mlp 32 f32 | 9.00 | 6.00 | 3.00 | 4 |"
    assert tables.kernels(runs).splitlines()[2].startswith("| mlp f32 | k0 | rows | 4.00 | 1.50 |")
    assert tables.errors(runs) == "- jax mlp 32 f32: no room"


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
