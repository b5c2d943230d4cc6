"""How a native program shares a kernel among threads: the C for it, and which kernels are worth that.

The pool itself is the runtime's (`runtime.pool`), one for all programs of a process: a program has a pointer to it, and works
alone while that is null. Refuses to hold how a kernel is cut (`codegen.native.render`) and how many threads there are.
"""

from __future__ import annotations

from codegen.native.render import Kernel

SMALL = 6000.0  # nanoseconds of work that are done before another core has begun

EACH = """
typedef void (*part)(void *const *args, long lo, long hi);
void (*pool)(part run, void *const *args, long units, long cost);  // given when the program is loaded
INLINE void each(part run, void *const *args, long units, long cost) {
  if (pool) pool(run, args, units, cost); else run(args, 0, units);
}"""


def shared(kernel: Kernel) -> bool:
    """Whether a kernel is worth more than one thread."""
    return kernel.units > 1 and kernel.cost > SMALL


def part(name: str, kernel: Kernel) -> str:
    """The function of some units of the kernel `name`, its arguments in a table."""
    args = [f"a[{k}]" for k in range(len(kernel.bufs))] + ["lo", "hi"]
    args += ["own"] if kernel.per_thread else []
    call = f"{name}({', '.join(args)})"
    return f"static void {name}_part(void *const *a, long lo, long hi) {{ {call}; }}\n"
