"""The only reader of data/quality: tables and laws as plain dictionaries, cached."""

from __future__ import annotations

from functools import cache


def _text(name: str) -> str:
    from importlib.resources import files

    return (files("routeline") / "data" / "quality" / name).read_text(encoding="utf-8")


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Rows of a shipped CSV, every value as text."""
    import csv
    import io

    return tuple(csv.DictReader(io.StringIO(_text(name))))


@cache
def document(name: str) -> dict:
    """A shipped TOML file as a dictionary; treat it as read-only."""
    import tomllib

    return tomllib.loads(_text(name))
