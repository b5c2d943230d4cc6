"""Every operation of `kcompile.ops` against real Keras (torch backend): value, shape and dtype, eager
and traced, and the shape it infers for KerasTensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile.ops as ops
from ir.bind import bind
from ir.dims import Dim, dim
from ir.interpret import interpret
from ir.types import Type
from kcompile.operation import SPECS
from kcompile.tensor import KerasTensor
from kcompile.trace import Trace, leaves

keras = pytest.importorskip("keras")

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4)).astype("float32")
B = rng.normal(size=(3, 4)).astype("float32")
ROW = rng.normal(size=(4,)).astype("float32")
POS = (np.abs(A) + 0.5).astype("float32")
UNIT = np.clip(A / 3, -0.95, 0.95).astype("float32")
INTS = rng.integers(-5, 6, size=(3, 4)).astype("int32")
NATURAL = rng.integers(1, 6, size=(3, 4)).astype("int32")
BOOL = A > 0
CUBE = rng.normal(size=(2, 3, 4)).astype("float32")
SQUARE = rng.normal(size=(4, 4)).astype("float32")
NANS = np.array([1.0, np.nan, np.inf, -np.inf, 0.0], "float32")
SEQ = rng.normal(size=(2, 9, 3)).astype("float32")
IMG = rng.normal(size=(2, 8, 7, 4)).astype("float32")
VOL = rng.normal(size=(1, 5, 6, 4, 2)).astype("float32")
PROB = np.exp(A) / np.exp(A).sum(-1, keepdims=True)
LABELS = np.array([0, 3, 1], "int32")
HOT = np.eye(4, dtype="float32")[LABELS]

Case = tuple[str, tuple[Any, ...], dict[str, Any]]
CASES: list[Case] = []


def case(name: str, *args: Any, **kwargs: Any) -> None:
    CASES.append((name, args, kwargs))


for _n in ("negative", "abs", "absolute", "sign", "square", "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan",
           "arcsinh", "floor", "ceil", "round", "trunc", "sigmoid", "relu", "relu6", "silu", "softplus", "softsign", "selu", "elu",
           "celu", "gelu", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink",
           "squareplus", "sparse_plus", "sparse_sigmoid", "log_sigmoid", "softmax", "log_softmax", "erf", "exp2",
           "deg2rad", "rad2deg", "reciprocal", "erfc"):  # fmt: skip
    case(_n, A)
for _n in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt"):
    case(_n, POS)
for _n in ("arcsin", "arccos", "arctanh", "erfinv"):
    case(_n, UNIT)
case("arccosh", POS + 1)
for _n in (
    "exp",
    "sqrt",
    "mean",
    "floor",
    "ceil",
    "round",
    "log1p",
    "tanh",
    "sum",
    "prod",
    "max",
    "square",
    "std",
    "var",
    "cumsum",
):
    case(_n, NATURAL)
for _n in ("isnan", "isinf", "isfinite", "isposinf", "isneginf", "nan_to_num"):
    case(_n, NANS)
case("nan_to_num", NANS, nan=1.0, posinf=2.0, neginf=3.0)
for _n in ("nansum", "nanmean", "nanmax", "nanmin", "nanprod", "nanvar", "nanstd"):
    case(_n, np.array([1.0, np.nan, 3.0], "float32"))
for _n in ("add", "subtract", "multiply", "divide", "true_divide", "divide_no_nan", "maximum", "minimum", "arctan2", "logaddexp",
           "hypot", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isclose", "allclose", "floor_divide", "mod", "fmod"):  # fmt: skip
    case(_n, A, B)
    case(_n, A, ROW)
for _n in (
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "floor_divide",
    "mod",
    "less",
    "power",
):
    case(_n, NATURAL, NATURAL[0])
    case(_n, POS, 2)
    case(_n, NATURAL, 2)
    case(_n, NATURAL, POS)
for _n in ("add", "multiply", "divide", "power", "less"):
    case(_n, NATURAL, 1.5)
    case(_n, 1.5, POS)
    case(_n, POS.astype("float16"), 2.5)
    case(_n, POS.astype("float64"), POS)
    case(_n, NATURAL.astype("int8"), NATURAL.astype("uint8"))
    case(_n, NATURAL.astype("int64"), NATURAL)
case("power", POS, 3)
case("power", POS, 0.5)
case("add", BOOL, NATURAL)
case("multiply", BOOL, A)
for _n in ("logical_and", "logical_or", "logical_xor"):
    case(_n, BOOL, ~BOOL)
    case(_n, BOOL, INTS)
case("logical_not", INTS)
case("clip", A, -0.5, 0.5)
case("clip", INTS, -2, 2)
case("round", A, decimals=2)
case("threshold", A, 0.1, -7.0)
case("glu", A)
case("gelu", A, approximate=False)
case("elu", A, alpha=0.5)
case("leaky_relu", A, negative_slope=0.1)
case("softmax", CUBE, axis=1)
case("softmax", CUBE, axis=None)
case("softmax", CUBE, axis=(0, 2))
case("normalize", CUBE, axis=-1)
case("normalize", CUBE, axis=1, order=1)
# reductions
for _n in (
    "sum",
    "mean",
    "max",
    "min",
    "prod",
    "var",
    "std",
    "any",
    "all",
    "amax",
    "amin",
    "logsumexp",
    "ptp",
):
    if hasattr(keras.ops, _n):
        for _kw in ({}, {"axis": 1}, {"axis": (0, -1)}, {"axis": -1, "keepdims": True}):
            case(_n, CUBE, **_kw)
case("max", A, initial=2.0)
case("min", A, axis=0, initial=-0.1)
case("any", BOOL, axis=0)
case("all", BOOL, axis=0)
case("sum", BOOL)
case("sum", NATURAL.astype("int8"))
case("mean", BOOL)
case("count_nonzero", INTS)
case("count_nonzero", INTS, axis=1)
for _n in ("argmax", "argmin"):
    for _kw in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"keepdims": True}):
        case(_n, A, **_kw)
case("argmax", INTS, axis=1)
case("argsort", A)
case("argsort", A, axis=0)
case("sort", A, axis=0)
case("sort", A, axis=None)
case("top_k", A, 2)
case("in_top_k", LABELS, A, 2)
case("cumsum", CUBE, axis=1)
case("cumsum", A)
case("cumprod", POS, axis=0)
case("quantile", A, 0.3, axis=1)
case("quantile", A, np.array([0.1, 0.6], "float32"), axis=0, keepdims=True)
case("quantile", A, 0.4, method="nearest")
case("percentile", A, 30)
case("median", A, axis=1)
case("median", CUBE, axis=(0, 2), keepdims=True)
case("average", A, axis=0)
case("average", A, axis=1, weights=ROW)
# shapes
case("reshape", CUBE, (4, -1))
case("ravel", CUBE)
case("transpose", CUBE)
case("transpose", CUBE, (1, 0, 2))
case("swapaxes", CUBE, 0, -1)
case("moveaxis", CUBE, 0, 2)
case("moveaxis", CUBE, (0, 1), (2, 0))
case("expand_dims", A, 1)
case("expand_dims", A, (0, -1))
case("squeeze", A.reshape(3, 1, 4, 1))
case("squeeze", A.reshape(3, 1, 4, 1), 1)
case("concatenate", [A, B], axis=1)
case("concatenate", [A, INTS], axis=0)
case("stack", [A, B], axis=1)
case("vstack", [A, ROW[None]])
case("hstack", [A, B])
case("append", A, B, axis=0)
case("append", A, B)
case("split", A, 2, axis=1)
case("split", A, [1, 3], axis=1)
case("array_split", CUBE, 2, axis=1)
case("unstack", A)
case("unstack", A, axis=1)
case("tile", A, (2, 3))
case("tile", A, 2)
case("tile", ROW, (2, 2))
case("repeat", A, 2)
case("repeat", A, 3, axis=1)
case("repeat", A, np.array([1, 0, 2]), axis=0)
case("broadcast_to", ROW, (3, 4))
case("pad", A, ((1, 2), (0, 1)))
case("pad", A, ((1, 1), (2, 2)), constant_values=5)
case("pad", A, ((1, 2), (2, 1)), mode="reflect")
case("flip", CUBE)
case("flip", CUBE, axis=1)
case("rot90", A)
case("rot90", A, k=3)
case("rot90", A, k=2)
case("roll", A, 1)
case("roll", A, -2, axis=1)
case("roll", A, (1, 2), axis=(0, 1))
case("diff", CUBE, axis=1)
case("diff", A, n=2)
case("meshgrid", ROW, A[0, :3])
case("meshgrid", ROW, A[0, :3], indexing="ij")
case("copy", A)
# creation
case("zeros", (2, 3))
case("ones", (2, 3), dtype="int32")
case("full", (2, 2), 7.0)
case("full", (2, 3), np.array([1.0, 2, 3], "float32"))
case("zeros_like", INTS)
case("ones_like", A, dtype="int32")
case("full_like", A, 2)
for _a in ((5,), (2, 9), (2, 9, 3), (5.0,), (0, 1, 0.25), (9, 2, -2)):
    case("arange", *_a)
case("linspace", 0.0, 1.0, num=5)
case("linspace", 0.0, 1.0, num=5, endpoint=False)
case("eye", 3)
case("eye", 3, 4, k=1)
case("identity", 3)
case("tri", 3, 4, k=-1)
case("tril", SQUARE)
case("triu", CUBE, k=1)
case("array", [1.0, 2.0])
case("array", [1, 2])
# indexing
case("take", A, np.array([0, -1, 2]), axis=1)
case("take", A, np.array([[0, 5], [7, 1]]))
case("take_along_axis", A, np.array([[0, 1], [2, 3], [1, -1]]), axis=1)
case("where", BOOL, A, B)
case("where", BOOL, A, 0.0)
case("where", BOOL, INTS, 1.5)
case("select", [A > 0.5, A < -0.5], [A, B], 3.0)
case("diagonal", CUBE)
case("diagonal", CUBE, offset=1, axis1=1, axis2=2)
case("diag", ROW, k=1)
case("diag", SQUARE, k=-1)
case("diagflat", A[:2, :2])
for _key in (
    0,
    (0, 1),
    (slice(None), slice(1, None, 2)),
    (Ellipsis, 0),
    (None, 1),
    (slice(None, None), -1),
    (slice(-2, None),),
):
    case("get_item", CUBE, _key)
# linear algebra
case("matmul", A, SQUARE)
case("matmul", CUBE, SQUARE)
case("matmul", CUBE, CUBE.transpose(0, 2, 1))
case("matmul", ROW, SQUARE)
case("matmul", CUBE, ROW)
case("matmul", CUBE[:, None], SQUARE[None, None])
case("matmul", INTS, INTS.T)
case("dot", A, SQUARE)
case("dot", CUBE, SQUARE)
case("dot", ROW, ROW)
case("tensordot", CUBE, CUBE, axes=[[1, 2], [1, 2]])
case("tensordot", A, SQUARE, axes=1)
case("inner", A, B)
case("outer", ROW, A)
case("vdot", ROW, A[0])
case("trace", CUBE, axis1=1, axis2=2)
for _s, *_o in (("ij,jk->ik", A, SQUARE), ("bij,jk->bik", CUBE, SQUARE), ("ij->ji", A), ("ij->", A), ("ii->i", SQUARE), ("i,j->ij", ROW, A[0]),
                ("...ij,jk->...ik", CUBE, SQUARE), ("ab,bc,cd->ad", A, SQUARE, SQUARE), ("ij,ij", A, B), ("bij,bkj->bik", CUBE, CUBE)):  # fmt: skip
    case("einsum", _s, *_o)
case("norm", A)
case("norm", A, axis=1)
case("norm", A, ord=1, axis=1, keepdims=True)
case("norm", A, ord=np.inf, axis=0)
case("norm", A, ord=3, axis=1)
case("norm", A, ord=1)
case("norm", A, ord="fro", axis=(0, 1))
# nn
case("one_hot", LABELS, 5)
case("one_hot", NATURAL - 1, 5, axis=1, dtype="int32")
case("multi_hot", NATURAL, 7)
case("multi_hot", NATURAL, 7, axis=1)
case("multi_hot", np.stack([NATURAL, NATURAL + 1]), 8, axis=1)
case("multi_hot", np.arange(4), 7, axis=0)
case("moments", CUBE, axes=(0, 1))
case("moments", CUBE, axes=[1], keepdims=True)
case("batch_normalization", IMG, ROW, POS[0], -1, offset=A[1], scale=A[2])
case("batch_normalization", IMG, ROW, POS[0], 3)
case("layer_normalization", CUBE, ROW, A[0])
case("layer_normalization", CUBE)
case("rms_normalization", CUBE, ROW)
case("dot_product_attention", *(rng.normal(size=(2, 5, 3, 4)).astype("float32") for _ in range(3)))
case(
    "dot_product_attention",
    *(rng.normal(size=(2, 5, 3, 4)).astype("float32") for _ in range(3)),
    is_causal=True,
)
case(
    "dot_product_attention",
    *(rng.normal(size=(2, 5, 3, 4)).astype("float32") for _ in range(3)),
    mask=rng.random((2, 1, 5, 5)) > 0.2,
)
for _p in ("valid", "same"):
    for _st, _d in ((1, 1), (2, 1), (1, 2), ((2, 3), 1)):
        case(
            "conv",
            IMG,
            rng.normal(size=(3, 2, 4, 6)).astype("float32"),
            strides=_st,
            padding=_p,
            dilation_rate=_d,
        )
        if not isinstance(_st, tuple):
            case(
                "depthwise_conv",
                IMG,
                rng.normal(size=(3, 2, 4, 2)).astype("float32"),
                strides=_st,
                padding=_p,
                dilation_rate=_d,
            )
            case(
                "conv",
                SEQ,
                rng.normal(size=(4, 3, 5)).astype("float32"),
                strides=_st,
                padding=_p,
                dilation_rate=_d,
            )
            case(
                "conv_transpose",
                IMG,
                rng.normal(size=(3, 2, 5, 4)).astype("float32"),
                strides=_st,
                padding=_p,
                dilation_rate=_d,
            )
    case("conv_transpose", SEQ, rng.normal(size=(3, 5, 3)).astype("float32"), strides=2, padding=_p)
    case(
        "conv_transpose",
        IMG,
        rng.normal(size=(3, 3, 5, 4)).astype("float32"),
        strides=2,
        padding=_p,
        output_padding=1,
    )
    case("conv", VOL, rng.normal(size=(2, 3, 2, 2, 3)).astype("float32"), padding=_p)
    case("conv", IMG, rng.normal(size=(3, 3, 2, 6)).astype("float32"), padding=_p)
    case(
        "separable_conv",
        IMG,
        rng.normal(size=(3, 3, 4, 2)).astype("float32"),
        rng.normal(size=(1, 1, 8, 5)).astype("float32"),
        padding=_p,
    )
    for _size, _st in ((2, None), (3, 2), ((3, 2), (1, 2))):
        case("max_pool", IMG, _size, strides=_st, padding=_p)
        if _p == "valid" or _st is None:
            case("average_pool", IMG, _size, strides=_st, padding=_p)
    case("max_pool", SEQ, 3, strides=2, padding=_p)
    case("average_pool", VOL, 2, padding=_p)
    case("max_pool", IMG, 2, padding=_p, data_format="channels_first")
case("conv", IMG, rng.normal(size=(3, 2, 8, 6)).astype("float32"), data_format="channels_first")
case("unfold", IMG, (2, 3))
case("unfold", IMG, 3, padding=1, stride=2)
case("fold", rng.normal(size=(2, 8, 12)).astype("float32"), (4, 5), (2, 2))
case("depth_to_space", IMG, 2)
case("space_to_depth", IMG[:, :, :6], 2)
case("binary_crossentropy", HOT, PROB)
case("binary_crossentropy", HOT, A, from_logits=True)
case("categorical_crossentropy", HOT, PROB * 2)
case("categorical_crossentropy", HOT, A, from_logits=True)
case("categorical_crossentropy", HOT, PROB, axis=0)
case("sparse_categorical_crossentropy", LABELS, PROB)
case("sparse_categorical_crossentropy", LABELS[:, None], A, from_logits=True)
# core
case("cast", A, "int32")
case("cast", INTS, "bool")
case("stop_gradient", A)
case("slice", A, (1, 0), (2, 3))
case("slice_update", A, (1, 2), B[:2, :2])
case("scatter", np.array([[0], [2], [0]]), A, (4, 4))
case("scatter", np.array([[0, 1], [2, 3]]), ROW[:2], (3, 4))
case("scatter_update", A, np.array([[0, 1], [2, 3]]), ROW[:2])
case("scatter_update", A, np.array([[0], [2]]), B[:2])
case("saturate_cast", A * 300, "uint8")
case("segment_sum", A, LABELS[[0, 0, 2]], num_segments=4)
case("segment_max", A, np.array([0, 0, 2], "int32"), num_segments=3)
case("searchsorted", np.sort(ROW), A[0])
case("digitize", A, np.sort(ROW))
case("bincount", NATURAL[0])
case("bincount", NATURAL, minlength=8)
case("extract_sequences", SEQ[:, :, 0], 4, 2)
case("unique", NATURAL)
for _n in ("inv", "det", "qr"):
    case(_n, SQUARE)
case("solve", SQUARE, A[0])
case("cholesky", SQUARE @ SQUARE.T + np.eye(4, dtype="float32"))
for _i in ("nearest", "bilinear"):
    case("image.resize", IMG, (11, 5), interpolation=_i)
    case("image.resize", IMG[0], (16, 14), interpolation=_i)
case("image.resize", IMG, (4, 4), interpolation="bilinear", antialias=True)
case("image.rgb_to_grayscale", IMG[..., :3])
case("image.extract_patches", IMG, 3)
_TURN = np.array([[0.9, -0.3, 1.2, 0.4, 1.1, -1.5, 0, 0], [0.5, 0, 3, 0, 2, -4, 0, 0]], "float32")
for _n in ("constant", "nearest", "wrap", "mirror", "reflect"):
    case("image.affine_transform", IMG, _TURN, fill_mode=_n, fill_value=0.7)
case("image.affine_transform", IMG, _TURN, "nearest", data_format="channels_first")
case("image.affine_transform", IMG[0], _TURN[1])

LOOSE = {"erfinv": 2e-5, "det": 1e-4, "inv": 1e-4, "solve": 1e-3, "image.resize": 2e-4, "var": 1e-5}
DATA_DEPENDENT = {"unique", "nonzero", "inv", "det", "qr", "solve", "cholesky"}
# where the torch backend differs from Keras's own documented rules or has no such operation
SKIP_DTYPE = {"top_k", "bincount", "searchsorted", "digitize", "argsort", "unique", "nonzero"}


def find(namespace: Any, name: str) -> Any:
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def ours(name: str) -> Callable[..., Any]:
    return getattr(ops, name.rpartition(".")[2])


def theirs(name: str, args: Any, kwargs: Any) -> Any:
    given = [keras.ops.convert_to_tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    out = find(keras.ops, name)(*given, **kwargs)
    return [np.asarray(keras.ops.convert_to_numpy(t)) for t in leaves(out)]


IDS = [f"{n}-{i}" for i, (n, _, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES, ids=IDS)
def test_value(name: str, args: Any, kwargs: Any) -> None:
    expected = theirs(name, args, kwargs)
    found = leaves(ours(name)(*args, **kwargs))
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        f = np.asarray(f)
        assert f.shape == e.shape
        if name not in SKIP_DTYPE:
            assert f.dtype == e.dtype
        tolerance = LOOSE.get(name, 1e-5)
        if f.dtype == np.float16:
            tolerance = 1e-2
        np.testing.assert_allclose(
            f.astype("float64"), e.astype("float64"), rtol=tolerance, atol=tolerance
        )


def symbols(x: Any) -> Any:
    """Float arrays of rank 2 and more as KerasTensors."""
    if isinstance(x, np.ndarray) and x.ndim >= 2 and x.dtype.kind == "f":
        return KerasTensor(x.shape, x.dtype)
    return [symbols(v) for v in x] if isinstance(x, list) else x


def has_symbols(args: Any) -> bool:
    return any(isinstance(t, KerasTensor) for t in leaves([symbols(a) for a in args]))


SYMBOLIC = [
    pytest.param(*case, id=i)
    for case, i in zip(CASES, IDS, strict=True)
    if case[0] not in DATA_DEPENDENT and has_symbols(case[1])
]


@pytest.mark.parametrize(("name", "args", "kwargs"), SYMBOLIC)
def test_inferred(name: str, args: Any, kwargs: Any) -> None:
    made = tuple(symbols(a) for a in args)
    expected = leaves(ours(name)(*args, **kwargs))
    found = leaves(ours(name)(*made, **kwargs))
    assert [(t.shape, t.dtype) for t in found] == [(e.shape, e.dtype.name) for e in expected]


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("cross", (A[:, :3], B[:, :3]), {}),
        ("average", (A,), {"weights": POS}),
        ("sum", (CUBE,), {"keepdims": True}),
        ("max", (CUBE,), {"keepdims": True}),
        ("pad", (A, 1), {"constant_values": 5}),
        ("pad", (A, ((1, 2), (2, 1))), {"mode": "symmetric"}),
        ("pad", (A, ((1, 2), (2, 1))), {"mode": "edge"}),
        ("pad", (A, ((1, 2), (2, 1))), {"mode": "wrap"}),
        ("nonzero", (INTS,), {}),
        ("fliplr", (A,), {}),
        ("flipud", (A,), {}),
        ("hsplit", (A, 2), {}),
        ("vsplit", (SQUARE, 2), {}),
        ("dstack", ([A, B],), {}),
    ],
)
def test_against_numpy(name: str, args: Any, kwargs: Any) -> None:
    """Where Keras's torch backend departs from NumPy's meaning, NumPy's is kept."""
    for f, e in zip(
        leaves(ours(name)(*args, **kwargs)), leaves(getattr(np, name)(*args, **kwargs)), strict=True
    ):
        np.testing.assert_allclose(np.asarray(f), e, rtol=1e-5)


