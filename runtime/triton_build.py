"""Compiling a program's kernels ahead of time, in processes side by side.

The workers leave what they compile in Triton's own cache, where the launches find it, and say what each kernel takes.
Refuses to choose kernels (`runtime.tune`) and to keep reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen.program import Program
from runtime.triton_report import Refused, Usage, report

ROOT = str(Path(__file__).resolve().parent.parent)
_WORKER = "import sys; sys.path.insert(0, sys.argv.pop()); from runtime.triton_build import worker; worker()"


def build(
    program: Program, target: str, only: Sequence[str] | None = None, processes: int = 0
) -> dict[str, Usage | Refused]:
    """What each kernel takes, or why it does not compile, by name.

    only: names of kernels (default: all). processes: at once (default: the cores this process may use).
    Raises RuntimeError when a worker ends before its time.
    """
    names = [k.name for k in program.kernels] if only is None else list(only)
    cores = processes or len(os.sched_getaffinity(0))
    count = max(1, min(cores, len(names)))
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    text = program.to_json()
    workers = []
    for n in range(count):
        task = json.dumps({"target": target, "only": names[n::count], "program": text})
        p = subprocess.Popen(
            [sys.executable, "-c", _WORKER, ROOT], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert p.stdin is not None
        p.stdin.write(task)  # read whole before anything is written
        p.stdin.close()
        p.stdin = None
        workers.append(p)
    found: dict[str, Usage | Refused] = {}
    for p in workers:
        out, err = p.communicate()
        if p.returncode:
            raise RuntimeError(f"a process that compiles kernels ended: {err[-1000:]}")
        for name, usage, why in map(json.loads, out.splitlines()):
            found[name] = Refused(why) if usage is None else Usage(**usage)
    return found


def worker() -> None:
    """Read one task from standard input, write a line of JSON for each kernel: name, usage or null, why not."""
    task = json.load(sys.stdin)
    program = Program.from_json(task["program"])
    for name in task["only"]:
        try:
            (usage,) = report(program, task["target"], (name,))
            line = [name, vars(usage), ""]
        except Refused as e:
            line = [name, None, str(e)]
        sys.stdout.write(json.dumps(line) + "\n")
