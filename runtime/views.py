"""The table of views of a generated program, read: `views` makes every array that a step touches, and the calls that are
bound to arrays once.

A table of text costs a hundredth of what as many lines of Python cost to compile. Refuses to know what is
done with the views (`codegen.numpy.text` writes the table and says what they are called).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from runtime.memory import Array


def views(
    buffers: Sequence[Array], table: str, tools: Mapping[str, Callable[..., Any]] | None = None
) -> dict[str, Any]:
    """The views by name, with the buffers as b0, b1, ...

    A line of the table is `name buffer dtype offset shape strides`, offset and strides in bytes, then,
    outermost first, the loops that it moves with; each makes a list of views:

        32:4096     32 views, each 4096 bytes after the one before
        32%4096     32 views, in turn at the offset and 4096 bytes after it; -4096: those first
        <v7         (last) v7 stands in the first place of the outermost list

    or `name zip v1 v2 ...`: a list of tuples; or `name call tool v1 0.5:float32 ...`: what that one of `tools` makes of
    the arrays and constants, a list where views move with a loop (all with the same loops). Raises ValueError for a line that is none of these.
    """
    made: dict[str, Any] = {f"b{k}": b for k, b in enumerate(buffers)}
    for line in table.split("\n"):
        words = line.split()
        if not words:
            continue
        if words[1] == "zip":
            made[words[0]] = list(zip(*(made[w] for w in words[2:]), strict=True))
            continue
        if words[1] == "call":
            args = [_constant(w) if ":" in w else made[w] for w in words[3:]]
            made[words[0]] = _bound((tools or {})[words[2]], args)
            continue
        name, buffer, dtype, offset, shape, strides, *loops = words
        first = made[loops.pop()[1:]] if loops and loops[-1][0] == "<" else None
        found = _views(
            made[buffer], _dtype(dtype), int(offset), _ints(shape), _ints(strides), loops, first
        )
        made[name] = found
    return made


def _views(
    buffer: Array,
    dtype: Any,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    loops: Sequence[str],
    first: Any = None,
) -> Any:
    if not loops:
        return np.ndarray(shape, dtype, buffer, offset, strides)
    count, between, step = loops[0].partition(":")
    if between:
        places = [offset + k * int(step) for k in range(int(count))]
    else:
        count, _, step = loops[0].partition("%")
        late = step.startswith("-")
        places = [offset + abs(int(step)) * ((k + late) % 2) for k in range(int(count))]
    skipped = first is not None
    made = [_views(buffer, dtype, at, shape, strides, loops[1:]) for at in places[skipped:]]
    return [first, *made] if skipped else made


def _bound(tool: Callable[..., Any], args: Sequence[Any]) -> Any:
    count = next((len(a) for a in args if isinstance(a, list)), None)
    if count is None:
        return tool(*args)
    return [_bound(tool, [a[k] if isinstance(a, list) else a for a in args]) for k in range(count)]


def _constant(word: str) -> Array:
    value, _, dtype = word.partition(":")
    return np.array(float(value), _dtype(dtype))


@lru_cache(4096)
def _dtype(name: str) -> Any:
    return np.dtype(name)


@lru_cache(4096)
def _ints(text: str) -> tuple[int, ...]:
    """`32,96` as numbers; `-` for none."""
    return () if text == "-" else tuple(map(int, text.split(",")))
