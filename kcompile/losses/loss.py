"""`Loss`: values per sample, weighted, masked and reduced to one number; and the function wrapper.

Also the rule by which targets, predictions and weights of different ranks meet. Refuses to hold any
formula (see the modules beside it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kcompile.ops as ops
import kcompile.tree as tree
from kcompile.absent import Checked
from kcompile.dtypes import is_int, standardize_dtype
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.naming import auto_name
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

REDUCTIONS = ("sum_over_batch_size", "sum", None, "none", "mean", "mean_with_sample_weight")


class Loss(Checked):
    """Base of all losses: subclasses define `call(y_true, y_pred)`, a value for each sample.

    Args:
        name: shown in histories; made from the class when None.
        reduction: "sum_over_batch_size" = "mean" (weighted sum over the number of values), "sum",
            "mean_with_sample_weight" (over the sum of weights), None = "none".
        dtype: of the computation, floatx when None.

    Raises KCValueError KC304 for an unknown reduction.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if reduction not in REDUCTIONS:
            raise KCValueError(
                "KC304", f"reduction={reduction!r}", "a reduction is one of " + ", ".join(map(repr, REDUCTIONS)),
                "pass one of these",
            )  # fmt: skip
        self.name = name or auto_name(type(self))
        self.reduction = reduction
        self._dtype = standardize_dtype(dtype)

    @property
    def dtype(self) -> str:
        """The dtype of the computation."""
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of `y_pred` against `y_true`, reduced."""
        mask = get_mask(y_pred)
        y_pred = tree.map_structure(lambda x: ops.convert_to_tensor(x, dtype=self.dtype), y_pred)
        y_true = tree.map_structure(self.convert_target, y_true)
        values = self.call(y_true, y_pred)
        out_mask = get_mask(values)
        if mask is not None and out_mask is not None:
            mask = ops.logical_and(mask, out_mask)
        elif mask is None:
            mask = out_mask
        return reduce_weighted_values(values, sample_weight, mask, self.reduction, self.dtype)

    def convert_target(self, x: Any) -> Any:
        """A target as `call` gets it: in the loss's dtype."""
        return ops.convert_to_tensor(x, dtype=self.dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value for each sample (or step of it). Subclasses define it."""
        raise KCNotImplementedError(
            "KC203",
            f"the loss {type(self).__name__}",
            "a loss defines call(y_true, y_pred)",
            "define it",
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A loss from its config."""
        return cls(**config)


class LossFunctionWrapper(Loss):
    """The loss that a function `fn(y_true, y_pred, **kwargs)` of values per sample defines."""

    integer_targets = False  # whether targets of an integer dtype stay as they are (class indices)

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        self.integer_targets = getattr(fn, "integer_targets", False)

    def convert_target(self, x: Any) -> Any:
        if self.integer_targets:
            x = ops.convert_to_tensor(x)
            return (
                x
                if is_int(x.dtype if isinstance(x.dtype, str) else x.dtype.name)
                else ops.cast(x, "int32")
            )
        return super().convert_target(x)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if tree.is_nested(y_true) or tree.is_nested(y_pred):
            return self.fn(y_true, y_pred, **self._fn_kwargs)
        return self.fn(*same_rank(y_true, y_pred), **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "fn": serialize_keras_object(self.fn),
            **serialize_keras_object(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if "fn" in config:
            config = deserialize_keras_object(config)
        return cls(**config)

    def __repr__(self) -> str:
        return f"<LossFunctionWrapper({self.fn}, kwargs={self._fn_kwargs})>"


class NamedLoss(LossFunctionWrapper):
    """A built-in loss: its config is name, reduction and the settings, which are attributes too."""

    def __init__(self, fn: Callable[..., Any], **kwargs: Any):
        super().__init__(fn, **kwargs)
        for key, value in self._fn_kwargs.items():
            setattr(self, key, value)

    def get_config(self) -> dict[str, Any]:
        return {**Loss.get_config(self), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


def get_mask(x: Any) -> Any:
    """The mask that travels with a tensor, or None."""
    return getattr(x, "_keras_mask", None)


def same_rank(x1: Any, x2: Any, expand_rank_1: bool = True) -> tuple[Any, Any]:
    """Drop or add a last axis of extent 1 where the ranks differ by one: `(N, 1)` meets `(N,)`."""
    r1, r2 = len(x1.shape), len(x2.shape)
    if r1 == r2 + 1 and x1.shape[-1] == 1:
        if r2 == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, axis=-1)
        return ops.squeeze(x1, axis=-1), x2
    if r2 == r1 + 1 and x2.shape[-1] == 1:
        if r1 == 1 and expand_rank_1:
            return ops.expand_dims(x1, axis=-1), x2
        return x1, ops.squeeze(x2, axis=-1)
    return x1, x2


def reduce_weighted_values(
    values: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: Any = None,
) -> Any:
    """`values`, times weights and mask, reduced to a scalar (or not, for None)."""
    values = ops.convert_to_tensor(values, dtype=dtype)
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight, dtype=dtype)
    sample_weight = apply_mask(sample_weight, mask, dtype or values.dtype, reduction)
    if sample_weight is not None:
        values, sample_weight = same_rank(values, ops.cast(sample_weight, values.dtype))
        values = values * align(sample_weight, values)
    return reduce_values(values, sample_weight, reduction)


def align(weight: Any, values: Any) -> Any:
    """`weight` with axes added at the end, so that weights per sample meet values per step."""
    extra = len(values.shape) - len(weight.shape)
    return (
        weight
        if extra <= 0 or not weight.shape
        else ops.reshape(weight, (*ops.shape(weight), *(1,) * extra))
    )


def reduce_values(
    values: Any, sample_weight: Any = None, reduction: str | None = "sum_over_batch_size"
) -> Any:
    """The scalar that `reduction` makes of `values`."""
    if reduction in (None, "none") or tuple(values.shape) in ((), (0,)):
        return values
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return ops.divide_no_nan(ops.sum(values), ops.cast(ops.sum(sample_weight), values.dtype))
    return ops.mean(values)


def apply_mask(sample_weight: Any, mask: Any, dtype: Any, reduction: str | None) -> Any:
    """Weights and mask as one weight. Under a mean, valid entries weigh total/valid."""
    if mask is None:
        return sample_weight
    weight = ops.cast(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        weight = weight * ops.divide_no_nan(ops.cast(1.0, dtype), ops.mean(weight))
    if sample_weight is None:
        return weight
    weight, sample_weight = same_rank(weight, ops.cast(sample_weight, dtype))
    rank = max(len(weight.shape), len(sample_weight.shape))
    return (
        align(sample_weight, weight) * weight
        if rank == len(weight.shape)
        else sample_weight * align(weight, sample_weight)
    )
