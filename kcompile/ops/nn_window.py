"""Convolution and pooling of `keras.ops.nn`, and windows (unfold, fold, depth to space).

Padding "same" is TensorFlow's: the output has ceil(n / stride) positions, an odd element of padding
goes behind. "channels_first" is a transpose before and after. Refuses to hold layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ir.ops as ir
import kcompile.config as config
from ir.dims import Dim
from ir.graph import Value
from kcompile.errors import KCTypeError, KCValueError
from kcompile.operation import defines
from kcompile.ops.movement import permuted, reshaped
from kcompile.ops.operand import inexact, promoted, value_of
from kcompile.tensor import Tensor

op = defines("keras.src.ops.nn")
_SPACE, _OUT, _TAP = "ijk", "hwd", "abe"


class Span(NamedTuple):
    """The output extent of a window along one axis, and the padding in front."""

    out: Any
    low: int


def per_axis(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """An int for all axes, or one per axis. Raises KCValueError KC209."""
    given = (
        (int(value),) * rank
        if isinstance(value, int) or hasattr(value, "item")
        else tuple(int(v) for v in value)
    )
    if len(given) == 1:
        given *= rank
    if len(given) != rank or any(v < 1 for v in given):
        raise KCValueError(
            "KC209",
            f"{what}={value!r}",
            f"{what} is a positive int or {rank} of them",
            "pass one of these",
        )
    return given


def span(n: Any, size: int, stride: int, dilation: int, padding: str) -> Span:
    """Output extent and low padding of a window. Raises KCValueError KC102, KCTypeError KC106."""
    reach = (size - 1) * dilation + 1
    if padding == "valid":
        out = (n - reach) // stride + 1
        if isinstance(out, int) and out < 1:
            raise KCValueError(
                "KC102", f"an extent of {n} under a window of {reach}", "with padding 'valid' the window fits into the input",
                "use padding='same', a smaller window, or larger inputs",
            )  # fmt: skip
        return Span(out, 0)
    out = (n + stride - 1) // stride
    if padding == "causal":
        return Span(out, reach - 1)
    if stride == 1:
        return Span(out, (reach - 1) // 2)
    total = (out - 1) * stride + reach - n
    if isinstance(total, Dim):
        raise KCTypeError(
            "KC106", f"padding 'same' with stride {stride} on an axis of unknown extent {n}", "its padding depends on the extent",
            "give Input the extent of this axis, or use padding='valid'",
        )  # fmt: skip
    return Span(out, max(total, 0) // 2)


def _padding(padding: Any) -> str:
    name = str(padding).lower()
    if name not in ("valid", "same", "causal"):
        raise KCValueError(
            "KC209", f"padding={padding!r}", "padding is 'valid' or 'same'", "pass one of these"
        )
    return name


def channels_last(v: Value, data_format: str | None) -> tuple[Value, bool]:
    """`v` with channels last, and whether they were first."""
    first = config.standardize_data_format(data_format) == "channels_first"
    rank = len(v.type.shape)
    return (permuted(v, (0, *range(2, rank), 1)) if first else v), first


def back(v: Value, first: bool) -> Tensor:
    """Channels put in front again if they were."""
    rank = len(v.type.shape)
    return Tensor(permuted(v, (0, rank - 1, *range(1, rank - 1))) if first else v)


def _same_rank(x: Value, kernel: Value, rank: int) -> None:
    if len(x.type.shape) != rank or len(kernel.type.shape) != rank:
        raise KCValueError(
            "KC102", f"a convolution of {x.type} with the kernel {kernel.type}",
            "the input is [batch, *space, channels], the kernel [*window, in, out]", "reshape the input",
        )  # fmt: skip


def _windows(
    x: Value, w: Value, strides: Any, padding: str, dilation_rate: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The windows of a convolution of x [batch, *space, channels] with w [*window, ...], and its extents."""
    n = len(x.type.shape) - 2
    steps = per_axis(strides, n, "strides")
    rates = per_axis(dilation_rate, n, "dilation_rate")
    pad = _padding(padding)
    spans = [
        span(d, k, s, r, pad)
        for d, k, s, r in zip(x.type.shape[1:-1], w.type.shape[:n], steps, rates, strict=True)
    ]
    windows = tuple(
        (_SPACE[k], _OUT[k], _TAP[k], steps[k], rates[k], spans[k].low) for k in range(n)
    )
    return windows, tuple(s.out for s in spans)


