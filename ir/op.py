"""The `Op` record and the one table of ops.

An op holds, side by side: name, one-line doc, attributes, type rule, NumPy meaning, gradient (written
with ops) and cost. A composite has a `body` written with ops instead of a meaning of its own.
Refuses to hold any target's spelling of an op.

Calling conventions. For an op with inputs x, y and attributes a, b:

    type(x: Type, y: Type, a, b) -> Type            (a tuple of Types for several results)
    meaning(x: ndarray, y: ndarray, a, b) -> ndarray (a tuple for several results)
    vjp(ct, out, x: Value, y: Value, a, b) -> (Value | None, ...)   one per input; ct/out are tuples
                                                     (ct entries may be None) for several results
    flops(x: Type, y: Type, a, b) -> DimLike
    body(x: Value, y: Value, a, b) -> Value          (a tuple for several results)

A variadic op gets all its inputs as one tuple in first place: type(xs, a, b), and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ir import dims
from ir.dims import Dim
from ir.graph import Graph, Node, Value
from ir.types import DTYPES, Type


class IRError(Exception):
    """A graph that breaks a rule of the IR: which op, what it was given, which rule."""


class Attr(NamedTuple):
    """An attribute: its name, its kind (a key of `NORMALISE`) and its default (REQUIRED for none)."""

    name: str
    kind: str
    default: Any = ...


def _exact_int(v: Any) -> int:
    if isinstance(v, (bool, np.bool_)) or not isinstance(v, (int, np.integer)):
        raise TypeError(f"an int, not {v!r}")
    return int(v)


def _dim(v: Any) -> Any:
    return v if isinstance(v, Dim) else _exact_int(v)


def _nested(v: Any) -> Any:
    if isinstance(v, (tuple, list)):
        return tuple(_nested(x) for x in v)
    return v if isinstance(v, str) else _dim(v)


def _scalar(v: Any) -> Any:
    if isinstance(v, (bool, np.bool_)):
        return bool(v)
    if isinstance(v, (int, np.integer)):
        return int(v)
    return float(v)


def _typed(want: type, v: Any) -> Any:
    if not isinstance(v, want):
        raise TypeError(f"a {want.__name__}, not {v!r}")
    return v


def _dtype(v: Any) -> str:
    if v not in DTYPES:
        raise TypeError(f"a dtype ({', '.join(DTYPES)}), not {v!r}")
    return str(v)


NORMALISE: dict[str, Callable[[Any], Any]] = {
    "int": _exact_int,
    "float": float,
    "bool": lambda v: bool(_typed(bool, v)),
    "str": lambda v: _typed(str, v),
    "dtype": _dtype,
    "dim": _dim,
    "scalar": _scalar,  # bool, int or float, kept as what it is
    "ints": lambda v: tuple(_exact_int(x) for x in v),
    "dims": lambda v: tuple(_dim(x) for x in v),
    "nested": _nested,  # tuples of ints, dims and strings
    "graph": lambda v: _typed(Graph, v),
}


class Op:
    """One operation. See the module's text for the conventions of the functions."""

    __slots__ = (
        "name", "doc", "attrs", "attr_index", "arity", "type", "meaning", "vjp", "flops", "body",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        doc: str,
        *,
        arity: int | None,
        type: Callable[..., Any],
        meaning: Callable[..., Any] | None = None,
        vjp: Callable[..., Any] | None = None,
        attrs: tuple[Attr, ...] = (),
        flops: Callable[..., Any] | None = None,
        body: Callable[..., Any] | None = None,
    ):
        if (meaning is None) == (body is None):
            raise ValueError(f"{name}: a primitive has a meaning, a composite a body")
        self.name, self.doc, self.arity, self.attrs = name, doc, arity, attrs
        self.attr_index = {a.name: i for i, a in enumerate(attrs)}
        self.type, self.meaning, self.vjp, self.body = type, meaning, vjp, body
        self.flops = flops

    @property
    def is_composite(self) -> bool:
        return self.body is not None

    def args(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """`inputs` as the op's functions take them: spread, or one tuple when variadic."""
        return (inputs,) if self.arity is None else inputs

    def result_types(self, types: tuple[Type, ...], attrs: tuple[Any, ...]) -> tuple[Type, ...]:
        """The result types for operand types and normalised attributes. Raises IRError."""
        try:
            out = self.type(*self.args(types), *attrs)
        except (IRError, ValueError, TypeError, IndexError, AssertionError) as e:
            given = ", ".join(map(str, types))
            shown = "".join(f", {a.name}={v!r}" for a, v in zip(self.attrs, attrs, strict=True))
            raise IRError(f"{self.name}({given}{shown}): {e}") from e
        return (out,) if isinstance(out, Type) else tuple(out)

    def normalise(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """Attributes in declared order. Raises IRError for unknown, missing or ill-kinded ones."""
        for k in given:
            if k not in self.attr_index:
                raise IRError(
                    f"{self.name} has no attribute {k!r}; it has {[a.name for a in self.attrs]}"
                )
        out = []
        for a in self.attrs:
            v = given.get(a.name, a.default)
            if v is ...:
                raise IRError(f"{self.name} needs the attribute {a.name!r}")
            try:
                out.append(NORMALISE[a.kind](v))
            except (TypeError, ValueError) as e:
                raise IRError(f"{self.name}: {a.name}={v!r} should be {a.kind}: {e}") from e
        return tuple(out)

    def node(
        self, inputs: tuple[Value, ...], attrs: tuple[Any, ...], at: str | None = None
    ) -> Node:
        """A node of this op on normalised attributes. Raises IRError."""
        if self.arity is not None and len(inputs) != self.arity:
            raise IRError(f"{self.name} takes {self.arity} operands, not {len(inputs)}")
        return Node(
            self, inputs, attrs, self.result_types(tuple(v.type for v in inputs), attrs), at
        )

    def __call__(self, *inputs: Value, **attrs: Any) -> Any:
        """Apply: a Value, or a tuple of Values where the op has several results. Raises IRError."""
        outs = self.node(inputs, self.normalise(attrs)).outs
        return outs[0] if len(outs) == 1 else outs

    def __repr__(self) -> str:
        return f"<op {self.name}>"


TABLE: dict[str, Op] = {}


def op(name: str, doc: str, **kw: Any) -> Op:
    """Make an `Op` and enter it into the table. See `Op`."""
    if name in TABLE:
        raise ValueError(f"op {name!r} is defined twice")
    TABLE[name] = Op(name, doc, **kw)
    return TABLE[name]


def attr_key(v: Any) -> Any:
    """A hashable key under which attributes are equal: floats by `hex`, bools apart from ints."""
    if isinstance(v, bool):
        return ("b", v)
    if isinstance(v, float):
        return ("f", v.hex())
    if isinstance(v, tuple):
        return tuple(attr_key(x) for x in v)
    return v


def bind_attr(v: Any, env: Mapping[str, Any]) -> Any:
    """An attribute with dimension names replaced (graphs are left alone: see `ir.bind`)."""
    if isinstance(v, Dim):
        return dims.bind(v, env)
    if isinstance(v, tuple):
        return tuple(bind_attr(x, env) for x in v)
    return v
