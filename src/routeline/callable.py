"""Modules that share their name with a function: `routeline.sweep` is a package and `routeline.sweep(...)` works too.

A submodule becomes an attribute of its package the moment anything imports it, so a function of the same name in
`routeline` would be replaced in mid-session. The module itself is therefore made callable: `routeline.odds(answer)` and
`routeline.odds.odds(answer)` mean the same whatever was imported before.
"""

from __future__ import annotations

import sys
import types
from importlib import import_module
from typing import Any


class Callable(types.ModuleType):
    """A module that calls the function of its own name in routeline.api, looked up when called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module("routeline.api"), self.__name__.rpartition(".")[2])(*args, **kwargs)


def named(module: str) -> None:
    """Make a loaded module callable; called with __name__ at its end."""
    sys.modules[module].__class__ = Callable
