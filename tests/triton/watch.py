"""Triton's interpreter, watching memory: what a kernel may get away with there and not on a device.

The interpreter runs the programs of a launch one after another, each statement by itself. A device runs them at once, and orders what the
threads of one program do to global memory by a barrier alone. While `watched` each launch runs twice. In the first run

- a load or store outside the buffer that its pointer stands for is a fault, though the arena goes on there;
- so is a byte that two programs write, or one program twice without a barrier, or one statement with two values;
- so is a load of what the same program wrote (a loop's loads may be ahead of its stores), a store to what it read without a
  barrier in between (threads hold copies), and an atomic addition beside anything else.

The second run begins from the same memory, its programs in another order. What has no meaning on a device reads as noise: lanes behind
a mask that have no value of their own, bytes that another program of the launch writes, and bytes of the arena that this step
has not written, or has written as another buffer since. It must leave the same bits. Refuses to know what kernels compute.
"""

from __future__ import annotations

import linecache
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import triton.runtime.interpreter as interpreter
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder, TensorHandle

from codegen.program import Kernel
from runtime.device import Work
from runtime.triton_program import EMPTY, TritonProgram
from runtime.triton_source import ALIGNED, parameters
from tests.triton.shadow import Arena, Array, Shadow

Tensors = Mapping[str, Any]
TAG = 48  # bits of an address; above them: which argument it belongs to, from 1


class Fault(AssertionError):
    """What a kernel must not do, with the line that did it."""


@dataclass(eq=False)
class Argument:
    """A buffer as a kernel sees it. arena: where it lies, None where that is elsewhere or not known; home: its number there."""

    name: str
    tensor: Any
    shadow: Shadow
    arena: Arena | None = None
    home: int = 0

    @property
    def low(self) -> int:
        return int(self.tensor.data_ptr())

    def bytes(self) -> Array:
        """Its memory, to read and write."""
        import torch

        found: Array = self.tensor.view(-1).view(torch.uint8).numpy()
        return found

    def stale(self, at: Array) -> Array:
        """Whether bytes, counted from its beginning, are nobody's or another buffer's."""
        if self.arena is None:
            return np.zeros(at.shape, bool)
        owner = self.arena.owner[at + (self.low - self.arena.low)]
        return owner != self.home


@dataclass(frozen=True)
class Known:
    """What is known of a launch: the buffers that its arguments are, by number, and whether their addresses are aligned; what it
    writes; whether a step begins with it."""

    arena: Arena
    homes: Sequence[int]
    aligned: Sequence[bool]
    written: Sequence[Any]
    first: bool


