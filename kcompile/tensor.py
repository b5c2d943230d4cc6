"""The tensors of the front door: `Tensor` (traced), `KerasTensor` (symbolic), `Array` (eager).

Operators come from one table that `kcompile.ops` fills when it is imported. Refuses to hold any
operation, broadcasting or promotion: those live in `kcompile.ops`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import kcompile.later as later
from ir.dims import Dim, dim
from ir.graph import Value
from ir.types import Type
from kcompile.dtypes import FROM_IR, TO_IR, standardize_dtype
from kcompile.errors import KCTypeError

OPERATORS: dict[str, Callable[..., Any]] = {}  # "add", "get_item", ...: filled by kcompile.ops
_unique = itertools.count()


def _binary(name: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: OPERATORS[name](a, b)


def _swapped(name: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: OPERATORS[name](b, a)


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda a: OPERATORS[name](a)


# NumPy's functions behind Python's operators, by their names in `OPERATORS`
_UFUNCS = {
    "add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "true_divide", "floor_divide": "floor_divide",
    "remainder": "mod", "power": "power", "matmul": "matmul", "bitwise_and": "logical_and", "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor", "less": "less", "less_equal": "less_equal", "greater": "greater",
    "greater_equal": "greater_equal", "equal": "equal", "not_equal": "not_equal",
}  # fmt: skip


class Operand:
    """Python operators on tensors and variables, spelled through the table `OPERATORS`."""

    __slots__ = ()
    __array_priority__ = 1000

    __add__, __radd__ = _binary("add"), _swapped("add")
    __sub__, __rsub__ = _binary("subtract"), _swapped("subtract")
    __mul__, __rmul__ = _binary("multiply"), _swapped("multiply")
    __truediv__, __rtruediv__ = _binary("true_divide"), _swapped("true_divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _swapped("floor_divide")
    __mod__, __rmod__ = _binary("mod"), _swapped("mod")
    __pow__, __rpow__ = _binary("power"), _swapped("power")
    __matmul__, __rmatmul__ = _binary("matmul"), _swapped("matmul")
    __and__, __rand__ = _binary("logical_and"), _swapped("logical_and")
    __or__, __ror__ = _binary("logical_or"), _swapped("logical_or")
    __xor__, __rxor__ = _binary("logical_xor"), _swapped("logical_xor")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __ne__ = _binary("not_equal")  # type: ignore[assignment]
    __neg__, __abs__, __invert__ = _unary("negative"), _unary("absolute"), _unary("logical_not")
    __getitem__ = _binary("get_item")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """`ndarray + tensor` is the tensor's operator; other NumPy functions need values."""
        name = _UFUNCS.get(ufunc.__name__)
        if name is not None and method == "__call__" and not kwargs:
            return OPERATORS[name](*inputs)
        values = (np.asarray(x) if isinstance(x, Operand) else x for x in inputs)
        return getattr(ufunc, method)(*values, **kwargs)

    def __round__(self, ndigits: int | None = None) -> Any:
        return OPERATORS["round"](self, ndigits or 0)


def _not_a_number(what: str, verb: str) -> KCTypeError:
    return KCTypeError(
        "KC101",
        f"{what} was used {verb}",
        "a symbolic tensor stands for values that are known only when the compiled program runs",
        "use kcompile.ops (where, cond, equal, ...) instead of Python control flow or NumPy functions",
    )


class _Symbolic(Operand):
    __slots__ = ()

    def __bool__(self) -> bool:
        raise _not_a_number(repr(self), "as a truth value (in `if`, `while`, `and`, `or`, `not`)")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        raise _not_a_number(repr(self), "as a NumPy array")

    def __int__(self) -> int:
        raise _not_a_number(repr(self), "as an int")

    def __float__(self) -> float:
        raise _not_a_number(repr(self), "as a float")

    def __index__(self) -> int:
        raise _not_a_number(repr(self), "as an index")

    def numpy(self) -> np.ndarray[Any, Any]:
        """Raises: a symbolic tensor has no values."""
        raise _not_a_number(repr(self), "as a NumPy array")

    def __iter__(self) -> Any:
        shape = self.shape  # type: ignore[attr-defined]
        if not shape or shape[0] is None:
            raise _not_a_number(repr(self), "in a loop, with an unknown or no leading axis")
        return (self[i] for i in range(shape[0]))

    def __len__(self) -> int:
        shape = self.shape  # type: ignore[attr-defined]
        if not shape or shape[0] is None:
            raise _not_a_number(repr(self), "with len(), with an unknown or no leading axis")
        return int(shape[0])

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        return OPERATORS["equal"](self, other)


