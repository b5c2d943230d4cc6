"""`BatchNormalization`. In training it becomes one composite, and its moving statistics are assigned.

Refuses to hold normalization of single samples (`normalization.py`).
"""

from __future__ import annotations

from typing import Any

import kcompile.config as config
import kcompile.ops as ops
from kcompile.arguments import in_rank, owner, refuse
from kcompile.layer import InputSpec
from kcompile.layers.core import known_dim
from kcompile.layers.normalization import AFFINE, Affine, checked_axis
from kcompile.layers.settings import configured, resolve


class BatchNormalization(Affine):
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
        self.axis, self.momentum = int(checked_axis(self, axis)), float(momentum)
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
            y, mean, variance = ops.batch_normalization_train(
                x, axis, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
            )
            self._move(mean, variance)
        else:
            mean, variance = self._masked_moments(x, mask, axis)
            self._move(mean, variance)
            y = self._normalised(x, mean, variance, axis)
        return ops.cast(y, self.compute_dtype)

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
        names = (
            "axis",
            "momentum",
            "epsilon",
            *AFFINE,
            "moving_mean_initializer",
            "moving_variance_initializer",
        )
        more = ("renorm", "renorm_clipping", "renorm_momentum", "synchronized")
        return super().get_config() | configured(self, *names, *more)
