"""References of exactly the laws and pairs an answer used, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import UnknownName
from . import _data


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One source: its key, link, BibTeX entry and what it was used for."""

    key: str
    url: str
    bibtex: str
    used_for: str

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {"key": self.key, "url": self.url, "bibtex": self.bibtex, "used_for": self.used_for}


def reference(key: str, used_for: str = "") -> Reference:
    """The entry with that key.

    Raises:
        UnknownName: no such key.
    """
    known = _data.document("references.toml")
    if key not in known:
        raise UnknownName("reference", key, known)
    return Reference(key=key, url=known[key]["url"], bibtex=known[key]["bibtex"], used_for=used_for)


def collect(uses: Iterable[tuple[str, str]]) -> tuple[Reference, ...]:
    """References for (key, what for) pairs: each work once, its uses joined; users' own sources are left out."""
    known = _data.document("references.toml")
    found: dict[str, tuple[str, list[str]]] = {}
    for key, purpose in uses:
        if key not in known:
            continue
        _, purposes = found.setdefault(known[key]["bibtex"], (key, []))
        if purpose not in purposes:
            purposes.append(purpose)
    return tuple(reference(key, "; ".join(purposes)) for key, purposes in found.values())
