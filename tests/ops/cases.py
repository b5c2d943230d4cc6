"""At least one case for every op of the table, and one for each class of its attributes.

Inputs are f64 where the op takes floats, away from kinks and poles, so that finite differences hold.
Refuses to hold any check: `test_table.py` runs all of them on every case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import ir.ops as ops
from ir.graph import Value, graph_of
from ir.op import TABLE, Op
from ir.types import Type

Array = np.ndarray[Any, Any]


class Case(NamedTuple):
    op: Op
    inputs: tuple[Array, ...]
    attrs: dict[str, Any]
    reference: Callable[..., Any] | None

    @property
    def id(self) -> str:
        shapes = "-".join("x".join(map(str, a.shape)) or "scalar" for a in self.inputs)
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.op.name}({shapes};{attrs})"[:120]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The float dtypes the case can be had in: a body is of one dtype."""
        return ("f64",) if self.op.name in ("scan", "fused") else ("f64", "f32", "f16")


CASES: list[Case] = []


def case(
    name: str, *inputs: Any, reference: Callable[..., Any] | None = None, **attrs: Any
) -> None:
    CASES.append(Case(TABLE[name], tuple(np.asarray(a) for a in inputs), attrs, reference))


_rng = np.random.default_rng(7)


def r(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """f64 in (low, high), all different and at least some distance from zero and integers' halves."""
    n = int(np.prod(shape))
    grid = low + (np.arange(n) + 0.37) * (high - low) / max(n, 1)
    return _rng.permutation(grid).reshape(shape)


def ints(*shape: int, low: int = 0, high: int = 4, dtype: Any = np.int32) -> Array:
    return _rng.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> Array:
    return _rng.integers(0, 2, shape).astype(bool)


# -- elementwise ----------------------------------------------------------------------------------

for _name in [
    "neg",
    "absolute",
    "sign",
    "floor",
    "ceil",
    "round_even",
    "exp",
    "expm1",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "erf",
    "sigmoid",
    "relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
    "stop_gradient",
    "is_finite",
    "is_nan",
]:
    case(_name, r(3, 4, low=-1.4, high=1.4))
for _name in ["log", "log1p", "sqrt", "rsqrt"]:
    case(_name, r(3, 4, low=0.2, high=3.0))
for _name in ["asin", "acos", "atanh"]:
    case(_name, r(3, 4, low=-0.9, high=0.9))
case("acosh", r(3, 4, low=1.2, high=4.0))
case("neg", ints(3))
case("absolute", ints(3, low=-3))
case("sign", ints(3, low=-3))
case("relu", ints(4, low=-3))
case("tanh", r())
case("exp", r(0, 3))
case("leaky_relu", r(3, 4), slope=0.3, reference=lambda x: np.where(x > 0, x, 0.3 * x))
case("elu", r(3, 4), alpha=1.7, reference=lambda x: np.where(x > 0, x, 1.7 * (np.exp(x) - 1)))
case("gelu", r(3, 4), approximate=True)
case("softplus", r(5), reference=lambda x: np.log1p(np.exp(x)))
case("silu", r(5), reference=lambda x: x / (1 + np.exp(-x)))
for _name in ["add", "sub", "mul", "div", "maximum", "minimum", "atan2"]:
    case(_name, r(3, 4), r(3, 4))
for _name in ["add", "sub", "mul", "maximum", "minimum", "power"]:
    case(_name, ints(3, 4), ints(3, 4))
case("add", r(), r())
case("power", r(3, 4, low=0.3), r(3, 4))
case("power", ints(4, low=-2, high=3), ints(4, low=-3, high=3))
case("mod", r(3, 4), r(3, 4, low=0.7, high=1.3))
case("mod", ints(9, low=-5, high=5), ints(9, low=1, high=4), reference=lambda x, y: x % y)
case("mod", ints(9, low=-5, high=5), -ints(9, low=1, high=4), reference=lambda x, y: x % y)
case("floordiv", r(3, 4), r(3, 4, low=0.7, high=1.3))
case("floordiv", ints(9, low=-5, high=5), ints(9, low=1, high=4), reference=lambda x, y: x // y)
for _name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    case(_name, r(3, 4), r(3, 4))
    case(_name, ints(9), ints(9))
case("eq", bools(5), bools(5))
for _name in ["logical_and", "logical_or", "logical_xor"]:
    case(_name, bools(9), bools(9))
case("logical_not", bools(9))
case("select", bools(3, 4), r(3, 4), r(3, 4))
case("select", bools(5), ints(5), ints(5))
for _dtype in ["bool", "i32", "u8", "f16", "f32", "f64"]:
    case("cast", r(3, 4, low=0.0), dtype=_dtype)
case("cast", ints(5), dtype="f32")
case("cast", bools(5), dtype="f64")

# -- create, random -------------------------------------------------------------------------------

case("full", value=2.5, shape=(2, 3), dtype="f64")
case("full", value=True, shape=(), dtype="bool")
case("full", value=7, shape=(0, 2), dtype="u8")
case(
    "iota", shape=(2, 3), axis=0, dtype="i32", reference=lambda: np.indices((2, 3))[0].astype("i4")
)
case(
    "iota", shape=(2, 3), axis=1, dtype="f32", reference=lambda: np.indices((2, 3))[1].astype("f4")
)
case("size", dim=6, dtype="f32", reference=lambda: np.float32(6))
_key = (np.uint32(3), np.uint32(9))
case("random_bits", *_key, stream=2, shape=(3, 3))
case("random_uniform", *_key, stream=0, shape=(5,))
case("random_normal", *_key, stream=1, shape=(2, 4))

# -- movement -------------------------------------------------------------------------------------

case("broadcast", r(3), shape=(2, 3, 4), axes=(1,))
case("broadcast", r(), shape=(2, 3), axes=())
case("broadcast", r(2, 4), shape=(2, 3, 4), axes=(0, 2), reference=lambda x: np.stack([x] * 3, 1))
case("reshape", r(2, 6), shape=(3, 4))
case("reshape", r(1, 1), shape=())
case("transpose", r(2, 3, 4), perm=(2, 0, 1))
case("slice", r(7, 5), start=(1, 0), stop=(6, 5), step=(2, 3))
case("slice", r(4, 3), start=(2, 1), stop=(2, 2), step=(3, 1))
case("pad", r(3, 2), low=(1, 0), high=(0, 2), interior=(0, 0), value=7.0)
case("pad", r(3, 2), low=(1, 0), high=(2, 1), interior=(2, 1), value=0.0)
case("pad", r(0, 2), low=(1, 0), high=(2, 1), interior=(2, 1))
case("pad", ints(3), low=(1,), high=(1,), interior=(0,), value=-1)
case("concat", r(2, 3), r(2, 1), r(2, 2), axis=1)
case("concat", r(2, 3), axis=0)
case("split", r(2, 6), axis=1, sizes=(1, 3, 2))
case("split", r(3, 2), axis=0, sizes=(3,))
case("flip", r(2, 3, 2), axes=(0, 1))
for _axis in (0, 1):
    case("cumsum", r(3, 4), axis=_axis)
    case("cumprod", r(3, 4), axis=_axis)
for _reverse, _exclusive in ((True, False), (False, True), (True, True)):
    case("cumsum", r(3, 4), axis=1, reverse=_reverse, exclusive=_exclusive)
    case("cumprod", r(3, 4), axis=1, reverse=_reverse, exclusive=_exclusive)
    case(
        "cumprod",
        np.array([2.0, 0.0, 3.0, 0.0, 5.0]),
        axis=0,
        reverse=_reverse,
        exclusive=_exclusive,
    )
case("cumprod", np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]]), axis=1)
case("cumsum", ints(5), axis=0, reference=lambda x: np.cumsum(x, dtype="i4"))
case("cumsum", r(3), axis=0, exclusive=True, reference=lambda x: np.array([0, x[0], x[0] + x[1]]))

