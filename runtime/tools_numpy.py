"""The tools that generated NumPy code may ask for; `codegen.program` says what each means.

Refuses to hold anything a generated program can spell with NumPy itself.
"""

from __future__ import annotations

from runtime import threads


class Tools:
    """See `codegen.program`, *The tools*."""

    run = staticmethod(threads.run)

    def __init__(self) -> None:
        self.threads = threads.count()


def make_tools() -> Tools:
    """Tools for one program."""
    return Tools()
