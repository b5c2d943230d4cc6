"""Calls of C functions, and the addresses that are their arguments. Refuses to hold what a function computes, and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codegen.native.render import Kernel
from codegen.numpy.views import Call, Loop, Shaped, View


@dataclass(eq=False)
class NativeCall(Call):
    """A call of a C function; `args` are its parameters."""

    function: Kernel | None = None


def called(kernel: Kernel, places: Sequence[View], loop: Loop | None, at: int) -> NativeCall:
    """The call of a function whose parameters begin at `places`."""
    args = tuple(map(address, places))
    writes = tuple(k in kernel.written for k in range(len(args)))
    return NativeCall("", args, writes, False, loop, at, function=kernel)


def address(v: View) -> Shaped:
    """All of a slot from where the view begins: an argument is an address."""
    first = None if v.first is None else address(v.first)
    return Shaped(v.slot, v.offset, (), (), tuple(v.loops.items()), "", v.alternate, first)


def place_key(v: View) -> Any:
    """Equal for views that begin at the same memory."""
    first = None if v.first is None else place_key(v.first)
    loops = tuple((id(lp), step) for lp, step in v.loops.items())
    return (
        v.slot,
        v.offset,
        loops,
        None if v.alternate is None else (id(v.alternate[0]), v.alternate[1]),
        first,
    )