# -- reduce ---------------------------------------------------------------------------------------

for _name in [
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_mean",
    "moments",
    "logsumexp",
]:
    for _axes in ((0,), (1,), (0, 2), (0, 1, 2)):
        case(_name, r(2, 3, 2), axes=_axes)
for _name in ["reduce_sum", "reduce_max", "reduce_min", "reduce_prod"]:
    case(_name, ints(2, 3), axes=(1,))
    case(_name, r(2, 3), axes=())
case("reduce_max", bools(2, 3), axes=(1,), reference=lambda x: x.any(1))
case("reduce_min", bools(2, 3), axes=(1,), reference=lambda x: x.all(1))
case("reduce_sum", r(0, 3), axes=(0,), reference=lambda x: np.zeros(3))
case("reduce_prod", np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]]), axes=(1,))
for _axis in (0, 1):
    case("argmax", r(3, 4), axis=_axis)
    case("argmin", r(3, 4), axis=_axis)
    case("sort", r(3, 4), axis=_axis)
    case("argsort", r(3, 4), axis=_axis)
case("argmax", np.array([1.0, 3.0, 3.0]), axis=0, reference=lambda x: np.int32(1))
case("argsort", np.array([1, 0, 1, 0]), axis=0, reference=lambda x: np.array([1, 3, 0, 2], "i4"))
for _axis in (0, 1):
    case("softmax", r(3, 4), axis=_axis)
    case("log_softmax", r(3, 4), axis=_axis)

# -- gather ---------------------------------------------------------------------------------------