class Watch:
    """Runs launches under watch. seed: of orders and noise. launches: how many so far."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.launches = 0
        self.arenas: weakref.WeakKeyDictionary[TritonProgram, Arena] = weakref.WeakKeyDictionary()
        self.known: Known | None = None  # the kernel at work

    # -- programs ---------------------------------------------------------------------------------

    def bound(
        self, made: TritonProgram, k: Kernel, works: Sequence[Work], instead: Tensors, at: Tensors
    ) -> list[Work]:
        """What launches a kernel of a program in the steps of its loop, so that the watch knows what it is."""
        arena = self.arenas.setdefault(made, Arena(made))
        aligned = [sure for _, sure in parameters(made.program, k)]
        out: list[Work] = []
        for t, work in enumerate(works):
            rows = made.rows(k, t, at)
            given = {**at, **rows, **instead}
            first = t == 0 and k.name == made.program.kernels[0].name
            known = Known(
                arena, arena.homes(k, rows, at), aligned, [given[n] for n in k.writes], first
            )
            out.append(partial(self.work, known, k, work))
        return out

    def work(self, known: Known, k: Kernel, work: Work) -> None:
        """Launch a kernel of a program."""
        if known.first:
            known.arena.owner[:] = 0
        before, self.known = self.launches, known
        try:
            work()
        finally:
            self.known = None
        if self.launches == before:  # a library's call
            homes = dict(zip(k.schedule["args"], known.homes, strict=True))
            for n, t in zip(k.writes, known.written, strict=True):
                known.arena.take(t.data_ptr() + np.arange(t.nbytes), homes[n])

    # -- launches ---------------------------------------------------------------------------------

    def launch(self, executor: GridExecutor, run: Work, given: Sequence[Any]) -> None:
        """Run a launch twice; raises Fault."""
        self.launches += 1
        self.executor = executor
        self.args = self.arguments(given)
        before = [a.bytes().copy() for a in self.args]
        self.wrote: dict[Shadow, Array] = {}  # in the first run: the program that wrote each byte
        self.run(run)
        after = [a.bytes().copy() for a in self.args]
        stretches = np.array([-1, *self.programs])
        self.wrote = {a.shadow: stretches[a.shadow.wrote] for a in self.args}
        written = {a.shadow: (a.shadow.by, a.shadow.added) for a in self.args}
        self.put(before)
        self.run(run)
        for n, (a, want) in enumerate(zip(self.args, after, strict=True), 1):
            by, added = written[a.shadow]
            at = slice(a.low - a.shadow.low, a.low - a.shadow.low + len(want))
            self.compare(a, want, bool(added[at].any()))
            if a.arena is not None:
                a.arena.take(np.flatnonzero(by[at] == n) + a.low, a.home)
        self.put(after)

    def arguments(self, given: Sequence[Any]) -> list[Argument]:
        """The tensors among a launch's arguments; those that overlap share a shadow."""
        named = [(n, t) for n, t in zip(self.executor.arg_names, given, strict=False)
                 if hasattr(t, "data_ptr")]  # fmt: skip
        shadows: list[Shadow] = []
        for low, high in sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for _, t in named):
            if shadows and low < shadows[-1].high:
                shadows[-1].high = max(shadows[-1].high, high)
            else:
                shadows.append(Shadow(low, high))
        found = []
        for k, (name, t) in enumerate(named):
            shadow = next(s for s in reversed(shadows) if s.low <= t.data_ptr())
            found.append(made := Argument(name, t, shadow))
            if self.known is not None:
                if self.known.arena.holds(made.low):
                    made.arena, made.home = self.known.arena, self.known.homes[k]
                if self.known.aligned[k] and made.low % ALIGNED:
                    raise Fault(
                        f"{name} of {self.executor.fn.__name__} is compiled for aligned addresses, and is not at one"
                    )
        return found

    def put(self, values: Sequence[Array]) -> None:
        """Set the arguments' memory."""
        for a, value in zip(self.args, values, strict=True):
            a.bytes()[:] = value

    def run(self, run: Work) -> None:
        """One of the two runs."""
        self.faults: list[str] = []
        self.programs: list[int] = []  # of each stretch
        self.order: Array | None = None
        for a in self.args:
            a.shadow.clear()
        run()
        if self.faults:
            raise Fault("\n".join(dict.fromkeys(self.faults)))

    def compare(self, a: Argument, want: Array, added: bool) -> None:
        """The second run left the bits of the first, or sums in another order."""
        found = a.bytes()
        if added and a.tensor.is_floating_point():
            kind = a.tensor.view(-1)[:0].numpy().dtype
            np.testing.assert_allclose(found.view(kind), want.view(kind), rtol=1e-4, atol=1e-4)
        elif not np.array_equal(found, want):
            at = np.flatnonzero(found != want)
            raise Fault(
                f"{self.executor.fn.__name__} leaves other bits in {a.name} (bytes {at[0]} to {at[-1]}) when its programs run in "
                "another order and what has no meaning reads as noise"
            )

    # -- programs and statements ------------------------------------------------------------------

    @property
    def again(self) -> bool:
        """Whether this is the second run."""
        return bool(self.wrote)

    def program(self, x: int, n: int) -> int:
        """The program to run as the x-th of n."""
        if self.order is None:
            self.order = self.rng.permutation(n) if self.again else np.arange(n)
        self.current = int(self.order[x])
        self.start = len(self.programs) + 1
        self.barrier()
        return self.current

    def barrier(self) -> None:
        """Begin another stretch of the program."""
        self.programs.append(self.current)

    def found(self, ptrs: Array, mask: Array, size: int) -> tuple[Argument, Array] | None:
        """The argument that pointers belong to, and for each lane the bytes that it touches; None where all lanes are masked."""
        lanes = ptrs[mask]
        if not lanes.size:
            return None
        number = int(lanes.flat[0] >> np.uint64(TAG))
        if not 1 <= number <= len(self.args):
            raise Fault(f"a pointer to nothing in {self.where()}")
        a = self.args[number - 1]
        at = lanes.astype(np.int64).ravel() - (number << TAG) - a.low
        if (at < 0).any() or (at + size > a.tensor.nbytes).any():
            raise Fault(
                f"{self.where()} touches bytes {at.min()} to {at.max() + size} of {a.name}, which has {a.tensor.nbytes}"
            )
        return a, at[:, None] + np.arange(size)

    def load(self, ptrs: Array, mask: Array, size: int) -> Array:
        """Note a load; returns the lanes whose value has no meaning."""
        noise = np.zeros(ptrs.shape, bool)
        touched = self.found(ptrs, mask, size)
        if touched is None:
            return noise
        a, at = touched
        stale = a.stale(at).any(1)
        inside = at + (a.low - a.shadow.low)
        self.note(a.shadow.load(inside, len(self.programs), self.start), a)
        if self.again:
            wrote = self.wrote[a.shadow][inside]
            stale |= ((wrote >= 0) & (wrote != self.current)).any(1)
        noise[mask] = stale
        return noise

    def store(self, ptrs: Array, value: Array, mask: Array, size: int) -> None:
        """Note a store."""
        touched = self.found(ptrs, mask, size)
        if touched is None:
            return
        a, at = touched
        first, where = np.unique(at[:, 0], return_inverse=True)
        if len(first) < len(at):
            bits = np.broadcast_to(value, ptrs.shape)[mask].ravel()
            one = np.empty(len(first), bits.dtype)
            one[where] = bits
            if one[where].tobytes() != bits.tobytes():
                self.note("writes two values to one place", a)
        inside = at + (a.low - a.shadow.low)
        now, by = len(self.programs), self.args.index(a) + 1
        self.note(a.shadow.store(inside, now, self.start, by), a)

    def add(self, ptrs: Array, mask: Array, size: int) -> None:
        """Note an atomic addition."""
        touched = self.found(ptrs, mask, size)
        if touched is not None:
            a, at = touched
            inside = at + (a.low - a.shadow.low)
            by = self.args.index(a) + 1
            self.note(a.shadow.add(inside, len(self.programs), by), a)

    def note(self, fault: str, a: Argument) -> None:
        if fault:
            self.faults.append(f"{self.where()} {fault} ({a.name}, program {self.current})")

    def where(self) -> str:
        """The kernel and its line at work."""
        name = self.executor.fn.__code__.co_filename
        frame = sys._getframe()
        while frame.f_code.co_filename != name:
            assert frame.f_back is not None
            frame = frame.f_back
        line = linecache.getline(name, frame.f_lineno).strip()
        return f"{frame.f_code.co_name}: {line!r}"


