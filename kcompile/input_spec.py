"""`InputSpec`: what a layer demands of its inputs, and the check.

Refuses to hold any layer.
"""

from __future__ import annotations

from typing import Any

from kcompile.dtypes import standardize_dtype
from kcompile.errors import KCValueError
from kcompile.trace import leaves


class InputSpec:
    """Rank, dtype, shape or single extents an input must have; None leaves a thing open.

    Args:
        dtype, shape, ndim, max_ndim, min_ndim: as named; `shape` may hold None.
        axes: extent by axis, `{-1: 784}`.
        allow_last_axis_squeeze: let a missing or extra last axis of extent 1 pass.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        self.dtype = standardize_dtype(dtype) if dtype is not None else None
        self.shape = tuple(shape) if shape is not None else None
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze, self.name, self.optional = (
            allow_last_axis_squeeze,
            name,
            optional,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype, "shape": self.shape, "ndim": self.ndim, "max_ndim": self.max_ndim,
            "min_ndim": self.min_ndim, "axes": self.axes,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        return cls(**config)


def _refuse(layer_name: str, x: Any, rule: str) -> None:
    raise KCValueError(
        "KC201", f"an input of shape {tuple(x.shape)} and dtype {x.dtype} for the layer {layer_name!r}", rule,
        "reshape the input (ops.expand_dims, Reshape, Flatten), or build the layer for this shape",
    )  # fmt: skip


def check_input(spec: Any, inputs: Any, layer_name: str) -> None:
    """Check inputs against one InputSpec or a nest of them. Raises KCValueError KC201."""
    if spec is None:
        return
    specs = leaves(spec)
    given = leaves(inputs)
    if len(given) != len(specs):
        raise KCValueError(
            "KC201",
            f"{len(given)} inputs for the layer {layer_name!r}",
            f"it takes {len(specs)}",
            "pass as many tensors",
        )
    for x, s in zip(given, specs, strict=True):
        if not isinstance(s, InputSpec) or not hasattr(x, "shape"):
            continue
        shape = tuple(x.shape)
        rank = len(shape)
        if s.ndim is not None and rank != s.ndim:
            squeezed = s.allow_last_axis_squeeze and (
                (rank == s.ndim + 1 and shape[-1] == 1) or rank == s.ndim - 1
            )
            if not squeezed:
                _refuse(layer_name, x, f"the rank must be {s.ndim}, not {rank}")
        if s.max_ndim is not None and rank > s.max_ndim:
            _refuse(layer_name, x, f"the rank must be at most {s.max_ndim}, not {rank}")
        if s.min_ndim is not None and rank < s.min_ndim:
            _refuse(layer_name, x, f"the rank must be at least {s.min_ndim}, not {rank}")
        if s.dtype is not None and x.dtype != s.dtype:
            _refuse(layer_name, x, f"the dtype must be {s.dtype}, not {x.dtype}")
        for axis, extent in s.axes.items():
            if extent is not None and -rank <= axis < rank and shape[axis] not in (extent, None):
                _refuse(layer_name, x, f"axis {axis} must have extent {extent}, not {shape[axis]}")
        if s.shape is not None and rank == len(s.shape):
            for i, (want, got) in enumerate(zip(s.shape, shape, strict=True)):
                if want is not None and got is not None and want != got:
                    _refuse(
                        layer_name,
                        x,
                        f"axis {i} must have extent {want}, not {got}: the shape is {s.shape}",
                    )
