"""The program: what code generation hands to the runtime, as plain data that goes through JSON.

Holds source text, the list of kernels in it, buffers with their places in one arena, and which
buffers are states, data and results. Refuses to hold arrays, functions, or anything of a graph.

**The source.** It defines `build(buffers, tools)` and imports nothing but NumPy:

    VIEWS = ...                    # a table of views: buffer, dtype, offset, shape, strides
    def step(): ...                # one step; returns None
    def build(buffers, tools):     # once: buffers is a list of ndarrays in the order of Program.buffers
        ...                        # views and constants are made here
        return ...                 # `step`, with these as its globals

`step` reads the data buffers, updates the state buffers in place, writes the result buffers and may
use every temp buffer. Every buffer is C-contiguous, of the dtype and shape its `Buffer` states. A data buffer
is never written. The result buffers are valid until the next step.
A state and a data buffer own their memory (`offset == -1`); results and temps lie at `offset` bytes in
an arena of `arena_bytes` bytes, itself aligned to 64. Temps may overlap where their lives do not.

**The tools**: what the source may ask of the runtime (`runtime.tools_numpy`). All arrays are C-contiguous
unless said otherwise; nothing is allocated but what is said.

    tools.views(buffers, table)     the views of a table by name, and the buffers as b0, b1, ... (see `runtime.views`)
                                    which may bind calls to arrays: `product left right out` (out = left @ right, f32
                                    matrices), `axpy x a y` (y += a * x, vectors and a scalar), `axpby x a b y` (y = b * y + a * x)
    tools.threads                   how many threads may run at once (1: everything is serial)
    tools.step(f)                   `f` as a step: without warnings of numbers, denormals taken for zero, one thread in
                                    each matrix product (those of BLAS wait in loops that never yield; `both` takes their place)
    tools.both(f, g)                a function that calls two functions without arguments, at the same time where that
                                    is quicker; it returns when both are done, and raises the first error
    tools.erf(x, out, s, t, u)      out = erf(x) (f32 or f64); s, t: scratch of x's shape and dtype, u: bool or
                                    None (unused); x may be out
    tools.native(C, names, buffers) functions without arguments, one for each name: `void name(char **b)` of the C
                                    source, bound to the addresses of the buffers (the target "native" alone)
    tools.philox(n)                 an object with `fill(seed, step, stream, out)`: out (u32, n numbers, flat) gets the
                                    words 0..n-1 of Philox 4x32-10 with key (seed + stream * 0x9E3779B9, step); seed and step
                                    are 0-d u32 arrays. It owns its scratch.
    tools.scatter(idx, rows, out)   out[:] = 0, then out[idx[i], :] += rows[i, :] in the order of i (deterministic); idx is
                                    i64 and is overwritten; rows with idx outside are added at the clipped index
    tools.int_power(x, y, out)      out = x ** y of ints, negative exponents rounding toward zero
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

VERSION = 1


class NoProgram(ValueError):
    """A target has no program for a graph; the message says why."""


@dataclass(frozen=True)
class Buffer:
    """One array of a program: `dtype` as in `ir.types`, `shape`, and where it lives.

    role: "state" (kept from step to step, shared between programs by `path`), "data" (filled by the
    caller), "result", "temp" or "step" (without memory of its own: what one step of a loop has of the buffer
    named by `path`). offset: bytes into the arena for result and temp, -1 for the others.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    path: str = ""
    offset: int = -1
    nbytes: int = 0


@dataclass(frozen=True)
class Kernel:
    """One kernel: a stretch of the source that runs as a unit.

    reads, writes: buffer names. at: layer paths. ops: the ops it computes, spelled for a reader. why: for each
    neighbour it was not fused with, the reason. lines: first and last line in the source (1-based). schedule: how it was laid out.
    candidates: other ways to do the same, each with the entries of `schedule` that differ and, for Triton, its "source";
    for C a "way", with which the program is made again. `runtime.tune` and `runtime.tune_native` take the quickest.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    at: tuple[str, ...]
    ops: str
    flops: int
    bytes: int
    why: tuple[str, ...] = ()
    lines: tuple[int, int] = (0, 0)
    schedule: dict[str, Any] = field(default_factory=dict)
    candidates: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Program:
    """See the module's text. `states`, `data`, `results` are buffer names in the graph's order.

    A result that is a state's next value, or repeats another result, names that buffer. `key` identifies the graph,
    the target and the version of this format.
    """

    name: str
    target: str
    source: str
    kernels: tuple[Kernel, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    states: tuple[str, ...]
    data: tuple[str, ...]
    results: tuple[str, ...]
    key: str = ""
    version: int = VERSION

    @property
    def flops(self) -> int:
        """Floating point operations of one step."""
        return sum(k.flops for k in self.kernels)

    @property
    def bytes(self) -> int:
        """Bytes that the kernels of one step read and write."""
        return sum(k.bytes for k in self.kernels)

    @property
    def peak_bytes(self) -> int:
        """Bytes the program needs at once: the arena, the states and the data."""
        return self.arena_bytes + sum(b.nbytes for b in self.buffers if b.offset < 0)

    def to_json(self) -> str:
        """The program as JSON text; `from_json` reads it back."""
        own = vars(self) | {
            "kernels": [vars(k) for k in self.kernels],
            "buffers": [vars(b) for b in self.buffers],
        }
        return json.dumps(own, separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Program:
        """The program that `to_json` wrote.

        Raises ValueError when the text is no program of this version.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != VERSION:
                raise ValueError(
                    f"a program of version {raw['version']}; this reads version {VERSION}"
                )
            kernels = tuple(_kernel(item) for item in raw["kernels"])
            buffers = tuple(
                Buffer(**{**item, "shape": tuple(item["shape"])}) for item in raw["buffers"]
            )
            lists = {k: tuple(raw[k]) for k in ("states", "data", "results")}
            return Program(**{**raw, **lists, "kernels": kernels, "buffers": buffers})
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"not a program: {e!r}") from e


def _kernel(item: dict[str, Any]) -> Kernel:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in item.items()}
    return Kernel(**fields)
