"""`Builder`: what rows write to. Plain records of ONNX nodes and initializers, and `Ref`, a value in the making.

A Ref may lag behind its IR value in two ways, so that no needless node is written: axes that only repeat are
kept at extent 1 (ONNX broadcasts), and axes may lie in another order (a convolution's channels first).
`full` and `plain` write what is missing. Refuses to know IR ops (the rows do) and the onnx package (`export`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ir.dims import Dim, DimLike, names
from ir.types import NUMPY

Array = np.ndarray[Any, Any]
Dims = tuple[DimLike, ...]
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)


@dataclass(frozen=True)
class Ref:
    """A value of the ONNX graph.

    shape: the extents it has there; fewer axes, or 1s, than the IR value where it only repeats.
    perm: its axis k is the IR value's axis perm[k]; None: as in the IR. value: its elements, where
    they are known; label: the weight's path. name is "" for a constant not yet written.
    """

    name: str
    dtype: str
    shape: Dims
    perm: tuple[int, ...] | None = None
    value: Array | None = field(default=None, compare=False)
    label: str = ""
    is_input: bool = False


@dataclass
class Record:
    """An ONNX node as data; attributes are ints, floats, strings, lists of ints, `Sub`s, or dtypes by `Dtype`."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any]
    name: str


@dataclass
class Sub:
    """A subgraph (a loop's body): records, inputs and outputs as (name, dtype, shape)."""

    name: str
    records: list[Record]
    inputs: list[tuple[str, str, Dims]]
    outputs: list[tuple[str, str, Dims]]
    ranks: dict[str, int] = field(default_factory=dict)  # of values made by records


@dataclass(frozen=True)
class Dtype:
    """A dtype as an attribute: the exporter writes ONNX's number for it."""

    name: str


