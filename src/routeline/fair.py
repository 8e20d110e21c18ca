"""Is the headline fair? The four ratios side by side, the weakest named, and the choices it hangs on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import layouts, requests, side
from .compare import TIE, Comparison, Side, compare, verdict
from .dense import SHAPES
from .errors import RoutelineError

LABELS = {
    "max_batch": "at largest batches",
    "equal_batch": "at equal batch",
    "tpot": "under the same time per token",
    "request": "per request",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """R under one rule. assumed: the request shape was not asked for."""

    name: str
    label: str
    value: float | None
    reason: str = ""
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Headline:
    """R under every rule; `weakest` is the one that supports the verdict least (None: no verdict)."""

    rows: tuple[Row, ...]
    weakest: Row | None
    sentence: str


def leads(value: float) -> str:
    """'dense', 'MoE' or 'neither' ahead at a ratio."""
    return "neither" if abs(value - 1.0) <= TIE else "dense" if value > 1.0 else "MoE"


def headline(comparison: Comparison) -> Headline:
    """R at largest batches, equal batch, equal TPOT and per request, and one sentence naming the weakest.

    Without a request shape the context goes in and 1k comes out, and the row says so.
    """
    c = comparison
    rows = [Row(name=n, label=_label(c, n), value=r.value, reason=r.reason) for n, r in c.ratios.items() if n in LABELS]
    if "request" not in c.ratios:
        found = requests.requests(c)
        label = f"{LABELS['request']} ({found.shape}, not asked for)"
        rows.append(Row(name="request", label=label, value=found.value, reason=found.reason, assumed=True))
    known = [r for r in rows if r.value is not None]
    main = c.throughput_ratio
    if main is None or not known:
        return Headline(rows=tuple(rows), weakest=None, sentence=c.ratios["max_batch"].reason or "no ratio exists")
    side = leads(main)
    away = (lambda r: r.value) if main >= 1.0 else (lambda r: -r.value)
    weakest = min(known, key=away)
    assert weakest.value is not None
    if side == "neither":
        far = max(known, key=lambda r: abs(math.log(r.value or 1.0)))
        text = f"a tie at largest batches; the ratio furthest from it is R = {far.value:.3g} {far.label}"
        return Headline(rows=tuple(rows), weakest=far, sentence=text)
    if weakest.name == "max_batch":
        text = f"R = {main:.3g} at largest batches is itself the weakest of {len(known)}: every rule has {side} ahead"
    elif leads(weakest.value) == side:
        text = f"{side} is ahead under every rule; the weakest is R = {weakest.value:.3g} {weakest.label}"
    else:
        text = (
            f"R = {main:.3g} at largest batches does not hold under every rule: "
            f"R = {weakest.value:.3g} {weakest.label}, {leads(weakest.value)} ahead"
        )
    return Headline(rows=tuple(rows), weakest=weakest, sentence=text)


def _label(c: Comparison, name: str) -> str:
    at = c.ratios[name].at
    if name == "equal_batch" and at is not None:
        return f"at equal batch ({int(at):,})"
    if name == "tpot" and at is not None:
        return f"under {at * 1e3:.4g} ms per token"
    if name == "request":
        return f"per request ({c.ratios[name].detail.shape})"
    return LABELS[name]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice changed alone: what R becomes. flips: the verdict is another one."""

    name: str
    given: str
    instead: str
    ratio: float | None
    verdict: str
    flips: bool
    reason: str = ""


def again(c: Comparison, **change: Any) -> Comparison:
    """The same question with some scenario fields changed; q, evidence and routing stay."""
    scenario = replace(c.scenario, **change)
    named = scenario.dense not in SHAPES
    kept = None if "tier" in change else c.ground.efficiency
    return compare(
        c.model, c.cluster, scenario, q=None if named else c.q, q_source=c.q_source,
        opponent=c.opponent if named else None,
        routed=None if {"routing", "redundant"} & set(change) else c.ground.routing, efficiency=kept,
        q_evidence=c.q_evidence,
    )  # fmt: skip