def test_sparsemax_is_a_projection() -> None:
    y = np.asarray(ops.sparsemax(A))
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)
    assert ((y > 0) | (A.max(-1, keepdims=True) >= A)).all() and (y >= 0).all()


def test_average_pool_same_does_not_count_padding() -> None:
    x = np.ones((1, 5, 5, 1), "float32")
    assert (np.asarray(ops.average_pool(x, 3, strides=2, padding="same")) == 1).all()


def test_every_public_operation_has_a_case() -> None:
    covered = {n.rpartition(".")[2] for n, _, _ in CASES}
    public = {n for n in dir(ops) if not n.startswith("_") and callable(getattr(ops, n))}
    elsewhere = {
        "Dim", "batch_normalization_train", "cond", "convert_to_numpy", "convert_to_tensor", "custom_gradient", "dtype", "fori_loop",
        "is_tensor", "map", "ndim", "scan", "shape", "size", "switch", "vectorized_map", "while_loop",
    }  # fmt: skip
    rare = {"cross", "sparsemax", "nonzero", "swish", "hard_swish", "empty", "empty_like", "dstack", "dsplit", "hsplit", "vsplit", "fliplr", "flipud", "histogram",
            "svd", "eigh", "pinv", "slogdet", "matrix_rank"}  # fmt: skip
    assert public - covered - elsewhere - rare == set()


