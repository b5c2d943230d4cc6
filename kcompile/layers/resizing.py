"""Layers that change the extent of space: ZeroPadding, Cropping and UpSampling over 1, 2 and 3 axes.

Refuses to hold interpolation itself (`ops.image.resize`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import choice, data_format, int_tuple, is_int, owner, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import configured

_format = data_format
Pairs = tuple[tuple[int, int], ...]


def _pairs(of: object, name: str, value: Any, rank: int) -> Pairs:
    """An int, `rank` ints, or `rank` pairs of ints as pairs (before, after). Raises ValueError."""
    if is_int(value):
        value = (value,) * rank
    if not isinstance(value, (tuple, list)) or len(value) != rank:
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is an integer, {rank} integers, or {rank} pairs (before, after)",
            f"Pass for example {name}={((1, 1),) * rank}",
        )
    found = [int_tuple(of, name, v, 2, allow_zero=True) for v in value]
    return tuple((a, b) for a, b in found)


class _Spatial(Layer):
    """A layer over `rank` axes of space, which start at `first`."""

    rank: int
    data_format: str = "channels_last"

    @property
    def first(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def _ready(self) -> None:
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True


class _ZeroPadding(_Spatial):
    """Zeros before and after each axis of space."""

    def __init__(self, padding: Any = 1, data_format: Any = None, **kwargs: Any):
        form = _format(type(self), data_format)
        pairs = _given_pairs(type(self), "padding", padding, self.rank)
        super().__init__(**kwargs)
        self.padding: Any = pairs[0] if self.rank == 1 else pairs
        self.data_format = form
        self._ready()

    def call(self, inputs: Any) -> Any:
        pairs = (self.padding,) if self.rank == 1 else self.padding
        before = [(0, 0)] * self.first
        after = [(0, 0)] * (2 - self.first)
        return ops.pad(inputs, [*before, *pairs, *after])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "padding", "data_format")


def _given_pairs(of: object, name: str, value: Any, rank: int) -> Pairs:
    """`_pairs`, where over one axis two ints are themselves the pair (before, after)."""
    if (
        rank == 1
        and isinstance(value, (tuple, list))
        and len(value) == 2
        and all(map(is_int, value))
    ):
        value = (value,)
    return _pairs(of, name, value, rank)


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps: (N, T, C)."""

    rank = 1


class ZeroPadding2D(_ZeroPadding):
    """Zeros around images."""

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes."""

    rank = 3


class _Cropping(_Spatial):
    """Drops elements at the start and end of each axis of space."""

    def _set(self, cropping: Any) -> None:
        pairs = _given_pairs(type(self), "cropping", cropping, self.rank)
        self.cropping: Any = pairs[0] if self.rank == 1 else pairs
        self._ready()

    def call(self, inputs: Any) -> Any:
        pairs = (self.cropping,) if self.rank == 1 else self.cropping
        keys: list[Any] = [slice(None)] * self.first
        for axis, (low, high) in enumerate(pairs, self.first):
            extent = inputs.shape[axis]
            if extent is not None and low + high >= extent:
                refuse(
                    f"{owner(self)} has cropping={self.cropping} and an input of shape {inputs.shape}",
                    "Cropping leaves at least one element on every axis",
                    f"Crop less than {extent} elements on axis {axis}",
                    code="KC201",
                )
            keys.append(slice(low, -high if high else None))
        return inputs[tuple(keys)]


class Cropping1D(_Cropping):
    """Drops the first and last steps: (N, T, C)."""

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self._set(cropping)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "cropping")


class Cropping2D(_Cropping):
    """Drops the borders of images."""

    rank = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = _format(type(self), data_format)
        self._set(cropping)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "cropping", "data_format")


class Cropping3D(_Cropping):
    """Drops the borders of volumes."""

    rank = 3

    def __init__(
        self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.data_format = _format(type(self), data_format)
        self._set(cropping)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "cropping", "data_format")


class _UpSampling(_Spatial):
    """Each element `size` times along each axis of space."""

    size: Any

    def call(self, inputs: Any) -> Any:
        sizes = (self.size,) if self.rank == 1 else self.size
        return _repeated(inputs, self.first, sizes)


def _repeated(x: Any, first: int, sizes: tuple[int, ...]) -> Any:
    """Each element repeated along the axes from `first`, as one broadcast between two reshapes."""
    shape = ops.shape(x)
    apart, wide, joined = list(shape[:first]), list(shape[:first]), list(shape[:first])
    for extent, size in zip(shape[first : first + len(sizes)], sizes, strict=True):
        apart += [extent, 1]
        wide += [extent, size]
        joined.append(extent * size)
    rest = list(shape[first + len(sizes) :])
    return ops.reshape(ops.broadcast_to(ops.reshape(x, apart + rest), wide + rest), joined + rest)


class UpSampling1D(_UpSampling):
    """Each step `size` times: (N, T, C) -> (N, T * size, C)."""

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any):
        size = int_tuple(type(self), "size", size, 1)[0]
        super().__init__(**kwargs)
        self.size = size
        self._ready()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "size")


_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


class UpSampling2D(_UpSampling):
    """Images `size` times as high and wide, by repeating pixels or interpolating."""

    rank = 2

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: Any = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ):
        size = int_tuple(type(self), "size", size, 2)
        form = _format(type(self), data_format)
        way = choice(type(self), "interpolation", interpolation, _INTERPOLATIONS)
        super().__init__(**kwargs)
        self.size, self.data_format, self.interpolation = size, form, way
        self._ready()

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return super().call(inputs)
        shape = ops.shape(inputs)[self.first : self.first + 2]
        target = tuple(s * k for s, k in zip(shape, self.size, strict=True))
        return ops.image.resize(
            inputs, target, interpolation=self.interpolation, data_format=self.data_format
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "size", "data_format", "interpolation")


class UpSampling3D(_UpSampling):
    """Volumes `size` times as large on each axis, by repeating voxels."""

    rank = 3

    def __init__(self, size: Any = (2, 2, 2), data_format: Any = None, **kwargs: Any):
        size = int_tuple(type(self), "size", size, 3)
        form = _format(type(self), data_format)
        super().__init__(**kwargs)
        self.size, self.data_format = size, form
        self._ready()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "size", "data_format")
