"""Is the headline fair? The four ratios side by side, the weakest named, and the choices it hangs on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import layouts, requests, side
from .compare import TIE, Comparison, Side, compare, rule, verdict
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


def lead_ratio(c: Comparison) -> str:
    """The ratio that answers the question: at the batch or latency asked for, else at largest batches."""
    asked = c.scenario
    name = "equal_batch" if asked.batch is not None else "tpot" if asked.tpot is not None else "max_batch"
    return name if c.ratios[name].value is not None else "max_batch"


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
    """One choice changed alone: what R (`lead_ratio`) becomes. flips: another side leads, or does not fit."""

    name: str
    given: str
    instead: str
    ratio: float | None
    verdict: str
    flips: bool
    reason: str = ""


def again(c: Comparison, rule: str, **change: Any) -> Comparison:
    """The same question with some scenario fields changed; q, evidence and routing stay. R under `rule` alone."""
    scenario = replace(c.scenario, **change)
    named = scenario.dense not in SHAPES
    kept = None if "tier" in change else c.ground.efficiency
    return compare(
        c.model, c.cluster, scenario, q=None if named else c.q, q_source=c.q_source,
        opponent=c.opponent if named else None,
        routed=None if {"routing", "redundant"} & set(change) else c.ground.routing, efficiency=kept,
        q_evidence=c.q_evidence, rules=(rule,),
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


def plain_layouts(c: Comparison) -> list[Choice]:
    """R where `auto` may use neither context nor pipeline parallelism; nothing where the answer uses neither."""
    pair = c.ratios[lead_ratio(c)]
    used = [p.layout for p in (pair.moe, pair.dense) if p is not None]
    if not np.ndim(c.moe.options.tp) or not any(x.cp > 1 or x.pp > 1 for x in used):
        return []
    moe, rival = (without_split(x, c) for x in (c.moe, c.dense))
    found = rule(lead_ratio(c), moe, rival, c.ground, c.scenario)
    absent = "; ".join(f"{x.name} fits no layout without cp and pp" for x in (moe, rival) if not x.fits)
    return [_choice(c, WITHOUT, "auto", "cp=1, pp=1", found.value, verdict(moe, rival, found.value), absent)]


def _choice(
    c: Comparison, name: str, given: str, instead: str, ratio: float | None, found: str, reason: str = ""
) -> Choice:
    """A changed choice beside the answer: `found` is its verdict, by the ratio that answers the question."""
    before = verdict(c.moe, c.dense, c.ratios[lead_ratio(c)].value)
    return Choice(
        name=name, given=given, instead=instead, ratio=ratio, verdict=found,
        flips=found != "refused" and leader(found) != leader(before), reason=reason,
    )  # fmt: skip


def leader(found: str) -> str:
    """The side a verdict is for: 'dense' and 'moe_infeasible' are for the dense model. Others speak for themselves."""
    return {"moe_infeasible": "dense", "dense_infeasible": "moe"}.get(found, found)


def what_matters(comparison: Comparison) -> tuple[Choice, ...]:
    """Each alternative tried alone, the one that moves R most first; flips before all others, and a side that no
    longer fits after ratios that turn."""
    c, main = comparison, lead_ratio(comparison)
    base, out = c.ratios[main].value, plain_layouts(c)
    used = {"tier": c.ground.efficiency.name, "cache": c.moe.counted.cache}
    for name, label, value in alternatives(c):
        given = str(getattr(c.scenario, name))
        given = used.get(name, given) if given == "auto" else given
        try:
            other = again(c, main, **{name: value})
        except RoutelineError as error:
            out.append(_choice(c, label, given, str(value), None, "refused", str(error)))
            continue
        ratio = other.ratios[main]
        found = verdict(other.moe, other.dense, ratio.value)
        if ratio.value is None and other.moe.fits and other.dense.fits:
            found = "refused"
        out.append(_choice(c, label, given, str(value), ratio.value, found, ratio.reason))

    def moved(choice: Choice) -> float:
        return -1.0 if choice.ratio is None or base is None else abs(math.log(choice.ratio / base))

    return tuple(sorted(out, key=lambda x: (not x.flips, x.ratio is None, -moved(x))))
