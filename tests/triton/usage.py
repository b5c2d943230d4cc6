"""The checked-in report of what the kernels of ten models take when compiled: `python -m tests.triton.usage` rewrites it.

No device is needed. Equal kernels have one row: a kernel's digest is of its text with its own name and those of its parameters
left out, of the types of its parameters, and of warps and stages. A model's line lists the digests of its step, and the least time
of the step on an H200; so the report says what changed, and only what is new is compiled.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kcompile as keras
from benchmarks.models import MODELS, keras_model
from codegen.pipeline import generate
from codegen.program import Kernel, Program
from ir.bind import bind
from ir.pipeline import optimise
from kcompile.step import StepFunction
from runtime.roofline import H200, step_seconds
from runtime.triton_build import build
from runtime.triton_report import Refused, Usage
from runtime.tune import digest

REPORT = Path(__file__).parent / "usage.txt"
TARGETS = ("sm_90", "sm_80", "gfx942")
BATCH = 32


@functools.cache
def program(name: str) -> Program:
    """The train step of a model of the benchmarks, batch 32, adam, accuracy. Raises ValueError where the target lacks something."""
    model = keras_model(name, keras)
    model.compile("adam", MODELS[name]["loss"], metrics=["accuracy"])
    xs, y = MODELS[name]["data"](np.random.default_rng(0), 2)
    traced = StepFunction(model, "train").trace(xs[0] if len(xs) == 1 else xs, y)
    return generate(optimise(bind(traced.graph, N=BATCH)), "triton")


class Step(NamedTuple):
    """The digests of a step's kernels in their order, and the microseconds it takes at least."""

    digests: list[str]
    least: float


class Report(NamedTuple):
    """models: by name, a step, or the reason why there is none. rows: by (target, digest)."""

    models: dict[str, Step | str]
    rows: dict[tuple[str, str], str]


def step(name: str) -> Step:
    """Today's step of a model. Raises ValueError as `program` does."""
    p = program(name)
    return Step([digest(p, k) for k in p.kernels], step_seconds(p, H200) * 1e6)


def read(text: str) -> Report:
    """The report of a text."""
    report = Report({}, {})
    for line in text.splitlines():
        head, _, rest = line.partition(": ")
        words = line.split()
        if line.startswith("model ") and words[2] == "refused":
            report.models[words[1]] = rest
        elif line.startswith("model "):
            report.models[words[1]] = Step(rest.split(), float(head.split()[-2]))
        elif line and not line.startswith("#"):
            report.rows[words[0], words[1]] = " ".join(words[2:])
    return report


def row(k: Kernel, u: Usage | Refused) -> str:
    """What the report says of a kernel."""
    if isinstance(u, Refused):
        return f"{k.schedule['kind']} refused {' '.join(str(u).split())[:160]}"
    product = k.schedule.get("precision", "-")
    return (
        f"{k.schedule['kind']} registers={u.registers} stack={u.stack} shared={u.shared} "
        f"warps={u.warps} product={product} matrix={u.matrix or '-'}"
    )


def compiled(p: Program, wanted: Iterable[str], target: str) -> dict[str, str]:
    """The rows of those digests of a program, each compiled once."""
    names = {digest(p, k): k for k in p.kernels}
    chosen = {d: names[d] for d in wanted}
    found = build(p, target, [k.name for k in chosen.values()])
    return {d: row(k, found[k.name]) for d, k in chosen.items()}


def renewed(old: Report) -> Iterator[Report]:
    """The report of today's kernels as it grows, target by target; what the old one has is not compiled again."""
    new = Report({}, {})
    for name in MODELS:
        try:
            new.models[name] = step(name)
        except ValueError as e:
            new.models[name] = " ".join(str(e).split())
    steps = {name: found for name, found in new.models.items() if isinstance(found, Step)}
    keys = dict.fromkeys((t, d) for t in TARGETS for found in steps.values() for d in found.digests)
    new.rows.update({k: old.rows[k] for k in keys if k in old.rows})
    for target in TARGETS:
        for name, found in steps.items():
            missing = [d for d in dict.fromkeys(found.digests) if (target, d) not in new.rows]
            rows = compiled(program(name), missing, target) if missing else {}
            new.rows.update({(target, d): row for d, row in rows.items()})
            yield new


def written(report: Report) -> str:
    """The report as text."""
    import triton

    lines = [f"# triton {triton.__version__}, batch {BATCH}, adam; python -m tests.triton.usage"]
    for name, found in report.models.items():
        if isinstance(found, str):
            lines.append(f"model {name} refused: {found}")
        else:
            count = f"{len(found.digests)} launches, at least {found.least:.1f} us"
            lines.append(f"model {name} {count}: {' '.join(found.digests)}")
    lines += [f"{t} {d} {r}" for (t, d), r in sorted(report.rows.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    known = "" if "--anew" in sys.argv else REPORT.read_text()
    for report in renewed(read(known)):
        REPORT.write_text(written(report))
