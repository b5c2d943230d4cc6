"""Ways to lay out a kernel around products or convolutions: the rules' own, and a short list beside it.

Every way computes the same numbers up to the order of sums. Which is quickest on a machine is found out there (`runtime.tune_native`);
without that the rules stand. Refuses to measure, and to say what a way means for a product (`contract`) or a convolution (`convolution`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST = 7  # beside the rules' own
PANELS = ("", "packed", "direct", "along")  # how B is read; their numbers are `gemm`'s


@dataclass(frozen=True)
class Way:
    """What differs from the rules.

    grain: blocks so many times as large. across: a product is cut along its columns where the rules cut its rows, and the other
    way round. panels: of a product, how its right operand is read (see `PANELS`): packed, where it lies, or with vectors along
    the sum. blas: a product is the library's call, where there is one and its operands lie so. tile: of a convolution, which of
    the tiles of registers, the best by estimate being 0.
    """

    grain: float = 1.0
    across: bool = False
    panels: str = ""
    blas: bool = False
    tile: int = 0

    def laid(self) -> dict[str, Any]:
        """What differs, as data; `Way(**data)` reads it back."""
        return {k: v for k, v in asdict(self).items() if v != getattr(RULE, k)}


RULE = Way()
_BLOCKS = (Way(grain=0.5), Way(grain=2.0))
_PRODUCT = (
    *_BLOCKS,
    Way(across=True),
    Way(panels="packed"),
    Way(panels="direct"),
    Way(panels="along"),
    Way(blas=True),
)
_CONVOLUTION = (Way(tile=1), Way(tile=2), *_BLOCKS, Way(grain=4.0))


def others(kinds: Iterable[str]) -> Iterator[Way]:
    """At most `MOST` ways beside the rules' for a kernel with atoms of these kinds: "product", "convolution"."""
    found = dict.fromkeys(
        w
        for kind in dict.fromkeys(kinds)
        for w in (_PRODUCT if kind == "product" else _CONVOLUTION)
    )
    yield from list(found)[:MOST]


def asked(ways: Mapping[str, Mapping[str, Any]], kernel: str) -> Way:
    """The way a kernel is to be laid out, the rules' where nothing is said. Raises TypeError for what is no way."""
    return Way(**ways.get(kernel, {}))
