"""What the kernels of a program cost at least on a machine: the larger of traffic and arithmetic, and a launch each.

A kernel of few programs has but their processors' share of either. A prediction from counts, good for telling which kernel is
far from its floor and which pair is worth fusing. Refuses to measure (`runtime.tune`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from codegen.program import Kernel, Program


@dataclass(frozen=True)
class Machine:
    """bandwidth: bytes a second. launch: seconds a kernel takes beside its work. plain: operations a second.
    products: those of matrix products by precision, where they differ. processors: how many share the work of a
    kernel, each at most with a program's part of it; reach: bytes a second that one of them can move."""

    name: str
    bandwidth: float
    launch: float
    plain: float
    products: Mapping[str, float] = field(default_factory=dict)
    processors: int = 1
    reach: float = math.inf


# 4.3 TB/s, 790 TFLOP/s of bf16 and 1.3 us a kernel of a captured step: as measured by others on an H200; tf32 at half of bf16.
# f32 and f64 in plain arithmetic, processors, and what one of them takes from the cache (64 bytes a cycle): NVIDIA's data sheets.
H200 = Machine(
    "one H200", 4.3e12, 1.3e-6, 67e12,
    {"tf32": 395e12, "bf16": 790e12, "f16": 790e12, "f64": 34e12}, processors=132, reach=120e9,
)  # fmt: skip
MACHINES = {
    "triton": H200,
    "native": Machine("one core", 15e9, 0.0, 80e9),
    "numpy": Machine("one core", 15e9, 1e-6, 80e9),
}


def floor(kernel: Kernel, machine: Machine) -> float:
    """The least seconds of a kernel, in all steps of its loop if it has one."""
    peak = machine.products.get(str(kernel.schedule.get("precision")), machine.plain)
    busy = min(int(kernel.schedule.get("grid", machine.processors)), machine.processors)
    traffic = kernel.bytes / min(machine.bandwidth, busy * machine.reach)
    work = max(traffic, kernel.flops / peak * machine.processors / busy)
    loop = kernel.schedule.get("loop")  # in C and NumPy a name
    times = int(loop["length"]) if isinstance(loop, dict) else 1
    return times * machine.launch + work


def step_seconds(program: Program, machine: Machine) -> float:
    """The least seconds of a step: its kernels one after another."""
    return sum(floor(k, machine) for k in program.kernels)
