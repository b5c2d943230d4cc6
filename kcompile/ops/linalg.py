"""Products of `keras.ops` (matmul, dot, tensordot, einsum, ...), each one IR contraction, and norms;
decompositions (inv, svd, ...) on arrays only.

Refuses to hold convolution (`nn_window`).
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

import ir.ops as ir
from ir.dims import Dim
from ir.graph import Value
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.operation import defines
from kcompile.ops.movement import permuted, reshaped
from kcompile.ops.numpy_elementwise import absolute
from kcompile.ops.numpy_index import diagonal_of, take
from kcompile.ops.numpy_join import stack
from kcompile.ops.numpy_reduce import kept
from kcompile.ops.numpy_reduce import max as greatest
from kcompile.ops.numpy_reduce import min as least
from kcompile.ops.numpy_reduce import sum as total
from kcompile.ops.numpy_shape import moveaxis
from kcompile.ops.operand import (
    as_dtype,
    axes_of,
    axis_of,
    inexact,
    promoted,
    scalar_like,
    value_of,
)
from kcompile.tensor import Array, Tensor
from kcompile.trace import to_array
from kcompile.variable import current_trace

op = defines("keras.src.ops.numpy")
linalg_op = defines("keras.src.ops.linalg")
LETTERS = string.ascii_letters


def _mismatch(what: str, a: Value, b: Value, rule: str) -> KCValueError:
    return KCValueError(
        "KC102",
        f"{what} of shapes {a.type.shape} and {b.type.shape}",
        rule,
        "transpose or reshape an operand",
    )


def _numbers(*xs: Any) -> list[Value]:
    values = promoted(xs)
    narrow = {"bool": "i32", "i8": "i32"}
    return [as_dtype(v, narrow.get(v.type.dtype, v.type.dtype)) for v in values]


def _is_one(d: Any) -> bool:
    return not isinstance(d, Dim) and d == 1


@op("x1", "x2")
def matmul(x1: Any, x2: Any) -> Any:
    """The matrix product over the last two axes; the others broadcast. Raises KCValueError KC102."""
    return Tensor(product(*_numbers(x1, x2)))


def product(a: Value, b: Value) -> Value:
    """The matrix product of values, NumPy's rules."""
    if not a.type.shape or not b.type.shape:
        raise _mismatch("matmul", a, b, "both operands have at least one axis")
    vector_a, vector_b = len(a.type.shape) == 1, len(b.type.shape) == 1
    inner_b = b.type.shape[0] if vector_b else b.type.shape[-2]
    if a.type.shape[-1] != inner_b:
        raise _mismatch(
            "matmul",
            a,
            b,
            f"the last extent of the first, {a.type.shape[-1]}, equals the one it meets, {inner_b}",
        )
    batch_a, batch_b = a.type.shape[:-2], b.type.shape[:-2]
    rank = max(len(batch_a), len(batch_b))
    names_a, names_b, joint, shape = "", "", "", []
    wide_a = (1,) * (rank - len(batch_a)) + batch_a
    wide_b = (1,) * (rank - len(batch_b)) + batch_b
    for i, (d, e) in enumerate(zip(wide_a, wide_b, strict=True)):
        if d != e and not _is_one(d) and not _is_one(e):
            raise _mismatch("matmul", a, b, "batch axes are equal or 1")
        use_a, use_b = not _is_one(d), not _is_one(e)
        if not use_a and not use_b:
            shape.append(1)
            continue
        letter = LETTERS[i]
        names_a += letter if use_a else ""
        names_b += letter if use_b else ""
        joint += letter
        shape.append(d if use_a else e)
    if len(names_a) != len(batch_a):
        a = reshaped(a, tuple(d for d in batch_a if not _is_one(d)) + a.type.shape[len(batch_a) :])
    if len(names_b) != len(batch_b):
        b = reshaped(b, tuple(d for d in batch_b if not _is_one(d)) + b.type.shape[len(batch_b) :])
    m, n = "" if vector_a else "M", "" if vector_b else "P"
    out = ir.contract(a, b, spec=f"{names_a}{m}K,{names_b}K{n}->{joint}{m}{n}")
    tail = out.type.shape[len(joint) :]
    return reshaped(out, (*shape, *tail))


@op("x1", "x2")
def dot(x1: Any, x2: Any) -> Any:
    """The sum of products over the last axis of x1 and the last but one of x2."""
    a, b = _numbers(x1, x2)
    if not a.type.shape or not b.type.shape:
        return Tensor(a) * Tensor(b)
    return Tensor(_tensordot(a, b, [len(a.type.shape) - 1], [max(len(b.type.shape) - 2, 0)]))


@op("x1", "x2")
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """The sum of products over axes: a number of last and first ones, or two lists."""
    a, b = _numbers(x1, x2)
    if isinstance(axes, (int, np.integer)):
        n = len(a.type.shape)
        left, right = list(range(n - axes, n)), list(range(axes))
    else:
        left, right = ([axes[i]] if isinstance(axes[i], int) else list(axes[i]) for i in (0, 1))
    return Tensor(_tensordot(a, b, left, right))


