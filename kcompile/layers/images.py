"""Layers that bring images to a size: Resizing and CenterCrop.

Refuses to hold random changes (`kcompile.layers.augmentation`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import choice, positive_int, refuse
from kcompile.arguments import data_format as checked_format
from kcompile.dtypes import is_int
from kcompile.layer import Layer
from kcompile.layers.settings import configured


class _Sized(Layer):
    """Images [h, w, c] or [n, h, w, c] that come out with `height` rows and `width` columns."""

    def _start(self, height: Any, width: Any, data_format: Any) -> None:
        self.height = positive_int(self, "height", height)
        self.width = positive_int(self, "width", width)
        self.data_format = checked_format(type(self), data_format)
        self.built = True

    def _axes(self, rank: int) -> tuple[int, int]:
        """The axes of height and width."""
        return (
            (rank - 2, rank - 1) if self.data_format == "channels_first" else (rank - 3, rank - 2)
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        out = list(input_shape)
        high, wide = self._axes(len(out))
        out[high], out[wide] = self.height, self.width
        return tuple(out)


class Resizing(_Sized):
    """Images stretched, or with crop_to_aspect_ratio cut and stretched, to a size; integers stay integers."""

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if pad_to_aspect_ratio:
            refuse(
                f"{type(self).__name__} was given pad_to_aspect_ratio=True",
                "Images are stretched or cropped",
                "Pad them first, with ZeroPadding2D",
            )
        names = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
        self.interpolation = choice(type(self), "interpolation", interpolation, names)
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, False
        self.fill_mode, self.fill_value, self.antialias = fill_mode, fill_value, bool(antialias)
        self._start(height, width, data_format)

    def call(self, inputs: Any) -> Any:
        out = ops.image.resize(
            inputs,
            (self.height, self.width),
            interpolation=self.interpolation,
            antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            data_format=self.data_format,
        )
        return out if is_int(out.dtype) else ops.cast(out, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(
            self, "data_format", "height", "width", "interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio",
            "fill_mode", "fill_value", "antialias",
        )  # fmt: skip


class CenterCrop(_Sized):
    """The middle of images, as floats; where an image is smaller, the largest middle part of that form, stretched."""

    def __init__(self, height: int, width: int, data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._start(height, width, data_format)

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        extents = ops.shape(x)
        axes = self._axes(len(extents))
        sizes = (self.height, self.width)
        if any(extents[a] < size for a, size in zip(axes, sizes, strict=True)):
            return ops.image.resize(
                x, sizes, crop_to_aspect_ratio=True, data_format=self.data_format
            )
        index = [slice(None)] * len(extents)
        for a, size in zip(axes, sizes, strict=True):
            low = (extents[a] - size) // 2
            index[a] = slice(low, low + size)
        return x[tuple(index)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "data_format", "height", "width")