@op("inputs", "kernel")
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Convolution over 1, 2 or 3 axes; groups where the kernel has fewer input channels."""
    x, w = promoted((inputs, kernel), float)
    x, first = channels_last(x, data_format)
    n = len(x.type.shape) - 2
    _same_rank(x, w, n + 2)
    windows, out = _windows(x, w, strides, padding, dilation_rate)
    channels, into, filters = x.type.shape[-1], w.type.shape[-2], w.type.shape[-1]
    if channels % into or filters % (channels // into):
        raise KCValueError(
            "KC102", f"{channels} input channels for a kernel of {into} into {filters}",
            "input channels are those of the kernel times the groups, and filters a multiple of the groups", "fix filters or groups",
        )  # fmt: skip
    groups = channels // into
    i, o, t = _SPACE[:n], _OUT[:n], _TAP[:n]
    if groups == 1:
        return back(ir.contract(x, w, spec=f"n{i}c,{t}cf->n{o}f", windows=windows, out=out), first)
    x = reshaped(x, (*x.type.shape[:-1], groups, into))
    w = reshaped(w, (*w.type.shape[:-1], groups, filters // groups))
    y = ir.contract(x, w, spec=f"n{i}gc,{t}cgf->n{o}gf", windows=windows, out=out)
    return back(reshaped(y, (*y.type.shape[:-2], filters)), first)


@op("inputs", "kernel")
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Convolution of each channel by itself; the kernel is [*window, channels, multiplier]."""
    x, w = promoted((inputs, kernel), float)
    x, first = channels_last(x, data_format)
    n = len(x.type.shape) - 2
    _same_rank(x, w, n + 2)
    if x.type.shape[-1] != w.type.shape[-2]:
        raise KCValueError(
            "KC102",
            f"a depthwise convolution of {x.type} with {w.type}",
            "the kernel has the input's channels",
            "fix the kernel",
        )
    windows, out = _windows(x, w, strides, padding, dilation_rate)
    i, o, t = _SPACE[:n], _OUT[:n], _TAP[:n]
    y = ir.contract(x, w, spec=f"n{i}c,{t}cf->n{o}cf", windows=windows, out=out)
    return back(reshaped(y, (*y.type.shape[:-2], y.type.shape[-2] * y.type.shape[-1])), first)


@op("inputs", "depthwise_kernel", "pointwise_kernel")
def separable_conv(
    inputs: Any, depthwise_kernel: Any, pointwise_kernel: Any, strides: Any = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """A depthwise convolution, then one of window 1 across channels."""
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, 1, "valid", data_format, 1)