def test_operations_carry_keras_class_names() -> None:
    """What a functional config needs: class, module, fixed arguments of __init__, operands of call."""
    import importlib
    import inspect

    wrong = []
    for name, spec in SPECS.items():
        if not spec.operands:
            continue
        cls = getattr(importlib.import_module(spec.module), name, None)
        if cls is None:
            wrong.append((name, "no such class"))
            continue
        fixed = [
            p
            for p in inspect.signature(spec.fn).parameters
            if p not in spec.operands and p not in ("kwargs", "operands", "x")
        ]
        takes = set(inspect.signature(cls.__init__).parameters)
        if not set(fixed) <= takes:
            wrong.append((name, f"{fixed} not in {takes}"))
    assert wrong == []


def test_named_dimensions_pass_through() -> None:
    x = KerasTensor((None, None, 8))
    assert ops.matmul(x, np.ones((8, 3), "float32")).shape == (None, None, 3)
    assert ops.reshape(x, (-1, 8)).shape == (None, 8)
    assert ops.concatenate([x, x], axis=1).shape == (None, None, 8)
    assert ops.softmax(x + 1.0).shape == (None, None, 8)
    assert ops.mean(x, axis=1).shape == (None, 8)
    assert x[:, -1].shape == (None, 8)
    assert isinstance(x._type.shape[0], Dim)


