"""What is imported when it is first asked for: methods of a class (`method`), functions, names of a namespace (`names`).

A program that trains a few layers need not load what exports, saves, and all the other layers. The modules
are named in our own sources, never by data. Refuses to hold any of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import kcompile.absent as absent


class method:
    """`save = later.method("kcompile.saving.archive", "save_model")`: that function, as a method."""

    def __init__(self, module: str, function: str):
        self.module, self.function = module, function

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        found = getattr(importlib.import_module(self.module), self.function)
        setattr(self.owner, self.name, found)  # from now on an ordinary method
        return found.__get__(instance, owner)


def function(module: str, name: str) -> Callable[..., Any]:
    """`make = later.function("runtime.cuda", "CudaExecutable")`: what calls that."""
    return lambda *args: getattr(importlib.import_module(module), name)(*args)


def names(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a public namespace whose names live in other modules.

    homes: module -> names in it, apart by blanks; `Public=own` where the public name is another. The names that
    are not there are refused as `kcompile.absent` does.
    """
    places = _places(homes)
    refuse = absent.of(module, places)

    def __getattr__(name: str) -> Any:
        if name not in places:
            refuse(name)
        home, own = places[name]
        found = vars(sys.modules[module])[name] = getattr(importlib.import_module(home), own)
        return found

    return __getattr__


def public(homes: Mapping[str, str]) -> list[str]:
    """The names of such a namespace."""
    return sorted(_places(homes))


def _places(homes: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    places = {}
    for home, words in homes.items():
        for word in words.split():
            name, _, own = word.partition("=")
            places[name] = (home, own or name)
    return places
