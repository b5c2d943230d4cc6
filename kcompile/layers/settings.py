"""How layers take and give back the settings they share: activations, initializers, regularizers, constraints.

The kind of a setting is told by the end of its name (`kernel_initializer`), as in Keras. Refuses to hold
any layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kcompile.activations as activations
import kcompile.constraints as constraints
import kcompile.initializers as initializers
import kcompile.regularizers as regularizers
from kcompile.arguments import owner
from kcompile.errors import KCError

_KINDS: dict[str, Any] = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


def _kind(name: str) -> Any:
    return _KINDS.get(name.rpartition("_")[2])


def resolve(layer: Any, **given: Any) -> None:
    """Set each setting on `layer`, with names and configs turned into objects. Raises ValueError."""
    for name, value in given.items():
        kind = _kind(name)
        try:
            found = value if kind is None else kind.get(value)
        except KCError as error:
            error.given = f"{owner(layer)} was given {name}={value!r}: {error.given}"
            error.args = (error._text(),)
            raise
        setattr(layer, name, found)


def configured(layer: Any, *names: str, read: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """The config entries `names`, read off `layer` (or by `read`) and serialized by their kind."""
    out: dict[str, Any] = {}
    for name in names:
        value = getattr(layer, name) if read is None else read(name)
        kind = _kind(name)
        out[name] = value if kind is None else kind.serialize(value)
    return out


def weight(
    layer: Any, name: str, shape: tuple[Any, ...], prefix: str | None = None, **more: Any
) -> Any:
    """Add the trainable weight `name` with the settings `<prefix or name>_initializer` and so on."""
    p = name if prefix is None else prefix
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=more.pop("initializer", None) or getattr(layer, f"{p}_initializer"),
        regularizer=getattr(layer, f"{p}_regularizer"),
        constraint=getattr(layer, f"{p}_constraint"),
        **more,
    )


def build_child(child: Any, *shapes: Any) -> None:
    """Build a layer that another owns, unless it is built."""
    if not getattr(child, "built", True):
        child.build(*shapes)
