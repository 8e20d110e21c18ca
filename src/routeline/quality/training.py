"""Training tokens of known models, with source; a range, marked as a guess, for the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..errors import RoutelineError, shorten
from . import _data
from .subject import canonical, normal, subject_of


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Training tokens of one model.

    Args:
        low, high: tokens [-]; equal when one number is published.
        kind: published, derived or guess.
        source: where the number, or the silence, was read.
        note: how to read it ("at most", "family figure", "not published").
    """

    low: float
    high: float
    kind: str
    source: str
    note: str = ""

    @property
    def known(self) -> bool:
        """One published or derived number."""
        return self.kind != "guess"

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {"low": self.low, "high": self.high, "kind": self.kind, "source": self.source, "note": self.note}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@cache
def unknown_range() -> tuple[float, float]:
    """Tenth and ninetieth percentile of the published counts we list: the range for a silent model."""
    import numpy as np

    known = [v for r in _data.table("training.csv") if (v := _number(r["tokens"])) is not None]
    low, high = np.quantile(known, [0.1, 0.9])
    return float(f"{low:.2g}"), float(f"{high:.2g}")


@cache
def train_tokens(name: str) -> Tokens:
    """Published training tokens of a model by name, or a wide range marked as a guess.

    >>> train_tokens("deepseek-ai/DeepSeek-V3").low
    14800000000000.0
    """
    wanted = str(name).lower().replace("/", "--")
    rows = _data.table("training.csv")
    row = next((r for r in rows if r["model"].lower() == wanted), None)
    row = row or next((r for r in rows if normal(r["model"]) == normal(name)), None)
    if row is not None and (value := _number(row["tokens"])) is not None:
        note = "; ".join(filter(None, [row["reading"].replace("exact", "").replace("-", " "), row["note"]]))
        return Tokens(low=value, high=value, kind=row["kind"], source=f"{row['source']} {row['url']}", note=note)
    if canonical(name) and (known := subject_of(name)) and known.train_tokens:
        entry = next(r for r in _data.table("subjects.csv") if r["model"] == known.name)
        link = _data.document("references.toml")[entry["source"]]["url"]
        low, high = known.train_tokens
        return Tokens(low=low, high=high, kind=entry["kind"], source=link, note=entry["note"])
    low, high = unknown_range()
    said = f"{row['tokens']}: {row['source']} {row['url']}" if row is not None else "not in our table"
    return Tokens(
        low=low,
        high=high,
        kind="guess",
        source=said,
        note=f"not published or unknown: {low:g}..{high:g} spans eight in ten of the published counts",
    )


def parse_tokens(text: str) -> tuple[float, float]:
    """'14.8T' -> (1.48e13, 1.48e13); '5T..15T' -> both ends."""
    from ..units import parse

    parts = str(text).split("..")
    if len(parts) > 2:
        raise RoutelineError(f"training tokens {shorten(text)!r} have more than two ends; write e.g. 14.8T or 5T..15T")
    values = [parse(p.strip(), "count", "training tokens") for p in parts]
    low, high = values[0], values[-1]
    if not 0 < low <= high:
        raise RoutelineError(
            f"training tokens {shorten(text)!r} must be above zero, smaller end first; write e.g. 14.8T"
        )
    return low, high
