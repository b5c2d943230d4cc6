"""Convolutions: Conv1D/2D/3D, their depthwise, separable and transposed kin.

One class per kind, its rank a class attribute. Inputs (N, *space, C) or (N, C, *space) by `data_format`.
Refuses to hold the arithmetic of windows: that is `kcompile.ops`'.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import choice, data_format, gone, int_tuple, owner, positive_int, refuse
from kcompile.layer import InputSpec, Layer
from kcompile.layers.core import known_dim
from kcompile.layers.settings import configured, resolve, weight

_COMMON = (
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "use_bias",
)


class Convolution(Layer):
    """What the kinds share: window arguments, bias, activation."""

    rank: int
    paddings = ("valid", "same")
    exclusive = True  # strides and dilation rates above 1 exclude each other

    def _window(
        self,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        data_format_: Any,
        dilation_rate: Any,
        kwargs: Any,
    ) -> dict[str, Any]:
        """Checked window arguments, to be set after `Layer.__init__`. Raises ValueError."""
        of = type(self)
        gone(
            of,
            kwargs,
            border_mode="padding=",
            subsample="strides=",
            nb_filter="filters=",
            dim_ordering="data_format=",
        )
        found = {
            "kernel_size": int_tuple(of, "kernel_size", kernel_size, self.rank),
            "strides": int_tuple(of, "strides", strides, self.rank),
            "dilation_rate": int_tuple(of, "dilation_rate", dilation_rate, self.rank),
            "padding": choice(of, "padding", padding, self.paddings),
            "data_format": data_format(of, data_format_),
        }
        if self.exclusive and max(found["strides"]) > 1 and max(found["dilation_rate"]) > 1:
            refuse(
                f"{owner(of)} was given strides={found['strides']} and dilation_rate={found['dilation_rate']}",
                "Strides above 1 and dilation rates above 1 exclude each other",
                "Set one of them to 1",
            )
        return found

    def _set(self, window: dict[str, Any], use_bias: bool) -> None:
        for name, value in window.items():
            setattr(self, name, value)
        self.use_bias = use_bias
        self.bias: Any = None
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _channels(self, input_shape: Any) -> int:
        axis = -1 if self.data_format == "channels_last" else 1
        if len(input_shape) != self.rank + 2:
            refuse(
                f"{owner(self)} was built for an input of shape {tuple(input_shape)}",
                f"It takes {self.rank + 2} axes: batch, {self.rank} of space, channels ({self.data_format})",
                "Reshape the input; images without a channel axis need one of extent 1",
                code="KC201",
            )
        channels = known_dim(self, input_shape, axis)
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _add_bias(self, channels: int) -> None:
        if self.use_bias:
            self.bias = weight(self, "bias", (channels,))
        self.built = True

    def _finish(self, y: Any) -> Any:
        if self.bias is not None:
            bias = self.bias
            if self.data_format == "channels_first":
                bias = ops.reshape(bias, (1, -1) + (1,) * self.rank)
            y = ops.add(y, bias)
        return self.activation(y)

    def _ways(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }

    def _configured(self, *names: str) -> dict[str, Any]:
        return super().get_config() | configured(self, *names)


class _Conv(Convolution):
    """activation(x * kernel + bias), kernel (*kernel_size, channels / groups, filters)."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        filters = positive_int(type(self), "filters", filters)
        groups = positive_int(type(self), "groups", groups)
        window = self._window(kernel_size, strides, padding, data_format, dilation_rate, kwargs)
        if filters % groups:
            refuse(
                f"{owner(type(self))} was given filters={filters} and groups={groups}",
                "The filters divide evenly into the groups",
                f"Take a multiple of {groups} filters",
            )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters, self.groups = filters, groups
        self._set(window, use_bias)
        resolve(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        if channels % self.groups:
            refuse(
                f"{owner(self)} has groups={self.groups} and an input of {channels} channels",
                "The channels divide evenly into the groups",
                f"Choose groups that divide {channels}",
                code="KC201",
            )
        self.kernel = weight(
            self, "kernel", (*self.kernel_size, channels // self.groups, self.filters)
        )
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        ways = self._ways()
        if self.padding == "causal":
            low = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            time = 1 if self.data_format == "channels_last" else 2
            inputs = ops.pad(inputs, [(low, 0) if a == time else (0, 0) for a in range(3)])
            ways["padding"] = "valid"
        return self._finish(ops.conv(inputs, self.kernel, **ways))

    def get_config(self) -> dict[str, Any]:
        return self._configured(
            "filters", *_COMMON, "groups", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint",
        )  # fmt: skip


class Conv1D(_Conv):
    """Convolution over one axis; `padding` may also be 'causal'."""

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Convolution over two axes."""

    rank = 2


class Conv3D(_Conv):
    """Convolution over three axes."""

    rank = 3


class _ConvTranspose(Convolution):
    """The transpose of a convolution, kernel (*kernel_size, filters, channels)."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        filters = positive_int(type(self), "filters", filters)
        window = self._window(kernel_size, strides, padding, data_format, dilation_rate, kwargs)
        if output_padding is not None:
            output_padding = int_tuple(
                type(self), "output_padding", output_padding, self.rank, allow_zero=True
            )
            if any(p >= s for p, s in zip(output_padding, window["strides"], strict=True)):
                refuse(
                    f"{owner(type(self))} was given output_padding={output_padding} and strides={window['strides']}",
                    "The output padding is below the stride on every axis",
                    "Lower output_padding, or leave it at None",
                )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters, self.output_padding = filters, output_padding
        self._set(window, use_bias)
        resolve(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self.kernel = weight(self, "kernel", (*self.kernel_size, self.filters, channels))
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        ways = self._ways()
        return self._finish(
            ops.conv_transpose(inputs, self.kernel, output_padding=self.output_padding, **ways)
        )

    def get_config(self) -> dict[str, Any]:
        return self._configured(
            "filters", *_COMMON, "output_padding", "kernel_initializer", "bias_initializer",
            "kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint",
            "bias_constraint",
        )  # fmt: skip


class Conv1DTranspose(_ConvTranspose):
    """Transposed convolution over one axis."""

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """Transposed convolution over two axes."""

    rank = 2


class Conv3DTranspose(_ConvTranspose):
    """Transposed convolution over three axes."""

    rank = 3
