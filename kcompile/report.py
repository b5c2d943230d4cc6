"""What a compiled program is made of, before anything runs: as data, and as a table for people.

`facts` gives plain JSON-able data: kernels with their cost, buffers, predicted peak memory. `show`
prints the same with rich. Refuses to measure time, and to know models.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from codegen.program import Buffer, Kernel, Program
from runtime.roofline import MACHINES, floor, step_seconds

ROLES = ("state", "data", "result", "temp")


def facts(program: Program, seconds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The facts about a program. seconds: measured, for some kernels by name.

    name, target, key; flops and bytes (of one step); kernels (each with name, ops, layers, flops, bytes,
    reads, writes, lines in the source, source, schedule, not_fused_because, seconds_estimated and, where given,
    seconds_measured); buffers (each with name, role, path,
    type, bytes, offset); memory in bytes: by role, the arena that results and temps share, and peak, the
    most the program holds at once. Flops and bytes are counted, not measured; an estimate is the longer of the two on
    the machine of `runtime.roofline.MACHINES`.
    """
    by_role = {role: sum(b.nbytes for b in program.buffers if b.role == role) for role in ROLES}
    return {
        "name": program.name,
        "target": program.target,
        "key": program.key,
        "flops": program.flops,
        "bytes": program.bytes,
        "kernels": [_kernel(program, k, seconds or {}) for k in program.kernels],
        "buffers": [_buffer(b) for b in program.buffers],
        "memory": by_role | {"arena": program.arena_bytes, "peak": program.peak_bytes},
    }


def _kernel(program: Program, k: Kernel, seconds: Mapping[str, float]) -> dict[str, Any]:
    measured = {"seconds_measured": seconds[k.name]} if k.name in seconds else {}
    return measured | {
        "seconds_estimated": estimate(program, k),
        "name": k.name,
        "ops": k.ops,
        "layers": list(k.at),
        "flops": k.flops,
        "bytes": k.bytes,
        "reads": list(k.reads),
        "writes": list(k.writes),
        "lines": list(k.lines),
        "source": source_of(program, k),
        "schedule": dict(k.schedule),
        "not_fused_because": list(k.why),
    }


def estimate(program: Program, k: Kernel) -> float:
    """Seconds that a kernel takes at least, on one core or on a GPU."""
    return floor(k, MACHINES[program.target])


def source_of(program: Program, k: Kernel) -> str:
    """The source of a kernel: its lines, in C to the end of the function that begins in the last one."""
    first, last = k.lines
    lines = program.source.splitlines()
    if not 0 < first <= len(lines):
        return ""
    if is_c(lines[first - 1]):
        last = next(n for n in range(last, len(lines) + 1) if lines[n - 1] == "}")
    return textwrap.dedent("\n".join(lines[first - 1 : last])) + "\n"


def is_c(text: str) -> bool:
    """Whether a kernel's source is C: it begins with a function's head."""
    return text.split("\n", 1)[0].endswith(") {")


def plain(schedule: Mapping[str, Any]) -> str:
    """A schedule in one line; what it leaves open is left out, and how it was chosen comes last."""
    laid = [
        f"{k}={v}"
        for k, v in schedule.items()
        if v not in (None, [], (), {}, "") and k not in ("tuned", "library")
    ]
    chosen = choice(schedule.get("tuned"))
    return ", ".join([*laid, chosen] if chosen else laid)


def choice(tuned: Mapping[str, Any] | None) -> str:
    """How a schedule was chosen among others (`runtime.tune`), and what that gained; empty where there was no choice."""
    if not tuned:
        return ""
    if tuned.get("table"):
        return "chosen by the table of this device"
    what = "the library's call" if tuned.get("library") else "this schedule"
    took, rule = tuned["seconds"], tuned["heuristic"]
    gain = (
        f", {rule / took:.2f} times as quick as by rule ({duration(rule)})" if took < rule else ""
    )
    return f"chosen of {tuned['of']}: {what}, {duration(took)}{gain}"


