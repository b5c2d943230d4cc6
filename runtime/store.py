"""The owner of every state: `StateStore` maps a path ("dense/kernel") to one `State`.

An array keeps its place in memory from `put` to the end, because programs hold views of it and
update it in place; values are copied in and out. Refuses to know programs, variables, files and devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runtime.memory import Array, aligned


class State:
    """The values of a state: either at home, in the array `host`, or away, in a device's memory.

    away: None at home; else a function that copies the device's values into `host`. Who puts a state away
    (a device's runtime, before it steps) sets this, and keeps its own memory in `device`, so that all programs of
    that device share it. At home the host's values count, and the device's are old.
    """

    __slots__ = ("away", "device", "host")

    def __init__(self, host: Array):
        self.host = host
        self.away: Callable[[], None] | None = None
        self.device: Any = None

    @property
    def array(self) -> Array:
        """The array at home, which the caller may read and write: the state is fetched where it is away."""
        if self.away is not None:
            fetch, self.away = self.away, None
            fetch()
        return self.host

    def __reduce__(self) -> tuple[Any, ...]:
        return State, (self.array,)  # a copy begins at home


class StateStore:
    """Path -> state, shared by all programs of a model (train, test and predict)."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def put(self, path: str, value: Array) -> Array:
        """Take `value` as the state `path`; returns the array that the store owns.

        A new path gets its own aligned memory; a known one is overwritten in place.
        Raises ValueError when the path is known with another dtype or shape.
        """
        value = np.asarray(value)
        known = self._states.get(path)
        if known is None:
            known = self._states[path] = State(aligned(value.shape, value.dtype))
        owned = known.array
        if owned.dtype != value.dtype or owned.shape != value.shape:
            raise ValueError(
                f"state {path!r} is {owned.dtype}{list(owned.shape)}; "
                f"it was given {value.dtype}{list(value.shape)}. A state keeps its type: "
                "convert the value, or use another path"
            )
        np.copyto(owned, value)
        return owned

    def adopt(self, path: str, given: Array | State) -> Array:
        """Make an array or state itself the state `path`, without a copy: its owner sees every update.

        Returns its array, fetched. Raises ValueError when that is not C-contiguous and writeable, or when the path is taken.
        """
        state = given if isinstance(given, State) else State(given)
        array = state.array
        if path in self._states and self._states[path].host is not array:
            raise ValueError(f"state {path!r} already has an array; it cannot move to another")
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"state {path!r}: an adopted array is C-contiguous and writeable")
        self._states.setdefault(path, state)
        return array

    def state(self, path: str) -> State:
        """The state of a path, left where it is. Raises KeyError when there is none."""
        found = self._states.get(path)
        if found is None:
            raise KeyError(f"no state {path!r}; there are {len(self)}: {', '.join(self._some())}")
        return found

    def __getitem__(self, path: str) -> Array:
        return self.state(path).array

    def _some(self) -> list[str]:
        paths = list(self._states)
        return paths if len(paths) <= 8 else [*paths[:8], "..."]

    def __contains__(self, path: object) -> bool:
        return path in self._states

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(s.host.nbytes for s in self._states.values())
