"""From an identifier (a name, a config, a class, a callable) to an object, for the small families.

Initializers, regularizers and constraints share it. Refuses to hold any of their tables.
"""

from __future__ import annotations

from collections.abc import Mapping
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
