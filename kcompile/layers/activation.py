"""Activations as layers: Activation, ReLU, LeakyReLU, PReLU, ELU, Softmax.

Refuses to hold the functions themselves (`kcompile.activations`).
"""

from __future__ import annotations

from typing import Any

import kcompile.activations as activations
import kcompile.ops as ops
from kcompile.arguments import non_negative, owner, refuse, renamed
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import configured, resolve, weight


class _Pointwise(Layer):
    """A layer whose output has the shape of its input."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class Activation(_Pointwise):
    """An activation given by name or as a function."""

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "activation")


class ReLU(_Pointwise):
    """max(x, 0), with an optional ceiling, slope below and threshold."""

    def __init__(
        self,
        max_value: Any = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else non_negative(self, "max_value", max_value)
        self.negative_slope = non_negative(self, "negative_slope", negative_slope)
        self.threshold = non_negative(self, "threshold", threshold)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "max_value", "negative_slope", "threshold")


class LeakyReLU(_Pointwise):
    """x where positive, else `negative_slope * x`."""

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        negative_slope = renamed(type(self), kwargs, "alpha", "negative_slope", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = non_negative(self, "negative_slope", negative_slope)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "negative_slope")


class ELU(_Pointwise):
    """x where positive, else `alpha * (exp(x) - 1)`."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.built = True

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "alpha")


class PReLU(_Pointwise):
    """x where positive, else `alpha * x` with a learned alpha per feature (shared along `shared_axes`)."""

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        resolve(
            self,
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )
        several = isinstance(shared_axes, (list, tuple))
        self.shared_axes = (
            None if shared_axes is None else list(shared_axes) if several else [shared_axes]
        )

    def build(self, input_shape: Any) -> None:
        shape = list(input_shape[1:])
        shared = self.shared_axes or []
        for axis in shared:
            shape[axis - 1] = 1
        if None in shape:
            refuse(
                f"{owner(self)} was built for an input of shape {tuple(input_shape)}",
                "There is one alpha per feature, so every axis but the first must be known or shared",
                "Name the unknown axes in shared_axes",
                code="KC201",
            )
        self.alpha = weight(self, "alpha", tuple(shape))
        free = {i: input_shape[i] for i in range(1, len(input_shape)) if i not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=free if shared else {})
        self.built = True

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs) - self.alpha * activations.relu(-inputs)

    def get_config(self) -> dict[str, Any]:
        names = ("alpha_initializer", "alpha_regularizer", "alpha_constraint", "shared_axes")
        return super().get_config() | configured(self, *names)


class Softmax(_Pointwise):
    """softmax along `axis` (one or several); with a mask, what it leaves out gets 0."""

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is not None:
            if len(mask.shape) > len(inputs.shape):
                refuse(
                    f"{owner(self)} got inputs of shape {inputs.shape} and a mask of shape {mask.shape}",
                    "The mask broadcasts to the inputs",
                    "Give the mask at most as many axes as the inputs",
                    code="KC201",
                )
            low = -30000.0 if inputs.dtype == "float16" else -1e9
            mask = mask if mask.dtype == "bool" else ops.greater(mask, 0.5)
            inputs = ops.where(mask, inputs, ops.full_like(inputs, low))
        axis = list(self.axis) if isinstance(self.axis, (list, tuple)) else self.axis
        if isinstance(axis, list) and len(axis) > 1:
            y = ops.exp(inputs - ops.logsumexp(inputs, axis=tuple(axis), keepdims=True))
        else:
            y = activations.softmax(inputs, axis=axis[0] if isinstance(axis, list) else axis)
        return y if mask is None else ops.where(mask, y, ops.zeros_like(y))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axis")
