"""The name a user is likely to have meant by another: for the advice in errors.

Refuses to know any table of names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(word: object, known: Iterable[str]) -> str:
    """`did you mean 'relu'?`-style advice for an unknown word, else the list of known ones."""
    names = sorted(known)
    near = closest(word, names) if isinstance(word, str) else None
    if near is not None:
        return f"did you mean {near!r}? known: {', '.join(names)}"
    return f"use one of: {', '.join(names)}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The name in `known` that `word` is likely to mean, or None."""
    given = _folded(word)
    near = max(known, key=lambda n: (_likeness(given, _folded(n)), n.islower()), default="")
    return near if _likeness(given, _folded(near)) > 0.6 else None


def _folded(word: str) -> str:
    return word.lower().replace("_", "")


def _likeness(a: str, b: str) -> float:
    """From 0 to 1; letters in another order count nearly as equal."""
    same_letters = 0.9 * (len(a) > 2 and sorted(a) == sorted(b))
    return max(difflib.SequenceMatcher(None, a, b).ratio(), same_letters)
