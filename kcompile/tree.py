"""Nested lists, tuples and dicts of leaves, with the conventions of `keras.tree`.

None is a leaf; a plain dict is walked in the order of its sorted keys, an OrderedDict in its own.
Refuses to know anything about the leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from kcompile.errors import KCTypeError, KCValueError


def is_nested(structure: Any) -> bool:
    """Whether `structure` is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, dict))


def _keys(d: dict[Any, Any]) -> list[Any]:
    return list(d) if isinstance(d, OrderedDict) else sorted(d)


def _items(structure: Any) -> list[tuple[Any, Any]]:
    if isinstance(structure, dict):
        return [(k, structure[k]) for k in _keys(structure)]
    return list(enumerate(structure))


def _rebuild(structure: Any, items: list[tuple[Any, Any]]) -> Any:
    """A container like `structure` with new children, `items` in the order of `_items`."""
    if isinstance(structure, dict):
        found = dict(items)
        ordered = [(k, found[k]) for k in structure]
        return OrderedDict(ordered) if isinstance(structure, OrderedDict) else dict(ordered)
    children = [v for _, v in items]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*children)
    return children if isinstance(structure, list) else tuple(children)


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """(path, leaf) for each leaf, in order."""
    if not is_nested(structure):
        return [((), structure)]
    return [
        ((k, *path), leaf)
        for k, child in _items(structure)
        for path, leaf in flatten_with_path(child)
    ]


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order."""
    return [leaf for _, leaf in flatten_with_path(structure)]


def map_structure(fn: Callable[..., Any], *structures: Any) -> Any:
    """`fn` on the leaves; further structures have the same form. Raises KCValueError KC303."""
    first, *others = structures
    for other in others:
        assert_same_structure(first, other)
    return map_structure_up_to(first, fn, *structures)


def map_structure_up_to(shallow: Any, fn: Callable[..., Any], *structures: Any) -> Any:
    """`fn` on the parts of `structures` that stand where `shallow` has leaves. Raises KCValueError KC303."""
    if not is_nested(shallow):
        return fn(*structures)
    for s in structures:
        if _form(s) != _form(shallow):
            raise _mismatch(shallow, s)
    return _rebuild(
        shallow,
        [(k, map_structure_up_to(c, fn, *(s[k] for s in structures))) for k, c in _items(shallow)],
    )


def _form(structure: Any) -> Any:
    """What two containers have in common if they can be walked side by side."""
    if isinstance(structure, dict):
        return ("dict", tuple(_keys(dict(structure))))
    if is_nested(structure):
        return (type(structure).__name__, len(structure))
    return None


def _mismatch(a: Any, b: Any) -> KCValueError:
    return KCValueError(
        "KC303", f"structures {describe(a)} and {describe(b)}", "both have the same nesting and keys",
        "arrange one like the other",
    )  # fmt: skip


def describe(structure: Any) -> str:
    """The form of `structure`, leaves shown as `*`."""
    return str(map_structure_up_to(structure, lambda _: "*", structure)).replace("'*'", "*")


def assert_same_structure(a: Any, b: Any) -> None:
    """Raises KCValueError KC303 unless both have the same containers and keys."""
    if _form(a) != _form(b):
        raise _mismatch(a, b)
    if is_nested(a):
        for k, child in _items(a):
            assert_same_structure(child, b[k])


def assert_same_paths(a: Any, b: Any) -> None:
    """Raises KCValueError KC303 unless the leaves of both have the same paths."""
    if [p for p, _ in flatten_with_path(a)] != [p for p, _ in flatten_with_path(b)]:
        raise _mismatch(a, b)


def same_structure(a: Any, b: Any) -> bool:
    """Whether `assert_same_structure` would pass."""
    try:
        assert_same_structure(a, b)
    except KCValueError:
        return False
    return True


def pack_sequence_as(structure: Any, flat: Iterable[Any]) -> Any:
    """The leaves `flat` in the form of `structure`. Raises KCValueError KC303, KCTypeError KC303."""
    if not isinstance(flat, (list, tuple)):
        raise KCTypeError(
            "KC303", f"{type(flat).__name__} to pack", "leaves come in a list", "pass a list"
        )
    count = len(flatten(structure))
    if count != len(flat):
        raise KCValueError(
            "KC303", f"{len(flat)} leaves for the structure {describe(structure)}", f"it has {count} leaves",
            "pass one leaf for each place",
        )  # fmt: skip
    rest = iter(flat)
    return map_structure_up_to(structure, lambda _: next(rest), structure)


def lists_to_tuples(structure: Any) -> Any:
    """`structure` with every list replaced by a tuple."""
    if isinstance(structure, list):
        return tuple(lists_to_tuples(c) for c in structure)
    if is_nested(structure):
        return _rebuild(structure, [(k, lists_to_tuples(c)) for k, c in _items(structure)])
    return structure


def traverse(fn: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """`fn` on every part: what it returns replaces the part, None means go on (inside, if top-down)."""
    if top_down:
        found = fn(structure)
        if found is not None:
            return found
    if is_nested(structure):
        structure = _rebuild(
            structure, [(k, traverse(fn, c, top_down)) for k, c in _items(structure)]
        )
    if top_down:
        return structure
    found = fn(structure)
    return structure if found is None else found
