"""Layers of several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot.

Also their functional forms. Refuses to hold broadcasting, which is `kcompile.ops`'.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import is_int, owner, refuse
from kcompile.layer import Layer
from kcompile.layers.settings import configured


class Merge(Layer):
    """Elementwise over a list of tensors of equal batch; fewer axes are filled in after the batch."""

    exactly: int | None = None

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)
        self.built = True

    def _check(self, shapes: Any) -> None:
        if (
            not isinstance(shapes, (list, tuple))
            or not shapes
            or not isinstance(shapes[0], (list, tuple))
        ):
            refuse(
                f"{owner(self)} was called on one input of shape {shapes}",
                "It merges a list of tensors",
                f"Call it as {type(self).__name__}()([a, b])",
                code="KC201",
            )
        if self.exactly is not None and len(shapes) != self.exactly:
            refuse(
                f"{owner(self)} was called on {len(shapes)} inputs",
                f"It takes exactly {self.exactly}",
                f"Pass a list of {self.exactly} tensors",
                code="KC201",
            )
        self._check_shapes([tuple(s) for s in shapes])

    def _check_shapes(self, shapes: list[tuple[Any, ...]]) -> None:
        rank = max(len(s) for s in shapes)
        full = [(*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in shapes]
        for axis in range(rank):
            seen = {s[axis] for s in full if s[axis] is not None}
            if len(seen - {1}) > 1 or (axis == 0 and len(seen) > 1):
                refuse(
                    f"{owner(self)} was called on inputs of shapes {', '.join(map(str, shapes))}",
                    f"Axis {axis} has equal extents"
                    + (" in all inputs" if axis == 0 else ", or 1"),
                    "Bring the inputs to shapes that fit, for example with Reshape or Dense",
                    code="KC201",
                )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        rank = max(len(x.shape) for x in inputs)
        filled = []
        for x in inputs:
            for _ in range(rank - len(x.shape)):
                x = ops.expand_dims(x, 1)
            filled.append(x)
        masks = [None] * len(filled) if mask is None else list(mask)
        return self._merge(filled, [m if m is None else ops.expand_dims(m, -1) for m in masks])

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        raise NotImplementedError

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or any(m is None for m in mask):
            return None
        out = mask[0]
        for m in mask[1:]:
            out = ops.logical_or(out, m)
        return out


class Add(Merge):
    """The sum."""

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        y = inputs[0]
        for x in inputs[1:]:
            y = ops.add(y, x)
        return y


class Average(Add):
    """The mean."""

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        return super()._merge(inputs, masks) / len(inputs)


class Subtract(Merge):
    """The first minus the second."""

    exactly = 2

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        return ops.subtract(inputs[0], inputs[1])


class Multiply(Merge):
    """The product; what a mask leaves out counts as 1."""

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        y = None
        for x, m in zip(inputs, masks, strict=True):
            x = x if m is None else ops.where(m, x, ops.ones_like(x))
            y = x if y is None else ops.multiply(y, x)
        if any(m is None for m in masks):
            return y
        kept = masks[0]
        for m in masks[1:]:
            kept = ops.logical_or(kept, m)
        return ops.where(kept, y, ops.zeros_like(y))


class _Extreme(Merge):
    """Where a mask leaves one input out, the other is the result."""

    _op: Any

    def _merge(self, inputs: list[Any], masks: list[Any]) -> Any:
        y, kept = inputs[0], masks[0]
        for x, m in zip(inputs[1:], masks[1:], strict=True):
            if m is not None:
                x = ops.where(m, x, y)
            if kept is not None:
                y = ops.where(kept, y, x)
            kept = ops.logical_or(kept, m) if m is not None and kept is not None else None
            y = type(self)._op(y, x)
        return y


class Maximum(_Extreme):
    """The elementwise maximum."""

    _op = staticmethod(ops.maximum)


class Minimum(_Extreme):
    """The elementwise minimum."""

    _op = staticmethod(ops.minimum)


class Concatenate(Merge):
    """The inputs one after the other along `axis`."""

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def _check_shapes(self, shapes: list[tuple[Any, ...]]) -> None:
        rank = len(shapes[0])
        if (
            any(len(s) != rank for s in shapes)
            or not is_int(self.axis)
            or not -rank <= self.axis < rank
        ):
            refuse(
                f"{owner(self)} has axis={self.axis!r} and was called on inputs of shapes {shapes}",
                "The inputs have equally many axes, and `axis` is one of them",
                "Reshape the inputs, or choose another axis",
                code="KC201",
            )
        for axis in range(rank):
            if axis != self.axis % rank and len({s[axis] for s in shapes} - {None}) > 1:
                refuse(
                    f"{owner(self)} was called on inputs of shapes {', '.join(map(str, shapes))}",
                    f"Extents are equal on every axis but axis {self.axis}; axis {axis} differs",
                    "Bring the inputs to equal extents, or concatenate along another axis",
                    code="KC201",
                )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return ops.concatenate(list(inputs), axis=self.axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        out = list(input_shape[0])
        parts = [s[self.axis] for s in input_shape]
        out[self.axis] = None if None in parts else sum(parts)
        return tuple(out)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or all(m is None for m in mask):
            return None
        parts = []
        for x, m in zip(inputs, mask, strict=True):
            whole = ops.ones_like(x, dtype="bool")
            if m is not None:
                m = ops.expand_dims(m, -1) if len(m.shape) < len(x.shape) else m
                whole = ops.logical_and(whole, m)
            parts.append(whole)
        return ops.any(ops.concatenate(parts, axis=self.axis), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axis")


class Dot(Merge):
    """Sums of products over one axis of each of two inputs, sample by sample."""

    exactly = 2

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        pair = isinstance(axes, (list, tuple)) and len(axes) == 2 and all(map(is_int, axes))
        if not is_int(axes) and not pair:
            refuse(
                f"{type(self).__name__} was given axes={axes!r}",
                "`axes` is an integer, or one integer for each of the two inputs",
                "Pass for example axes=1 or axes=(2, 1)",
            )
        super().__init__(**kwargs)
        self.axes, self.normalize = axes, normalize

    def _axes(self, ranks: tuple[int, int]) -> tuple[int, int]:
        a, b = (self.axes, self.axes) if is_int(self.axes) else self.axes
        return a % ranks[0], b % ranks[1]

    def _check_shapes(self, shapes: list[tuple[Any, ...]]) -> None:
        x, y = shapes
        a, b = self._axes((len(x), len(y)))
        fits = None in (x[a], y[b]) or x[a] == y[b]
        if not fits or 0 in (a, b) or min(len(x), len(y)) < 2:
            refuse(
                f"{owner(self)} has axes={self.axes} and was called on inputs of shapes {x} and {y}",
                "The two axes have equal extents and are not the batch (axis 0)",
                "Choose other axes, or bring the inputs to equal extents",
                code="KC201",
            )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, y = inputs
        a, b = self._axes((len(x.shape), len(y.shape)))
        if self.normalize:
            x, y = _unit(x, a), _unit(y, b)
        left = list("acdefg"[: len(x.shape)])
        right = ["a", *"uvwxy"[: len(y.shape) - 1]]
        left[a] = right[b] = "k"
        kept = [c for c in left if c != "k"] + [c for c in right[1:] if c != "k"]
        out = ops.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y)
        return ops.expand_dims(out, -1) if len(kept) == 1 else out

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "axes", "normalize")


def _unit(x: Any, axis: int) -> Any:
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(square, 1e-14))


def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
