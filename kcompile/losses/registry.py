"""The losses by name, and the way from a name or config to a loss and back.

Refuses to hold any loss, and to import anything that a config names.
"""

from __future__ import annotations

from typing import Any

import kcompile.losses.margin as margin
import kcompile.losses.probabilistic as probabilistic
import kcompile.losses.regression as regression
from kcompile.arguments import suggest
from kcompile.errors import KCValueError
from kcompile.lookup import resolve
from kcompile.losses.loss import Loss, LossFunctionWrapper, NamedLoss
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

FUNCTIONS: tuple[Any, ...] = (
    regression.mean_squared_error, regression.mean_absolute_error,
    regression.mean_absolute_percentage_error, regression.mean_squared_logarithmic_error,
    regression.huber, regression.log_cosh, regression.cosine_similarity,
    probabilistic.categorical_crossentropy, probabilistic.categorical_focal_crossentropy,
    probabilistic.sparse_categorical_crossentropy, probabilistic.binary_crossentropy,
    probabilistic.binary_focal_crossentropy, probabilistic.kl_divergence, probabilistic.poisson,
    probabilistic.categorical_generalized_cross_entropy, margin.hinge, margin.squared_hinge,
    margin.categorical_hinge, margin.dice, margin.tversky, margin.circle,
)  # fmt: skip
CLASSES: tuple[type[Loss], ...] = (Loss, LossFunctionWrapper) + tuple(
    c
    for module in (regression, probabilistic, margin)
    for c in vars(module).values()
    if isinstance(c, type) and issubclass(c, NamedLoss) and c is not NamedLoss
)
BY_NAME: dict[str, Any] = {o.__name__: o for o in (*CLASSES, *FUNCTIONS)}
_SHORT = {
    "mse": regression.mean_squared_error, "mae": regression.mean_absolute_error,
    "mape": regression.mean_absolute_percentage_error,
    "msle": regression.mean_squared_logarithmic_error, "bce": probabilistic.binary_crossentropy,
    "kld": probabilistic.kl_divergence,
}  # fmt: skip
BY_NAME |= _SHORT | {k.upper(): v for k, v in _SHORT.items()}
BY_NAME |= {
    "logcosh": regression.log_cosh,
    "kullback_leibler_divergence": probabilistic.kl_divergence,
}


def get(identifier: Any) -> Any:
    """A loss from a name (then a function), a config, a class, a function or a Loss. None stays None.

    Raises KCValueError KC302.
    """
    if identifier is None:
        return None
    found = resolve(identifier, BY_NAME, deserialize)
    if found is not None:
        return found
    raise KCValueError(
        "KC302", f"loss={identifier!r}", "a loss is a known name, a Loss, or a function of (y_true, y_pred)",
        suggest(identifier, BY_NAME),
    )  # fmt: skip


def serialize(loss: Any) -> Any:
    """The config from which `deserialize` makes `loss` again."""
    return serialize_keras_object(loss)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`."""
    return deserialize_keras_object(config, module_objects=BY_NAME, custom_objects=custom_objects)
