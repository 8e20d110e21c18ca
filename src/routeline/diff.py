"""Two saved questions: what was changed, what the answers became, and which change did how much."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .callable import named
from .compare import Comparison
from .errors import RoutelineError
from .resolve import ask
from .scenario import Scenario
from .scenario_file import Saved


@dataclass(frozen=True, kw_only=True)
class Change:
    """One input that differs. alone: the R and verdict of the first question with only this changed."""

    name: str
    before: Any
    after: Any
    ratio_alone: float | None = None
    verdict_alone: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One number of both answers; None where a side does not fit."""

    name: str
    unit: str
    before: float | str | None
    after: float | str | None

    @property
    def factor(self) -> float | None:
        """after / before."""
        a, b = self.before, self.after
        return b / a if isinstance(a, float) and isinstance(b, float) and a else None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Both answers, every changed input and what it does alone, every result that moved."""

    before: Comparison
    after: Comparison
    changes: tuple[Change, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def sentence(self) -> str:
        """One sentence: verdicts and R of both."""
        a, b = self.before, self.after
        if not self.changes:
            return "the two questions are the same"
        words = "the verdict stays" if a.verdict == b.verdict else "the verdict changes"
        return f"{words}: {_said(a)} -> {_said(b)}"


VERDICTS = {
    "dense": "dense ahead", "moe": "MoE ahead", "tie": "a tie", "moe_infeasible": "MoE does not fit",
    "dense_infeasible": "dense does not fit", "neither_fits": "neither fits",
}  # fmt: skip
"""Verdict codes in words."""


def _said(c: Comparison) -> str:
    return f"{VERDICTS[c.verdict]} ({_r(c.throughput_ratio)}, q = {c.q:.3g})"


def _r(value: float | None) -> str:
    return "no R" if value is None else f"R = {value:.3g}"


def diff(first: Saved, second: Saved) -> Difference:
    """Answer both, and try each change alone on the first."""
    a = ask(first.model, first.devices, first.scenario)
    changed = [
        (n, getattr(first, n), getattr(second, n))
        for n in ("model", "devices")
        if getattr(first, n) != getattr(second, n)
    ]
    changed += [
        (f.name, getattr(first.scenario, f.name), getattr(second.scenario, f.name))
        for f in fields(Scenario)
        if getattr(first.scenario, f.name) != getattr(second.scenario, f.name)
    ]
    b = ask(second.model, second.devices, second.scenario) if changed else a
    return Difference(
        before=a,
        after=b,
        changes=tuple(_alone(first, *c) for c in changed),
        outcomes=tuple(_moved(outcomes(a), outcomes(b))),
    )


def _alone(first: Saved, name: str, before: Any, after: Any) -> Change:
    try:
        if name in ("model", "devices"):
            one = replace(first, **{name: after})
        else:
            one = replace(first, scenario=replace(first.scenario, **{name: after}))
        found = ask(one.model, one.devices, one.scenario)
    except RoutelineError as error:
        return Change(name=name, before=before, after=after, verdict_alone="refused", reason=str(error))
    return Change(
        name=name, before=before, after=after, ratio_alone=found.throughput_ratio, verdict_alone=found.verdict,
        reason=found.ratios["max_batch"].reason,
    )  # fmt: skip


def outcomes(c: Comparison) -> dict[str, tuple[float | str | None, str]]:
    """The numbers of an answer that a difference reports: name -> (value, unit)."""
    out: dict[str, tuple[float | str | None, str]] = {
        "verdict": (c.verdict, ""), "s": (c.s, "-"), "q": (c.q, "-"), "qs": (c.qs, "-"),
        "reuse_penalty": (c.reuse_penalty, "-"), "headroom_gain": (c.headroom_gain, "-"),
    }  # fmt: skip
    for name, ratio in c.ratios.items():
        out[f"ratio.{name}"] = (ratio.value, "-")
    for role, one in (("moe", c.moe), ("dense", c.dense)):
        p = one.point
        out |= {
            f"{role}.weight_bytes": (one.weight_bytes, "B"),
            f"{role}.cache_bytes": (one.cache_bytes, "B"),
            f"{role}.layout": (None if p is None else str(p.layout), ""),
            f"{role}.batch": (None if p is None else p.batch, "sequences"),
            f"{role}.step_time_s": (None if p is None else float(p.step.seconds), "s"),
            f"{role}.tokens_per_s": (None if p is None else p.rate, "tokens/s"),
        }
    return out


def _moved(a: dict[str, tuple[Any, str]], b: dict[str, tuple[Any, str]]) -> list[Outcome]:
    out = []
    for name in {**a, **b}:
        (before, unit), (after, other) = a.get(name, (None, "")), b.get(name, (None, ""))
        same = before == after or (
            isinstance(before, float) and isinstance(after, float) and abs(after - before) <= 1e-12 * abs(before)
        )
        if not same:
            out.append(Outcome(name=name, unit=unit or other, before=before, after=after))
    return out


named(__name__)