class Tensor(_Symbolic):
    """A traced tensor: an IR value, and the mask that travels with it.

    `shape` has None for an extent that is only a name; `dims` has the IR's own extents.
    """

    __slots__ = ("value", "_keras_mask", "_keras_logits", "__weakref__")

    def __init__(self, value: Value):
        self.value = value
        self._keras_mask: Any = None
        self._keras_logits: Any = None

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(None if isinstance(d, Dim) else d for d in self.value.type.shape)

    @property
    def dims(self) -> tuple[Any, ...]:
        return self.value.type.shape

    @property
    def dtype(self) -> str:
        return FROM_IR[self.value.type.dtype]

    @property
    def ndim(self) -> int:
        return len(self.value.type.shape)

    rank = ndim

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def T(self) -> Any:
        return OPERATORS["transpose"](self)

    # as steps for Keras on PyTorch are written: `loss.backward()`, then `variable.value.grad`
    backward = later.method("kcompile.gradient_tape", "backward")

    @property
    def grad(self) -> Any:
        return later.function("kcompile.gradient_tape", "grad")(self)

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape} dtype={self.dtype}>"


class KerasTensor(_Symbolic):
    """A symbolic tensor of a functional model: shape with None for the unknown, dtype, history.

    `_type` is the IR type, in which an unknown extent is a name: "N" for the batch.
    """

    def __init__(
        self,
        shape: Any,
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        n = next(_unique)
        self.name = name or ("keras_tensor" if n == 0 else f"keras_tensor_{n}")
        self._type = Type(TO_IR[standardize_dtype(dtype)], named(shape, str(n)))
        self._keras_mask: Any = None
        self._keras_history: Any = None
        self.sparse, self.ragged, self.record_history = sparse, ragged, record_history

    @classmethod
    def of_type(cls, type: Type, name: str | None = None) -> KerasTensor:
        """A KerasTensor of an IR type."""
        out = cls((), FROM_IR[type.dtype], name=name)
        out._type = type
        return out

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(None if isinstance(d, Dim) else d for d in self._type.shape)

    @property
    def dtype(self) -> str:
        return FROM_IR[self._type.dtype]

    @property
    def ndim(self) -> int:
        return len(self._type.shape)

    rank = ndim

    @property
    def T(self) -> Any:
        return OPERATORS["transpose"](self)

    def reshape(self, newshape: Any) -> Any:
        """This tensor in another shape."""
        return OPERATORS["reshape"](self, newshape)

    def squeeze(self, axis: Any = None) -> Any:
        """This tensor without axes of extent one."""
        return OPERATORS["squeeze"](self, axis)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse={self.sparse}, ragged=False, name={self.name}>"


class Array(np.ndarray[Any, Any]):
    """What an eager operation returns: a NumPy array, with `numpy()` as on other tensors."""

    _keras_mask: Any = None

    def numpy(self) -> np.ndarray[Any, Any]:
        """The plain NumPy array."""
        return self.view(np.ndarray)


def named(shape: Any, tag: str = "") -> tuple[int | Dim, ...]:
    """`shape` with each None replaced by a dimension's name: "N" in front, else a new one."""
    out: list[int | Dim] = []
    for i, d in enumerate(shape):
        if d is None:
            out.append(dim("N") if i == 0 else dim(f"T{tag or next(_unique)}_{i}"))
        else:
            out.append(d if isinstance(d, Dim) else int(d))
    return tuple(out)


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor of any kind (not a plain Python or NumPy scalar)."""
    return isinstance(x, (Tensor, KerasTensor, np.ndarray))


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a symbolic tensor of a functional model."""
    return isinstance(x, KerasTensor)
