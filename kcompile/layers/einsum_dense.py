"""`EinsumDense`: a dense layer whose product is an einsum equation.

Refuses to hold equations of more than one input.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import is_int, owner, refuse
from kcompile.initializers import VarianceScaling
from kcompile.layer import InputSpec, Layer
from kcompile.layers.core import plain_only
from kcompile.layers.settings import configured, resolve, weight

_FORMS = "X,Y->Z, ...X,Y->...Z or X...,Y->Z..."


class _Equation:
    """An equation with its dots spelled out for an input of a given rank."""

    def __init__(self, layer: Any, input_shape: Any):
        self.layer = layer
        text = layer.equation.replace(" ", "")
        left, arrow, out = text.partition("->")
        x, comma, w = left.partition(",")
        dots = [s.startswith("...") for s in (x, out)] + [s.endswith("...") for s in (x, out)]
        letters = [s.replace("...", "") for s in (x, w, out)]
        ok = (
            bool(arrow and comma)
            and dots[0] == dots[1]
            and dots[2] == dots[3]
            and all(s.isalpha() and len(set(s)) == len(s) for s in letters)
        )
        if not ok or "." in "".join(letters):
            self.refuse(f"An equation has the form {_FORMS}", "Rewrite the equation")
        extra = len(input_shape) - len(letters[0])
        if extra < 0 or (extra and not any(dots)):
            self.refuse(
                f"It names {len(letters[0])} axes of an input of shape {tuple(input_shape)}",
                "Name each axis, or put ... for the others",
            )
        free = [c for c in "zyxwvutsrqponm" + "ZYXWVUTSRQPONM" if c not in text][:extra]
        mid = "".join(free)
        before, after = (mid, "") if dots[0] else ("", mid)
        self.x, self.w, self.out = (
            before + letters[0] + after,
            letters[1],
            before + letters[2] + after,
        )
        # the partial output shape is without the batch and without what the dots stand for
        given = list(layer.partial_output_shape)
        extents: dict[str, Any] = dict(zip(self.x, input_shape, strict=True))
        named = [c for c in self.out if c not in free] if dots[2] else list(self.out)
        if dots[0] and extra:
            named = [c for c in self.out if c not in free]
            wanted = given if len(given) == len(named) else None
        elif dots[2] and extra:
            wanted = [input_shape[0], *given] if len(given) == len(named) - 1 else None
        else:
            wanted = [input_shape[0], *given] if len(given) == len(named) - 1 else None
        if wanted is None:
            self.refuse(
                f"output_shape={tuple(given)} does not fit the output {self.out!r}",
                "Give one extent for each axis but the batch and what ... stands for",
            )
        self.extents = extents
        for c, d in zip(named, wanted or [], strict=True):
            self._place(c, d)

    def refuse(self, rule: str, remedy: str) -> None:
        refuse(f"{owner(self.layer)} has the equation {self.layer.equation!r}", rule, remedy)

    def _place(self, letter: str, extent: Any) -> None:
        known = self.extents.get(letter)
        if letter not in self.x and letter not in self.w:
            self.refuse(
                f"The output axis {letter!r} is in neither operand",
                "Name it in the input or the kernel",
            )
        if known is not None and extent is not None and known != extent:
            self.refuse(
                f"The axis {letter!r} is {known} in the input and {extent} in output_shape",
                "Make them equal",
            )
        if extent is not None or letter not in self.extents:
            self.extents[letter] = extent

    def shape(self, letters: str) -> tuple[Any, ...]:
        return tuple(self.extents.get(c) for c in letters)

    def kernel_shape(self) -> tuple[int, ...]:
        for c in self.w:
            if c not in self.x and c not in self.out:
                self.refuse(
                    f"The kernel axis {c!r} is in neither input nor output",
                    "Name it in one of them",
                )
        return self._known(self.w)

    def bias_shape(self, axes: str) -> tuple[int, ...]:
        """Extents of the bias axes, and 1 between them, from the first of them to the last axis."""
        for c in axes:
            if c not in self.out:
                self.refuse(
                    f"The bias axis {c!r} is not in the output {self.out!r}", "Choose output axes"
                )
        known = dict(zip(axes, self._known(axes), strict=True))
        first = min(self.out.index(c) for c in axes)
        return tuple(known.get(c, 1) for c in self.out[first:])

    def _known(self, letters: str) -> tuple[int, ...]:
        for c in letters:
            if self.extents.get(c) is None:
                self.refuse(
                    f"The extent of axis {c!r} is not known", "Name it in output_shape or in Input"
                )
        return tuple(int(self.extents[c]) for c in letters)


class EinsumDense(Layer):
    """activation(einsum(equation, x, kernel) + bias), a bias along `bias_axes` of the output."""

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        plain_only(self, lora_rank, quantization_config)
        super().__init__(**kwargs)
        self.equation, self.bias_axes = equation, bias_axes
        self.partial_output_shape = (output_shape,) if is_int(output_shape) else tuple(output_shape)
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
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        found = _Equation(self, input_shape)
        self.kernel = weight(self, "kernel", found.kernel_shape(), initializer=self._fanned(found))
        if self.bias_axes:
            self.bias = weight(self, "bias", found.bias_shape(self.bias_axes))
        self.input_spec = InputSpec(ndim=len(input_shape))
        self.built = True

    def _fanned(self, found: _Equation) -> Any:
        """The kernel's initializer, told which axes are summed and which are outputs."""
        given = self.kernel_initializer
        if not isinstance(given, VarianceScaling) or None not in (
            given.input_axes,
            given.output_axes,
        ):
            return given
        axes = {
            "input_axes": [i for i, c in enumerate(found.w) if c not in found.out],
            "output_axes": [i for i, c in enumerate(found.w) if c in found.out],
        }
        return type(given).from_config(given.get_config() | axes | {"seed": given.seed})

    def call(self, inputs: Any, training: Any = None) -> Any:
        y = ops.einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            y = ops.add(y, self.bias)
        return self.activation(y)

    def compute_output_shape(self, input_shape: Any) -> Any:
        found = _Equation(self, input_shape)
        return found.shape(found.out)

    def get_config(self) -> dict[str, Any]:
        names = (
            "equation", "activation", "bias_axes", "kernel_initializer", "bias_initializer",
            "kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint",
            "bias_constraint",
        )  # fmt: skip
        shape = {"output_shape": self.partial_output_shape, "quantization_config": None}
        return super().get_config() | shape | configured(self, *names)
