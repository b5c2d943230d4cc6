"""From an identifier (a name, a config, a class, a callable) to an object, for the small families.

Initializers, regularizers and constraints share `find`, losses and metrics `resolve`. Refuses to hold any of their tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kcompile.arguments import refuse, suggest
from kcompile.serialization import deserialize_keras_object


def find(
    identifier: Any, kind: str, by_name: Mapping[str, type], signature: str, example: str
) -> Any:
    """The object meant by `identifier`; None stays None. Raises ValueError with a suggestion."""
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        identifier = deserialize_keras_object(identifier, module_objects=by_name)
    rule = (
        f"{kind.capitalize()}s are known names, objects of their class, or functions of {signature}"
    )
    if isinstance(identifier, str):
        if identifier not in by_name:
            refuse(f"Unknown {kind} {identifier!r}", rule, suggest(identifier, by_name))
        identifier = by_name[identifier]
    if isinstance(identifier, type):
        return identifier()
    if not callable(identifier):
        refuse(
            f"{kind}={identifier!r} is {type(identifier).__name__}",
            rule,
            f"Pass for example {example}",
        )
    return identifier


def resolve(identifier: Any, by_name: Mapping[str, Any], deserialize: Callable[[Any], Any]) -> Any:
    """A name, config, class or callable as an object or function to call; None for anything else.

    A name that is not in the table goes to `deserialize`, which knows registered ones and raises for others.
    """
    found = identifier
    if isinstance(identifier, dict):
        found = deserialize(identifier)
    elif isinstance(identifier, str):
        found = by_name.get(identifier)
        if found is None:
            found = deserialize(identifier)
    if isinstance(found, type):
        found = found()
    return found if callable(found) else None
