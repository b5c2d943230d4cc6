"""`method`: a method of a class that another module defines, imported when the method is first asked for.

A program that trains need not load what exports, dumps and saves. The modules are named in our own
classes, never by data. Refuses to hold any of them.
"""

from __future__ import annotations

import importlib
from typing import Any


class method:  # noqa: N801  (reads as a decorator does)
    """`save = later.method("kcompile.saving.archive", "save_model")`: that function, as a method."""

    def __init__(self, module: str, function: str):
        self.module, self.function = module, function

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        found = getattr(importlib.import_module(self.module), self.function)
        setattr(self.owner, self.name, found)  # from now on an ordinary method
        return found.__get__(instance, owner)
