"""A batch: inputs, targets and sample weights as nested structures of arrays, and its specification.

Refuses to convert anything (`kcompile.fit.arrays`) or to know where batches come from (`kcompile.fit.sources`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kcompile.errors import KCValueError
from kcompile.trace import leaves, map_structure


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape (with the batch in front) and NumPy dtype name of one array of a batch."""

    shape: tuple[int, ...]
    dtype: str


class Batch(NamedTuple):
    """`x`, `y`, `sample_weight`: nested lists, tuples and dicts of arrays (or of `Spec`s); None where absent."""

    x: Any
    y: Any = None
    sample_weight: Any = None

    def leaves(self) -> list[Any]:
        """The arrays in the order in which a step takes them: of x, of y, of sample_weight."""
        return leaves(self.x) + leaves(self.y) + leaves(self.sample_weight)

    def map(self, fn: Callable[[Any], Any]) -> Batch:
        """The batch with `fn` applied to each array."""
        return Batch(*(map_structure(fn, part) for part in self))

    def specs(self, size: int | None = None) -> Batch:
        """The specification of this batch, or of one with `size` samples."""

        def spec(a: Any) -> Spec:
            shape = tuple(a.shape)
            return Spec(shape if size is None else (size, *shape[1:]), np.dtype(a.dtype).name)

        return self.map(spec)

    @property
    def size(self) -> int:
        """The number of samples."""
        return int(leaves(self.x)[0].shape[0])


def unpack(data: Any) -> Batch:
    """A batch from `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`. Raises KCValueError KC303."""
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple) or hasattr(data, "_fields"):
        return Batch(*data) if isinstance(data, Batch) else Batch(data)
    if not 1 <= len(data) <= 3:
        raise KCValueError(
            "KC303", f"a batch of {len(data)} parts", "a batch is x, (x,), (x, y) or (x, y, sample_weight)",
            "put several inputs or targets into one list or dict",
        )  # fmt: skip
    return Batch(*data)


def pack(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as a step is given it: x (in a tuple where it is a list), (x, y) or (x, y, sample_weight)."""
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (list, tuple)) else x


def parts(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of a batch, None for what it lacks. Raises KCValueError KC303."""
    return tuple(unpack(data))  # type: ignore[return-value]
