"""The optimizers by name, and the way from a name or config to an optimizer and back.

Refuses to hold any optimizer, and to import anything that a config names.
"""

from __future__ import annotations

from typing import Any

import kcompile.optimizers.factored as factored
import kcompile.optimizers.moments as moments
import kcompile.optimizers.plain as plain
from kcompile.arguments import suggest
from kcompile.errors import KCValueError
from kcompile.optimizers.loss_scale import LossScaleOptimizer
from kcompile.optimizers.optimizer import Optimizer
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

CLASSES: tuple[type[Optimizer], ...] = (
    Optimizer, plain.SGD, plain.RMSprop, plain.Adagrad, plain.Adadelta, plain.Lion, plain.Ftrl,
    moments.Adam, moments.AdamW, moments.Adamax, moments.Nadam, moments.Lamb, moments.ScheduleFreeAdamW,
    factored.Adafactor, factored.Muon, LossScaleOptimizer,
)  # fmt: skip
BY_NAME: dict[str, type[Optimizer]] = {c.__name__.lower(): c for c in CLASSES}


def get(identifier: Any) -> Optimizer:
    """An optimizer from a name in any case, a config, a class or an Optimizer. None stays None.

    Raises KCValueError KC302.
    """
    if identifier is None:
        return None  # type: ignore[return-value]
    found = identifier
    if isinstance(identifier, dict):
        found = deserialize(identifier)
    elif isinstance(identifier, str):
        found = BY_NAME.get(identifier.lower())
        if found is None:
            try:
                found = deserialize({"class_name": identifier, "config": {}})
            except (ValueError, TypeError):
                found = None
    if isinstance(found, type) and issubclass(found, Optimizer):
        found = found()
    if isinstance(found, Optimizer):
        return found
    raise KCValueError(
        "KC302", f"optimizer={identifier!r}", "an optimizer is a known name or an Optimizer",
        suggest(identifier, [c.__name__ for c in CLASSES[1:]]),
    )  # fmt: skip


def serialize(optimizer: Any) -> Any:
    """The config from which `deserialize` makes the optimizer again, without its state."""
    return serialize_keras_object(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`. A built-in is known by its class name, whatever its module."""
    name = config["class_name"]
    found = BY_NAME.get(str(name).lower())
    if (
        found is not None
        and name not in (custom_objects or {})
        and ">" not in str(config.get("registered_name"))
    ):
        return found.from_config(dict(config["config"]), custom_objects=custom_objects)
    return deserialize_keras_object(config, module_objects=BY_NAME, custom_objects=custom_objects)
