"""Compiling a program's kernels ahead of time, in processes side by side, in which triton does not interpret.

Refuses to choose kernels (`runtime.tune`) and to keep what was compiled (`runtime.machine_code`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codegen.program import Program
from runtime.triton_report import Binary, Refused, Usage, compiled

ROOT = str(Path(__file__).resolve().parent.parent)
_WORKER = "import sys; sys.path.insert(0, sys.argv.pop()); from runtime.triton_build import worker; worker()"


def build(
    program: Program, target: str, only: Sequence[str] | None = None, processes: int = 0
) -> dict[str, Usage | Refused]:
    """What each kernel takes, or why it does not compile, by name. As for `binaries`."""
    found = binaries(program, target, only, processes)
    return {n: b.usage if isinstance(b, Binary) else b for n, b in found.items()}


def binaries(
    program: Program, target: str, only: Sequence[str] | None = None, processes: int = 0
) -> dict[str, Binary | Refused]:
    """Each kernel as machine code, or why it does not compile, by name.

    only: names of kernels (default: all). processes: at once (default: the cores this process may use). Where a process ends before its
    time, each of its kernels gets one of its own; that which ends it again is refused.
    """
    names = [k.name for k in program.kernels] if only is None else list(only)
    cores = processes or len(os.sched_getaffinity(0))
    text = program.to_json()
    found: dict[str, Binary | Refused] = {}
    left = [names[n::cores] for n in range(min(cores, len(names)))]
    while left:
        at_once, left = left[:cores], left[cores:]
        workers = [(part, _begun(target, part, text)) for part in at_once]
        for part, p in workers:
            out, err = p.communicate()
            if p.returncode == 0:
                for name, made, why in map(json.loads, out.splitlines()):
                    found[name] = Refused(why) if made is None else read(made)
            elif len(part) == 1:
                why = (
                    f"{part[0]} for {target}: the compiler ended with {p.returncode}: {err[-500:]}"
                )
                found[part[0]] = Refused(why)
            else:
                left += [[name] for name in part]
    return found


def _begun(target: str, names: Sequence[str], program: str) -> subprocess.Popen[str]:
    """A process that compiles those kernels, which knows its task."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    p = subprocess.Popen(
        [sys.executable, "-c", _WORKER, ROOT], env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert p.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, which is found where it is asked
        p.stdin.write(json.dumps({"target": target, "only": names, "program": program}))
        p.stdin.close()  # read whole before anything is written
    p.stdin = None
    return p


def worker() -> None:
    """Read one task from standard input; at the end, write a line of JSON for each kernel: name, what was made or null, why not."""
    task = json.load(sys.stdin)
    program = Program.from_json(task["program"])
    lines = []
    for name in task["only"]:
        try:
            (made,) = compiled(program, task["target"], (name,))
            lines.append([name, written(made), ""])
        except Refused as e:
            lines.append([name, None, str(e)])
    sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))


def written(b: Binary) -> dict[str, Any]:
    """A binary as JSON has it; `read` reads it."""
    return {**vars(b), "usage": vars(b.usage), "code": base64.b64encode(b.code).decode()}


def read(given: dict[str, Any]) -> Binary:
    """What `written` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    code = base64.b64decode(given["code"], validate=True)
    aligned = tuple(map(int, given["aligned"]))
    return Binary(Usage(**given["usage"]), str(given["entry"]), aligned, code)