case("gather", r(5, 3), ints(2, 4, high=5), axis=0, reference=lambda x, i: x[i])
case("gather", r(2, 5, 3), ints(4, high=5), axis=1, reference=lambda x, i: x[:, i])
case("gather", r(2, 5), np.int32(3), axis=1, reference=lambda x, i: x[:, 3])
case("gather", r(5), np.array([-4, 9], "i8"), axis=0, reference=lambda x, i: x[[0, 4]])
case("scatter_add", ints(2, 4, high=3), r(2, 4, 2), axis=0, extent=5)
case("scatter_add", ints(4, high=3), r(2, 4, 2), axis=1, extent=5)
case("scatter_add", ints(0), r(0, 2), axis=0, extent=3, reference=lambda i, u: np.zeros((3, 2)))
case("scatter_add", np.int32(1), r(2), axis=0, extent=3)
case("take_along", r(3, 5), ints(3, 2, high=5), axis=1)
case("take_along", r(5, 3), ints(2, 3, high=5), axis=0)
case("scatter_along", ints(3, 4, high=3), r(3, 4), axis=1, extent=5)
case("scatter_along", ints(4, 3, high=3), r(4, 3), axis=0, extent=5)

# -- contract -------------------------------------------------------------------------------------

for _spec, _x, _y in (
    ("mk,kn->mn", (3, 4), (4, 2)),
    ("mk,nk->nm", (3, 4), (2, 4)),
    ("bmk,bkn->bmn", (2, 3, 4), (2, 4, 2)),
    ("nhtd,nhsd->nhts", (2, 2, 3, 2), (2, 2, 4, 2)),
    ("ntf,fg->tng", (2, 3, 4), (4, 2)),
    ("abk,kcad->cbd", (2, 3, 4), (4, 2, 2, 3)),
    ("k,k->", (5,), (5,)),
    ("i,j->ji", (3,), (4,)),
    ("bi,bi->bi", (2, 3), (2, 3)),
    ("bi,bj->bij", (2, 3), (2, 4)),
    ("mk,n->mn", (3, 4), (2,)),
    ("mk,kn->mn", (0, 4), (4, 2)),
    ("mk,kn->mn", (3, 0), (0, 2)),
):
    case("contract", r(*_x), r(*_y), spec=_spec, reference=lambda x, y, s=_spec: np.einsum(s, x, y))
case("contract", ints(3, 4), ints(4, 2), spec="mk,kn->mn", reference=lambda x, y: x @ y)
case("contract", r(3, 4), r(4, 2), spec="mk,kn->mn", precision="tf32")
# stride, dilation, low, taps, extent of the input, extent of the output: same, valid, uneven, wide padding
for _s, _d, _p, _t, _i, _o in (
    (1, 1, 0, 3, 7, 5), (1, 1, 1, 3, 6, 6), (2, 1, 1, 3, 7, 4), (2, 1, 0, 2, 5, 2), (3, 1, 0, 2, 7, 3),
    (1, 2, 2, 3, 6, 6), (2, 2, 1, 2, 7, 4), (1, 1, 3, 2, 3, 8), (1, 1, 0, 1, 4, 4),
):  # fmt: skip
    _w = (("i", "o", "t", _s, _d, _p),)
    case("contract", r(2, _i, 2), r(_t, 2, 2), spec="nic,tcf->nof", windows=_w, out=(_o,))
    case("contract", r(2, _o, 2), r(_t, 2, 2), spec="nof,tcf->nic", windows=_w, out=(_i,))
    case("contract", r(2, _i, 2), r(2, _o, 2), spec="nic,nof->tcf", windows=_w, out=(_t,))
_w = (("i", "o", "t", 2, 1, 2),)
case("contract", r(1), r(2), spec="i,o->t", windows=_w, out=(1,), reference=lambda x, y: x * y[1:])
_two = (("i", "h", "a", 2, 1, 1), ("j", "w", "b", 1, 2, 0))
case("contract", r(1, 5, 5, 2), r(3, 2, 2, 2), spec="nijc,abcf->nhwf", windows=_two, out=(3, 3))
case("contract", r(1, 3, 3, 2), r(3, 2, 2, 2), spec="nhwf,abcf->nijc", windows=_two, out=(5, 5))
case("contract", r(1, 5, 5, 2), r(1, 3, 3, 2), spec="nijc,nhwf->abcf", windows=_two, out=(3, 2))
case(
    "contract",
    r(1, 4, 4, 2, 3),
    r(3, 2, 2, 3, 2),
    spec="nijgc,abgcf->nhwgf",
    windows=_two,
    out=(2, 2),
)
case("contract", r(2, 5, 5, 3), r(3, 2, 3), spec="nijg,abg->nhwg", windows=_two, out=(3, 3))
case("contract", r(2, 5, 5, 2), r(3, 2, 2, 2), spec="nijg,abgf->nhwgf", windows=_two, out=(3, 3))

# -- windows --------------------------------------------------------------------------------------