def _tensordot(a: Value, b: Value, left: list[int], right: list[int]) -> Value:
    left = [axis_of(i, len(a.type.shape)) for i in left]
    right = [axis_of(i, len(b.type.shape)) for i in right]
    if [a.type.shape[i] for i in left] != [b.type.shape[j] for j in right]:
        raise _mismatch("tensordot", a, b, f"axes {left} and {right} have equal extents")
    na = list(LETTERS[: len(a.type.shape)])
    nb = list(LETTERS[26 : 26 + len(b.type.shape)])
    for i, j in zip(left, right, strict=True):
        nb[j] = na[i]
    rest = [c for i, c in enumerate(na) if i not in left] + [
        c for j, c in enumerate(nb) if j not in right
    ]
    return ir.contract(a, b, spec=f"{''.join(na)},{''.join(nb)}->{''.join(rest)}")  # type: ignore[no-any-return]


@op("x1", "x2")
def inner(x1: Any, x2: Any) -> Any:
    """The sum of products over the last axes."""
    a, b = _numbers(x1, x2)
    if not a.type.shape or not b.type.shape:
        return Tensor(a) * Tensor(b)
    return Tensor(_tensordot(a, b, [-1], [-1]))


@op("x1", "x2")
def vdot(x1: Any, x2: Any) -> Any:
    """The sum of products of all elements."""
    a, b = (reshaped(v, (-1,)) for v in _numbers(x1, x2))
    return Tensor(_tensordot(a, b, [0], [0]))


@op("x1", "x2")
def outer(x1: Any, x2: Any) -> Any:
    """All products of two elements."""
    a, b = (reshaped(v, (-1,)) for v in _numbers(x1, x2))
    return Tensor(_tensordot(a, b, [], []))


@op("*")
def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products by Einstein's convention, with `...`. Raises KCValueError KC102."""
    values = _numbers(*operands)
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise KCValueError(
            "KC102",
            f"einsum({subscripts!r}) with {len(values)} operands",
            "there is one term per operand",
            "write one term per operand",
        )
    spare = [c for c in LETTERS if c not in text]
    most = max(
        [
            len(v.type.shape) - len(t.replace("...", ""))
            for t, v in zip(terms, values, strict=True)
            if "..." in t
        ]
        or [0]
    )
    dots = "".join(spare[:most])
    spelled = []
    for t, v in zip(terms, values, strict=True):
        own = len(v.type.shape) - len(t.replace("...", ""))
        if own < 0 or ("..." not in t and own):
            raise KCValueError(
                "KC102",
                f"einsum({subscripts!r}): {t!r} for the shape {v.type.shape}",
                "a term has one letter per axis",
                "fix the term",
            )
        spelled.append(t.replace("...", dots[most - own :]))
    if arrow:
        result = right.replace("...", dots)
    else:
        joined = "".join(spelled)
        result = dots + "".join(
            sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        )
    pairs = [_simple(v, t) for v, t in zip(values, spelled, strict=True)]
    while len(pairs) > 1:
        (a, ta), (b, tb) = pairs[0], pairs[1]
        later = result + "".join(t for _, t in pairs[2:])
        out = "".join(c for c in dict.fromkeys(ta + tb) if c in later) if len(pairs) > 2 else result
        a, ta, b, tb = _meeting(a, ta, b, tb)
        missing = [c for c in out if c not in ta + tb]
        if missing:
            raise KCValueError(
                "KC102",
                f"einsum({subscripts!r})",
                f"{missing[0]!r} of the result is in an operand",
                "fix the subscripts",
            )
        pairs[:2] = [(ir.contract(a, b, spec=f"{ta},{tb}->{out}"), out)]
    v, t = pairs[0]
    dropped = tuple(i for i, c in enumerate(t) if c not in result)
    if dropped:
        v = ir.reduce_sum(v, axes=dropped)
    t = "".join(c for c in t if c in result)
    return Tensor(permuted(v, [t.index(c) for c in result]))


def _simple(v: Value, term: str) -> tuple[Value, str]:
    """A term without a letter twice: diagonals are taken first."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            v = diagonal_of(v, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return v, term


def _meeting(a: Value, ta: str, b: Value, tb: str) -> tuple[Value, str, Value, str]:
    """Operands without the axes of extent 1 that broadcast against the other's."""
    for c in set(ta) & set(tb):
        d, e = a.type.shape[ta.index(c)], b.type.shape[tb.index(c)]
        if d == e:
            continue
        if _is_one(d):
            i = ta.index(c)
            a, ta = reshaped(a, a.type.shape[:i] + a.type.shape[i + 1 :]), ta[:i] + ta[i + 1 :]
        elif _is_one(e):
            i = tb.index(c)
            b, tb = reshaped(b, b.type.shape[:i] + b.type.shape[i + 1 :]), tb[:i] + tb[i + 1 :]
        else:
            raise _mismatch(
                "einsum", a, b, f"the letter {c!r} stands for one extent, not {d} and {e}"
            )
    return a, ta, b, tb