def alternatives(c: Comparison) -> list[tuple[str, str, Any]]:
    """(field, label of the choice, value instead): the choices that are made silently most often."""
    s, tp = c.scenario, min(c.cluster.count, c.cluster.node)
    wide = f"dp={c.cluster.count},ep={c.cluster.count}"
    out: list[tuple[str, str, Any]] = [
        ("memory", "memory basis", "marketed" if s.memory == "usable" else "usable"),
        ("utilisation", "memory utilisation", round(min(float(s.utilisation) + 0.05, 1.0), 4)),
        ("utilisation", "memory utilisation", round(max(float(s.utilisation) - 0.05, 0.05), 4)),
        ("tier", "tier", "ideal" if s.tier == "bandwidth" else "bandwidth"),
        ("cache", "cache format", "bf16" if c.moe.counted.cache == "fp8" else "fp8"),
        ("routing", "routing", "balanced" if s.routing == "uniform" else "uniform"),
        *(("layout", "layout", text) for text in ("auto", "pooled", f"tp={tp}", wide)),
    ]
    if s.dense in SHAPES:
        out.append(("dense", "dense shape", next(x for x in SHAPES if x != s.dense)))
    return [(f, label, v) for f, label, v in out if v != getattr(s, f)]


WITHOUT = "layout without cp/pp"


def without_split(one: Side, c: Comparison) -> Side:
    """A side with its layouts restricted to cp = 1 and pp = 1, at its largest batch there."""
    keep = (np.asarray(one.options.cp) == 1) & (np.asarray(one.options.pp) == 1)
    options = layouts.take(one.options, keep)
    found = side.at_max(one.counted, c.ground, options) if np.any(keep) else None
    return replace(one, options=options, fits=found is not None, point=found, largest=found)


def _plain_layouts(c: Comparison) -> list[Choice]:
    """R where `auto` may use neither context nor pipeline parallelism; nothing where the answer uses neither."""
    used = [x.largest.layout for x in (c.moe, c.dense) if x.largest is not None]
    if not np.ndim(c.moe.options.tp) or not any(x.cp > 1 or x.pp > 1 for x in used):
        return []
    moe, rival = (without_split(x, c) for x in (c.moe, c.dense))
    m, d = moe.largest, rival.largest
    ratio = None if m is None or d is None else d.rate / m.rate
    found = verdict(moe, rival, ratio)
    absent = "; ".join(f"{x.name} fits no layout without cp and pp" for x in (moe, rival) if not x.fits)
    return [
        Choice(name=WITHOUT, given="auto", instead="cp=1, pp=1", ratio=ratio, verdict=found,
               flips=found != c.verdict, reason=absent)
    ]  # fmt: skip


def what_matters(comparison: Comparison) -> tuple[Choice, ...]:
    """Each alternative tried alone, the one that moves R most first; flips before all others."""
    c = comparison
    base, out = c.throughput_ratio, _plain_layouts(c)
    for name, label, value in alternatives(c):
        try:
            other = again(c, **{name: value})
        except RoutelineError as error:
            refused = Choice(name=label, given=str(getattr(c.scenario, name)), instead=str(value), ratio=None,
                             verdict="refused", flips=False, reason=str(error))  # fmt: skip
            out.append(refused)
            continue
        out.append(
            Choice(
                name=label, given=str(getattr(c.scenario, name)), instead=str(value), ratio=other.throughput_ratio,
                verdict=other.verdict, flips=other.verdict != c.verdict, reason=other.ratios["max_batch"].reason,
            )
        )  # fmt: skip

    def moved(choice: Choice) -> float:
        if choice.ratio is None or base is None:
            return 1e3 if choice.flips else -1.0
        return abs(math.log(choice.ratio / base))

    return tuple(sorted(out, key=lambda x: (not x.flips, -moved(x))))
