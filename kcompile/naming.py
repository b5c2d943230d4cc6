"""Names made from class names: `MeanSquaredError` -> `mean_squared_error`.

Refuses to hold which names were given out (`kcompile.variable.unique_name`).
"""

from __future__ import annotations

import re

from kcompile.variable import unique_name


def snake_case(name: str) -> str:
    """`name` in lower case with underscores, as Keras spells it: `PReLU` -> `p_re_lu`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(cls: type) -> str:
    """A name for a new object of `cls`, not given out before in this session."""
    return unique_name(snake_case(cls.__name__))


def object_name(obj: object) -> str:
    """How Keras names `obj`: its `name`, a function's `__name__`, else its class in snake case."""
    for attribute in ("name", "__name__"):
        found = getattr(obj, attribute, None)
        if isinstance(found, str):
            return found
    return snake_case(type(obj).__name__)
