"""The kernels of a Triton program as a script: they, what launches them, and the step they are, so that running it checks and times them.

`python step.py` compares the kernels with the NumPy meaning of the step, in Triton's interpreter where there is no GPU, and
shows on a GPU how long each takes (`runtime.script`). Refuses to run anything, and programs of other targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from codegen.program import Kernel, Program
from ir.graph import Graph
from ir.text import dump

HEAD = """import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

"""


def script(program: Program, graph: Graph) -> tuple[str, str]:
    """What stands before and behind a program's source. graph: the step that the program was made from."""
    return HEAD, "\n".join(_tail(program, graph)) + "\n"


def _tail(program: Program, graph: Graph) -> Iterator[str]:
    yield from ("", "", "def step(b, launch):")
    yield '    """One step: `launch` runs a kernel on buffers of `b`."""'
    for number, found in groupby(program.kernels, _number):
        kernels = list(found)
        yield from map(_launch, kernels) if number < 0 else _loop(program, kernels)
    yield from (
        "",
        "",
        "# name, type, shape, role; the path of a state, or of what has a row for each step of a loop",
    )
    yield "BUFFERS = ["
    for b in program.buffers:
        yield f"    {(b.name, b.dtype, b.shape, b.role, b.path)!r},"
    yield "]"
    for name in ("states", "data", "results"):
        yield f"{name.upper()} = {list(getattr(program, name))!r}"
    text = dump(graph).rstrip().replace("\\", "\\\\")
    yield f'\nSTEP = """\n{text}\n"""\n\nif __name__ == "__main__":'
    yield "    from runtime.script import main\n"
    yield "    main(step, BUFFERS, STATES, DATA, RESULTS, STEP)"


def _number(k: Kernel) -> int:
    """Of which loop over time a kernel is a part; -1 of none."""
    return int(k.schedule["loop"]["number"]) if "loop" in k.schedule else -1


def _launch(
    k: Kernel, own: frozenset[str] = frozenset(), rows: frozenset[str] = frozenset()
) -> str:
    """The line that launches a kernel. own: buffers that are variables; rows: those that have a row in each step."""
    args = ", ".join(
        n if n in own else f"b.{n}[row]" if n in rows else f"b.{n}" for n in k.schedule["args"]
    )
    s = k.schedule
    return f"    launch({k.name}, {s['grid']}, [{args}], warps={s['warps']}, stages={s['stages']})"


def _loop(program: Program, kernels: list[Kernel]) -> Iterator[str]:
    """The lines of a loop over time."""
    loop = kernels[0].schedule["loop"]
    n = int(loop["length"])
    turns = list(
        dict.fromkeys(tuple(pair) for k in kernels for pair in k.schedule["loop"]["turns"])
    )
    rows = frozenset(b.name for b in program.buffers if b.role == "step")
    yield f"    for t in range({n}):"
    yield f"        row = {f'{n - 1} - t' if loop['reverse'] else 't'}"
    for a, c in turns:
        yield f"        {a}, {c} = (b.{c}, b.{a}) if ({n - 1} - t) % 2 else (b.{a}, b.{c})"
    own = frozenset(name for pair in turns for name in pair)
    for k in kernels:
        yield f"    {_launch(k, own, rows)}"
