"""`StepFunction`: a model's train, test or predict step, traced into one graph and compiled per shape.

The train step is one graph: forward, loss, gradients, optimizer update, metrics. The batch axis stays
a name while tracing, so one trace serves every batch size; each size is bound and compiled on first
use. Refuses to hold epochs and data (`kcompile.fit`), passes and code generation (`kcompile.compile`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import kcompile.config as config
import kcompile.steps as steps
from ir.dims import DimLike, dim
from ir.graph import Graph
from ir.rows import rows_apart
from ir.types import Type, type_of
from kcompile.compile import Compiled, compile_graph
from kcompile.errors import KCValueError
from kcompile.fit.batch import Batch
from kcompile.operation import UNTRACED
from kcompile.run_on import targets_of
from kcompile.tensor import Tensor
from kcompile.trace import Trace, leaves, map_structure
from kcompile.variable import Variable

log = logging.getLogger("kcompile.step")

KINDS = ("train", "test", "predict")
# what a data set holds against what a program takes: labels and token numbers fit 32 bits
_FEED_DTYPES = {"f64": "f32", "i64": "i32", "u64": "u32"}


class Traced(NamedTuple):
    """A traced step: its graph (batch axis named `N` where that was possible) and its states."""

    graph: Graph
    variables: list[Variable]
    named: bool
    outputs: Any  # the structure of the results, each leaf the index of a result
    seconds: float


class StepFunction:
    """One of a model's steps: `kind` is "train", "test" or "predict"."""

    def __init__(self, model: Any, kind: str):
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}; one of {KINDS}")
        self.model, self.kind = model, kind
        self._traced: dict[Any, Traced] = {}
        self._compiled: dict[Any, Compiled] = {}
        self._apart: dict[Graph, bool] = {}
        self.log: list[Compiled] = []  # every compile, in order
        self.batches: list[Batch] = []  # what each was for
        # of a step of the model's own: names, each with the index of a result
        self.logs: dict[str, Any] = {}

    def executable(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The step for a batch like this one: nested structures whose leaves have shape and dtype.

        It is a `runtime.executable.Executable` or what has its interface; its `data` are the leaves of x, y,
        sample_weight in this order. Compiles when it must: for another shape, or where the model now runs elsewhere.
        """
        return self.compiled(x, y, sample_weight).executable

    def outputs(self, x: Any) -> Any:
        """The structure of a predict step's results: each leaf is an index into `results`."""
        return self.trace(x).outputs

    def rows_apart(self, x: Any, y: Any = None, sample_weight: Any = None) -> bool:
        """Whether the rows of a batch do not mix in the step; see `ir.rows`."""
        traced = self.trace(x, y, sample_weight)
        found = self._apart.get(traced.graph)
        if found is None:
            found = self._apart[traced.graph] = traced.named and rows_apart(traced.graph)
        return found

    def compiled(self, x: Any, y: Any = None, sample_weight: Any = None) -> Compiled:
        """Like `executable`, with the program and how it was compiled."""
        targets = targets_of(self.model)
        choices = config.gpu_choices() if "triton" in targets else ()
        key = ((targets, choices), _signature((x, y, sample_weight)))
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile(key[0], x, y, sample_weight)
            self.log.append(found)
            self.batches.append(Batch(x, y, sample_weight).specs())
        found.executable.take()
        return found

    def trace(self, x: Any, y: Any = None, sample_weight: Any = None) -> Traced:
        """The graph of the step for batches like this one, whatever the batch size if possible.

        Where it is not (the log says why), the graph of this size. Raises what the model's code raises.
        """
        batch = (x, y, sample_weight)
        key = _signature(batch, rows=False)
        found = self._traced.get(key) or self._traced.get(_signature(batch))
        if found is None:
            rows = _rows(batch)
            start = time.perf_counter()
            try:
                found = self._trace(batch, dim("N"), start)
                self._traced[key] = found
            except UNTRACED as error:
                # a shape that depends on the batch in a way names cannot say: one trace per size
                try:
                    found = self._trace(batch, rows, start)
                except UNTRACED:
                    raise error from None
                self._traced[_signature(batch)] = found
                log.info("the %s step is traced for each batch size: %s", self.kind, error)
        return found

    def _compile(
        self, way: tuple[tuple[str, ...], tuple[str, ...]], x: Any, y: Any, sample_weight: Any
    ) -> Compiled:
        traced = self.trace(x, y, sample_weight)
        bindings = {"N": _rows((x, y, sample_weight))} if traced.named else {}
        reason = "first use" if not self._compiled else "a batch of another shape"
        targets, choices = way
        if self._compiled and all(known != way for known, _ in self._compiled):
            reason = f"now on {targets[0]}" + (f" in {', '.join(choices)}" if choices else "")
        reason = f"{self.kind} step, {reason}"
        return compile_graph(traced.graph, traced.variables, bindings, targets, reason=reason)

    def _trace(self, batch: tuple[Any, Any, Any], rows: DimLike, start: float) -> Traced:
        name = f"{self.kind}_step"
        with Trace(name) as trace:
            x, y, sample_weight = _inputs(trace, batch, rows)
            results = steps.one(self.model, self.kind, x, y, sample_weight)
            found = [t for t in leaves(results) if isinstance(t, Tensor)]
            graph, variables = trace.finish(name, found)
        index = {id(t): i for i, t in enumerate(found)}
        outputs = map_structure(lambda t: index[id(t)], results)
        if self.kind != "predict":
            self.logs = outputs
        named = not isinstance(rows, int)
        return Traced(graph, variables, named, outputs, time.perf_counter() - start)


def _inputs(trace: Trace, batch: tuple[Any, Any, Any], rows: DimLike) -> tuple[Any, Any, Any]:
    made = []
    for name, part in zip(("x", "y", "sample_weight"), batch, strict=True):
        count = len(leaves(part))
        number = iter(range(count))

        def tensor(a: Any, name: str = name, count: int = count, number: Any = number) -> Tensor:
            i = next(number)
            return trace.data(name if count == 1 else f"{name}{i}", _feed_type(a, rows))

        made.append(map_structure(tensor, part))
    return made[0], made[1], made[2]


def _feed_type(a: Any, rows: DimLike) -> Type:
    dtype = type_of(np.empty((), a.dtype)).dtype
    return Type(_FEED_DTYPES.get(dtype, dtype), (rows, *a.shape[1:]))


def _rows(batch: Any) -> int:
    sizes = sorted({int(a.shape[0]) for a in leaves(list(batch))})
    if len(sizes) != 1:
        raise KCValueError(
            "KC303",
            f"a batch whose arrays have {', '.join(map(str, sizes))} rows",
            "x, y and sample_weight have the same number of rows",
            "give arrays of equal length",
        )
    return sizes[0]


def _signature(batch: Any, rows: bool = True) -> Any:
    """A hashable key of the structure, shapes and dtypes of a batch."""
    if batch is None:
        return None
    if isinstance(batch, dict):
        return tuple((k, _signature(v, rows)) for k, v in batch.items())
    if isinstance(batch, (list, tuple)):
        return (type(batch).__name__, *(_signature(v, rows) for v in batch))
    shape: Sequence[int] = batch.shape if rows else batch.shape[1:]
    return (tuple(shape), np.dtype(batch.dtype).str)