class Builder:
    """Collects records. `at` is the layer path that names of new nodes start with."""

    def __init__(self, parent: Builder | None = None) -> None:
        self.parent = parent
        root = self if parent is None else parent.root
        self.root: Builder = root
        self.records: list[Record] = []
        self.ranks: dict[str, int] = {}
        self.at: str = "" if parent is None else parent.at
        self.opname = ""
        self._shapes: dict[Any, Ref] = {}
        self._moved: dict[tuple[str, Any], Ref] = {}
        if parent is None:
            self.initializers: dict[str, Array] = {}
            self.dims: dict[str, tuple[str, int]] = {}  # name of a dim: a graph input and its axis
            self._taken: set[str] = set()
            self._numbers: dict[str, int] = {}
            self._constants: dict[Any, str] = {}

    # -- names and constants ---------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """A name nobody has, `name` itself where it is free."""
        root = self.root
        while name in root._taken:
            base = name
            n = root._numbers[base] = root._numbers.get(base, 0) + 1
            name = f"{base}_{n}"
        root._taken.add(name)
        return name

    def const(self, value: Any, dtype: str = "i64", label: str = "") -> Ref:
        """A constant, written when it is used."""
        array = np.asarray(value, NUMPY[dtype])
        return Ref("", dtype, tuple(array.shape), None, array, label)

    def use(self, ref: Ref) -> str:
        """The name under which a node reads `ref`; writes the initializer of a constant."""
        if ref.name:
            return ref.name
        assert ref.value is not None
        value = np.asarray(
            ref.value, order="C"
        )  # ascontiguousarray would make a vector of a scalar
        key = (ref.dtype, value.shape, value.tobytes(), ref.label.partition("|")[0])
        known = self.root._constants.get(key)
        if known is None:
            path = ref.label.partition("|")[0] or (f"{self.at}/" if self.at else "") + "const"
            known = self.root._constants[key] = self.fresh(path)
            self.root.initializers[known] = value
        return known

    # -- nodes -----------------------------------------------------------------------------------

    def node(
        self,
        op: str,
        inputs: Sequence[Ref | None],
        dtype: str,
        shape: Dims,
        outputs: int = 1,
        **attrs: Any,
    ) -> Ref:
        """Write a node with one result (further ones: `nodes`)."""
        return self.nodes(op, inputs, [(dtype, shape)] * outputs, **attrs)[0]

    def nodes(
        self, op: str, inputs: Sequence[Ref | None], types: Sequence[tuple[str, Dims]], **attrs: Any
    ) -> list[Ref]:
        """Write a node with one result for each of `types`."""
        base = (f"{self.at}/" if self.at else "") + (self.opname or op.lower())
        name = self.fresh(base)
        read = ["" if r is None else self.use(r) for r in inputs]
        while read and not read[-1]:
            read.pop()
        outs = [name] if len(types) == 1 else [self.fresh(f"{name}.{i}") for i in range(len(types))]
        self.records.append(Record(op, read, outs, attrs, name))
        self.ranks.update((o, len(shape)) for o, (_, shape) in zip(outs, types, strict=True))
        return [Ref(o, dtype, shape) for o, (dtype, shape) in zip(outs, types, strict=True)]

    # -- dims ------------------------------------------------------------------------------------

    def extents(self, shape: Dims) -> Ref:
        """`shape` as an int64 vector: a constant, or computed from the graph's inputs."""
        if all(isinstance(d, int) for d in shape):
            return self.const([int(d) for d in shape])
        if shape in self._shapes:
            return self._shapes[shape]
        parts: list[Ref] = []
        run: list[int] = []
        for d in shape:
            if isinstance(d, int):
                run.append(d)
                continue
            if run:
                parts.append(self.const(run))
                run = []
            parts.append(self.extent(d))
        if run:
            parts.append(self.const(run))
        out = (
            parts[0]
            if len(parts) == 1
            else self.node("Concat", parts, "i64", (len(shape),), axis=0)
        )
        self._shapes[shape] = out
        return out

    def extent(self, d: DimLike) -> Ref:
        """One extent as an int64 vector of length 1."""
        if isinstance(d, int):
            return self.const([d])
        if d in self._shapes:
            return self._shapes[d]
        saved, self.opname = self.opname, "shape"
        out: Ref | None = None
        if str(d) in self.root.dims:
            source, axis = self.root.dims[str(d)]
            out = self.node(
                "Shape", [Ref(source, "f32", ())], "i64", (1,), start=axis, end=axis + 1
            )
        else:
            for monomial, factor in d._terms:
                term = self.const([factor])
                for atom, power in monomial:
                    for _ in range(power):
                        value = self._atom(atom)
                        one = term.value is not None and int(term.value[0]) == 1
                        term = value if one else self.node("Mul", [term, value], "i64", (1,))
                out = term if out is None else self.node("Add", [out, term], "i64", (1,))
        assert out is not None
        self.opname = saved
        self._shapes[d] = out
        return out

    def _atom(self, atom: Any) -> Ref:
        if isinstance(atom, str):
            if atom not in self.root.dims:
                raise KeyError(f"the dimension {atom!r} is the extent of no axis of an input")
            source, axis = self.root.dims[atom]
            if (atom,) not in self._shapes:
                self._shapes[atom,] = self.node(
                    "Shape", [Ref(source, "f32", ())], "i64", (1,), start=axis, end=axis + 1
                )
            return self._shapes[atom,]
        _, a, b = atom
        # floor division: what is negative is moved up by a whole divisor before (extents are small)
        top, bottom = self.extent(a), self.extent(b)
        up = self.node("Mul", [bottom, self.const([1 << 20])], "i64", (1,))
        whole = self.node("Div", [self.node("Add", [top, up], "i64", (1,)), bottom], "i64", (1,))
        return self.node("Sub", [whole, self.const([1 << 20])], "i64", (1,))

    # -- layout and broadcasting -----------------------------------------------------------------

    def reshape(self, ref: Ref, shape: Dims) -> Ref:
        """`ref`, in the order in which it lies, with other extents."""
        if ref.shape == shape:
            return ref
        if ref.value is not None:
            return Ref(
                "", ref.dtype, shape, None, ref.value.reshape(_ints(shape)), f"{ref.label}|r"
            )
        return self.node("Reshape", [ref, self.shape_for(ref.shape, shape)], ref.dtype, shape)

    def shape_for(self, old: Dims, shape: Dims) -> Ref:
        """The shape operand of a Reshape: 0 and -1 spare computing an extent."""
        spelled: list[int] = []
        unknown = 0
        for k, d in enumerate(shape):
            if isinstance(d, int) and d > 0:
                spelled.append(d)
            elif k < len(old) and old[k] == d and d != 0:
                spelled.append(0)
            else:
                unknown += 1
                spelled.append(-1)
        if unknown <= 1 and not any(d == 0 for d in shape):
            return self.const(spelled)
        return self.extents(shape)

    def transpose(self, ref: Ref, order: Sequence[int]) -> Ref:
        """`ref` with its axes reordered, whatever they mean."""
        order = tuple(order)
        if order == tuple(range(len(order))):
            return ref
        shape = tuple(ref.shape[k] for k in order)
        if ref.value is not None:
            return Ref("", ref.dtype, shape, None, ref.value.transpose(order), f"{ref.label}|t")
        key = (ref.name, order)
        if key not in self._moved:
            saved, self.opname = self.opname, "transpose"
            self._moved[key] = self.node("Transpose", [ref], ref.dtype, shape, perm=list(order))
            self.opname = saved
        return self._moved[key]

    def ranked(self, ref: Ref, rank: int) -> Ref:
        """`ref` with 1s in front up to `rank` axes."""
        if len(ref.shape) == rank:
            return ref
        return self.reshape(ref, (1,) * (rank - len(ref.shape)) + ref.shape)

    def arranged(self, ref: Ref, perm: tuple[int, ...] | None, rank: int) -> Ref:
        """`ref` with axes in the order `perm` (None: the IR's)."""
        if ref.perm == perm:
            return ref
        if len(ref.shape) < rank and ref.perm is None and _only_ones(ref.shape):
            return Ref(ref.name, ref.dtype, ref.shape, None, ref.value, ref.label)
        ref = self.ranked(ref, rank) if ref.perm is None else ref
        now = ref.perm or tuple(range(rank))
        want = perm or tuple(range(rank))
        order = [now.index(a) for a in want]
        out = self.transpose(ref, order)
        return Ref(out.name, out.dtype, out.shape, perm, out.value, out.label)

    def plain(self, ref: Ref, rank: int) -> Ref:
        """`ref` with axes in the IR's order."""
        return self.arranged(ref, None, rank)

    def full(self, ref: Ref, shape: Dims) -> Ref:
        """`ref` in the IR's order with every extent that the IR value has."""
        return self.expanded(self.plain(ref, len(shape)), shape)

    def expanded(self, ref: Ref, shape: Dims) -> Ref:
        """`ref` with repeated axes written out; `shape` is in the order in which `ref` lies."""
        if ref.shape == shape:
            return ref
        if (
            ref.value is not None
            and all(isinstance(d, int) for d in shape)
            and math.prod(_ints(shape)) <= 65536
        ):
            value = np.broadcast_to(ref.value, _ints(shape))
            return Ref("", ref.dtype, shape, ref.perm, value, f"{ref.label}|e")
        out = self.node("Expand", [ref, self.extents(shape)], ref.dtype, shape)
        return Ref(out.name, out.dtype, out.shape, ref.perm)

    def cast(self, ref: Ref, dtype: str) -> Ref:
        """`ref` as another dtype."""
        if ref.dtype == dtype:
            return ref
        if ref.value is not None:
            return Ref("", dtype, ref.shape, ref.perm, ref.value.astype(NUMPY[dtype]), ref.label)
        out = self.node("Cast", [ref], dtype, ref.shape, to=Dtype(dtype))
        return Ref(out.name, dtype, ref.shape, ref.perm)


def where(ref: Ref, axis: int, rank: int) -> int:
    """At which axis of `ref` (of full rank) the IR's `axis` lies."""
    return axis if ref.perm is None else ref.perm.index(axis)


def broadcast_shape(shapes: Sequence[Dims]) -> Dims:
    """The extents of an elementwise result of operands with these extents."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[DimLike] = []
    for k in range(rank):
        found: DimLike = 1
        for s in shapes:
            j = k - (rank - len(s))
            if j >= 0 and s[j] != 1:
                found = s[j]
        out.append(found)
    return tuple(out)


def _only_ones(shape: Dims) -> bool:
    return all(d == 1 for d in shape)


def _ints(shape: Dims) -> tuple[int, ...]:
    if any(isinstance(d, Dim) for d in shape):
        raise ValueError(f"the extents {shape} depend on {set().union(*map(names, shape))}")
    return tuple(int(d) for d in shape)


def size_of(shape: Sequence[int]) -> int:
    """The number of elements of a known shape."""
    return math.prod(shape)
