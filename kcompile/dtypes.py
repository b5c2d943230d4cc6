"""Dtypes as Keras spells them, and the rule by which operands of two dtypes meet.

Holds the names ("float32"), their IR names ("f32"), and the promotion lattice, in which a Python
scalar is weak: it takes the dtype of what it meets. Refuses to hold storage (see `ir.types`).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import kcompile.settings as settings
from kcompile.errors import KCTypeError, KCValueError

TO_IR: dict[str, str] = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8",
    "uint16": "u16", "uint32": "u32", "uint64": "u64", "float16": "f16", "bfloat16": "bf16",
    "float32": "f32", "float64": "f64",
}  # fmt: skip
FROM_IR: dict[str, str] = {v: k for k, v in TO_IR.items()}
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_PYTHON: dict[Any, str] = {bool: "bool", int: "int32", "int": "int32"}

# Each dtype with those directly above it; "int" and "float" are the weak Python scalars.
_ABOVE: dict[str, tuple[str, ...]] = {
    "bool": ("int",), "int": ("uint8", "int8"),
    "uint8": ("int16", "uint16"), "uint16": ("int32", "uint32"), "uint32": ("int64", "uint64"),
    "uint64": ("float",), "int8": ("int16",), "int16": ("int32",), "int32": ("int64",),
    "int64": ("float",), "float": ("float16", "bfloat16"), "float16": ("float32",),
    "bfloat16": ("float32",), "float32": ("float64",), "float64": (),
}  # fmt: skip


def standardize_dtype(dtype: Any) -> str:
    """The Keras name of `dtype`: a name, a NumPy or torch dtype, a Python type, None for floatx.

    Raises KCTypeError KC103 for anything else.
    """
    if type(dtype) is str and dtype in TO_IR:
        return dtype
    if dtype is None or dtype is float or (isinstance(dtype, str) and dtype == "float"):
        return settings.floatx()
    if isinstance(dtype, (type, str)) and dtype in _PYTHON:
        return _PYTHON[dtype]
    name = getattr(dtype, "compute_dtype", None) or getattr(dtype, "name", None)
    if name is None or not isinstance(name, str):
        name = str(dtype).removeprefix("torch.") if "torch" in str(type(dtype)) else None
    if name is None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name not in TO_IR:
        raise KCTypeError(
            "KC103",
            f"the dtype {dtype!r}",
            "a dtype is one of " + ", ".join(TO_IR),
            "cast the data, or name another dtype",
        )
    return name


def is_float(dtype: str) -> bool:
    """Whether `dtype` is a floating-point dtype."""
    return dtype in FLOATS


def is_int(dtype: str) -> bool:
    """Whether `dtype` is a signed or unsigned integer dtype."""
    return dtype in INTS


@functools.cache
def _reach(dtype: str) -> frozenset[str]:
    out = {dtype}
    for up in _ABOVE[dtype]:
        out |= _reach(up)
    return frozenset(out)


@functools.cache
def _meet(kinds: frozenset[str]) -> str:
    common = frozenset.intersection(*(_reach(k) for k in kinds))
    for k in kinds:
        if k in common:
            return k
    return max(common, key=lambda k: len(_reach(k)))  # the lowest common one reaches the most


def result_type(*dtypes: Any) -> str:
    """The dtype in which operands of `dtypes` meet, by Keras's rules.

    An entry is a dtype, or `int`/`float`/`bool` (the types) for a Python scalar, which is weak.
    """
    kinds = frozenset(
        {float: "float", int: "int", bool: "bool"}.get(d) or standardize_dtype(d)
        if isinstance(d, type)
        else standardize_dtype(d)
        for d in dtypes
    )
    if not kinds:
        raise KCValueError("KC103", "no dtypes", "a result type needs at least one", "pass a dtype")
    met = _meet(kinds)
    if met == "float":
        return settings.floatx()
    if met == "int":
        return "int32"
    return met
