"""The table of ops, filled: importing this package defines every op and exports each by its name."""

from ir.ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    selu,
    silu,
    softmax,
    softplus,
    softsign,
)  # fmt: skip
from ir.ops.attention import attention, attention_nomask
from ir.ops.compare import (
    eq,
    ge,
    gt,
    is_finite,
    is_nan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
    select,
)  # fmt: skip
from ir.ops.contract import contract
from ir.ops.create import full, full_like, iota, size, zeros_like
from ir.ops.elementwise import (
    absolute,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cast,
    ceil,
    cos,
    cosh,
    div,
    erf,
    exp,
    expm1,
    floor,
    floordiv,
    log,
    log1p,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    power,
    round_even,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    stop_gradient,
    sub,
    tan,
    tanh,
)  # fmt: skip
from ir.ops.fused import fused
from ir.ops.gather import gather, scatter_add, scatter_along, take_along
from ir.ops.losses import binary_cross_entropy, cross_entropy, sparse_cross_entropy
from ir.ops.movement import (
    broadcast,
    concat,
    cumsum,
    flip,
    pad,
    reduce_sum,
    reshape,
    slice_,
    split,
    transpose,
)  # fmt: skip
from ir.ops.normalise import batch_norm, batch_norm_train, layer_norm, moments, reduce_mean
from ir.ops.random import random_bits, random_normal, random_uniform
from ir.ops.recurrent import gru, lstm
from ir.ops.reduce import (
    argmax,
    argmin,
    argsort,
    cumprod,
    reduce_max,
    reduce_min,
    reduce_prod,
    sort,
)  # fmt: skip
from ir.ops.scan import scan
from ir.ops.window import avg_pool, fold, max_pool, unfold

__all__ = [
    "absolute", "acos", "acosh", "add", "argmax", "argmin", "argsort", "asin", "asinh", "atan",
    "atan2", "atanh", "attention", "attention_nomask", "avg_pool", "batch_norm",
    "batch_norm_train", "binary_cross_entropy", "broadcast", "cast", "ceil", "concat", "contract",
    "cos", "cosh", "cross_entropy", "cumprod", "cumsum", "div", "elu", "eq", "erf", "exp",
    "expm1", "flip", "floor", "floordiv", "fold", "full", "full_like", "gather", "ge", "gelu",
    "gru", "gt", "iota", "is_finite", "is_nan", "layer_norm", "le", "leaky_relu", "log", "log1p",
    "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lstm", "lt",
    "max_pool", "maximum", "minimum", "mod", "moments", "mul", "ne", "neg", "pad", "power",
    "random_bits", "random_normal", "random_uniform", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_prod", "reduce_sum", "relu", "reshape", "round_even", "rsqrt", "scan",
    "scatter_add",
    "scatter_along", "select", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "size", "slice_",
    "softmax", "softplus", "softsign", "sort", "sparse_cross_entropy", "split", "sqrt", "stop_gradient",
    "sub", "take_along", "tan", "tanh", "transpose", "unfold", "zeros_like",
]  # fmt: skip
