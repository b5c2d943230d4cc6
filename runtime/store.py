"""The owner of every state: `StateStore` maps a path ("dense/kernel") to one array.

An array keeps its place in memory from `put` to the end, because programs hold views of it and
update it in place; values are copied in and out. Refuses to know programs, variables and files.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runtime.memory import Array, aligned


class StateStore:
    """Path -> array, shared by all programs of a model (train, test and predict)."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def put(self, path: str, value: Array) -> Array:
        """Take `value` as the state `path`; returns the array that the store owns.

        A new path gets its own aligned memory; a known one is overwritten in place.
        Raises ValueError when the path is known with another dtype or shape.
        """
        value = np.asarray(value)
        owned = self._arrays.get(path)
        if owned is None:
            owned = self._arrays[path] = aligned(value.shape, value.dtype)
        elif owned.dtype != value.dtype or owned.shape != value.shape:
            raise ValueError(
                f"state {path!r} is {owned.dtype}{list(owned.shape)}; "
                f"it was given {value.dtype}{list(value.shape)}. A state keeps its type: "
                "convert the value, or use another path"
            )
        np.copyto(owned, value)
        return owned

    def adopt(self, path: str, array: Array) -> Array:
        """Make `array` itself the state `path`, without a copy: its owner sees every update.

        Raises ValueError when it is not C-contiguous and writeable, or when the path is taken.
        """
        if path in self._arrays and self._arrays[path] is not array:
            raise ValueError(f"state {path!r} already has an array; it cannot move to another")
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"state {path!r}: an adopted array is C-contiguous and writeable")
        self._arrays[path] = array
        return array

    def __getitem__(self, path: str) -> Array:
        found = self._arrays.get(path)
        if found is None:
            raise KeyError(f"no state {path!r}; there are {len(self)}: {', '.join(self._some())}")
        return found

    def _some(self) -> list[str]:
        paths = list(self._arrays)
        return paths if len(paths) <= 8 else [*paths[:8], "..."]

    def __contains__(self, path: object) -> bool:
        return path in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(a.nbytes for a in self._arrays.values())
