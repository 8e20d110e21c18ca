"""The one exception users see, and the sentence it carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RoutelineError(ValueError):
    """A refusal: what was given, which limit it broke, what to do about it. One sentence."""


class UnknownName(RoutelineError):  # noqa: N818 (it reads as the sentence it raises)
    """A name that is in no catalogue; carries the nearest known names."""

    def __init__(self, kind: str, name: object, known: Iterable[str], remedy: str = "") -> None:
        shown = shorten(name)
        folded = {k.lower(): k for k in known}
        near = difflib.get_close_matches(str(name).lower(), folded, n=4, cutoff=0.45)
        hint = f"; close: {', '.join(folded[n] for n in near)}" if near else ""
        super().__init__(f"unknown {kind} {shown!r}{hint}" + (f"; {remedy}" if remedy else ""))
        self.near = [folded[n] for n in near]


def shorten(value: object, limit: int = 80) -> str:
    """A value as text that is safe to print inside one sentence: one line, bounded length."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
