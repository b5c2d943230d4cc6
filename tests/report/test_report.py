"""The compile report: the data adds up, the table shows what a reader looks for."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from codegen.program import Buffer, Kernel, Program
from kcompile.report import count, facts, shorten, show, summary

PROGRAM = Program(
    name="train_step",
    target="numpy",
    source="",
    kernels=(
        Kernel("k0", ("x", "w"), ("t",), ("dense", "dense_1"), "contract", 2000, 416, (), (3, 5)),
        Kernel(
            "k1",
            ("t", "w"),
            ("w", "loss"),
            ("loss",),
            "sub mul",
            30,
            120,
            ("k0: a contraction",),
            (6, 6),
        ),
    ),
    buffers=(
        Buffer("w", "f32", (10, 10), "state", "dense/kernel", -1, 400),
        Buffer("x", "f32", (1, 10), "data", "x", -1, 40),
        Buffer("t", "f32", (1, 10), "temp", "", 0, 40),
        Buffer("loss", "f32", (), "result", "", 64, 4),
    ),
    arena_bytes=128,
    states=("w",),
    data=("x",),
    results=("loss",),
)


def test_facts_add_up_and_are_data():
    found = facts(PROGRAM)
    assert json.loads(json.dumps(found)) == found
    assert found["flops"] == 2030 and found["bytes"] == 536
    assert found["memory"] == {
        "state": 400,
        "data": 40,
        "result": 4,
        "temp": 40,
        "arena": 128,
        "peak": 568,
    }
    assert found["kernels"][1]["not_fused_because"] == ["k0: a contraction"]
    assert found["buffers"][0]["type"] == "f32[10, 10]" and found["buffers"][3]["type"] == "f32"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_numbers_stay_at_any_width(width):
    rich = pytest.importorskip("rich.console")
    long = Kernel(
        "k0", (), (), ("a_layer_of_a_long_name",) * 2, "add, " * 99, 10**6, 10**6, (), (100, 999)
    )
    out = io.StringIO()
    show(replace(PROGRAM, kernels=(long,)), rich.Console(file=out, width=width))
    row = out.getvalue().splitlines()[-1]
    assert "k0" in row and row.count("1 M") == 2 and "100-999" in row and "a_lay" in row


def test_table():
    rich = pytest.importorskip("rich.console")
    out = io.StringIO()
    show(PROGRAM, rich.Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert f"{lines[0]}; {lines[1]}" == summary(PROGRAM)
    assert lines[0] == "train_step on numpy: 2 kernels, 2.03 kFLOP and 536 B moved a step"
    assert "dense, dense_1" in lines[3] and "contract" in lines[3] and "3-5" in lines[3]
    out.truncate(0)
    show(PROGRAM, rich.Console(file=out, width=120), limit=1)
    assert "... and 1 more kernels" in out.getvalue()


def test_the_table_says_what_was_chosen_where_something_was():
    rich = pytest.importorskip("rich.console")
    tuned = [
        {"of": 5, "seconds": 2e-6, "heuristic": 3e-6}, {"of": 2, "seconds": 1e-6, "heuristic": 1e-6},
        {"of": 3, "seconds": 1e-6, "heuristic": 2e-6, "library": True}, {"table": True}, None,
    ]  # fmt: skip
    k = PROGRAM.kernels[0]
    kernels = tuple(replace(k, schedule={"tuned": t} if t else {}) for t in tuned)
    out = io.StringIO()
    show(replace(PROGRAM, kernels=kernels), rich.Console(file=out, width=120))
    head, *rows = out.getvalue().splitlines()[2:]
    at = head.index("chosen")
    said = [r[at : head.index("layers")].strip() for r in rows]
    assert said == ["schedule 1.50x", "rule", "library 2.00x", "table", ""]
    out.truncate(0)
    show(PROGRAM, rich.Console(file=out, width=120))
    assert "chosen" not in out.getvalue()


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1 k"), (21_340_000, "21.3 M"), (10**12, "1 T")],
)
def test_count(n, text):
    assert count(n) == text


def test_shorten():
    assert shorten(["a", "a", "", "b", "c", "d", "e"]) == "a, b, c +2"


def test_a_step_of_a_gpu_program_has_its_least_time():
    program = replace(PROGRAM, target="triton")
    assert summary(program).endswith("; estimated 2.6 us a step on one H200")
