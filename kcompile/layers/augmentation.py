"""Layers that change images at random while a model trains: flips, shifts, turns, zooms, contrast, brightness.

Each draws numbers for every image of a batch (`draw`) and says what they do (`change`). Outside of training images pass
unchanged, as floats. Refuses to hold how pixels are gathered (`kcompile.ops.affine`) and data other than images.
"""

from __future__ import annotations

import math
from typing import Any

import kcompile.ops as ops
import kcompile.random as random
from kcompile.arguments import choice, owner, refuse
from kcompile.arguments import data_format as checked_format
from kcompile.layer import Layer
from kcompile.layers.regularization import generator
from kcompile.layers.settings import configured
from kcompile.ops.affine import FILL_MODES, INTERPOLATIONS


class _Augmentation(Layer):
    """Images [h, w, c] or [n, h, w, c]; channels first under data_format="channels_first"."""

    def _start(self, seed: Any, data_format: Any) -> None:
        self.seed, self.seed_generator = seed, generator(seed)
        self.data_format = checked_format(type(self), data_format)
        self.supports_masking = False
        self.built = True

    def call(self, inputs: Any, training: Any = True) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        if not training:
            return x
        single, first = len(x.shape) == 3, self.data_format == "channels_first"
        x = x[None] if single else x
        x = ops.transpose(x, (0, 2, 3, 1)) if first else x
        x = self.change(x, *self.draw(ops.shape(x)[0]))
        x = ops.transpose(x, (0, 3, 1, 2)) if first else x
        return x[0] if single else x

    def draw(self, count: Any) -> tuple[Any, ...]:
        """The random numbers for `count` images, each of shape (count,)."""
        raise NotImplementedError

    def change(self, images: Any, *drawn: Any) -> Any:
        """Images [n, h, w, c] as these numbers say."""
        raise NotImplementedError

    def uniform(self, count: Any, low: float, high: float) -> Any:
        """A number in [low, high) for each image."""
        return random.uniform((count,), low, high, dtype="float32", seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class RandomFlip(_Augmentation):
    """Half of the images mirrored: "horizontal", "vertical", or both at once ("horizontal_and_vertical")."""

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: Any = None,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.mode = choice(
            type(self), "mode", mode, ("horizontal", "vertical", "horizontal_and_vertical")
        )
        self._start(seed, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        return (ops.less_equal(self.uniform(count, 0.0, 1.0), 0.5),)

    def change(self, images: Any, *drawn: Any) -> Any:
        (flips,) = drawn
        axes = tuple(a for a, way in ((1, "vertical"), (2, "horizontal")) if way in self.mode)
        return ops.where(flips[:, None, None, None], ops.flip(images, axes), images)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "data_format", "seed", "mode")


class RandomContrast(_Augmentation):
    """Each channel's distance from its mean times a number in [1 - low, 1 + high), within `value_range`."""

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: Any = None,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.factor = _factor(self, "factor", factor, 0.0, 1.0)
        self.value_range = value_range
        self._start(seed, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        return (self.uniform(count, 1.0 - self.factor[0], 1.0 + self.factor[1]),)

    def change(self, images: Any, *drawn: Any) -> Any:
        amount = ops.cast(drawn[0], images.dtype)[:, None, None, None]
        mean = ops.mean(images, axis=(1, 2), keepdims=True)
        return ops.clip((images - mean) * amount + mean, *self.value_range)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(
            self, "data_format", "factor", "value_range", "seed"
        )


class RandomBrightness(_Augmentation):
    """Plus a number in [low, high) of the width of `value_range`, within it."""

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: Any = None,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.factor = _factor(self, "factor", factor, -1.0, 1.0)
        self.value_range = sorted(value_range)
        self._start(seed, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        return (self.uniform(count, *self.factor),)

    def change(self, images: Any, *drawn: Any) -> Any:
        low, high = self.value_range
        amount = ops.cast(drawn[0] * (high - low), images.dtype)[:, None, None, None]
        return ops.clip(images + amount, low, high)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(
            self, "data_format", "factor", "value_range", "seed"
        )


class _Moved(_Augmentation):
    """Images read at other places."""

    def _begin(
        self, fill_mode: str, interpolation: str, seed: Any, fill_value: float, data_format: Any
    ) -> None:
        self.fill_mode = choice(type(self), "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = choice(type(self), "interpolation", interpolation, INTERPOLATIONS)
        self.fill_value = fill_value
        self._start(seed, data_format)

    def _read(self, images: Any, *transform: Any) -> Any:
        """The images at the places of a transform: a0, a1, a2, b0, b1, b2, each of shape (n,) or a number."""
        like = next(t for t in transform if len(ops.shape(t)))
        rows = [t if len(ops.shape(t)) else ops.full_like(like, t) for t in (*transform, 0.0, 0.0)]
        return ops.image.affine_transform(
            images,
            ops.stack(rows, axis=1),
            interpolation=self.interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format="channels_last",
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(
            self, "data_format", "fill_mode", "fill_value", "interpolation", "seed"
        )


class RandomRotation(_Moved):
    """Turned about the middle by a share of a full turn in [low, high)."""

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.factor = _factor(self, "factor", factor, -1.0, 1.0)
        self._begin(fill_mode, interpolation, seed, fill_value, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        low, high = (2.0 * math.pi * f for f in self.factor)
        return (self.uniform(count, low, high),)

    def change(self, images: Any, *drawn: Any) -> Any:
        sin, cos = ops.sin(drawn[0]), ops.cos(drawn[0])
        cy, cx = _middle(images)
        return self._read(images, cos, -sin, cx - cx * cos + cy * sin, sin, cos, cy - cx * sin - cy * cos)  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "factor")


class RandomTranslation(_Moved):
    """Shifted by shares of height and width; a positive one moves down, and to the right."""

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = _factor(self, "height_factor", height_factor, -1.0, 1.0)
        self._width = _factor(self, "width_factor", width_factor, -1.0, 1.0)
        self._begin(fill_mode, interpolation, seed, fill_value, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        return self.uniform(count, *self._height), self.uniform(count, *self._width)

    def change(self, images: Any, *drawn: Any) -> Any:
        down, right = drawn
        h, w = ops.shape(images)[1:3]
        return self._read(images, 1.0, 0.0, -(right * w), 0.0, 1.0, -(down * h))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "height_factor", "width_factor")


class RandomZoom(_Moved):
    """Height and width scaled about the middle; a positive factor shows more, a negative one less."""

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = _factor(self, "height_factor", height_factor, -1.0, 1.0)
        self._width = (
            None if width_factor is None else _factor(self, "width_factor", width_factor, -1.0, 1.0)
        )
        self._begin(fill_mode, interpolation, seed, fill_value, data_format)

    def draw(self, count: Any) -> tuple[Any, ...]:
        height = self.uniform(count, *(1.0 + f for f in self._height))
        if self._width is None:
            return height, height
        return height, self.uniform(count, *(1.0 + f for f in self._width))

    def change(self, images: Any, *drawn: Any) -> Any:
        height, width = drawn
        cy, cx = _middle(images)
        return self._read(images, width, 0.0, cx * (1.0 - width), 0.0, height, cy * (1.0 - height))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "height_factor", "width_factor")


def _middle(images: Any) -> tuple[Any, Any]:
    """Row and column of the middle of images [n, h, w, c], float32."""
    return tuple((ops.cast(d, "float32") - 1.0) / 2.0 for d in ops.shape(images)[1:3])  # type: ignore[return-value]


def _factor(of: object, name: str, factor: Any, least: float, most: float) -> tuple[float, float]:
    """The lower and upper end of a factor: a pair, or a number for both directions. Raises KCValueError KC209."""
    pair = isinstance(factor, (list, tuple)) and len(factor) == 2
    ends = sorted(factor) if pair else [-abs(factor), abs(factor)] if _is_number(factor) else []
    given = factor if pair else [factor]
    if not ends or not all(_is_number(f) and least <= f <= most for f in given):
        refuse(
            f"{owner(of)} was given {name}={factor!r}",
            f"`{name}` is a number between {least:g} and {most:g}, or a pair of them",
            f"Pass for example {name}=0.2",
        )
    return max(ends[0], least), ends[1]


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)
