"""Normalization of each sample: LayerNormalization, GroupNormalization, RMSNormalization, UnitNormalization.

Refuses to hold statistics of a batch (`batch_normalization.py`) and the arithmetic of the composites.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import in_rank, is_int, owner, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.core import known_dim
from kcompile.layers.settings import configured, resolve, weight

AFFINE = (
    "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
    "beta_constraint", "gamma_constraint",
)  # fmt: skip


def checked_axis(layer: Any, axis: Any) -> Any:
    if is_int(axis):
        return int(axis)
    if not isinstance(axis, (list, tuple)) or not axis or not all(map(is_int, axis)):
        refuse(
            f"{owner(layer)} was given axis={axis!r}",
            "`axis` is an integer or a list of integers",
            "Pass for example axis=-1",
        )
    return list(axis)


class Affine(Layer):
    """A normalization followed by `gamma` (if `scale`) and `beta` (if `center`)."""

    def _affine(self, center: bool, scale: bool, epsilon: float, settings: dict[str, Any]) -> None:
        self.center, self.scale, self.epsilon = center, scale, float(epsilon)
        resolve(self, **settings)
        self.gamma: Any = None
        self.beta: Any = None
        self.supports_masking = True
        self.autocast = False

    def _add_affine(self, shape: tuple[int, ...]) -> None:
        if self.scale:
            self.gamma = weight(self, "gamma", shape, autocast=False)
        if self.center:
            self.beta = weight(self, "beta", shape, autocast=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class LayerNormalization(Affine):
    """Mean 0 and variance 1 over `axis`, sample by sample."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        if kwargs.pop("rms_scaling", False):
            refuse(
                f"{type(self).__name__} was given rms_scaling=True",
                "This scaling was never by the root mean square",
                "Use RMSNormalization",
            )
        super().__init__(**kwargs)
        self.axis = checked_axis(self, axis)
        self.rms_scaling = False
        affine = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._affine(center, scale, epsilon, affine)

    def build(self, input_shape: Any) -> None:
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        axes = [in_rank(self, "axis", a, len(input_shape)) for a in self.axis]
        self._add_affine(tuple(known_dim(self, input_shape, a) for a in axes))
        self.built = True

    def call(self, inputs: Any) -> Any:
        y = ops.layer_normalization(inputs, self.gamma, self.beta, self.axis, self.epsilon)
        return ops.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axis", "epsilon", "rms_scaling", *AFFINE)


class GroupNormalization(Affine):
    """Mean 0 and variance 1 over space and each of `groups` of channels (-1: each channel), per sample."""

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        if not is_int(groups) or (groups <= 0 and groups != -1):
            refuse(
                f"{type(self).__name__} was given groups={groups!r}",
                "`groups` is a positive integer, or -1 for one group per channel",
                "Pass for example groups=8",
            )
        super().__init__(**kwargs)
        self.groups, self.axis = int(groups), int(checked_axis(self, axis))
        affine = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._affine(center, scale, epsilon, affine)

    def build(self, input_shape: Any) -> None:
        d = known_dim(self, input_shape, in_rank(self, "axis", self.axis, len(input_shape)))
        self.groups = d if self.groups == -1 else self.groups
        if d % self.groups:
            refuse(
                f"{owner(self)} has groups={self.groups} and an input of {d} channels",
                "The channels divide evenly into the groups",
                f"Choose groups that divide {d}",
                code="KC201",
            )
        self._add_affine((d,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: d})
        self.built = True

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float64" if inputs.dtype == "float64" else "float32")
        shape = ops.shape(x)
        axis = self.axis % len(shape)
        each = shape[axis] // self.groups
        apart = ops.reshape(x, (*shape[:axis], self.groups, each, *shape[axis + 1 :]))
        axes = tuple(a for a in range(1, len(shape) + 1) if a != axis)
        mean, variance = ops.moments(apart, axes=axes, keepdims=True)
        y = ops.reshape((apart - mean) * ops.rsqrt(variance + self.epsilon), shape)
        spread = tuple(shape[axis] if a == axis else 1 for a in range(len(shape)))
        if self.gamma is not None:
            y = y * ops.reshape(ops.cast(self.gamma, x.dtype), spread)
        if self.beta is not None:
            y = y + ops.reshape(ops.cast(self.beta, x.dtype), spread)
        return ops.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "groups", "axis", "epsilon", *AFFINE)


class RMSNormalization(Layer):
    """x / sqrt(mean(x^2) + epsilon) * scale over `axis`."""

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis, self.epsilon = checked_axis(self, axis), epsilon

    def build(self, input_shape: Any) -> None:
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        axes = [in_rank(self, "axis", a, len(input_shape)) for a in self.axis]
        shape = tuple(known_dim(self, input_shape, a) for a in axes)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.built = True

    def call(self, x: Any) -> Any:
        return ops.rms_normalization(x, scale=self.scale, axis=self.axis, epsilon=self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axis", "epsilon")


class UnitNormalization(Layer):
    """x divided by its norm over `axis`."""

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = checked_axis(self, axis)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        axes = [in_rank(self, "axis", a, len(inputs.shape)) for a in axes]
        square = ops.sum(ops.square(inputs), axis=tuple(axes), keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(square, 1e-24))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axis")
