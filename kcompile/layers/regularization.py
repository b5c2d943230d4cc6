"""Layers that act in training only: the dropouts, the noises, ActivityRegularization.

A layer with a seed draws from a generator of its own, one without from the global one. Refuses to hold
random numbers (`kcompile.random`).
"""

from __future__ import annotations

import math
from typing import Any

import kcompile.ops as ops
import kcompile.random as random
from kcompile.arguments import data_format, fraction, is_int, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import configured
from kcompile.regularizers import L1L2


def generator(seed: Any) -> Any:
    """The seed generator of a layer: its own for a given seed, else the shared one."""
    if isinstance(seed, random.SeedGenerator):
        return seed
    return random.shared_generator() if seed is None else random.SeedGenerator(seed)


class _TrainingOnly(Layer):
    """A layer that returns its input unless it trains."""

    def _start(self, seed: Any, active: bool) -> None:
        self.seed = seed
        self.seed_generator = generator(seed) if active else None
        self.supports_masking = True
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class Dropout(_TrainingOnly):
    """Elements set to 0 with probability `rate`, the others divided by 1 - rate."""

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **kwargs: Any):
        rate = fraction(type(self), "rate", rate)
        shape = _noise_shape(type(self), noise_shape)
        super().__init__(**kwargs)
        self.rate, self.noise_shape = rate, shape
        self._start(seed, rate > 0)

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        return random.dropout(
            inputs, self.rate, noise_shape=self._noise(inputs), seed=self.seed_generator
        )

    def _noise(self, inputs: Any) -> Any:
        return self.noise_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "rate", "seed", "noise_shape")


def _noise_shape(of: object, shape: Any) -> tuple[Any, ...] | None:
    if shape is None:
        return None
    ok = isinstance(shape, (list, tuple)) and all(d is None or (is_int(d) and d > 0) for d in shape)
    if not ok:
        refuse(
            f"{getattr(of, '__name__', of)} was given noise_shape={shape!r}",
            "`noise_shape` holds a positive integer or None for each axis of the input",
            "Pass for example noise_shape=(None, 1, None)",
        )
    return tuple(shape)


class _SpatialDropout(Dropout):
    """Whole maps set to 0 with probability `rate`."""

    rank: int

    def __init__(
        self,
        rate: float,
        data_format: Any = None,
        seed: Any = None,
        name: Any = None,
        dtype: Any = None,
    ):
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.data_format = _format(type(self), data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _noise(self, inputs: Any) -> Any:
        ones = (1,) * self.rank
        return (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        kept = {k: config[k] for k in ("rate", "seed", "name", "dtype")}
        return kept | {"data_format": self.data_format}


_format = data_format


class SpatialDropout1D(_SpatialDropout):
    """Whole features of a sequence (N, T, C)."""

    rank = 1

    def __init__(self, rate: float, seed: Any = None, name: Any = None, dtype: Any = None):
        super().__init__(rate, data_format="channels_last", seed=seed, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["data_format"]
        return config


class SpatialDropout2D(_SpatialDropout):
    """Whole feature maps of images."""

    rank = 2


class SpatialDropout3D(_SpatialDropout):
    """Whole feature maps of volumes."""

    rank = 3


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance of what a selu gives."""

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        extents = ops.shape(inputs)
        given = self.noise_shape or (None,) * len(extents)
        shape = tuple(e if g is None else g for e, g in zip(extents, given, strict=True))
        low = -1.6732632423543772 * 1.0507009873554805
        a = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5 if self.rate < 1 else 0.0
        kept = ops.greater_equal(random.uniform(shape, seed=self.seed_generator), self.rate)
        return ops.where(kept, inputs, ops.full_like(inputs, low)) * a + (-a * low * self.rate)


class GaussianDropout(_TrainingOnly):
    """Times normal noise of mean 1 and variance rate / (1 - rate)."""

    def __init__(self, rate: float, seed: Any = None, **kwargs: Any):
        rate = fraction(type(self), "rate", rate)
        super().__init__(**kwargs)
        self.rate = rate
        self._start(seed, rate > 0)

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        noise = random.normal(
            ops.shape(inputs), 1.0, stddev, dtype=self.compute_dtype, seed=self.seed_generator
        )
        return inputs * noise

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "rate", "seed")


class GaussianNoise(_TrainingOnly):
    """Plus normal noise of mean 0."""

    def __init__(self, stddev: float, seed: Any = None, **kwargs: Any):
        stddev = fraction(type(self), "stddev", stddev)
        super().__init__(**kwargs)
        self.stddev = stddev
        self._start(seed, stddev > 0)

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        noise = random.normal(
            ops.shape(inputs), 0.0, self.stddev, dtype=self.compute_dtype, seed=self.seed_generator
        )
        return inputs + noise

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "stddev", "seed")


class ActivityRegularization(Layer):
    """Its input, whose size it adds to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=L1L2(l1=l1, l2=l2), **kwargs)
        self.supports_masking = True
        self.l1, self.l2 = l1, l2
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return config | configured(self, "l1", "l2")
