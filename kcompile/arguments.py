"""Checks of the arguments that users pass: positive integers, tuples, choices, rates, axes.

Each check returns the argument in its canonical form or refuses it with an error of three parts: what
was given, which rule it broke, what to do. Refuses to hold any default or any meaning of an argument.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

import kcompile.config as config
from kcompile.errors import KCValueError
from kcompile.nearest import closest as closest
from kcompile.nearest import suggest as suggest


def refuse(given: str, rule: str, remedy: str, code: str = "KC209") -> NoReturn:
    """Raise a KCValueError with the three parts of an error."""
    raise KCValueError(code, given, rule, remedy)


def owner(of: object) -> str:
    """How an error names the object whose argument is wrong: `Dense 'dense_1'`, or `L2`."""
    name = getattr(of, "name", None)
    cls = of if isinstance(of, type) else type(of)
    return f"{cls.__name__} {name!r}" if isinstance(name, str) and name else cls.__name__


def is_int(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def positive_int(of: object, name: str, value: Any) -> int:
    """`value` as an int > 0. Raises ValueError."""
    if not is_int(value) or value <= 0:
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is a positive integer",
            f"Pass for example {name}=32",
        )
    return int(value)


def non_negative(of: object, name: str, value: Any) -> float:
    """`value` as a finite float >= 0. Raises ValueError."""
    ok = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not ok or not np.isfinite(value) or value < 0:
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is a finite number not below 0",
            f"Pass for example {name}=0.01",
        )
    return float(value)


def fraction(of: object, name: str, value: Any) -> float:
    """`value` as a number in [0, 1], kept as given. Raises ValueError."""
    ok = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not ok or not 0 <= value <= 1:
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is a number from 0 to 1",
            "Pass a fraction: for 20 percent, 0.2",
        )
    return value  # type: ignore[no-any-return]


def int_tuple(
    of: object, name: str, value: Any, length: int, *, allow_zero: bool = False
) -> tuple[int, ...]:
    """`value`, an int (repeated) or `length` ints, as a tuple. Raises ValueError."""
    low = 0 if allow_zero else 1
    if is_int(value):
        value = (value,) * length
    ok = isinstance(value, (tuple, list)) and len(value) == length
    if not ok or not all(is_int(v) and v >= low for v in value):
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is an integer or {length} integers, each at least {low}",
            f"Pass for example {name}={(max(low, 2),) * length if length > 1 else 2}",
        )
    return tuple(int(v) for v in value)


def choice(of: object, name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """`value` if it is one of `allowed` (strings in any case). Raises ValueError with a suggestion."""
    found = value.lower() if isinstance(value, str) else value
    if found not in allowed:
        refuse(
            f"{owner(of)} was given {name}={value!r}",
            f"`{name}` is one of {', '.join(map(repr, allowed))}",
            suggest(value, [a for a in allowed if isinstance(a, str)]),
        )
    return found


def data_format(of: object, value: Any) -> str:
    """'channels_last' or 'channels_first'; None takes the global setting. Raises ValueError."""
    if value is None:
        return config.image_data_format()
    return str(choice(of, "data_format", value, ("channels_last", "channels_first")))


def renamed(of: object, kwargs: dict[str, Any], old: str, new: str, value: Any) -> Any:
    """The value of an argument that has an old spelling still met: taken, with a warning."""
    if old not in kwargs:
        return value
    warnings.warn(f"{owner(of)}: `{old}` is the old name of `{new}`.", stacklevel=4)
    return kwargs.pop(old)


def gone(of: object, kwargs: dict[str, Any], **new: str) -> None:
    """Refuse arguments of Keras 1 and 2 that no longer exist, naming the new spelling."""
    for old, now in new.items():
        if old in kwargs:
            refuse(
                f"{owner(of)} was given {old}={short(kwargs[old])}",
                f"Keras 3 has no argument `{old}`",
                f"Write {now}",
            )


def short(value: object) -> str:
    """`repr(value)`, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def in_rank(of: object, name: str, axis: int, rank: int) -> int:
    """`axis` as an index from 0, for a tensor of `rank` axes. Raises ValueError."""
    if not is_int(axis) or not -rank <= axis < rank:
        refuse(
            f"{owner(of)} has {name}={axis!r} and got an input of {rank} axes",
            f"`{name}` lies between {-rank} and {rank - 1}",
            f"Choose an axis the input has, such as {name}=-1",
        )
    return int(axis) % rank
