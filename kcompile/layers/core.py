"""Dense, Embedding, Identity, Masking, Lambda, Wrapper: the layers that need no geometry.

Refuses to hold activations as layers (`activation.py`) and `InputLayer`, which makes symbolic tensors.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import kcompile.ops as ops
from kcompile.arguments import gone, owner, positive_int, refuse
from kcompile.errors import KCValueError
from kcompile.layer import InputSpec, Layer
from kcompile.layers.settings import build_child, configured, resolve, weight
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


def known_dim(layer: Any, shape: Any, axis: int) -> int:
    """`shape[axis]`, which a weight takes its size from. Raises ValueError when it is not known."""
    if len(shape) == 0 or shape[axis] is None:
        refuse(
            f"{owner(layer)} was built for an input of shape {tuple(shape)}",
            f"The size of axis {axis} must be known, because a weight takes its size from it",
            "Name it in Input(shape=...)",
            code="KC201",
        )
    return int(shape[axis])


class Dense(Layer):
    """activation(x @ kernel + bias) over the last axis: (..., d) -> (..., units)."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        units = positive_int(type(self), "units", units)
        gone(
            type(self),
            kwargs,
            weights="layer.set_weights(...) once the layer is built",
            init="kernel_initializer=",
        )
        plain_only(self, lora_rank, quantization_config)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units, self.use_bias = units, use_bias
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
        self.bias = None
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        d = known_dim(self, input_shape, -1)
        self.kernel = weight(self, "kernel", (d, self.units))
        if self.use_bias:
            self.bias = weight(self, "bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: d})
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        y = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            y = ops.add(y, self.bias)
        return self.activation(y)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        names = (
            "units", "activation", "use_bias", "kernel_initializer", "bias_initializer",
            "kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint",
        )  # fmt: skip
        return super().get_config() | configured(self, *names) | {"quantization_config": None}


def plain_only(layer: Any, lora_rank: Any, quantization_config: Any) -> None:
    """Refuse low-rank adaptation and quantization, which are not supported."""
    if lora_rank or quantization_config is not None:
        refuse(
            f"{type(layer).__name__} was given lora_rank={lora_rank!r}, quantization_config={quantization_config!r}",
            "Low-rank adaptation and quantized weights are not supported",
            "Leave both at None",
        )


class Embedding(Layer):
    """Rows of a table: integers of any shape (...) in [0, input_dim) -> (..., output_dim)."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        input_dim = positive_int(type(self), "input_dim", input_dim)
        output_dim = positive_int(type(self), "output_dim", output_dim)
        plain_only(self, lora_rank, quantization_config)
        if kwargs.pop("input_length", None) is not None:
            warnings.warn(
                "Embedding: `input_length` has no meaning any more; remove it.", stacklevel=2
            )
        super().__init__(**kwargs)
        self.input_dim, self.output_dim, self.mask_zero = input_dim, output_dim, mask_zero
        resolve(
            self,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )
        self.supports_masking = mask_zero
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(
                weights if isinstance(weights, list) and len(weights) == 1 else [weights]
            )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.embeddings = weight(self, "embeddings", (self.input_dim, self.output_dim))
        self.built = True

    def call(self, inputs: Any) -> Any:
        if inputs.dtype not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        return ops.cast(ops.take(self.embeddings, inputs, axis=0), self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        names = (
            "input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer",
            "activity_regularizer", "embeddings_constraint", "mask_zero",
        )  # fmt: skip
        return super().get_config() | configured(self, *names) | {"quantization_config": None}


class Identity(Layer):
    """Its input."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class Masking(Layer):
    """Marks the steps whose every feature equals `mask_value`, and sets them to 0: (N, T, ...)."""

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(mask_value, dict):
            mask_value = deserialize_keras_object(mask_value)
        self.mask_value = mask_value
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Any) -> Any:
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.where(kept, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mask_value": self.mask_value}


class Lambda(Layer):
    """`function(inputs, **arguments)` as a layer. Never loaded from a file when it is a Python lambda."""

    def __init__(
        self,
        function: Any,
        output_shape: Any = None,
        mask: Any = None,
        arguments: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            refuse(
                f"{owner(self)} was given function={function!r}",
                "`function` takes the inputs and returns the outputs",
                "Pass a function, for example lambda x: x * 2",
            )
        self.function, self.mask, self.arguments = function, mask, arguments or {}
        self._output_shape = output_shape
        self.supports_masking = mask is not None
        try:
            taken = set(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            taken = set()
        self._passed = taken & {"mask", "training"}

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        context = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{k: context[k] for k in self._passed})

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        return (input_shape[0], *self._output_shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["function"] = self._serialized(self.function)
        if self._output_shape is not None:
            given = self._output_shape
            config["output_shape"] = self._serialized(given) if callable(given) else given
        if self.mask is not None:
            config["mask"] = (
                self._serialized(self.mask)
                if callable(self.mask)
                else serialize_keras_object(self.mask)
            )
        config["arguments"] = serialize_keras_object(self.arguments)
        return config

    def _serialized(self, function: Any) -> Any:
        if getattr(function, "__name__", "") == "<lambda>":
            raise KCValueError(
                "KC404",
                f"{owner(self)} holds a Python lambda",
                "A lambda cannot be saved: its code would have to be stored and run again",
                "Write a named function registered with register_keras_serializable(), or a layer",
            )
        return serialize_keras_object(function)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None, safe_mode: Any = None
    ) -> Any:
        config = dict(config)
        for key in ("function", "output_shape", "mask", "arguments"):
            value = config.get(key)
            if isinstance(value, dict) and value.get("class_name") == "__lambda__":
                raise KCValueError(
                    "KC405",
                    f"the config of Lambda {config.get('name')!r} holds a Python lambda as its {key}",
                    "A file can name registered functions only; code in a file is never run",
                    "Define the layer in your program, or register a named function",
                )
            if isinstance(value, (dict, list)):
                config[key] = deserialize_keras_object(value, custom_objects=custom_objects)
        if isinstance(config.get("output_shape"), list):
            config["output_shape"] = tuple(config["output_shape"])
        return cls(**config)


class Wrapper(Layer):
    """A layer around another, `self.layer`."""

    def __init__(self, layer: Any, **kwargs: Any):
        if not isinstance(layer, Layer):
            refuse(
                f"{type(self).__name__} was given layer={layer!r}",
                "It wraps a layer",
                "Pass a layer object, for example Dense(8)",
            )
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        build_child(self.layer, input_shape)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        return cls(
            deserialize_keras_object(config.pop("layer"), custom_objects=custom_objects), **config
        )
