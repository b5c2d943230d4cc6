"""The kernel that gathers the batches of many steps, as a program of its own: samples by an order and a counter that are on the device.

Refuses to own memory and to know when it is launched (`runtime.resident`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.program import Buffer, Kernel, Program

BLOCK = 1024  # words that one program copies
WARPS = 4


@dataclass(frozen=True)
class Words:
    """An array as the kernel sees it: words of an IR dtype, so many in a sample, and in the target from batch to batch.

    source, target: words of all samples, and of the memory that the batches go to.
    """

    dtype: str
    sample: int
    stride: int
    source: int
    target: int


def gather(arrays: Sequence[Words], rows: int, samples: int) -> tuple[Program, int]:
    """The program, of one kernel, and how many programs of it a batch of so many rows takes.

    It copies the samples of batch `counter[0]` and those behind it, each to its place. Its parameters are the counter, the order (i64),
    and source and target of each array.
    """
    text, programs = _source(arrays, rows)
    names = ["counter", "order", *(f"{c}{i}" for i in range(len(arrays)) for c in "st")]
    kinds = ["i64", "i64", *(a.dtype for a in arrays for _ in "st")]
    sizes = [1, samples, *(n for a in arrays for n in (a.source, a.target))]
    buffers = tuple(
        Buffer(n, d, (size,), "data") for n, d, size in zip(names, kinds, sizes, strict=True)
    )
    plan = {"kind": "gather", "grid": programs, "args": names, "warps": WARPS, "stages": 1}
    reads, writes = tuple(n for n in names if n[0] != "t"), tuple(n for n in names if n[0] == "t")
    lines = (5, text.count("\n"))
    kernel = Kernel("gather", reads, writes, (), "gather", 0, 0, (), lines, plan)
    return Program("gather", "triton", text, (kernel,), buffers, 0, (), tuple(names), ()), programs


def _source(arrays: Sequence[Words], rows: int) -> tuple[str, int]:
    blocks = [-(-rows * a.sample // BLOCK) for a in arrays]
    programs = max(1, sum(blocks))
    params = "".join(f", s{i}, t{i}" for i in range(len(arrays)))
    lines = [
        "import triton",
        "import triton.language as tl",
        "",
        "",
        "@triton.jit",
        f"def gather(counter, order{params}):",
        f"    p = tl.program_id(0) % {programs}",
        f"    k = tl.program_id(0) // {programs}",
        f"    first = order + (tl.load(counter) + k) * {rows}",
    ]
    before = 0
    for i, (a, many) in enumerate(zip(arrays, blocks, strict=True)):
        lines += [
            f"    if (p >= {before}) & (p < {before + many}):",
            f"        at = (p - {before}) * {BLOCK} + tl.arange(0, {BLOCK})",
            f"        inside = at < {rows * a.sample}",
            f"        row = tl.load(first + at // {a.sample}, mask=inside, other=0)",
            f"        word = tl.load(s{i} + row * {a.sample} + at % {a.sample}, mask=inside)",
            f"        tl.store(t{i} + k * {a.stride} + at, word, mask=inside)",
        ]
        before += many
    return "\n".join(lines) + "\n", programs