def verdict(k: Kernel) -> str:
    """What tuning took for a kernel, and how many times as quick as the rule's schedule that is; empty where it was not tuned."""
    tuned = k.schedule.get("tuned")
    if not tuned:
        return ""
    if tuned.get("table"):
        return "table"
    gain = tuned["heuristic"] / tuned["seconds"]
    what = "library" if tuned.get("library") else "schedule" if gain > 1 else "rule"
    return f"{what} {gain:.2f}x" if gain > 1 else what


def _buffer(b: Buffer) -> dict[str, Any]:
    shape = f"[{', '.join(map(str, b.shape))}]" if b.shape else ""
    return {
        "name": b.name,
        "role": b.role,
        "path": b.path,
        "type": b.dtype + shape,
        "bytes": b.nbytes,
        "offset": b.offset,
    }


def summary(program: Program) -> str:
    """One line: kernels, work, traffic, peak memory and least time of a step."""
    machine = MACHINES[program.target]
    memory = facts(program)["memory"]
    n = len(program.kernels)
    return (
        f"{program.name} on {program.target}: {n} kernel{'s' * (n != 1)}, {count(program.flops)}FLOP and "
        f"{count(program.bytes)}B moved a step; at most {count(memory['peak'])}B: states "
        f"{count(memory['state'])}B, data {count(memory['data'])}B, arena {count(memory['arena'])}B; "
        f"estimated {duration(step_seconds(program, machine))} a step on {machine.name}"
    )


def show(
    program: Program,
    console: Any = None,
    *,
    limit: int | None = 40,
    seconds: Mapping[str, float] | None = None,
) -> None:
    """Print the report with rich: the summary, then a row for each kernel, the costliest marked.

    `console` is a `rich.console.Console` (default: one on standard output); `limit` bounds the rows;
    seconds: measured, by kernel: shown instead of estimates.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    console.print(Text(summary(program).replace("; ", "\n", 1)))
    shown = program.kernels if limit is None else program.kernels[:limit]
    most = max((k.flops for k in program.kernels), default=0)
    rows = [
        (
            k.name,
            count(k.flops),
            count(k.bytes),
            duration(seconds.get(k.name, 0.0) if seconds else estimate(program, k)),
            _lines(k),
            verdict(k),
            shorten(k.at),
            k.ops,
        )
        for k in shown
    ]
    heads = f"kernel FLOP bytes {'measured' if seconds else 'time'} lines chosen layers ops".split()
    if not any(r[5] for r in rows):  # nothing was tuned
        heads.remove("chosen")
        rows = [(*r[:5], *r[6:]) for r in rows]
    widths = [max([len(h), *(len(r[i]) for r in rows)]) for i, h in enumerate(heads)]
    # numbers keep their width; layers and ops share what is left
    left = max(20, console.width - sum(widths[:-2]) - len(heads))
    widths[-2] = min(widths[-2], max(left // 3, left - widths[-1]))
    widths[-1] = min(widths[-1], left - widths[-2])
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for i, (head, width) in enumerate(zip(heads, widths, strict=True)):
        table.add_column(head, justify="right" if 0 < i < 5 else "left", width=width, no_wrap=True)
    for k, cells in zip(shown, rows, strict=True):
        cut = [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(cells, widths, strict=True)]
        table.add_row(*map(Text, cut), style="bold" if most and k.flops == most else "")
    console.print(table)
    if len(shown) < len(program.kernels):
        console.print(f"... and {len(program.kernels) - len(shown)} more kernels")


def _lines(k: Kernel) -> str:
    first, last = k.lines
    return f"{first}-{last}" if last > first else str(first or "")


def shorten(paths: Iterable[str], most: int = 3) -> str:
    """A few layer paths, and how many there are beyond them."""
    found = [p for p in dict.fromkeys(paths) if p]
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" +{rest}" if rest > 0 else "")


def duration(seconds: float) -> str:
    """A time with three digits: 21.3 us."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def count(n: int) -> str:
    """A number with a decimal prefix and three digits: 21.3 M (with the space before the prefix)."""
    if n < 1000:
        return f"{n} "
    power = min(int(math.log10(n) / 3 + 1e-9), 5)
    return f"{n / 1000**power:.3g} {' kMGTP'[power]}"
