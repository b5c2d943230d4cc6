"""Types: a dtype and a shape, `f32[N, 784]`. Interned, so equality is identity.

Also the one table of dtypes: their NumPy storage, size, and kind. Refuses to hold promotion rules:
operands of an op have equal dtypes, and the front door decides which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ir import dims
from ir.dims import Dim, DimLike

# bf16 has no NumPy dtype: its meaning is f32 storage that holds rounded values (see `round_bf16`).
NUMPY: dict[str, Any] = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f16": np.float16, "bf16": np.float32, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
DTYPES = tuple(NUMPY)
FLOATS = ("f16", "bf16", "f32", "f64")
INTS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
_FROM_NUMPY = {np.dtype(v): k for k, v in NUMPY.items() if k != "bf16"}
_BYTES = {k: 2 if k == "bf16" else np.dtype(v).itemsize for k, v in NUMPY.items()}


class Type:
    """dtype (a key of `NUMPY`) and shape (ints and `Dim`s)."""

    __slots__ = ("dtype", "shape", "_hash")
    dtype: str
    shape: tuple[DimLike, ...]
    _hash: int
    _table: ClassVar[dict[tuple[str, tuple[DimLike, ...]], Type]] = {}

    def __new__(cls, dtype: str, shape: tuple[DimLike, ...] = ()) -> Type:
        key = (dtype, shape)
        found = cls._table.get(key)
        if found is None:
            if dtype not in NUMPY:
                raise ValueError(f"unknown dtype {dtype!r}; one of {', '.join(DTYPES)}")
            shape = tuple(d if isinstance(d, Dim) else int(d) for d in shape)
            bad = [d for d in shape if isinstance(d, int) and d < 0]
            if bad:
                raise ValueError(f"negative extent {bad[0]} in shape {shape}")
            key = (dtype, shape)
            found = cls._table.get(key)
            if found is None:
                found = object.__new__(cls)
                found.dtype, found.shape, found._hash = dtype, shape, hash(key)
                cls._table[key] = found
        return found

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> tuple[Any, ...]:
        return (Type, (self.dtype, self.shape))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> DimLike:
        """The number of elements."""
        return dims.product(self.shape)

    @property
    def nbytes(self) -> DimLike:
        """Bytes in memory on a device (bf16 counts two)."""
        return self.size * _BYTES[self.dtype]

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def with_shape(self, shape: tuple[DimLike, ...]) -> Type:
        return Type(self.dtype, shape)

    def with_dtype(self, dtype: str) -> Type:
        return Type(dtype, self.shape)

    def bind(self, env: Mapping[str, DimLike]) -> Type:
        return (
            self
            if self.is_static
            else Type(self.dtype, tuple(dims.bind(d, env) for d in self.shape))
        )

    def __repr__(self) -> str:
        return self.dtype + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")


def type_of(array: np.ndarray[Any, Any] | np.generic) -> Type:
    """The type of a NumPy array or scalar."""
    if array.dtype not in _FROM_NUMPY:
        raise ValueError(f"dtype {array.dtype} has no counterpart; one of {', '.join(DTYPES)}")
    return Type(_FROM_NUMPY[array.dtype], tuple(array.shape))


def round_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """f32 values rounded to the nearest bf16, ties to even; still stored as f32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(
        0xFFFF0000
    )
    return np.where(np.isnan(x), x, rounded.view(np.float32)).astype(np.float32).reshape(x.shape)
