"""The activation functions of Keras, and the way from a name to one and back.

Each is a plain function of one tensor (and settings) written with `kcompile.ops`, so that a trace sees
the graph's own composites. Refuses to hold layers, and any numerics of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kcompile.ops as ops
from kcompile.arguments import refuse, suggest
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.tensor import Tensor

Activation = Callable[..., Any]


def _with_logits(y: Any, x: Any) -> Any:
    """Probabilities that remember their logits, from which a loss is computed more accurately."""
    if isinstance(y, Tensor):
        y._keras_logits = x
    return y


def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """x above `threshold`, `negative_slope * (x - threshold)` below, at most `max_value`."""
    if threshold == 0:
        if negative_slope == 0:
            if max_value is None:
                return ops.relu(x)
            return ops.relu6(x) if max_value == 6 else ops.clip(x, 0.0, max_value)
        if max_value is None:
            return ops.leaky_relu(x, negative_slope=negative_slope)
        return ops.clip(x, 0.0, max_value) - negative_slope * ops.relu(-x)
    y = ops.where(ops.greater(x, threshold), x, ops.zeros_like(x))
    if max_value is not None:
        y = ops.clip(y, 0.0, max_value)
    if negative_slope != 0:
        y = y - negative_slope * ops.relu(threshold - x)
    return y


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where positive, else `negative_slope * x`."""
    return ops.leaky_relu(x, negative_slope=negative_slope)


def relu6(x: Any) -> Any:
    """x clipped to [0, 6]."""
    return ops.relu6(x)


def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis` (an int or several)."""
    return _with_logits(ops.softmax(x, axis=axis), x)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""
    return ops.celu(x, alpha=alpha)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x) - 1)."""
    return ops.elu(x, alpha=alpha)


def selu(x: Any) -> Any:
    """elu with the constants that keep mean 0 and variance 1."""
    return ops.selu(x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return ops.softsign(x)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, 0 between."""
    return ops.soft_shrink(x, threshold=threshold)


def sparse_plus(x: Any) -> Any:
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    return ops.sparse_plus(x)


def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish."""
    return ops.silu(x)


def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    return ops.squareplus(x, b=b)


def gelu(x: Any, approximate: bool = False) -> Any:
    """x * P(N(0, 1) <= x); `approximate` takes the tanh formula."""
    return ops.gelu(x, approximate=approximate)


def glu(x: Any, axis: int = -1) -> Any:
    """a * sigmoid(b) for the two halves a, b of x along `axis`."""
    return ops.glu(x, axis=axis)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return ops.tanh(x)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return ops.tanh_shrink(x)


def hard_tanh(x: Any) -> Any:
    """x clipped to [-1, 1]."""
    return ops.hard_tanh(x)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| > `threshold`, else 0."""
    return ops.hard_shrink(x, threshold=threshold)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where x > `threshold`, else `default_value`."""
    return ops.threshold(x, threshold, default_value)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return _with_logits(ops.sigmoid(x), x)


def sparse_sigmoid(x: Any) -> Any:
    """0 below -1, 1 above 1, (x + 1) / 2 between."""
    return ops.sparse_sigmoid(x)


def exponential(x: Any) -> Any:
    """exp(x)."""
    return ops.exp(x)


def hard_sigmoid(x: Any) -> Any:
    """x / 6 + 1/2, clipped to [0, 1]."""
    return ops.hard_sigmoid(x)


def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x), also called hard_swish."""
    return ops.hard_silu(x)


def linear(x: Any) -> Any:
    """x itself."""
    return x


def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return x * ops.tanh(ops.softplus(x))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log(sum(exp(x))) along `axis`."""
    return ops.log_softmax(x, axis=axis)


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x))."""
    return ops.log_sigmoid(x)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The projection of x on the probability simplex along `axis`."""
    return ops.sparsemax(x, axis=axis)


swish = silu
hard_swish = hard_silu

BY_NAME: dict[str, Activation] = {
    f.__name__: f
    for f in (
        relu, leaky_relu, relu6, softmax, celu, elu, selu, softplus, softsign, squareplus, soft_shrink,
        sparse_plus, silu, gelu, glu, tanh, tanh_shrink, threshold, sigmoid, sparse_sigmoid, exponential,
        hard_sigmoid, hard_silu, hard_tanh, hard_shrink, linear, mish, log_softmax, log_sigmoid, sparsemax,
    )
}  # fmt: skip
BY_NAME |= {"swish": silu, "hard_swish": hard_silu}


def get(identifier: Any) -> Activation:
    """The activation for a name, a config, a function or a layer; None is `linear`. Raises ValueError."""
    if identifier is None:
        return linear
    if isinstance(identifier, dict):
        identifier = deserialize(identifier)
    if isinstance(identifier, str):
        found = BY_NAME.get(identifier)
        if found is None:
            refuse(
                f"Unknown activation {identifier!r}",
                "An activation is a known name, a function of one tensor, or a layer",
                suggest(identifier, BY_NAME),
            )
        return found
    if not callable(identifier):
        refuse(
            f"activation={identifier!r} is {type(identifier).__name__}",
            "An activation is a known name, a function of one tensor, or a layer",
            "Pass for example activation='relu'",
        )
    return identifier


def serialize(activation: Activation) -> Any:
    """The name of a built-in activation, else the config of the object. Raises ValueError for a lambda."""
    name = getattr(activation, "__name__", "")
    if BY_NAME.get(name) is activation:
        return name
    return serialize_keras_object(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Activation:
    """The inverse of `serialize`."""
    found: Activation = deserialize_keras_object(
        config, custom_objects=custom_objects, module_objects=BY_NAME
    )
    return found
