"""What the kernels of ten models take when compiled, from the checked-in report; what it lacks is compiled here. No device is needed.

If it fails: python -m tests.triton.usage, and look at the difference.
"""

from __future__ import annotations

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.tune import digest
from tests.triton.usage import REPORT, TARGETS, compiled, program, read

SHARED = {"sm_90": 227 * 1024, "sm_80": 163 * 1024, "gfx942": 64 * 1024}
REGISTERS = {"sm_90": 255, "sm_80": 255, "gfx942": 512}
ADDRESSES = 32  # bytes of stack in which the assembler may keep addresses, though registers are left; spills are more
FEW = 0.04  # of the kernels, at most, where it does
SAMPLE = ("mlp", "cnn_mnist")  # models of which a few kernels are compiled again each time
NEW = 16  # kernels that a test compiles; with more the report is to be written anew


def judge(target: str, row: str) -> list[str]:
    """What is wrong with a kernel."""
    fields = dict(w.split("=") for w in row.split() if "=" in w)
    if "refused" in row.split():
        return ["it does not compile"]
    wrong = []
    if int(fields["stack"]) > ADDRESSES:
        wrong.append("it spills")
    if int(fields["shared"]) > SHARED[target]:
        wrong.append("it takes more shared memory than there is")
    if int(fields["registers"]) > REGISTERS[target]:
        wrong.append("it takes more registers than there are")
    if fields["product"] in ("tf32", "bf16", "f16") and fields["matrix"] == "-":
        wrong.append("its product does without the matrix units")
    return wrong


def test_no_kernel_of_the_report_spills_or_takes_more_than_there_is() -> None:
    rows = read(REPORT.read_text()).rows
    assert {t for t, _ in rows} <= {*TARGETS}
    assert not {k: w for k, row in rows.items() if (w := judge(k[0], row))}
    for target in {t for t, _ in rows}:
        own = [row for (t, _), row in rows.items() if t == target]
        assert sum("stack=0" not in row.split() for row in own) <= FEW * len(own) + 1, target


@pytest.mark.parametrize("name", read(REPORT.read_text()).models)
def test_the_report_is_of_todays_kernels_or_they_are_no_worse(name: str) -> None:
    report = read(REPORT.read_text())
    known = report.models[name]
    try:
        p = program(name)
    except ValueError:
        assert isinstance(known, str), f"{name} was compiled before"
        return
    assert not isinstance(known, str), f"{name} compiles now: write the report anew"
    digests = [digest(p, k) for k in p.kernels]
    assert len(digests) <= len(known), "more launches than before"
    new = [d for d in dict.fromkeys(digests) if ("sm_90", d) not in report.rows]
    assert len(new) <= NEW, f"{len(new)} kernels are not in the report: write it anew"
    rows = compiled(p, new, "sm_90") if new else {}
    assert not {d: w for d, row in rows.items() if (w := judge("sm_90", row))}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_compiles_to_what_the_report_says(name: str) -> None:
    import triton

    text = REPORT.read_text()
    p, rows = program(name), read(text).rows
    chosen = [d for d in (digest(p, k) for k in p.kernels[:2]) if ("sm_90", d) in rows]
    for d, row in compiled(p, chosen, "sm_90").items():
        assert not judge("sm_90", row)
        if f"triton {triton.__version__}," in text:
            assert row == rows["sm_90", d]
