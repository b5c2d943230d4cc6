"""Images: resize and colour, as `keras.ops.image`.

Resizing is a product with two small matrices (or a gather for "nearest"), so its gradient comes for
free. Refuses to hold random augmentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ir.ops as ir
from ir.graph import Value
from ir.types import NUMPY
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.operation import defines
from kcompile.ops.affine import affine_transform as affine_transform
from kcompile.ops.movement import permuted, reshaped
from kcompile.ops.nn_window import back, channels_last, per_axis, span
from kcompile.ops.operand import as_dtype, inexact, scalar_like, value_of
from kcompile.tensor import Tensor

op = defines("keras.src.ops.image")


def _kernel(x: np.ndarray[Any, Any], interpolation: str) -> np.ndarray[Any, Any]:
    x = np.abs(x)
    if interpolation == "bilinear":
        return np.maximum(1 - x, 0)
    if interpolation == "bicubic":  # Keys's cubic with a = -0.5
        near = (1.5 * x - 2.5) * x * x + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))
    radius = 5 if interpolation == "lanczos5" else 3
    with np.errstate(divide="ignore", invalid="ignore"):
        y = radius * np.sin(np.pi * x) * np.sin(np.pi * x / radius) / (np.pi**2 * x * x)
    return np.where(x > 1e-3, np.where(x < radius, y, 0.0), 1.0)


def weights(size: int, out: int, interpolation: str, antialias: bool) -> np.ndarray[Any, Any]:
    """The matrix [out, size] that resamples a line, pixel centres at half-integers."""
    scale = out / size
    width = max(1.0 / scale, 1.0) if antialias else 1.0
    centre = (np.arange(out) + 0.5) / scale - 0.5
    w = _kernel((centre[:, None] - np.arange(size)[None, :]) / width, interpolation)
    if interpolation == "bilinear" and not antialias:  # outside, the border pixel
        w = _kernel(np.clip(centre, 0, size - 1)[:, None] - np.arange(size)[None, :], interpolation)
    total = w.sum(1, keepdims=True)
    return np.where(np.abs(total) > 1e-6, w / np.where(total == 0, 1, total), 0.0).astype(
        np.float32
    )


def resized(v: Value, size: tuple[int, int], interpolation: str, antialias: bool) -> Value:
    """Images [n, h, w, c] at another size."""
    for axis, out in ((1, size[0]), (2, size[1])):
        n = v.type.shape[axis]
        if n == out:
            continue
        if interpolation == "nearest":
            at = np.minimum(np.floor((np.arange(out) + 0.5) * n / out), n - 1).astype(np.int32)
            if out % n == 0:  # each pixel repeated: no index needed
                v = _repeated(v, axis, out // n)
            else:
                v = ir.gather(v, value_of(at), axis=axis)
            continue
        matrix = as_dtype(value_of(weights(n, out, interpolation, antialias)), v.type.dtype)
        v = ir.contract(matrix, v, spec="oh,nhwc->nowc" if axis == 1 else "ow,nhwc->nhoc")
    return v


def _repeated(v: Value, axis: int, times: int) -> Value:
    own = v.type.shape
    wide = (*own[: axis + 1], times, *own[axis + 1 :])
    v = ir.broadcast(v, shape=wide, axes=tuple(i if i <= axis else i + 1 for i in range(len(own))))
    return reshaped(v, (*own[:axis], own[axis] * times, *own[axis + 1 :]))


@op("images")
def resize(
    images: Any, size: Any, interpolation: str = "bilinear", antialias: bool = False, crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False, fill_mode: str = "constant", fill_value: float = 0.0, data_format: str | None = None,
) -> Any:  # fmt: skip
    """Images [h, w, c] or [n, h, w, c] at `size`: nearest, bilinear, bicubic, lanczos3, lanczos5."""
    if interpolation not in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        raise KCValueError(
            "KC209",
            f"interpolation={interpolation!r}",
            "one of nearest, bilinear, bicubic, lanczos3, lanczos5",
            "pass one of these",
        )
    if pad_to_aspect_ratio:
        raise KCNotImplementedError(
            "KC109",
            "resize(pad_to_aspect_ratio=True)",
            "images are resized as they are or cropped",
            "pad them first",
        )
    given = value_of(images)
    single = len(given.type.shape) == 3
    v = given if interpolation == "nearest" else inexact(images)
    v = reshaped(v, (1, *v.type.shape)) if single else v
    v, first = channels_last(v, data_format)
    height, width = int(size[0]), int(size[1])
    if crop_to_aspect_ratio:
        h, w = v.type.shape[1:3]
        high, wide = min(h, int(w * height / width)), min(w, int(h * width / height))
        top, left = int((h - high) / 2), int((w - wide) / 2)
        n, c = v.type.shape[0], v.type.shape[3]
        v = ir.slice_(
            v, start=(0, top, left, 0), stop=(n, top + high, left + wide, c), step=(1, 1, 1, 1)
        )
    v = resized(v, (height, width), interpolation, antialias)
    if not given.type.is_float and interpolation != "nearest":
        info = np.iinfo(NUMPY[given.type.dtype])
        low, top_ = (scalar_like(v, float(b)) for b in (info.min, info.max))
        v = as_dtype(ir.minimum(ir.maximum(ir.round_even(v), low), top_), given.type.dtype)
    out = back(v, first)
    return Tensor(reshaped(out.value, out.value.type.shape[1:])) if single else out


@op("images", cls="RGBToGrayscale")
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """The luminance of colour images, one channel."""
    v = inexact(images)
    single = len(v.type.shape) == 3
    v = reshaped(v, (1, *v.type.shape)) if single else v
    v, first = channels_last(v, data_format)
    share = value_of(np.array([0.2989, 0.5870, 0.1140], np.float32).reshape(3, 1))
    out = back(ir.contract(v, as_dtype(share, v.type.dtype), spec="nhwc,cf->nhwf"), first).value
    return Tensor(reshaped(out, out.type.shape[1:]) if single else out)


@op("images")
def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Patches of images [n, h, w, c] as rows of channels: [n, rows, columns, size * size * c]."""
    v = value_of(images)
    single = len(v.type.shape) == 3
    v = reshaped(v, (1, *v.type.shape)) if single else v
    v, first = channels_last(v, data_format)
    sizes, rates = per_axis(size, 2, "size"), per_axis(dilation_rate, 2, "dilation_rate")
    steps = sizes if strides is None else per_axis(strides, 2, "strides")
    spans = [
        span(d, k, s, r, padding)
        for d, k, s, r in zip(v.type.shape[1:3], sizes, steps, rates, strict=True)
    ]
    windows = tuple(
        (i + 1, sizes[i], steps[i], rates[i], spans[i].low, spans[i].out) for i in (0, 1)
    )
    y = permuted(ir.unfold(v, windows=windows), (0, 1, 2, 4, 5, 3))
    n, h, w = y.type.shape[:3]
    out = back(reshaped(y, (n, h, w, sizes[0] * sizes[1] * v.type.shape[3])), first).value
    return Tensor(reshaped(out, out.type.shape[1:]) if single else out)
