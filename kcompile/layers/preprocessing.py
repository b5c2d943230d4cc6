"""Preprocessing layers that are part of the graph: Rescaling and Normalization.

Refuses to hold layers that work on strings or before the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import kcompile.config as config
import kcompile.ops as ops
from kcompile.arguments import in_rank, is_int, owner, refuse
from kcompile.layer import Layer
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

Array = np.ndarray[Any, Any]


class Rescaling(Layer):
    """x * scale + offset."""

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        scale = self.scale
        if np.ndim(scale) > 0:
            scale = np.asarray(scale, "float32")
            if config.image_data_format() == "channels_first":
                scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
        offset = np.asarray(self.offset, "float32") if np.ndim(self.offset) > 0 else self.offset
        return ops.cast(inputs, self.compute_dtype) * scale + offset

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        given = {
            "scale": serialize_keras_object(self.scale),
            "offset": serialize_keras_object(self.offset),
        }
        return super().get_config() | given

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        found = {
            k: deserialize_keras_object(config[k], custom_objects=custom_objects)
            for k in ("scale", "offset")
        }
        return cls(**(config | found))


class Normalization(Layer):
    """(x - mean) / sqrt(variance) along `axis`, with statistics given or learned by `adapt`."""

    def __init__(
        self,
        axis: Any = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if is_int(axis) else tuple(axis)
        # a configuration file spells "not given" as None inside an array
        mean = None if mean is None or np.asarray(mean).dtype == object else mean
        variance = None if variance is None or np.asarray(variance).dtype == object else variance
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            refuse(
                f"{owner(self)} was given mean={mean!r} and variance={variance!r}",
                "Both statistics are given, in equal shapes, or neither",
                "Pass both, or call adapt(data)",
            )
        if mean is not None and np.ndim(mean) > len(self.axis):
            refuse(
                f"{owner(self)} was given a mean of shape {np.shape(mean)} for axis={self.axis}",
                "The mean has at most one axis for each entry of `axis`",
                "Pass one number per kept axis",
            )
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        self.supports_masking = True
        self._build_input_shape: Any = None

    def build(self, input_shape: Any) -> None:
        rank = len(input_shape)
        kept = sorted(in_rank(self, "axis", a, rank) for a in self.axis)
        unknown = [a for a in kept if input_shape[a] is None]
        if unknown:
            refuse(
                f"{owner(self)} has axis={self.axis} and an input of shape {tuple(input_shape)}",
                f"The kept axis {unknown[0]} has a known extent",
                "Name it in Input(shape=...)",
                code="KC201",
            )
        self._build_input_shape = tuple(input_shape)
        self._kept = tuple(kept)
        self._reduced = tuple(a for a in range(rank) if a not in kept)
        self._broadcast = tuple(input_shape[a] if a in kept else 1 for a in range(rank))
        if self.input_mean is None:
            shape = tuple(input_shape[a] for a in kept)
            self.adapt_mean = self.add_weight(
                name="mean", shape=shape, initializer="zeros", trainable=False
            )
            self.adapt_variance = self.add_weight(
                name="variance", shape=shape, initializer="ones", trainable=False
            )
            self.count = self.add_weight(
                name="count", shape=(), dtype="int32", initializer="zeros", trainable=False
            )
        self.built = True

    def _spread(self, value: Any) -> Array:
        """Given statistics in a shape that broadcasts to the input."""
        a = np.asarray(value, "float32")
        shape = [1] * len(self._broadcast)
        for i in range(1, a.ndim + 1):
            shape[self._kept[-i]] = a.shape[-i]
        return np.ascontiguousarray(np.broadcast_to(a.reshape(shape), self._broadcast))

    @property
    def mean(self) -> Any:
        return (
            self._spread(self.input_mean)
            if self.input_mean is not None
            else self._learned(self.adapt_mean)
        )

    @property
    def variance(self) -> Any:
        if self.input_variance is not None:
            return self._spread(self.input_variance)
        return self._learned(self.adapt_variance)

    def _learned(self, variable: Any) -> Any:
        return ops.cast(ops.reshape(variable, self._broadcast), self.compute_dtype)

    def adapt(self, data: Any) -> None:
        """Learn mean and variance from an array, or from an iterable of batches (or of (x, y)).

        Raises ValueError for no data, or data that do not fit what the layer was built for.
        """
        if isinstance(data, np.ndarray):
            batches: Iterable[Any] = [data]
        elif hasattr(data, "__array__"):
            batches = [np.asarray(data)]
        else:
            batches = data
        mean: Any = 0.0
        square: Any = 0.0
        count = 0
        for batch in batches:
            x = np.asarray(batch[0] if isinstance(batch, tuple) else batch, "float64")
            if not self.built:
                self.build((None, *x.shape[1:]) if 0 in self._reduced_of(x.ndim) else x.shape)
            self._check_batch(x)
            n = int(np.prod([x.shape[a] for a in self._reduced])) if self._reduced else 1
            here = x.mean(axis=self._reduced)
            spread = x.var(axis=self._reduced)
            share = n / (count + n)
            new = mean * (1 - share) + here * share
            square = (square + (mean - new) ** 2) * (1 - share) + (
                spread + (here - new) ** 2
            ) * share
            mean, count = new, count + n
        if count == 0:
            refuse(
                f"{owner(self)}.adapt() got no data",
                "It needs at least one batch",
                "Pass an array",
                "KC303",
            )
        if self.input_mean is None:
            self.adapt_mean.assign(np.asarray(mean, "float32"))
            self.adapt_variance.assign(np.asarray(square, "float32"))

    def _reduced_of(self, rank: int) -> list[int]:
        return [a for a in range(rank) if a not in {b % rank for b in self.axis}]

    def _check_batch(self, x: Array) -> None:
        want = self._build_input_shape
        if x.ndim != len(want) or any(x.shape[a] != want[a] for a in self._kept):
            refuse(
                f"{owner(self)}.adapt() got data of shape {x.shape}",
                f"The layer was built for inputs of shape {want}",
                "Pass data of that shape, or make a new layer",
                code="KC303",
            )

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        spread = ops.maximum(ops.sqrt(self.variance), config.epsilon())
        return x * spread + self.mean if self.invert else (x - self.mean) / spread

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "axis": self.axis,
            "invert": self.invert,
            "mean": np.array(self.input_mean).tolist(),
            "variance": np.array(self.input_variance).tolist(),
        }

    def get_build_config(self) -> Any:
        return {"input_shape": self._build_input_shape} if self._build_input_shape else None

    def build_from_config(self, config: Any) -> None:
        if config:
            self.build(config["input_shape"])
