"""Kernels of single ops compiled ahead of time, in a process without the interpreter: `python -m tests.triton.compiled [sm_80 ..]`.

That compiles every case of every op in every dtype, some minutes for each target, and prints what is refused or spills. Refuses
to look at models (`usage`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from codegen.pipeline import generate
from codegen.program import NoProgram, Program
from ir.graph import Graph
from tests.ops.cases import CASES, Case, graph_for
from tests.triton.test_types import OTHERS, typed

ROOT = str(Path(__file__).parent.parent.parent)
DTYPES = ("f64", "f32", *OTHERS)
TABLES = ("sin(", "cos(", "tan(")  # in f64 they keep the digits of 2/pi on the stack
TAKEN = """
import json, sys
from codegen.program import Program
from runtime.triton_report import Refused, compiled

for name, text in json.load(sys.stdin):
    try:
        stack = max([0, *(b.usage.stack for b in compiled(Program.from_json(text), sys.argv[1]))])
        print(json.dumps([name, f"{stack} bytes of stack" if stack > 0 else ""]))
    except Refused as e:
        print(json.dumps([name, str(e)]))
"""
PRINTED = """
import json, sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from codegen.program import Program
from runtime.triton_source import ALIGNED, functions, options, parameters

for name, text in json.load(sys.stdin):
    program, found = Program.from_json(text), []
    for k in program.kernels:
        takes = parameters(program, k)
        signature = {b: t for b, (t, _) in zip(k.schedule["args"], takes)}
        attrs = {(i,): [["tt.divisibility", ALIGNED]] for i, (_, known) in enumerate(takes) if known}
        source = ASTSource(functions(program)[k.name], signature, {}, attrs)
        made = compile(source, target=GPUTarget("cuda", int(sys.argv[1][3:]), 32), options=options(k))
        found.append(made.asm["ptx"])
    print(json.dumps([name, "".join(found)]))
"""


def _asked(script: str, programs: Iterable[tuple[str, Program]], target: str) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env["PYTHONPATH"] = os.pathsep.join([ROOT, *filter(None, [env.get("PYTHONPATH")])])
    given = json.dumps([(name, p.to_json()) for name, p in programs])
    command = [sys.executable, "-c", script, target]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=env)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(line) for line in done.stdout.splitlines())


def ptx(graphs: dict[str, Graph], target: str = "sm_90") -> dict[str, str]:
    """The instructions of the kernels of each graph. Raises RuntimeError where one does not compile."""
    return _asked(PRINTED, [(n, generate(g, "triton")) for n, g in graphs.items()], target)


def refused(programs: Iterable[tuple[str, Program]], target: str) -> dict[str, str]:
    """Which of some programs do not compile, or spill, and why."""
    found = _asked(TAKEN, programs, target)
    return {
        n: why
        for n, why in found.items()
        if why and not ("stack" in why and n.startswith(TABLES) and n.endswith("f64"))
    }


def program(c: Case, dtype: str) -> Program | None:
    """A case of an op in a dtype; None where it cannot be had."""
    if dtype not in OTHERS:
        return generate(graph_for(c, dtype)[0], "triton") if dtype in c.dtypes else None
    made = typed(c, dtype)
    try:
        return None if made is None else generate(made[0], "triton")
    except NoProgram:
        return None  # a product of whole numbers, by windows


def every(cases: Iterable[Case] = CASES) -> Iterator[tuple[str, Program]]:
    """Cases in all dtypes, each kernel's text once."""
    seen = set()
    for c in cases:
        for dtype in DTYPES:
            p = program(c, dtype)
            text = "" if p is None else f"{p.source} {p.buffers}"
            if p is not None and text not in seen:
                seen.add(text)
                yield f"{c.id} {dtype}", p


if __name__ == "__main__":
    for target in sys.argv[1:] or ["sm_90"]:
        for name, why in refused(every(), target).items():
            sys.stdout.write(f"{target} {name}: {why}\n")
