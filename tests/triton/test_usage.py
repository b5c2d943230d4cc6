"""What the kernels of ten models take when compiled, from the checked-in report; what it lacks is compiled here. No device is needed.

If it fails: python -m tests.triton.usage, and look at the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

from benchmarks.models import MODELS
from tests.triton.usage import REPORT, TARGETS, Step, compiled, program, read, step

SHARED = {"sm_90": 227 * 1024, "sm_80": 163 * 1024, "gfx942": 64 * 1024}
REGISTERS = {"sm_90": 255, "sm_80": 255, "gfx942": 512}
SAMPLE = ("mlp", "cnn_mnist")  # models of which a few kernels are compiled again each time
NEW = 24  # kernels that a test compiles; with more the report is to be written anew
SLOWER = 1.02  # times a step's least time in the report


def fields(row: str) -> dict[str, str]:
    """The numbers of a row by name."""
    return dict(w.split("=") for w in row.split() if "=" in w)


def judge(target: str, row: str) -> list[str]:
    """What is wrong with a kernel."""
    own = fields(row)
    if not own:
        return ["it does not compile"]
    wrong = []
    if int(own["stack"]) > 0:
        wrong.append("it spills")
    if int(own["shared"]) > SHARED[target]:
        wrong.append("it takes more shared memory than there is")
    if int(own["registers"]) > REGISTERS[target]:
        wrong.append("it takes more registers than there are")
    if own["product"] in ("tf32", "bf16", "f16") and own["matrix"] == "-":
        wrong.append("its product does without the matrix units")
    return wrong


def resident(row: str) -> int:
    """Warps that a processor of an H200 holds at once: as many blocks as its registers and its shared memory allow."""
    own = fields(row)
    warps = int(own["warps"])
    registers = -(-int(own["registers"]) // 8) * 8 * 32 * warps
    blocks = min(32, 65536 // registers, 228 * 1024 // (int(own["shared"]) + 1024))
    return min(64, blocks * warps)


def replaced(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """The kernels that stand where others stood: (earlier, today's) digests."""
    for tag, i, j, m, n in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "replace" and j - i == n - m:
            yield from zip(before[i:j], after[m:n], strict=True)


def test_the_report_is_of_every_model_and_no_kernel_spills_or_takes_more_than_there_is() -> None:
    report = read(REPORT.read_text())
    steps = {name: found for name, found in report.models.items() if isinstance(found, Step)}
    assert steps.keys() == MODELS.keys()
    wanted = {(t, d) for t in TARGETS for found in steps.values() for d in found.digests}
    assert report.rows.keys() == wanted
    assert not {k: w for k, row in report.rows.items() if (w := judge(k[0], row))}


@pytest.mark.parametrize("name", MODELS)
def test_the_report_is_of_todays_kernels_or_they_are_no_worse(name: str) -> None:
    report = read(REPORT.read_text())
    known, today = report.models[name], step(name)
    assert isinstance(known, Step)
    assert len(today.digests) <= len(known.digests), "more launches than before"
    assert today.least <= known.least * SLOWER
    new = [d for d in dict.fromkeys(today.digests) if ("sm_90", d) not in report.rows]
    assert len(new) <= NEW, f"{len(new)} kernels are not in the report: write it anew"
    made = compiled(program(name), new, "sm_90") if new else {}
    assert not {d: w for d, row in made.items() if (w := judge("sm_90", row))}
    rows = {d: row for (t, d), row in report.rows.items() if t == "sm_90"} | made
    worse = [(a, b) for a, b in replaced(known.digests, today.digests)
             if a in rows and resident(rows[b]) * 2 < resident(rows[a])]  # fmt: skip
    assert not worse, "a processor holds less than half as many warps of a kernel as before"


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_compiles_to_what_the_report_says(name: str) -> None:
    import triton

    text = REPORT.read_text()
    rows = read(text).rows
    chosen = [d for d in step(name).digests[:2] if ("sm_90", d) in rows]
    for d, row in compiled(program(name), chosen, "sm_90").items():
        assert not judge("sm_90", row)
        if f"triton {triton.__version__}," in text:
            assert row == rows["sm_90", d]


def test_what_is_judged() -> None:
    good = "product registers=96 stack=0 shared=16384 warps=4 product=tf32 matrix=mma"
    assert judge("sm_80", good) == []
    assert judge("sm_80", "product refused k0 (contract) for 80: no") == ["it does not compile"]
    assert judge("sm_80", good.replace("stack=0", "stack=12")) == ["it spills"]
    assert judge("sm_90", good.replace("stack=0", "stack=4")) == ["it spills"]
    assert len(judge("gfx942", good.replace("=16384", "=70000").replace("=mma", "=-"))) == 2
    assert resident(good) == 20
    assert resident(good.replace("registers=96", "registers=255")) == 8
    assert resident(good.replace("=16384", "=100000")) == 8
    assert list(replaced(["a", "b", "c", "d"], ["a", "x", "y", "d"])) == [("b", "x"), ("c", "y")]
    assert list(replaced(["a", "b"], ["a", "x", "y"])) == []