def test_shapes_put_together_from_extents() -> None:
    """As tf.shape is used: extents joined to a tensor, which says how often or in what shape."""

    def repeated(x: Any) -> Any:
        rows, width = ops.shape(x)
        ones = ops.convert_to_tensor([1, 1])
        mask = ops.tile(ops.ones((1, 2, 2)), ops.concatenate([ops.expand_dims(rows, -1), ones]))
        by_list = ops.reshape(x, [ops.convert_to_tensor(rows), -1, 2])
        last = ops.convert_to_tensor([-1, width])
        return mask, by_list, ops.reshape(by_list, last), rows * ops.sum(x), 2 + rows * x

    with Trace("shapes") as trace:
        found = repeated(trace.data("x", Type("f32", (dim("N"), 4))))
        assert [t.shape for t in found] == [(None, 2, 2), (None, 2, 2), (None, 4), (), (None, 4)]
        graph, _ = trace.finish("shapes", found)
    got = interpret(bind(graph, N=3), [A])
    for t, want in zip(got, [np.ones((3, 2, 2)), A.reshape(3, 2, 2), A, 3 * A.sum(), 2 + 3 * A], strict=True):  # fmt: skip
        np.testing.assert_allclose(t, want, rtol=1e-5)


@pytest.mark.parametrize("make", [
    lambda: ops.one_hot(NATURAL, 7, sparse=True), lambda: ops.multi_hot(NATURAL, 7, sparse=True),
    lambda: ops.bincount(NATURAL, sparse=True), lambda: ops.convert_to_tensor(A, sparse=True),
    lambda: ops.convert_to_tensor(A, ragged=True),
])  # fmt: skip
def test_sparse_and_ragged_are_refused(make: Any) -> None:
    with pytest.raises(NotImplementedError, match="every tensor is dense"):
        make()
