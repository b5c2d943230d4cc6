"""Normalization with learned statistics or scales: BatchNormalization, LayerNormalization, and kin.

Refuses to hold `Normalization` of raw data (`preprocessing.py`) and the arithmetic of the composites.
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from ir.ops import batch_norm_train
from kcompile.arguments import in_rank, is_int, owner, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.core import known_dim
from kcompile.layers.settings import configured, resolve, weight
from kcompile.tensor import Tensor

_AFFINE = (
    "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
    "beta_constraint", "gamma_constraint",
)  # fmt: skip


def _checked_axis(layer: Any, axis: Any) -> Any:
    if is_int(axis):
        return int(axis)
    if isinstance(axis, (list, tuple)) and axis and all(map(is_int, axis)):
        return list(axis)
    refuse(
        f"{owner(layer)} was given axis={axis!r}",
        "`axis` is an integer or a list of integers",
        "Pass for example axis=-1",
    )


class _Affine(Layer):
    """A normalization followed by `gamma` (if `scale`) and `beta` (if `center`)."""

    def _affine(
        self, center: bool, scale: bool, epsilon: float, settings: dict[str, Any]
    ) -> None:
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


class BatchNormalization(_Affine):
    """Mean 0 and variance 1 over all axes but `axis`: of the batch in training, of the past otherwise.

    A frozen layer (trainable False) uses the moving statistics in training too. Statistics are biased
    and kept in float32 at least.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        if renorm or synchronized:
            refuse(
                f"{type(self).__name__} was given renorm={renorm!r}, synchronized={synchronized!r}",
                "Batch renormalization and synchronized statistics are not supported",
                "Leave both at False",
            )
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            axis = axis[0]
        super().__init__(**kwargs)
        self.axis, self.momentum = int(_checked_axis(self, axis)), float(momentum)
        self.synchronized, self.renorm = synchronized, renorm
        self.renorm_clipping, self.renorm_momentum = renorm_clipping, renorm_momentum
        affine = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        self._affine(center, scale, epsilon, affine)
        resolve(
            self,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
        )

    def build(self, input_shape: Any) -> None:
        axis = in_rank(self, "axis", self.axis, len(input_shape))
        d = known_dim(self, input_shape, axis)
        self._add_affine((d,))
        self.moving_mean = self._statistic("moving_mean", d)
        self.moving_variance = self._statistic("moving_variance", d)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: d})
        self.built = True

    def _statistic(self, name: str, extent: int) -> Any:
        return self.add_weight(
            name=name,
            shape=(extent,),
            initializer=getattr(self, f"{name}_initializer"),
            trainable=False,
            autocast=False,
        )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        x = ops.cast(inputs, "float64" if inputs.dtype == "float64" else "float32")
        axis = self.axis % len(x.shape)
        if not (training and self.trainable):
            y = self._normalised(x, self.moving_mean, self.moving_variance, axis)
        elif mask is None:
            y, mean, variance = self._trained(x, axis)
            self._move(mean, variance)
        else:
            mean, variance = self._masked_moments(x, mask, axis)
            self._move(mean, variance)
            y = self._normalised(x, mean, variance, axis)
        return ops.cast(y, self.compute_dtype)

    def _trained(self, x: Any, axis: int) -> Any:
        extent = (x.shape[axis],)
        gamma = ops.ones(extent, dtype=x.dtype) if self.gamma is None else ops.cast(self.gamma, x.dtype)
        beta = ops.zeros(extent, dtype=x.dtype) if self.beta is None else ops.cast(self.beta, x.dtype)
        parts = (ops.convert_to_tensor(v).value for v in (x, gamma, beta))
        return tuple(Tensor(v) for v in batch_norm_train(*parts, axis=axis, epsilon=self.epsilon))

    def _normalised(self, x: Any, mean: Any, variance: Any, axis: int) -> Any:
        return ops.batch_normalization(
            x,
            ops.cast(mean, x.dtype),
            ops.cast(variance, x.dtype),
            axis,
            offset=None if self.beta is None else ops.cast(self.beta, x.dtype),
            scale=None if self.gamma is None else ops.cast(self.gamma, x.dtype),
            epsilon=self.epsilon,
        )

    def _move(self, mean: Any, variance: Any) -> None:
        for kept, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = ops.cast(kept, now.dtype)
            kept.assign(ops.cast(old * self.momentum + now * (1.0 - self.momentum), kept.dtype))

    def _masked_moments(self, x: Any, mask: Any, axis: int) -> tuple[Any, Any]:
        if len(mask.shape) != len(x.shape) - 1:
            refuse(
                f"{owner(self)} got inputs of shape {x.shape} and a mask of shape {mask.shape}",
                "The mask has one axis less than the inputs",
                "Pass a mask without the feature axis",
                code="KC201",
            )
        kept = ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), ops.shape(x))
        axes = tuple(a for a in range(len(x.shape)) if a != axis)
        count = ops.sum(ops.cast(kept, x.dtype), axes, keepdims=True) + config.epsilon()
        zero = ops.zeros_like(x)
        mean = ops.sum(ops.where(kept, x, zero), axes, keepdims=True) / count
        apart = ops.where(kept, x - mean, zero)
        variance = ops.sum(ops.square(apart), axes, keepdims=True) / count
        return ops.squeeze(mean, axes), ops.squeeze(variance, axes)

    def get_config(self) -> dict[str, Any]:
        names = ("axis", "momentum", "epsilon", *_AFFINE, "moving_mean_initializer", "moving_variance_initializer")
        more = ("renorm", "renorm_clipping", "renorm_momentum", "synchronized")
        return super().get_config() | configured(self, *names, *more)


class LayerNormalization(_Affine):
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
        self.axis = _checked_axis(self, axis)
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
        return super().get_config() | configured(self, "axis", "epsilon", "rms_scaling", *_AFFINE)


class GroupNormalization(_Affine):
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
        self.groups, self.axis = int(groups), int(_checked_axis(self, axis))
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
        return super().get_config() | configured(self, "groups", "axis", "epsilon", *_AFFINE)


class RMSNormalization(Layer):
    """x / sqrt(mean(x^2) + epsilon) * scale over `axis`."""

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis, self.epsilon = _checked_axis(self, axis), epsilon

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
        self.axis = _checked_axis(self, axis)
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
