"""The regularizers of Keras: each gives the penalty of one weight (or output) as a scalar.

Refuses to hold the sum of penalties: layers collect them, the loss adds them.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.absent import Checked
from kcompile.arguments import choice, non_negative, owner, refuse
from kcompile.errors import KCNotImplementedError
from kcompile.lookup import find
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


class Regularizer(Checked):
    """A callable weight -> scalar. Subclasses also give `get_config`."""

    def __call__(self, x: Any) -> Any:
        return 0.0

    def get_config(self) -> dict[str, Any]:
        raise KCNotImplementedError(
            "KC404",
            f"the regularizer {type(self).__name__}",
            "what is saved has a config",
            "define get_config()",
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x^2)."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = non_negative(self, "l1", 0.0 if l1 is None else l1)
        self.l2 = non_negative(self, "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        parts = []
        if self.l1:
            parts.append(self.l1 * ops.sum(ops.absolute(x)))
        if self.l2:
            parts.append(self.l2 * ops.sum(ops.square(x)))
        if not parts:
            return ops.zeros((), dtype=x.dtype)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """l1 * sum(|x|)."""

    def __init__(self, l1: float = 0.01):
        self.l1 = non_negative(self, "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.absolute(x))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(Regularizer):
    """l2 * sum(x^2)."""

    def __init__(self, l2: float = 0.01):
        self.l2 = non_negative(self, "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        return self.l2 * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean |cosine| over pairs of rows (or columns) of a matrix."""

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = non_negative(self, "factor", factor)
        self.mode = choice(self, "mode", mode, ("rows", "columns"))

    def __call__(self, x: Any) -> Any:
        if len(x.shape) != 2:
            refuse(
                f"{owner(self)} was applied to a weight of shape {tuple(x.shape)}",
                "Orthogonality is a property of matrices",
                "Use it on weights of two axes",
            )
        axis = 1 if self.mode == "rows" else 0
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), 1e-14))
        unit = x / norm
        across = ops.transpose(unit)
        product = ops.matmul(unit, across) if axis == 1 else ops.matmul(across, unit)
        size = x.shape[1 - axis]
        apart = product * (1.0 - ops.eye(size, dtype=x.dtype))
        pairs = size * (size - 1.0) / 2.0
        return self.factor * 0.5 * ops.sum(ops.absolute(apart)) / pairs

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

CLASSES: tuple[type[Regularizer], ...] = (L1, L2, L1L2, OrthogonalRegularizer)
BY_NAME: dict[str, type[Regularizer]] = {c.__name__: c for c in CLASSES} | {
    "l1": L1, "l2": L2, "l1_l2": L1L2, "l1l2": L1L2, "orthogonal_regularizer": OrthogonalRegularizer,
}  # fmt: skip


def get(identifier: Any) -> Any:
    """A regularizer from a name, a config, a class or a callable; None stays None. Raises ValueError."""
    return find(identifier, "regularizer", BY_NAME, "one weight", "regularizers.L2(0.01)")


def serialize(regularizer: Any) -> Any:
    """The config from which `deserialize` makes it again."""
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`."""
    return deserialize_keras_object(config, custom_objects=custom_objects, module_objects=BY_NAME)
