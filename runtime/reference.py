"""`Reference`: a step graph run by the meaning of its ops, with the interface of an `Executable`.

Slow and allocating, for finding out on which side of code generation a wrong number comes from
(`KCOMPILE_TARGET=reference`). Refuses to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.graph import Graph
from ir.interpret import interpret
from ir.types import NUMPY
from runtime.feed import Drive, feeder
from runtime.memory import Array, aligned
from runtime.store import StateStore


class Reference:
    """A static step graph bound to a store. See `runtime.executable.Executable`."""

    def __init__(self, graph: Graph, store: StateStore):
        """Raises KeyError for a state the store lacks."""
        n = graph.n_states
        self.graph, self.store = graph, store
        self.states: list[Array] = [store[r.path] for r in graph.roles[:n]]
        self.data: list[Array] = [aligned(v.shape, NUMPY[v.dtype]) for v in graph.inputs[n:]]
        self.results: list[Array] = [aligned(v.shape, NUMPY[v.dtype]) for v in graph.outputs[n:]]

    def step(self) -> None:
        """One step: new values into the states and results."""
        found = interpret(self.graph, [*self.states, *self.data])
        for target, value in zip([*self.states, *self.results], found, strict=True):
            np.copyto(target, value)

    def take(self) -> None:
        """See `runtime.executable.Executable.take`."""
        for role in self.graph.roles[: self.graph.n_states]:
            _ = self.store[role.path]

    def drive(self, sources: Sequence[Array]) -> Drive:
        """See `runtime.executable.Executable.drive`."""
        return Drive(
            lambda order: feeder(sources, self.data, order),
            self.step,
            self.data[0].shape[0],
            lambda: self.results,
        )
