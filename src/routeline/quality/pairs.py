"""Matched pairs: MoE and dense models whose quality was compared, each row giving one q.

The rule for what may inform an estimate, in one place (`Pair.weight_reason`):

* class C (other families, other recipes) is shown and never enters;
* a size extrapolated more than four times beyond the dense ladder never enters;
* a bound ("beats both") never enters: it has no size;
* scores above and below one single dense model bracket it: with both signs present the model enters
  once, as parity with that model; with one sign they are bounds;
* interpolated, extrapolated and parity rows enter, extrapolated ones with twice the noise variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..errors import RoutelineError, UnknownName
from . import _data
from .subject import canonical, subject_of

GRADES = ("A", "B", "C", "U")
"""A same data and family, B anchored or same lab, C confounded, U given by the user (counts as B)."""

STATUSES = (
    "interpolated",
    "extrapolated",
    "far-extrapolated",
    "parity",
    "above",
    "below",
    "lower-bound",
    "upper-bound",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One comparison.

    Args:
        model, family: the MoE and the recipe it belongs to.
        active, total: its sizes [-].
        ladder: dense models compared with.
        benchmark, score: what was measured, as printed.
        matched: dense size of equal score [-].
        grade: A, B, C or U.
        status: how `matched` was obtained.
        checked: verified or recalled.
        source: key of the references, or a user's own words.
        note: what confounds it, where it stands.
    """

    model: str
    family: str
    active: float
    total: float
    ladder: str
    benchmark: str
    score: str
    matched: float
    grade: str
    status: str
    checked: str
    source: str
    note: str = ""

    @property
    def q(self) -> float:
        """Matched dense size over active size [-]."""
        return self.matched / self.active

    @property
    def qs(self) -> float:
        """Matched dense size over total size [-]."""
        return self.matched / self.total

    @property
    def kappa(self) -> float:
        """ln q / ln(1/s) [-]; below 1 the matched dense model is smaller than the MoE."""
        return math.log(self.q) / math.log(self.total / self.active)

    @property
    def weight_reason(self) -> str:
        """Why the row stays out of every estimate, or '' when it may enter."""
        if self.grade == "C":
            return "class C: confounded"
        return {
            "far-extrapolated": "more than four times beyond the ladder",
            "lower-bound": "a bound, not a size",
            "upper-bound": "a bound, not a size",
        }.get(self.status, "")

    @property
    def enters(self) -> bool:
        """The row may inform an estimate."""
        return not self.weight_reason

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        link = _data.document("references.toml").get(self.source, {}).get("url", "")
        return {
            "model": self.model,
            "ladder": self.ladder,
            "benchmark": self.benchmark,
            "score": self.score,
            "q": self.q,
            "qs": self.qs,
            "kappa": self.kappa,
            "class": self.grade,
            "status": self.status,
            "checked": self.checked,
            "enters": self.enters,
            "why_not": self.weight_reason,
            "source": link or self.source,
            "note": self.note,
        }


@cache
def load() -> tuple[Pair, ...]:
    """Every shipped row, in file order."""
    rows = []
    for row in _data.table("pairs.csv"):
        known = subject_of(row["model"])
        rows.append(
            Pair(
                model=row["model"],
                family=(known.family if known else None) or row["model"],
                active=float(row["active"]),
                total=float(row["total"]),
                ladder=row["ladder"],
                benchmark=row["benchmark"],
                score=row["score"],
                matched=float(row["matched"]),
                grade=row["grade"],
                status=row["status"],
                checked=row["checked"],
                source=row["source"],
                note="; ".join(filter(None, [row["where"], row["note"]])),
            )
        )
    return tuple(rows)


def of(name: str, extra: Iterable[Pair] = ()) -> tuple[Pair, ...]:
    """Every row about one model, user rows included; empty when none is known."""
    model = canonical(name) or str(name)
    return tuple(p for p in (*load(), *extra) if model in (p.model, canonical(p.model)))


def usable(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The rows that may inform an estimate, brackets folded to one parity row per model and ladder."""
    kept, brackets = [], {}
    for p in pairs:
        if not p.enters:
            continue
        if p.status in ("above", "below"):
            brackets.setdefault((p.model, p.ladder), []).append(p)
        else:
            kept.append(p)
    for rows in brackets.values():
        if {r.status for r in rows} == {"above", "below"}:
            kept.append(replace(rows[0], status="parity"))
    return tuple(kept)


@dataclass(frozen=True, kw_only=True)
class Empirical:
    """What a model's own usable rows say of its q: median, spread, count."""

    model: str
    family: str
    active: float
    total: float
    q: float
    low: float
    high: float
    sd_log: float | None
    rows: int
    extrapolated: int
    grade: str

    @property
    def kappa(self) -> float:
        """ln q / ln(1/s) [-]."""
        return math.log(self.q) / math.log(self.total / self.active)


def empirical(pairs: Iterable[Pair] | None = None) -> tuple[Empirical, ...]:
    """Median q per model over its usable rows, with the range and the sd of ln q."""
    groups: dict[str, list[Pair]] = {}
    for p in usable(load() if pairs is None else pairs):
        groups.setdefault(p.model, []).append(p)
    out = []
    for model, rows in groups.items():
        logs = np.log([p.q for p in rows])
        out.append(
            Empirical(
                model=model,
                family=rows[0].family,
                active=rows[0].active,
                total=rows[0].total,
                q=float(np.exp(np.median(logs))),
                low=float(np.exp(logs.min())),
                high=float(np.exp(logs.max())),
                sd_log=float(logs.std(ddof=1)) if len(rows) > 1 else None,
                rows=len(rows),
                extrapolated=sum(p.status == "extrapolated" for p in rows),
                grade=rows[0].grade,
            )
        )
    return tuple(sorted(out, key=lambda e: e.model.lower()))


def empirical_q(name: str, extra: Iterable[Pair] = ()) -> Empirical:
    """One model's own q.

    Raises:
        UnknownName: no usable row about that model.
    """
    rows = usable(of(name, extra))
    if not rows:
        raise UnknownName("model with usable pairs", name, [e.model for e in empirical()])
    return empirical(rows)[0]


def check_sizes(active: float, total: float, where: str) -> None:
    """One sentence unless 0 < active < total: a pair needs a mixture of experts, whose s is below 1."""
    if not (math.isfinite(active) and math.isfinite(total) and 0 < active < total):
        raise RoutelineError(
            f"{where}: active {active:.4g} and total {total:.4g} give s = {active / total if total else math.inf:.3g} "
            "outside (0, 1); write an MoE's parameters as 3.3B and 30.5B, active below total"
        )
