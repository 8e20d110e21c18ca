"""Typed, limited access to a config.json: every key read is checked and remembered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import RoutelineError, shorten
from .keys import SUSPICIOUS, inert

REQUIRED: Any = object()
"""Default of a key without which there is no answer."""
ABSENT: Any = object()
"""Default of a key that is None where the file leaves it out, whatever the class would fill in."""
LARGEST = 100_000_000
"""Largest value any dimension may have: a hundred times the largest vocabulary or width in use [-]."""
MOST_LAYERS = 2000
"""Most layers accepted: ten times the deepest model in the catalogue [-]."""


class Reader:
    """A config that remembers what was asked of it.

    `used`: keys read or understood; `defaults`: absent keys and the value filled in; `warnings`: sentences
    for the user, one for every value that the class fills in and the family's code would not.
    Several names for one thing are alternatives: present ones must agree.
    An absent key is what the class makes of it (`class_defaults`), a null one what the family's code does.
    `nested`: a text config inside another file, whose class defaults even sizes may be left to.
    """

    def __init__(self, config: Mapping[str, Any], parent: Reader | None = None, path: str = "") -> None:
        self.config = config
        self.path = path
        self.architecture = "" if parent is None else parent.architecture
        self.class_defaults: Mapping[str, Any] = {}
        self.nested = False
        self.used: set[str] = set()
        self.defaults: dict[str, Any] = {} if parent is None else parent.defaults
        self.warnings: list[str] = [] if parent is None else parent.warnings

    def label(self, key: str) -> str:
        """The key as a person would look it up."""
        return f"{self.path}{key}"

    def refuse(self, key: str, why: str) -> RoutelineError:
        """An error naming the key and its value."""
        shown = f"={shorten(self.config[key], 60)}" if key in self.config else ""
        return RoutelineError(f"config key {self.label(key)}{shown} {why}")

    def warn(self, text: str) -> None:
        """Add a warning once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def has(self, *names: str) -> bool:
        """True when one of the names is present and not null."""
        return any(self.config.get(n) is not None for n in names)

    def given(self, *names: str) -> bool:
        """True when one of the names is present, null or not."""
        return any(n in self.config for n in names)

    def filled(self, *names: str) -> Any:
        """The class's default of the first name that it has one for, where the file names none of them."""
        if self.given(*names):
            return None
        return next((self.class_defaults[n] for n in names if n in self.class_defaults), None)

    def skip(self, *names: str) -> None:
        """Mark keys as understood and without effect here."""
        self.used.update(names)

    def raw(self, *names: str) -> tuple[str, Any] | None:
        """First present, non-null alternative; all present ones must be equal."""
        self.used.update(names)
        found = [(n, self.config[n]) for n in names if self.config.get(n) is not None]
        for name, value in found[1:]:
            if value != found[0][1]:
                first = found[0][0]
                raise RoutelineError(
                    f"config keys {self.label(first)}={shorten(found[0][1], 40)} and "
                    f"{self.label(name)}={shorten(value, 40)} contradict each other; keep the right one"
                )
        return found[0] if found else None

    def _fill(self, names: tuple[str, ...], default: Any) -> Any:
        if default is ABSENT:
            return None
        known = self.filled(*names)
        if known is not None and (default is not REQUIRED or self.nested):
            if known != default:
                self.warn(f"{self.label(names[0])} is not in the config: its class's default, {known}, is taken")
            default = known
        if default is REQUIRED:
            first, *others = names
            also = f" (or {', '.join(others)})" if others else ""
            raise RoutelineError(f"config has no key {self.label(first)}{also}, which this architecture needs")
        if default is not None:
            self.defaults[self.label(names[0])] = default
        return default

    def integer(self, *names: str, default: Any = REQUIRED, low: int = 1, high: int = LARGEST) -> Any:
        """A whole number within [low, high]; None only when that is the default."""
        found = self.raw(*names)
        if found is None:
            return self._fill(names, default)
        return self.whole(found[0], found[1], low, high)

    def whole(self, key: str, value: Any, low: int = 1, high: int = LARGEST) -> int:
        """A checked whole number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, "must be a whole number")
        if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
            raise self.refuse(key, "must be a whole number")
        if not low <= value <= high:
            raise self.refuse(key, f"must lie between {low} and {high}")
        return int(value)

    def number(self, *names: str, default: Any = REQUIRED, low: float = 0.0, high: float = 1e9) -> Any:
        """A finite number within [low, high]."""
        found = self.raw(*names)
        if found is None:
            return self._fill(names, default)
        key, value = found
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(key, f"must be a number between {low:g} and {high:g}")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """A true/false value; null is false."""
        found = self.raw(*names)
        if found is None:
            return False if self.given(*names) else bool(self._fill(names, default))
        if not isinstance(found[1], bool):
            raise self.refuse(found[0], "must be true or false")
        return found[1]

    def text(self, *names: str, default: Any = REQUIRED, known: Iterable[str] | None = None) -> Any:
        """A string, one of `known` where given."""
        found = self.raw(*names)
        if found is None:
            return self._fill(names, default)
        if not isinstance(found[1], str):
            raise self.refuse(found[0], "must be text")
        if known is not None and found[1] not in set(known):
            raise self.refuse(found[0], f"is not understood; known: {', '.join(known)}")
        return found[1]

    def list_of(self, key: str, length: int | None = None, *, extra: int = 0) -> list[Any] | None:
        """A list of `length` (up to `extra` more entries, for MTP layers, are dropped); None when absent."""
        self.used.add(key)
        value = self.config.get(key)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.refuse(key, "must be a list")
        if length is not None and not length <= len(value) <= length + extra:
            raise self.refuse(key, f"has {len(value)} entries, but there are {length} layers")
        return list(value) if length is None else list(value)[:length]

    def integers(
        self, key: str, length: int | None = None, *, low: int = 0, high: int = LARGEST, extra: int = 0
    ) -> list[int] | None:
        """A list of whole numbers, or None when absent."""
        values = self.list_of(key, length, extra=extra)
        return None if values is None else [self.whole(key, v, low, high) for v in values]

    def per_layer(self, *names: str, layers: int, default: Any = REQUIRED, low: int = 1) -> list[int]:
        """One whole number per layer from a scalar or a list of that length."""
        found = self.raw(*names)
        if found is None:
            filled = self._fill(names, default)
            return list(filled) if isinstance(filled, list) else [filled] * layers
        if isinstance(found[1], Sequence) and not isinstance(found[1], str):
            return self.integers(found[0], layers, low=low) or []
        return [self.whole(found[0], found[1], low)] * layers

    def words(self, key: str, length: int | None = None, *, known: Iterable[str], extra: int = 0) -> list[str] | None:
        """A list of names out of `known`, or None when absent."""
        values = self.list_of(key, length, extra=extra)
        for v in values or ():
            if not isinstance(v, str) or v not in set(known):
                raise RoutelineError(
                    f"config key {self.label(key)} has the entry {shorten(v, 40)!r}, which is not understood; "
                    f"known: {', '.join(known)}"
                )
        return values

    def section(self, key: str) -> Reader | None:
        """A nested object; its defaults and warnings are shared."""
        self.used.add(key)
        value = self.config.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refuse(key, "must be an object")
        return Reader(value, parent=self, path=f"{self.path}{key}.")

    def finish(self, architecture: str) -> None:
        """Refuse unread keys that may change a count; warn of the others."""
        strange = []
        for key, value in self.config.items():
            name = str(key)
            if name in self.used or inert(name) or value is None:
                continue
            if value is False:
                continue
            off = value in (0, "", [], {})
            if SUSPICIOUS.search(name) and not off:
                raise RoutelineError(
                    f"config key {shorten(self.label(name))}={shorten(value, 60)} is not understood for "
                    f"{architecture}; it may change the counts, so no answer is given (remove it if it has no effect)"
                )
            strange.append(shorten(name, 40))
        if strange:
            self.warn(f"config keys not understood and taken as without effect: {', '.join(sorted(strange)[:12])}")
