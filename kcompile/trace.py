"""`Trace`: what turns ordinary code into one graph. Variables read become state inputs, assignments
next values, arrays hidden constant states, and `finish` gives the IR graph.

`run_eagerly` runs code on real arrays by tracing and interpreting it. Refuses to hold any operation
and any decision about what is traced (see `kcompile.step`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import add, broadcast, cast, concat, full, iota, mul, stop_gradient
from ir.types import NUMPY, Type, type_of
from kcompile.dtypes import TO_IR
from kcompile.errors import KCRuntimeError, KCTypeError, KCValueError
from kcompile.tensor import Array, KerasTensor, Tensor
from kcompile.variable import Variable, active, current_trace

_SMALL = 16  # vectors of ints up to this length are built from `full`s instead of becoming a state


class Trace:
    """A context in which operations make graph nodes.

    Attributes:
        inputs: variables read, with the graph input of each, in order of the first read.
        updates: variables assigned, with their next value.
    """

    def __init__(self, name: str = "trace", eager: bool = False):
        self.name, self.eager = name, eager
        self.inputs: dict[Variable, Value] = {}
        self.updates: dict[Variable, Value] = {}
        self.data_inputs: list[tuple[str, Value]] = []
        self.feeds: list[np.ndarray[Any, Any]] = []  # eager only: the arrays of `data_inputs`
        self.notes: dict[str, Any] = {}  # per-trace books of other modules
        self._constants: dict[int, tuple[Any, Value]] = {}
        self._assigned: dict[Variable, tuple[Value, Value]] = {}
        self._context: Any = None
        self._frozen = 0

    def __enter__(self) -> Trace:
        self._context = active(self)
        self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    # variables

    def read(self, variable: Variable) -> Tensor:
        """The variable's value at this point of the step."""
        return Tensor(self.current(variable))

    def current(self, variable: Variable) -> Value:
        """The variable's value at this point; how it came to be assigned is no part of any gradient."""
        found = self.updates.get(variable)
        if found is None:
            return self.initial(variable)
        kept = self._assigned.get(variable)
        if kept is None or kept[0] is not found:
            kept = self._assigned[variable] = found, stop_gradient(found)
        return kept[1]

    def initial(self, variable: Variable) -> Value:
        """The variable's value at the start of the step."""
        found = self.inputs.get(variable)
        if found is None:
            found = Value(Type(TO_IR[variable.storage_dtype], variable.shape), name=variable.name)
            self.inputs[variable] = found
        return found

    def assign(self, variable: Variable, value: Any) -> None:
        """Record the variable's next value. Raises KCRuntimeError KC108 inside a loop's body."""
        if self._frozen:
            raise KCRuntimeError(
                "KC108", f"the variable {variable.path!r} was assigned inside the body of a loop or branch",
                "a body returns what it computes and changes nothing", "return the value and assign it after the loop",
            )  # fmt: skip
        start = self.initial(variable)
        new = self.value(value, start.type.dtype)
        if new.type.dtype != start.type.dtype:
            new = cast(new, dtype=start.type.dtype)
        if new.type != start.type:
            raise KCValueError(
                "KC108", f"a value of type {new.type} assigned to {variable.path!r}",
                f"the variable is {start.type}", "give it a value of this shape",
            )  # fmt: skip
        self.updates[variable] = new

    def body(self) -> _Body:
        """A context for a loop's body, in which assigning a variable is refused."""
        return _Body(self)

    # values

    def data(self, name: str, type: Type) -> Tensor:
        """A new data input called `name`."""
        value = Value(type, name=name.replace("/", "_").replace(":", "_"))
        self.data_inputs.append((name, value))
        return Tensor(value)

    def value(self, x: Any, dtype: str | None = None) -> Value:
        """The IR value of a tensor, variable, array or scalar; `dtype` (IR) is for Python scalars."""
        if isinstance(x, Tensor):
            return x.value
        if isinstance(x, Variable):
            return x.value.value  # type: ignore[no-any-return]
        if isinstance(x, (bool, int, float)):
            if dtype is None:
                dtype = "bool" if isinstance(x, bool) else "i32" if isinstance(x, int) else "f32"
            return full(value=_fit(x, dtype), shape=(), dtype=dtype)  # type: ignore[no-any-return]
        if isinstance(x, KerasTensor):
            raise KCTypeError(
                "KC105", f"{x!r} used while tracing", "a KerasTensor has its place in building a functional model",
                "pass it to the layer as an input, or close over arrays and variables only",
            )  # fmt: skip
        return self.constant(x)

    def constant(self, x: Any) -> Value:
        """The value of an array: rebuilt when it is small and regular, else a hidden constant state."""
        found = self._constants.get(id(x))
        if found is not None:
            return found[1]
        array = to_array(x)
        out = None if self.eager else _regular(array)
        if out is None and self.eager:
            out = self.data(f"a{len(self.feeds)}", type_of(array)).value
            self.feeds.append(array)
        elif out is None:
            array = np.ascontiguousarray(array).view(np.ndarray)
            digest = hashlib.sha256(
                repr((array.dtype.str, array.shape)).encode() + array.tobytes()
            ).hexdigest()[:12]
            hidden = Variable(array, trainable=False, autocast=False, name="constant")
            hidden._path = hidden._key = f"constant/{digest}"
            out = self.initial(hidden)
        self._constants[id(x)] = (x, out)  # keeps x alive, so its id stays its own
        return out

    def finish(self, name: str, results: Sequence[Any]) -> tuple[Graph, list[Variable]]:
        """The step's graph, (states, data) -> (next states, results), and its variables in order."""
        for v in self.updates:
            self.initial(v)
        values = [self.value(r) for r in results]
        variables = list(self.inputs)
        states = [self.inputs[v] for v in variables]
        data = [v for _, v in self.data_inputs]
        nexts = [self.updates.get(v, self.inputs[v]) for v in variables]
        roles = [Role("state", v.key) for v in variables] + [
            Role("data", n) for n, _ in self.data_inputs
        ]
        try:
            return graph_of(name, states + data, nexts + values, roles), variables
        except ValueError as e:
            raise KCTypeError(
                "KC105", f"{name}: {e}", "a Tensor has a meaning only in the trace that made it",
                "do not keep tensors of one call (in attributes, lists or closures) for another",
            ) from e  # fmt: skip