@op("x")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal of two axes."""
    v = diagonal_of(value_of(x), offset, axis1, axis2)
    return total(Tensor(v), axis=-1)


@op("x1", "x2")
def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The cross product of vectors of two or three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = (
        moveaxis(Tensor(v), s, -1) for v, s in zip(_numbers(x1, x2), (axisa, axisb), strict=True)
    )
    pa = [take(a, i, axis=-1) for i in range(a.shape[-1])]
    pb = [take(b, i, axis=-1) for i in range(b.shape[-1])]
    flat = pa[0] * pb[1] - pa[1] * pb[0]
    if len(pa) == len(pb) == 2:
        return flat
    za, zb = (p[2] if len(p) == 3 else p[0] * 0 for p in (pa, pb))
    out = stack([pa[1] * zb - za * pb[1], za * pb[0] - pa[0] * zb, flat], axis=-1)
    return moveaxis(out, -1, axisc)


@linalg_op("x")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A vector norm over one axis (or all), or a matrix norm over two: 1, 2, inf, -inf, 0, 'fro', p."""
    v = inexact(x)
    rank = len(v.type.shape)
    axes = axes_of(axis, rank)
    matrix = ord is not None and (len(axes) == 2)
    size = absolute(Tensor(v))
    if ord is None or ord == "fro" or (not matrix and ord == 2):
        return kept(ir.sqrt(ir.reduce_sum(ir.mul(v, v), axes=axes)), v.type.shape, axes, keepdims)
    if matrix:
        if ord in (1, -1, np.inf, -np.inf):
            pick = greatest if ord > 0 else least
            inner_axis, outer_axis = (axes[0], axes[1]) if abs(ord) == 1 else (axes[1], axes[0])
            out = pick(total(size, inner_axis, True), outer_axis, True)
            return kept(
                reshaped(out.value, tuple(d for i, d in enumerate(v.type.shape) if i not in axes)),
                v.type.shape,
                axes,
                keepdims,
            )
        raise KCNotImplementedError(
            "KC109",
            f"norm(ord={ord!r}) of matrices",
            "matrix norms are 'fro', 1, -1, inf and -inf",
            "use one of these",
        )
    if ord == np.inf:
        return greatest(size, axes, keepdims)
    if ord == -np.inf:
        return least(size, axes, keepdims)
    if ord == 0:
        return total(Tensor(as_dtype(ir.ne(v, scalar_like(v, 0.0)), v.type.dtype)), axes, keepdims)
    if ord == 1:
        return total(size, axes, keepdims)
    powers = total(size ** float(ord), axes, keepdims)
    return powers ** (1.0 / float(ord))


def _on_arrays(name: str, fn: Any, doc: str) -> Any:
    def public(*args: Any, **kwargs: Any) -> Any:
        given = [
            to_array(a) if not isinstance(a, (int, float, str, bool)) else a
            for a in args
            if not isinstance(a, Tensor)
        ]
        if len(given) != len(args) or current_trace() is not None:
            raise KCNotImplementedError(
                "KC106", f"linalg.{name} in a compiled step or a functional model", "this decomposition runs on arrays only",
                "compute it before the model",
            )  # fmt: skip
        floats = [
            g.astype(np.float32) if isinstance(g, np.ndarray) and g.dtype.kind in "iub" else g
            for g in given
        ]
        out = fn(*floats, **kwargs)
        if isinstance(out, tuple):
            return tuple(np.asarray(o).view(Array) for o in out)
        return np.asarray(out).view(Array)

    public.__name__, public.__qualname__, public.__doc__ = name, name, doc + " Arrays only."
    return public


def _cholesky(x: Any, upper: bool = False) -> Any:
    lower = np.linalg.cholesky(x)
    return np.swapaxes(lower, -1, -2) if upper else lower


def _solve(a: Any, b: Any) -> Any:
    return (
        np.linalg.solve(a, b[..., None])[..., 0] if b.ndim == a.ndim - 1 else np.linalg.solve(a, b)
    )


def _svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    out = np.linalg.svd(x, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(out) if compute_uv else out


cholesky = _on_arrays("cholesky", _cholesky, "The triangular factor of positive definite matrices.")
inv = _on_arrays("inv", np.linalg.inv, "The inverse of matrices.")
det = _on_arrays("det", np.linalg.det, "The determinant of matrices.")
solve = _on_arrays("solve", _solve, "The x with a @ x = b.")
qr = _on_arrays(
    "qr",
    lambda x, mode="reduced": tuple(np.linalg.qr(x, mode)),
    "Orthogonal and triangular factors.",
)
svd = _on_arrays("svd", _svd, "Singular values and vectors.")
eigh = _on_arrays(
    "eigh", lambda x: tuple(np.linalg.eigh(x)), "Eigenvalues and vectors of symmetric matrices."
)
pinv = _on_arrays("pinv", np.linalg.pinv, "The pseudo-inverse of matrices.")
slogdet = _on_arrays(
    "slogdet", lambda x: tuple(np.linalg.slogdet(x)), "Sign and logarithm of the determinant."
)
matrix_rank = _on_arrays("matrix_rank", np.linalg.matrix_rank, "The rank of matrices.")
