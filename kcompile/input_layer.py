"""`Input` and `InputLayer`: where a functional model begins.

Refuses to hold anything that computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.dtypes import standardize_dtype
from kcompile.errors import KCTypeError, KCValueError
from kcompile.layer import Layer
from kcompile.operation import Node
from kcompile.tensor import KerasTensor


class InputLayer(Layer):
    """The placeholder of one input.

    Args:
        shape: without the batch axis; None for an unknown extent.
        batch_size: the batch, None for any.
        dtype: float32 by default.
        batch_shape: shape with the batch axis, instead of `shape` and `batch_size`.
        optional: whether None may be passed.

    Raises KCValueError KC209, KCTypeError KC209.
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ):
        if "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, input_tensor.dtype
        elif (shape is None) == (batch_shape is None):
            raise KCValueError(
                "KC209", f"Input(shape={shape!r}, batch_shape={batch_shape!r})", "an input has one of shape and batch_shape",
                "pass shape=(...) without the batch axis",
            )  # fmt: skip
        super().__init__(name=name, **kwargs)
        if batch_shape is None:
            batch_shape = (batch_size, *_extents(shape, "shape"))
        self._batch_shape = _extents(batch_shape, "batch_shape")
        self._dtype = standardize_dtype(dtype)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), bool(optional)
        made = (
            input_tensor
            if input_tensor is not None
            else KerasTensor(self._batch_shape, self._dtype, name=self.name)
        )
        Node(self, (), {}, made)
        self.built = True

    def call(self) -> Any:
        """Nothing: an input has no operands."""
        return self._inbound_nodes[0].outputs

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        return self._batch_shape

    @property
    def dtype(self) -> str:
        return self._dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self._batch_shape, "dtype": self._dtype, "sparse": self.sparse, "ragged": self.ragged,
            "name": self.name, "optional": self.optional,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputLayer:
        config = dict(config)
        if config.get("batch_shape") is not None:
            config["batch_shape"] = tuple(config["batch_shape"])
        return cls(**config)


def _extents(shape: Any, what: str) -> tuple[int | None, ...]:
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    found = tuple(shape)
    for d in found:
        if d is not None and (isinstance(d, bool) or not isinstance(d, (int, np.integer))):
            raise KCTypeError(
                "KC209", f"{what}={shape!r}", "a shape holds ints and None", "pass ints"
            )
        if d is not None and d < 0:
            raise KCValueError(
                "KC209",
                f"{what}={shape!r}",
                "extents are not negative",
                "use None for an unknown extent",
            )
    return tuple(None if d is None else int(d) for d in found)


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
    ragged: bool | None = None,
) -> Any:
    """A symbolic tensor: the start of a functional model. See `InputLayer`."""
    layer = InputLayer(
        shape=shape, batch_size=batch_size, dtype=dtype, sparse=sparse, batch_shape=batch_shape, name=name,
        input_tensor=tensor, optional=optional, ragged=ragged,
    )  # fmt: skip
    return layer.output
