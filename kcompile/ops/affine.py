"""`keras.ops.image.affine_transform`: images read at shifted, turned and scaled places, by gathering pixels.

Refuses to hold any particular transformation (`kcompile.layers.augmentation`).
"""

from __future__ import annotations

import itertools
from typing import Any

from kcompile.errors import KCValueError
from kcompile.operation import defines
from kcompile.ops.core import cast, shape
from kcompile.ops.movement import reshaped
from kcompile.ops.nn_window import back, channels_last
from kcompile.ops.numpy_create import arange
from kcompile.ops.numpy_elementwise import abs, clip, floor, mod, round
from kcompile.ops.numpy_index import take, where
from kcompile.ops.operand import value_of
from kcompile.tensor import Tensor

op = defines("keras.src.ops.image")

INTERPOLATIONS = ("nearest", "bilinear")
FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


@op("images", "transform")
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images [h, w, c] or [n, h, w, c] whose pixel at (x, y) is the one at (a0 x + a1 y + a2, b0 x + b1 y + b2).

    transform: (a0, a1, a2, b0, b1, b2, 0, 0), one row for all images or one for each. fill_mode: what lies outside,
    "constant" (`fill_value`), "nearest", "wrap", "mirror" or "reflect". Raises KCValueError KC209 for other names.
    """
    _check("interpolation", interpolation, INTERPOLATIONS)
    _check("fill_mode", fill_mode, FILL_MODES)
    v = value_of(images)
    single = len(v.type.shape) == 3
    v, first = channels_last(reshaped(v, (1, *v.type.shape)) if single else v, data_format)
    n, h, w, c = v.type.shape
    pixels, numbers = Tensor(reshaped(v, (n * h * w, c))), Tensor(value_of(transform))
    if len(shape(numbers)) == 1:
        numbers = numbers[None]
    a0, a1, a2, b0, b1, b2 = (numbers[:, i, None, None] for i in range(6))
    x = cast(arange(w), numbers.dtype)[None, None, :]
    y = cast(arange(h), numbers.dtype)[None, :, None]
    rows = _neighbours(b0 * x + b1 * y + b2, h, interpolation, fill_mode)
    columns = _neighbours(a0 * x + a1 * y + a2, w, interpolation, fill_mode)
    image = arange(n)[:, None, None] * (h * w)
    out: Any = None
    for (i, row_share, row_inside), (j, column_share, column_inside) in itertools.product(
        rows, columns
    ):
        part = take(pixels, image + i * w + j, axis=0)
        if fill_mode == "constant":
            part = where((row_inside & column_inside)[..., None], part, fill_value)
        if interpolation == "bilinear":
            part = (row_share * column_share)[..., None] * part
        out = part if out is None else out + part
    if out.dtype != Tensor(v).dtype:
        out = cast(out if Tensor(v).dtype.startswith("float") else round(out), Tensor(v).dtype)
    out = back(value_of(out), first)
    return Tensor(reshaped(out.value, out.value.type.shape[1:])) if single else out


def _neighbours(
    at: Any, size: Any, interpolation: str, fill_mode: str
) -> list[tuple[Any, Any, Any]]:
    """The indices along one axis that a place is read from, with the share of each and whether it is inside."""
    if interpolation == "nearest":
        found = [(round(at), None)]
    else:
        low = floor(at)
        found = [(low, 1.0 - (at - low)), (low + 1.0, at - low)]
    out = []
    for index, share in found:
        i = cast(index, "int32")
        inside = (i >= 0) & (i < size) if fill_mode == "constant" else None
        out.append((_INSIDE.get(fill_mode, _clipped)(i, size), share, inside))
    return out


def _clipped(i: Any, size: Any) -> Any:
    return clip(i, 0, size - 1)


def _mirrored(i: Any, size: Any) -> Any:
    last = size - 1
    return abs(mod(i + last, 2 * last) - last)


_INSIDE = {
    "nearest": _clipped,
    "wrap": mod,
    "mirror": _mirrored,
    "reflect": lambda i, size: (_mirrored(2 * i + 1, 2 * size + 1) - 1) // 2,
}


def _check(name: str, value: Any, known: Any) -> None:
    if value not in known:
        raise KCValueError(
            "KC209", f"{name}={value!r}", f"one of {', '.join(known)}", "pass one of these"
        )
