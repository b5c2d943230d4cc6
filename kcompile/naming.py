"""Names of objects, made from class names: `MeanSquaredError` -> `mean_squared_error`.

Refuses to hold which names were given out (`kcompile.variable.unique_name`).
"""

from __future__ import annotations

from kcompile.operation import snake
from kcompile.variable import unique_name


def auto_name(cls: type) -> str:
    """A name for a new object of `cls`, not given out before in this session."""
    return unique_name(snake(cls.__name__))


def object_name(obj: object) -> str:
    """How Keras names `obj`: its `name`, a function's `__name__`, else its class in snake case."""
    for attribute in ("name", "__name__"):
        found = getattr(obj, attribute, None)
        if isinstance(found, str):
            return found
    return snake(type(obj).__name__)