@contextmanager
def watched(seed: int = 0) -> Iterator[Watch]:
    """Watch every launch in Triton's interpreter; they raise Fault. seed: of orders and noise."""
    watch = Watch(seed)
    convert, call, launch = interpreter._implicit_cvt, GridExecutor.__call__, TritonProgram.launch
    place = InterpreterBuilder.set_grid_idx
    masked = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store
    atomic = InterpreterBuilder.create_atomic_rmw

    def tagged(arg: Any) -> Any:
        made = convert(arg)
        if hasattr(arg, "data_ptr"):
            n = next(
                n
                for n, a in enumerate(watch.args, 1)
                if a.low == arg.data_ptr() and a.tensor.nbytes == arg.nbytes
            )
            made.handle.data = made.handle.data | np.uint64(n << TAG)
        return made

    def real(ptrs: TensorHandle) -> TensorHandle:
        return TensorHandle(ptrs.data & np.uint64((1 << TAG) - 1), ptrs.dtype)

    def size(ptrs: TensorHandle) -> int:
        return max(1, int(ptrs.get_element_ty().primitive_bitwidth) // 8)

    def load(self: Any, ptrs: Any, mask: Any, other: Any, *how: Any) -> Any:
        lanes = np.broadcast_to(mask.data, ptrs.data.shape)
        noise = watch.load(ptrs.data, lanes, size(ptrs))
        made = masked[0](self, real(ptrs), mask, other, *how)
        if watch.again:
            noise |= ~lanes if other is None else False
            out = made.data = np.array(made.data)
            bits = watch.rng.integers(0, 256, (int(noise.sum()), out.itemsize), np.uint8)
            out[noise] = (bits & 1 if out.dtype == bool else bits).view(out.dtype).ravel()
        return made

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *how: Any) -> Any:
        lanes = np.broadcast_to(mask.data, ptrs.data.shape)
        watch.store(ptrs.data, value.data, lanes, size(ptrs))
        return masked[1](self, real(ptrs), value, mask, *how)

    def add(self: Any, op: Any, ptrs: Any, value: Any, mask: Any, *how: Any) -> Any:
        watch.add(ptrs.data, np.broadcast_to(mask.data, ptrs.data.shape), size(ptrs))
        return atomic(self, op, real(ptrs), value, mask, *how)

    def bound(
        self: TritonProgram, k: Kernel, kernel: Any, instead: Tensors = EMPTY, at: Tensors = EMPTY
    ) -> list[Work]:
        works = launch(self, k, kernel, instead, at)
        return watch.bound(self, k, works, instead, at or self.tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_implicit_cvt", tagged)
        patch.setattr(GridExecutor, "__call__", lambda self, *args, **kwargs: watch.launch(
            self, partial(call, self, *args, **kwargs), args))  # fmt: skip
        patch.setattr(InterpreterBuilder, "set_grid_idx", lambda self, x, y, z: place(
            self, watch.program(x, self.grid_dim[0]), y, z))  # fmt: skip
        patch.setattr(InterpreterBuilder, "create_barrier", lambda self: watch.barrier())
        patch.setattr(InterpreterBuilder, "create_masked_load", load)
        patch.setattr(InterpreterBuilder, "create_masked_store", store)
        patch.setattr(InterpreterBuilder, "create_atomic_rmw", add)
        patch.setattr(TritonProgram, "launch", bound)
        yield watch