@op("inputs", "kernel")
def conv_transpose(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", output_padding: Any = None,
    data_format: str | None = None, dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """The transpose of a convolution; the kernel is [*window, out, in]."""
    x, w = promoted((inputs, kernel), float)
    x, first = channels_last(x, data_format)
    n = len(x.type.shape) - 2
    _same_rank(x, w, n + 2)
    if x.type.shape[-1] != w.type.shape[-1]:
        raise KCValueError(
            "KC102",
            f"a transposed convolution of {x.type} with {w.type}",
            "the kernel's last axis is the input's channels",
            "fix the kernel",
        )
    strides, rates, pad = (
        per_axis(strides, n, "strides"),
        per_axis(dilation_rate, n, "dilation_rate"),
        _padding(padding),
    )
    extra: tuple[Any, ...] = (None,) * n
    if output_padding is not None:
        extra = (output_padding,) * n if isinstance(output_padding, int) else tuple(output_padding)
    outs, lows = [], []
    for d, k, s, r, e in zip(x.type.shape[1:-1], w.type.shape, strides, rates, extra, strict=False):
        reach = (k - 1) * r + 1
        if e is None:
            outs.append(d * s + max(reach - s, 0) if pad == "valid" else d * s)
            lows.append(0 if pad == "valid" else max(reach - s, 0) // 2)
        elif pad == "valid":
            outs.append((d - 1) * s + reach + e)
            lows.append(0)
        else:
            # Keras crops the full result to this extent, the larger half of the rest in front
            outs.append((d - 1) * s + reach % 2 + e)
            lows.append(reach - 1 - min((reach + reach % 2 - 1 + e) // 2, reach - 1))
    i, o, t = _SPACE[:n], _OUT[:n], _TAP[:n]
    windows = tuple((i[k], o[k], t[k], strides[k], rates[k], lows[k]) for k in range(n))
    return back(
        ir.contract(x, w, spec=f"n{o}c,{t}fc->n{i}f", windows=windows, out=tuple(outs)), first
    )


def _pool_windows(v: Value, pool_size: Any, strides: Any, padding: str) -> tuple[Any, ...]:
    n = len(v.type.shape) - 2
    sizes = per_axis(pool_size, n, "pool_size")
    steps = sizes if strides is None else per_axis(strides, n, "strides")
    spans = [
        span(d, k, s, 1, _padding(padding))
        for d, k, s in zip(v.type.shape[1:-1], sizes, steps, strict=True)
    ]
    return tuple((k + 1, sizes[k], steps[k], 1, spans[k].low, spans[k].out) for k in range(n))


@op("inputs")
def max_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The greatest of each window; strides are the window by default."""
    v, first = channels_last(inexact(inputs), data_format)
    return back(ir.max_pool(v, windows=_pool_windows(v, pool_size, strides, padding)), first)


@op("inputs")
def average_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The mean of each window, padding not counted; strides are the window by default."""
    v, first = channels_last(inexact(inputs), data_format)
    return back(
        ir.avg_pool(v, windows=_pool_windows(v, pool_size, strides, padding), count_padding=False),
        first,
    )


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


@op("x")
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Windows of images [batch, channels, h, w] as columns: [batch, channels * taps, windows]."""
    v = value_of(x)
    k, d, p, s = (_pair(a) for a in (kernel_size, dilation, padding, stride))
    n, c = v.type.shape[:2]
    out = [(v.type.shape[2 + i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1)]
    y = ir.unfold(v, windows=tuple((2 + i, k[i], s[i], d[i], p[i], out[i]) for i in (0, 1)))
    return Tensor(reshaped(permuted(y, (0, 1, 4, 5, 2, 3)), (n, c * k[0] * k[1], out[0] * out[1])))


@op("x")
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The transpose of `unfold`: columns added into images of `output_size`."""
    v = value_of(x)
    size, k, d, p, s = (_pair(a) for a in (output_size, kernel_size, dilation, padding, stride))
    n = v.type.shape[0]
    out = [(size[i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1)]
    y = permuted(reshaped(v, (n, -1, k[0], k[1], out[0], out[1])), (0, 1, 4, 5, 2, 3))
    return Tensor(
        ir.fold(y, windows=tuple((2 + i, k[i], s[i], d[i], p[i], size[i]) for i in (0, 1)))
    )


@op("x")
def depth_to_space(x: Any, block_size: int, data_format: str | None = "channels_last") -> Any:
    """Channels moved into blocks of space: [n, h, w, b*b*c] as [n, h*b, w*b, c]."""
    v, first = channels_last(value_of(x), data_format)
    n, h, w, c = v.type.shape
    b = block_size
    if first:
        y = permuted(reshaped(v, (n, h, w, c // (b * b), b, b)), (0, 1, 4, 2, 5, 3))
    else:
        y = permuted(reshaped(v, (n, h, w, b, b, c // (b * b))), (0, 1, 3, 2, 4, 5))
    return back(reshaped(y, (n, h * b, w * b, c // (b * b))), first)


@op("x")
def space_to_depth(x: Any, block_size: int, data_format: str | None = "channels_last") -> Any:
    """Blocks of space moved into channels: [n, h, w, c] as [n, h/b, w/b, b*b*c]."""
    v, first = channels_last(value_of(x), data_format)
    n, h, w, c = v.type.shape
    b = block_size
    y = reshaped(v, (n, h // b, b, w // b, b, c))
    y = permuted(y, (0, 1, 3, 5, 2, 4) if first else (0, 1, 3, 2, 4, 5))
    return back(reshaped(y, (n, h // b, w // b, b * b * c)), first)
