"""Assigning variables under a condition that only the running program knows.

Refuses to hold what is assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import kcompile.ops as ops
from kcompile.variable import Variable


def conditionally(
    condition: Any,
    then: Callable[[], Any],
    otherwise: Callable[[], Any],
    variables: Iterable[Variable],
) -> None:
    """Of `variables`, those that `then` or `otherwise` assign get the value of the branch that holds.

    Both branches are computed: `condition` is a bool scalar of the graph. Neither branch may assign
    any other variable.
    """
    seen = {id(v): v for v in variables}.values()
    before = {v: v.value for v in seen}
    then()
    after = {v: v.value for v in seen}
    for v, start in before.items():
        v.assign(start)
    otherwise()
    for v, start in before.items():
        other = v.value
        if _same(after[v], start) and _same(other, start):
            continue
        v.assign(ops.where(condition, after[v], other))


def _same(a: Any, b: Any) -> bool:
    return a is b or getattr(a, "value", a) is getattr(b, "value", b)