class _Body:
    def __init__(self, trace: Trace):
        self.trace = trace

    def __enter__(self) -> None:
        self.trace._frozen += 1

    def __exit__(self, *error: Any) -> None:
        self.trace._frozen -= 1


def to_array(x: Any) -> np.ndarray[Any, Any]:
    """`x` as an array of a dtype the IR has: lists of Python floats give floatx, of ints int32.

    Raises KCTypeError KC103 for what cannot become one (strings, objects, ragged lists).
    """
    if isinstance(x, np.ndarray) and x.dtype in _NUMPY_DTYPES:
        return x
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as e:
        raise KCTypeError(
            "KC103",
            f"{type(x).__name__}: {e}",
            "a tensor is a regular array of numbers",
            "pass an array",
        ) from e
    if not hasattr(x, "dtype"):
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        elif array.dtype == np.int64:
            array = array.astype(np.int32) if array.size == 0 or abs(array).max() < 2**31 else array
    if array.dtype not in _NUMPY_DTYPES:
        raise KCTypeError(
            "KC103", f"{type(x).__name__} of dtype {array.dtype}", "a tensor holds bools, ints or floats",
            "convert it to numbers first",
        )  # fmt: skip
    return array


_NUMPY_DTYPES = frozenset(np.dtype(v) for v in NUMPY.values())


def _fit(x: Any, dtype: str) -> Any:
    if dtype == "bool":
        return bool(x)
    return float(x) if dtype in ("f16", "bf16", "f32", "f64") else int(x)


def _regular(a: np.ndarray[Any, Any]) -> Value | None:
    """The value of `a` built from `full` and `iota`, or None where it is not regular."""
    dtype = type_of(a).dtype
    if a.size == 0:
        return full(value=_fit(0, dtype), shape=a.shape, dtype=dtype)  # type: ignore[no-any-return]
    first = a.flat[0]
    if bool((a == first).all()) and not (first == 0 and dtype[0] in "fb" and np.signbit(a).any()):
        return full(value=_fit(first.item(), dtype), shape=a.shape, dtype=dtype)  # type: ignore[no-any-return]
    if a.ndim != 1 or dtype[0] not in "iu":
        return None
    step = int(a[1]) - int(a[0])
    if np.array_equal(np.arange(a.size) * step + int(first), a):
        line = iota(shape=a.shape, axis=0, dtype=dtype)
        if step != 1:
            line = mul(
                line, broadcast(full(value=step, shape=(), dtype=dtype), shape=a.shape, axes=())
            )
        if first != 0:
            line = add(
                line,
                broadcast(full(value=int(first), shape=(), dtype=dtype), shape=a.shape, axes=()),
            )
        return line  # type: ignore[no-any-return]
    if a.size <= _SMALL:
        return concat(*(full(value=int(v), shape=(1,), dtype=dtype) for v in a), axis=0)  # type: ignore[no-any-return]
    return None


def map_structure(fn: Callable[[Any], Any], x: Any) -> Any:
    """`fn` on the leaves of nested lists, tuples and dicts (None is left alone)."""
    if isinstance(x, dict):
        return {k: map_structure(fn, v) for k, v in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(map_structure(fn, v) for v in x))
    if isinstance(x, (list, tuple)):
        return type(x)(map_structure(fn, v) for v in x)
    return None if x is None else fn(x)


def leaves(x: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts, in order, without None."""
    if isinstance(x, Mapping):
        return [leaf for v in x.values() for leaf in leaves(v)]
    if isinstance(x, (list, tuple)):
        return [leaf for v in x for leaf in leaves(v)]
    return [] if x is None else [x]


def run_eagerly(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """`fn(*args, **kwargs)` on real arrays: trace, interpret, write variables back.

    Arrays stay arrays for `fn`; what it returns comes back with each Tensor replaced by an Array.
    """
    with Trace("eager", eager=True) as trace:
        out = fn(*args, **kwargs)
        found: list[Tensor] = []

        def note(x: Any) -> Any:
            if isinstance(x, Tensor):
                found.append(x)
                mask = getattr(x, "_keras_mask", None)
                if isinstance(mask, Tensor):
                    found.append(mask)
            return x

        map_structure(note, out)
        graph, variables = trace.finish("eager", found)
    arrays = interpret(graph, [v.array for v in variables] + trace.feeds)
    given = {
        id(t): np.asarray(a).view(Array)
        for t, a in zip(found, arrays[len(variables) :], strict=True)
    }
    for v, a in zip(variables, arrays, strict=False):
        if v in trace.updates:
            v.array[...] = a

    def answer(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        array = given[id(x)]
        if isinstance(x._keras_mask, Tensor):
            array._keras_mask = given[id(x._keras_mask)]
        elif x._keras_mask is not None:
            array._keras_mask = x._keras_mask
        return array

    return map_structure(answer, out)


__all__ = ["Trace", "current_trace", "leaves", "map_structure", "run_eagerly", "to_array"]
