"""dump_ir at every stage and format, and the commands."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile.layers as layers
import kcompile.report as report
from ir.text import dump, parse
from kcompile.cli import main
from kcompile.dump import FORMATS, STAGES, program_of
from kcompile.errors import KCValueError
from kcompile.fit.runner import step_function
from kcompile.input_layer import Input
from kcompile.model import Model
from kcompile.sequential import Sequential


def small() -> Any:
    m = Sequential([
        Input((8, 8, 1)), layers.Conv2D(2, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(3, activation="softmax", name="head"),
    ])  # fmt: skip
    m.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return m


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_and_format(stage: str) -> None:
    m = small()
    text, data, dot = (m.dump_ir(stage, f) for f in FORMATS if f != "html")
    assert "head" in text and "head" in dot
    assert dot.startswith("digraph") and dot.count("{") == dot.count("}")
    found = json.loads(data)
    if stage == "kernels":
        compile(text, "kernels", "exec")
        assert found["kernels"] and "def build" in found["source"]
        return
    assert {n["op"] for n in found["nodes"]} and len(found["outputs"]) >= len(found["inputs"]) - 2
    assert dump(parse(text)) == text
    assert ("[N," in text) == (stage in ("traced", "differentiated"))
    assert ("optimizer" in text) == (stage != "traced")
    assert ("fused" in {n["op"] for n in found["nodes"]}) == (stage == "fused")


@pytest.mark.parametrize("target", ["numpy", "native"])
def test_a_page_shows_every_kernel_with_its_source(target: str) -> None:
    m = small()
    page = m.dump_ir("kernels", "html", target=target)
    found = json.loads(m.dump_ir("kernels", "json", target=target))
    assert page.startswith("<!doctype html>") and page.count("<details ") == len(found["kernels"])
    for k in found["kernels"]:
        assert f'id="{k["name"]}"' in page
        assert k["source"].strip() and k["source"].splitlines()[0].strip() in found["source"]
        assert k["seconds_estimated"] > 0
    if target == "native":
        in_c = [k["source"] for k in found["kernels"] if k["source"].endswith("}\n")]
        assert len(in_c) > 3 and all(c.count("{") == c.count("}") for c in in_c)
    with pytest.raises(KCValueError, match="only kernels are shown as a page"):
        m.dump_ir("fused", "html")


def test_kernels_are_measured_without_training() -> None:
    m = small()
    m.optimizer.build(m.trainable_variables)
    before = [v.numpy() for v in (*m.weights, *m.optimizer.variables)]
    page = m.dump_ir("kernels", "html", target="native", measure=True, batch_size=4)
    found = m.compile_report(target="native", measure=True, batch_size=4, verbose=False)
    assert "GFLOP/s" in page and all(k["seconds_measured"] >= 0 for k in found["kernels"])
    assert sum(k["seconds_measured"] for k in found["kernels"]) > 0
    for v, old in zip((*m.weights, *m.optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old)
    for bad in ({"stage": "kernels", "target": "numpy"}, {"stage": "fused"}):
        with pytest.raises(KCValueError, match=r"KC305[\s\S]*measure=True"):
            m.dump_ir(**bad, measure=True)


def test_names_in_a_page_are_text() -> None:
    m = Sequential([Input((2,)), layers.Dense(1, name="<b>&d")])
    page = m.dump_ir("kernels", "html")
    assert "<b>&d" not in page and "&lt;b&gt;&amp;d" in page


def test_kernels_need_known_extents() -> None:
    m = Sequential([Input((None, 3)), layers.GlobalAveragePooling1D(), layers.Dense(1)])
    assert "T" in m.dump_ir("fused")
    with pytest.raises(KCValueError, match=r"f32\[32, T, 3\]"):
        m.dump_ir("kernels")


def test_kinds_and_batch_size() -> None:
    m = small()
    assert "predict_step" in m.dump_ir("traced", kind="predict")
    assert "f32[7, 8, 8, 1]" in m.dump_ir("simplified", kind="test", batch_size=7)
    m.fit(*_data(), verbose=0)
    assert "head" in m.dump_ir("fused")
    for bad in ({"stage": "linked"}, {"format": "xml"}, {"kind": "sleep"}):
        with pytest.raises(KCValueError, match="is one of"):
            m.dump_ir(**bad)


def test_the_report_comes_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    m = small()
    found = m.compile_report(batch_size=16)
    assert "train_step on numpy" in capsys.readouterr().out
    assert found["flops"] > 0 and len(found["kernels"]) < 12
    m.fit(*_data(16), batch_size=16, verbose=0)
    (made,) = step_function(m, "train").log
    assert made.program is not None
    assert found == report.facts(made.program)  # foretold to the byte
    assert m.compile_report("test", verbose=False)["name"] == "test_step"
    assert capsys.readouterr().out == ""
    with pytest.raises(KCValueError, match="KC305"):
        m.compile_report("sleep")


def test_the_kernels_say_why_they_are_apart() -> None:
    text = small().dump_ir("kernels")
    assert "not fused: contract: it takes whole arrays" in text.partition("def build")[0]


def test_what_ran_is_shown_whatever_its_data_were() -> None:
    """Pictures of bytes, weights of samples, a time that the inputs leave open: other programs than those of the inputs."""
    m, (x, y) = small(), _data(6)
    m.fit(x.astype("u1"), y, sample_weight=np.ones(6, "f4"), batch_size=6, verbose=0)
    (made,) = step_function(m, "train").log
    assert made.program is not None
    assert program_of(m, batch_size=6) is made.executable.program
    assert "u8[6, 8, 8, 1]" in m.dump_ir("fused", batch_size=6)
    assert "u8[9, 8, 8, 1]" in m.dump_ir("simplified", batch_size=9)
    m = Sequential([Input((None, 3)), layers.GlobalAveragePooling1D(), layers.Dense(1)])
    m.predict(np.zeros((4, 5, 3), "f4"), batch_size=4, verbose=0)
    (made,) = step_function(m, "predict").log
    assert program_of(m, batch_size=4) is made.executable.program


def test_models_with_several_inputs_and_unknown_time() -> None:
    a, b = Input((None, 3), name="a"), Input((2,), name="b")
    h = layers.Concatenate()([layers.LSTM(4)(a), b])
    m = Model({"a": a, "b": b}, [layers.Dense(1, name="one")(h), layers.Dense(2, name="two")(h)])
    m.compile("sgd", ["mse", "mae"])
    assert "T" in m.dump_ir("differentiated")


def _data(rows: int = 4) -> Any:
    return np.zeros((rows, 8, 8, 1), "float32"), np.zeros(rows, "int32")


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, "argv", ["kcompile", *args])
    with pytest.raises(SystemExit) as e:
        main()
    assert not e.value.code


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "m.keras")
    small().save(path)
    run(monkeypatch, "dump", path, "--stage", "fused")
    assert "def train_step" in capsys.readouterr().out
    run(monkeypatch, "report", path, "--batch-size", "4")
    assert "at most" in capsys.readouterr().out
    run(monkeypatch, "report", path, "--json", "--kind", "predict")
    assert json.loads(capsys.readouterr().out)["name"] == "predict_step"
    run(monkeypatch, "export", path, str(tmp_path / "m.onnx"))
    assert "agrees with the model" in capsys.readouterr().out
    run(monkeypatch, "--version")
    assert "kcompile" in capsys.readouterr().out


def test_a_users_error_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kcompile", "dump", "nothing.keras"])
    with pytest.raises(SystemExit) as e:
        main()
    assert e.value.code == 1 and "no file" in capsys.readouterr().err


def test_the_demo_writes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "demo", "--out", str(tmp_path), "--epochs", "1")
    assert sorted(os.listdir(tmp_path)) == [
        "digits.ir",
        "digits.keras",
        "digits.onnx",
        "digits_kernels.html",
        "digits_kernels.py",
    ]
    assert "agrees with the model" in capsys.readouterr().out


def test_a_dump_says_which_schedule_was_chosen_and_by_how_much() -> None:
    """The program that ran is shown, where one did, with what tuning found."""
    m = small()
    m.predict(np.zeros((4, 8, 8, 1), "f4"), batch_size=4, verbose=0)
    compiled = step_function(m, "predict").log[0]
    exe = compiled.executable
    verdict = {"of": 5, "seconds": 2e-6, "heuristic": 3e-6}
    first = exe.program.kernels[0]
    tuned = replace(first, schedule={**first.schedule, "tuned": verdict})
    exe.program = replace(exe.program, kernels=(tuned, *exe.program.kernels[1:]))
    said = "chosen of 5: this schedule, 2 us, 1.50 times as quick as by rule (3 us)"
    shown = {"kind": "predict", "target": exe.program.target}
    assert said in m.dump_ir("kernels", batch_size=4, **shown)
    assert said in m.dump_ir("kernels", "html", batch_size=4, **shown)
    assert "chosen" not in m.dump_ir("kernels", batch_size=5, **shown)
    assert report.choice(verdict | {"library": True}).startswith("chosen of 5: the library's call")
    assert report.choice({"of": 2, "seconds": 1e-6, "heuristic": 1e-6}).endswith("1 us")
    assert report.choice({"table": True}) == "chosen by the table of this device"
