"""`Variable`: a named array that lives across steps; and the stack of active traces it reports to.

Outside a trace a variable is a NumPy array. Inside, reading it gives the tensor of a graph input and
assigning records its next value. Refuses to hold how a trace keeps its books (`kcompile.trace`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ir.types import NUMPY
from kcompile.dtypes import TO_IR, is_float, standardize_dtype
from kcompile.errors import KCTypeError, KCValueError
from kcompile.tensor import OPERATORS, Array, KerasTensor, Operand, Tensor
from runtime.store import State

_traces: list[Any] = []
_scopes: list[str] = []
_owners: list[object] = []  # who opened each scope
_autocast: list[str | None] = [None]
_taken: dict[str, int] = {}
_names: dict[str, int] = {}


def current_trace() -> Any:
    """The innermost active trace, or None."""
    return _traces[-1] if _traces else None


@contextmanager
def active(trace: Any) -> Iterator[None]:
    """`trace` is the innermost active trace inside (None: no trace is active)."""
    _traces.append(trace)
    try:
        yield
    finally:
        _traces.pop()


@contextmanager
def name_scope(name: str, owner: object = None) -> Iterator[None]:
    """Variables made inside have `name` in their path; once where `owner` opens its scope again."""
    if owner is not None and _owners and _owners[-1] is owner:
        yield
        return
    _scopes.append(name)
    _owners.append(owner)
    try:
        yield
    finally:
        _scopes.pop()
        _owners.pop()


def in_scope() -> bool:
    """Whether a scope is open: whether a layer is being called or built."""
    return bool(_scopes)


@contextmanager
def autocast(dtype: str | None) -> Iterator[None]:
    """Float variables read inside are cast to `dtype` (None: left as they are)."""
    _autocast.append(dtype)
    try:
        yield
    finally:
        _autocast.pop()


def unique_name(prefix: str) -> str:
    """`prefix`, or `prefix_1`, `prefix_2`, ... when it was given out before."""
    n = _names.get(prefix, 0)
    _names[prefix] = n + 1
    return f"{prefix}_{n}" if n else prefix


def count_name(prefix: str) -> int:
    """How often `prefix` was given out, this time included."""
    _names[prefix] = _names.get(prefix, 0) + 1
    return _names[prefix]


def reset_names() -> None:
    """Forget which names were given out (`clear_session`)."""
    _names.clear()


class Variable(Operand):
    """An array with a name, a path, and the marks a layer or optimizer puts on it.

    Args:
        initializer: an array or number, or a callable `(shape, dtype) -> array`.
        shape: needed with a callable initializer.
        dtype: Keras name; floatx by default for a callable, else the array's.
        trainable: whether an optimizer updates it.
        autocast: whether reading casts a float under mixed precision.
        name: the last part of the path; made up when None.

    Raises KCValueError KC108 for a shape that does not fit.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str = "none",
        synchronization: str = "auto",
        name: str | None = None,
        **kwargs: Any,
    ):
        if kwargs:
            raise KCTypeError(
                "KC107",
                f"Variable({', '.join(kwargs)}=...)",
                "Variable does not take this",
                "drop the argument",
            )
        self.name = name or unique_name("variable")
        if "/" in self.name:
            raise KCValueError(
                "KC207", f"the variable name {name!r}", "a name has no '/'", "pass another name"
            )
        self._path = "/".join([*_scopes, self.name])
        self.trainable, self.autocast, self.aggregation = trainable, autocast, aggregation
        self.made_trainable = trainable  # orders weights, whatever is frozen later
        self.synchronization = synchronization
        self.regularizer: Callable[[Any], Any] | None = None
        self.constraint: Callable[[Any], Any] | None = None
        self.overwrite_with_gradient = False
        self._keras_mask: Any = None
        if callable(initializer) and not isinstance(initializer, (np.ndarray, np.generic, Operand)):
            if shape is None:
                raise KCValueError(
                    "KC108",
                    "an initializer without a shape",
                    "a callable initializer needs one",
                    "pass shape=",
                )
            self._dtype = standardize_dtype(dtype)
            with active(None):
                value: Any = initializer(tuple(shape), dtype=self._dtype)
        else:
            value = initializer
            given = getattr(value, "dtype", None)
            if given is None and dtype is None:
                probe = np.asarray(value)
                given = (
                    "float32"
                    if probe.dtype == np.float64
                    else "int32"
                    if probe.dtype == np.int64
                    else probe.dtype
                )
                given = standardize_dtype(None) if given == "float32" else given
            self._dtype = standardize_dtype(dtype if dtype is not None else given)
        # an owned, contiguous, writable copy: the runtime updates it in place
        self.state = State(np.array(value, dtype=NUMPY[TO_IR[self._dtype]], order="C", subok=False))
        if shape is not None and tuple(shape) != self.shape:
            raise KCValueError(
                "KC108", f"a value of shape {self.shape} for the variable {self._path!r}",
                f"its shape is {tuple(shape)}", "pass a value of this shape",
            )  # fmt: skip

    @property
    def path(self) -> str:
        """Where the variable is: "dense/kernel"."""
        return self._path

    @property
    def key(self) -> str:
        """`path`, made unique in the process: what the runtime stores the state under."""
        found: str | None = self.__dict__.get("_key")
        if found is None:
            n = _taken.get(self._path, 0)
            _taken[self._path] = n + 1
            found = self._key = f"{self._path}.{n}" if n else self._path
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        return self.state.host.shape

    @property
    def ndim(self) -> int:
        return self.state.host.ndim

    @property
    def size(self) -> int:
        return self.state.host.size

    @property
    def dtype(self) -> str:
        cast = _autocast[-1]
        return cast if cast is not None and self.autocast and is_float(self._dtype) else self._dtype

    @property
    def storage_dtype(self) -> str:
        """The dtype it is kept in, whatever the autocast scope."""
        return self._dtype

    @property
    def value(self) -> Any:
        """Inside a trace a Tensor, else an array (a view: copy it to keep it)."""
        trace = current_trace()
        out: Any = trace.read(self) if trace is not None else self._array.view(Array)
        cast = _autocast[-1]
        if cast is not None and self.autocast and cast != self._dtype and is_float(self._dtype):
            return OPERATORS["cast"](out, cast)
        return out

    @property
    def _array(self) -> np.ndarray[Any, Any]:
        return self.state.array

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The storage itself, whether or not a trace is active; fetched from the device that has newer values."""
        return self.state.array

    def numpy(self) -> np.ndarray[Any, Any]:
        """The current values, as an array that later updates do not change."""
        return self._array.copy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.array(self._array, dtype=dtype)

    def assign(self, value: Any) -> Any:
        """Set the value: now, or in a trace as the value after the step. Returns the value.

        Raises KCValueError KC108 when the shape differs.
        """
        given = getattr(value, "shape", None)
        if given is None:
            value = np.asarray(value)
            given = value.shape
        given = tuple(given)
        same = len(given) == len(self.shape) and all(
            d is None or d == e for d, e in zip(given, self.shape, strict=True)
        )
        if not same:
            raise KCValueError(
                "KC108", f"a value of shape {given} assigned to the variable {self._path!r} of shape {self.shape}",
                "a variable keeps its shape", "reshape the value, or make another variable",
            )  # fmt: skip
        trace = current_trace()
        if trace is not None:
            trace.assign(self, value)
        elif isinstance(value, (Tensor, KerasTensor)):
            raise KCTypeError(
                "KC105", f"{value!r} assigned to {self._path!r} outside a trace",
                "outside a trace a variable holds numbers", "assign an array",
            )  # fmt: skip
        else:
            self._array[...] = value
        return value

    def assign_add(self, value: Any) -> Any:
        """Add to the value, see `assign`."""
        with autocast(None):
            return self.assign(OPERATORS["add"](self, value))

    def assign_sub(self, value: Any) -> Any:
        """Subtract from the value, see `assign`."""
        with autocast(None):
            return self.assign(OPERATORS["subtract"](self, value))

    def freeze(self, frozen: bool) -> None:
        """Keep it from being trained, or let it be again if it was made trainable."""
        self.trainable = self.made_trainable and not frozen

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        return OPERATORS["equal"](self, other)

    def __len__(self) -> int:
        return len(self.state.host)

    def _outside(self, what: str) -> np.ndarray[Any, Any]:
        if current_trace() is not None:
            raise KCTypeError(
                "KC101", f"the variable {self._path!r} was used as {what} inside a trace",
                "its value changes from step to step", "use kcompile.ops on it instead",
            )  # fmt: skip
        return self._array

    def __bool__(self) -> bool:
        return bool(self._outside("a truth value"))

    def __int__(self) -> int:
        return int(self._outside("an int"))

    def __float__(self) -> float:
        return float(self._outside("a float"))

    def __index__(self) -> int:
        return int(self._outside("an index"))

    def __repr__(self) -> str:
        return f"<Variable path={self._path}, shape={self.shape}, dtype={self._dtype}, value={self._array}>"