_pools = (
    ((1, 2, 2, 1, 0, 3),),
    ((1, 3, 1, 1, 1, 6), (2, 2, 2, 1, 1, 3)),
    ((2, 2, 1, 2, 1, 4), (1, 3, 2, 1, 0, 2)),
)
for _w in _pools:
    case("unfold", r(1, 6, 4, 2), windows=_w)
    case("max_pool", r(1, 6, 4, 2), windows=_w)
    for _count in (False, True):
        case("avg_pool", r(1, 6, 4, 2), windows=_w, count_padding=_count)
    _outs = [next((v[5] for v in _w if v[0] == k), n) for k, n in enumerate((1, 6, 4, 2))]
    _extents = tuple((*v[:5], (1, 6, 4, 2)[v[0]]) for v in _w)
    case("fold", r(*_outs, *(v[1] for v in _w)), windows=_extents)
case("fold", r(2, 4, 1), windows=((1, 1, 1, 2, 1, 1),))
case("unfold", r(1, 5), windows=((1, 3, 1, 1, 2, 7),), fill=9.0)
case("unfold", ints(5), windows=((0, 2, 1, 1, 1, 6),), fill=-1)

# -- normalisation, losses, attention -------------------------------------------------------------

case("layer_norm", r(3, 4), r(4), r(4), axes=(1,), epsilon=1e-3)
case("layer_norm", r(2, 3, 2), r(3, 2), r(3, 2), axes=(1, 2), epsilon=1e-3)
case("layer_norm", r(2, 3, 2), r(3), r(3), axes=(1,), epsilon=1e-3)
for _axis, _shape in ((1, (4, 3)), (3, (2, 2, 2, 3)), (1, (2, 3, 2, 2))):
    case("batch_norm_train", r(*_shape), r(3), r(3), axis=_axis, epsilon=1e-3)
    case("batch_norm", r(*_shape), r(3), r(3, low=0.2), r(3), r(3), axis=_axis, epsilon=1e-3)
case("sparse_cross_entropy", r(3, 4), ints(3))
case("sparse_cross_entropy", r(2, 3, 4), ints(2, 3, dtype=np.int64))
case("cross_entropy", r(3, 4), r(3, 4, low=0.1))
case("binary_cross_entropy", r(3, 4), r(3, 4, low=0.0, high=1.0))
_qkv = (r(1, 2, 3, 2), r(1, 2, 4, 2), r(1, 2, 4, 3))
case("attention_nomask", *_qkv, scale=0.7)
_mask = bools(1, 2, 3, 4)
_mask[0, 0, 0] = False
case("attention", *_qkv, _mask, scale=0.7)

# -- loops ----------------------------------------------------------------------------------------

_h, _x, _w = (Value(Type("f64", s), name=n) for s, n in (((2,), "h"), ((2,), "x"), ((2, 2), "w")))
_next = ops.tanh(ops.add(ops.contract(_h, _w, spec="u,uv->v"), _x))
_step = graph_of("step", [_h, _x, _w], [_next, ops.mul(_next, _x)])
for _reverse in (False, True):
    _loop = {"body": _step, "carries": 1, "xs": 1, "length": 3, "reverse": _reverse}
    case("scan", r(2), r(3, 2), r(2, 2), **_loop)
case("fused", r(2), r(2), r(2, 2), body=_step)
for _reverse in (False, True):
    case("lstm", r(2, 3, 2), r(2, 12), r(3, 12), r(12), r(2, 3), r(2, 3), reverse=_reverse)
    case("gru", r(2, 3, 2), r(2, 9), r(3, 9), r(2, 9), r(2, 3), reverse=_reverse)
    case("gru", r(2, 3, 2), r(2, 9), r(3, 9), r(9), r(2, 3), reset_after=False, reverse=_reverse)


def graph_for(c: Case, dtype: str = "f64") -> tuple[Any, tuple[Array, ...]]:
    """The graph of one application, and its arrays with floats in `dtype`."""
    from_float = {"f64": np.float64, "f32": np.float32, "f16": np.float16}[dtype]
    arrays = tuple(a.astype(from_float) if a.dtype.kind == "f" else a for a in c.inputs)
    names = {
        np.dtype(k): v for k, v in (("b1", "bool"), ("i4", "i32"), ("i8", "i64"), ("u4", "u32"))
    }
    inputs = [
        Value(Type(names.get(a.dtype, dtype), a.shape), name=f"x{k}") for k, a in enumerate(arrays)
    ]
    out = c.op(*inputs, **c.attrs)
    return graph_of("case", inputs, out if isinstance(out, tuple) else (out,)), arrays


# every case in every dtype, for pytest.mark.parametrize(("c", "dtype"), TYPED)
TYPED = [pytest.param(c, d, id=f"{c.id}-{d}") for c in CASES for d in c.dtypes]
