"""Depthwise and separable convolutions over one and two axes.

Refuses to hold what all convolutions share (`convolution.py`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import positive_int
from kcompile.layers.convolution import _COMMON, Convolution
from kcompile.layers.settings import resolve, weight


class _Depthwise(Convolution):
    """Each channel by itself, `depth_multiplier` times; kernel (*kernel_size, channels, depth_multiplier)."""

    exclusive = False

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        depth_multiplier = positive_int(type(self), "depth_multiplier", depth_multiplier)
        window = self._window(kernel_size, strides, padding, data_format, dilation_rate, kwargs)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.depth_multiplier = depth_multiplier
        self._set(window, use_bias)
        resolve(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self.kernel = weight(
            self, "kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise"
        )
        self._add_bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        return self._finish(ops.depthwise_conv(inputs, self.kernel, **self._ways()))

    def get_config(self) -> dict[str, Any]:
        return self._configured(
            "depth_multiplier", *_COMMON, "depthwise_initializer", "bias_initializer", "depthwise_regularizer",
            "bias_regularizer", "activity_regularizer", "depthwise_constraint", "bias_constraint",
        )  # fmt: skip


class DepthwiseConv1D(_Depthwise):
    """Depthwise convolution over one axis."""

    rank = 1


class DepthwiseConv2D(_Depthwise):
    """Depthwise convolution over two axes."""

    rank = 2


class _Separable(Convolution):
    """A depthwise convolution, then one with a kernel of one tap that mixes the channels."""

    exclusive = False

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        filters = positive_int(type(self), "filters", filters)
        depth_multiplier = positive_int(type(self), "depth_multiplier", depth_multiplier)
        window = self._window(kernel_size, strides, padding, data_format, dilation_rate, kwargs)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters, self.depth_multiplier = filters, depth_multiplier
        self._set(window, use_bias)
        resolve(
            self,
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        deep = channels * self.depth_multiplier
        depthwise = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = weight(self, "depthwise_kernel", depthwise, "depthwise")
        self.pointwise_kernel = weight(
            self, "pointwise_kernel", (*(1,) * self.rank, deep, self.filters), "pointwise"
        )
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        y = ops.separable_conv(inputs, self.depthwise_kernel, self.pointwise_kernel, **self._ways())
        return self._finish(y)

    def get_config(self) -> dict[str, Any]:
        return self._configured(
            "depth_multiplier", "filters", *_COMMON, "depthwise_initializer", "pointwise_initializer",
            "bias_initializer", "depthwise_regularizer", "pointwise_regularizer", "bias_regularizer",
            "activity_regularizer", "depthwise_constraint", "pointwise_constraint", "bias_constraint",
        )  # fmt: skip


class SeparableConv1D(_Separable):
    """Separable convolution over one axis."""

    rank = 1


class SeparableConv2D(_Separable):
    """Separable convolution over two axes."""

    rank = 2
