"""Where the choices of a random case come from: Hypothesis, which shrinks, or a numbered generator.

Holds the choices. Refuses to know what is drawn.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

T = TypeVar("T")


class Choice:
    """Choices, all from one function: `below(n)` is a number in [0, n)."""

    def __init__(self, below: Callable[[int], int]):
        self.below = below

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        return options[self.below(len(options))]

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, one_in: int) -> bool:
        """True once in `one_in`; False is the simpler."""
        return self.below(one_in) == one_in - 1

    def some(self, options: Sequence[T]) -> list[T]:
        """Each option or not, in order."""
        return [o for o in options if self.below(2)]


def numbered(seed: int) -> Choice:
    """The choices of case `seed`."""
    return Choice(random.Random(seed).randrange)


@st.composite
def choices(draw: Any) -> Choice:
    """Choices that Hypothesis makes."""
    return Choice(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0)


def budget(examples: int) -> settings:
    """Settings for `examples` cases, always the same ones; KCOMPILE_FUZZ=k makes k times as many new ones."""
    times = int(os.environ.get("KCOMPILE_FUZZ", "0"))
    return settings(
        max_examples=examples * max(times, 1),
        deadline=None,
        derandomize=not times,
        database=None,
        print_blob=False,
    )
