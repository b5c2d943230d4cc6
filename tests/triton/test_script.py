"""A dumped step of Triton kernels is a script: it runs by itself, agrees with NumPy, and says so when it does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kcompile as keras

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.device import Interpreted
from runtime.script import REPEATS, _time

ROOT = Path(__file__).resolve().parents[2]
L = keras.layers


def pictures() -> Any:
    return [keras.Input((6, 6, 1)), L.Conv2D(3, 3, activation="relu"), L.BatchNormalization(), L.Flatten(), L.Dropout(0.3), L.Dense(4, activation="softmax")]  # fmt: skip


def words() -> Any:
    return [keras.Input((5,), dtype="int32"), L.Embedding(20, 3), L.LSTM(4), L.Dense(4, activation="softmax")]  # fmt: skip


def ran(path: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}  # fmt: skip
    return subprocess.run([sys.executable, path], env=env, capture_output=True, text=True, check=False)  # fmt: skip


@pytest.mark.parametrize("kind", [pictures, words])
def test_a_dump_checks_itself(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codegen.triton.writer.STREAMED", 0)  # a loop is kernels of a step
    model = keras.Sequential(kind())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    text = model.dump_ir("kernels", target="triton", batch_size=3)
    script = tmp_path / "step.py"
    script.write_text(text)
    said = ran(script)
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"\d+ states and 0 results agree with NumPy within .* of what they changed by\n.*", said.stdout, re.DOTALL)  # fmt: skip
    first, last = map(int, re.search(r"^# k0 \(lines (\d+)-(\d+)\)", text, re.MULTILINE).groups())  # type: ignore[union-attr]
    lines = text.splitlines()
    assert ("    for t in range(5):" in lines) == (kind is words)
    assert lines[first - 1] == "@triton.jit" and not lines[last - 1 + 1].strip()
    if kind is words:
        return
    wrong = re.sub(r"^    launch\(k1, .*\n", "", text, count=1, flags=re.MULTILINE)
    assert wrong != text
    script.write_text(wrong)
    said = ran(script)
    assert said.returncode == 1 and "is off by" in said.stderr


def test_on_a_gpu_each_launch_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []
    launches = [("k0", lambda: calls.append("k0")), ("k1", lambda: calls.append("k1"))]
    _time(launches, Interpreted())  # type: ignore[arg-type]
    found = re.findall(r"^(k\d): \d+\.\d\d us$", capsys.readouterr().out, re.MULTILINE)
    assert found == ["k0", "k1"] and calls.count("k1") == REPEATS * (REPEATS + 1)
