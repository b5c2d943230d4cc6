"""What is global in a session of Keras: given-out names.

Refuses to hold compiled programs (they belong to their models).
"""

from __future__ import annotations

from kcompile.variable import count_name, reset_names


def clear_session(free_memory: bool = True) -> None:
    """Forget the names given to layers, so that new ones are `dense`, `dense_1`, ... again."""
    reset_names()


def get_uid(prefix: str = "") -> int:
    """The next number for names that begin with `prefix`, from 1 on."""
    return count_name(prefix)
