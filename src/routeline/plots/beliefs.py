"""Numbers behind the charts of q: what the evidence says, and what the answer makes of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from .. import counts, quality
from ..answer.stated import lead_ratio
from ..arch import Model
from ..compare import Comparison
from ..dense import SHAPES
from ..errors import RoutelineError
from ..odds import odds
from . import data, grid
from .theme import short


def evidence(c: Comparison) -> Any:
    """The QEvidence behind a comparison: the answer's own, else the published estimate for the model."""
    own = c.q_evidence
    for found in (own, getattr(own, "evidence", None)):
        if hasattr(found, "distribution") and hasattr(found, "laws"):
            return found
    return of_model(c.model)


def of_model(model: Model) -> Any:
    """The published estimate of q for a model.

    Raises:
        RoutelineError: a dense model has no q.
    """
    active, total = float(counts.active(model).all), float(counts.total(model))
    if active >= total * (1 - 1e-9):
        raise RoutelineError(f"{model.name} is dense: it has no q")
    known = quality.subject_of(model.name)
    return quality.estimate(known or quality.Subject(name=model.name, active=active, total=total))


def spread(c: Comparison) -> Any:
    """The evidence to draw q from: the answer's where it is a distribution, else (q stated) the published estimate."""
    own = evidence(c)
    low, high = own.interval90
    return own if high > low * 1.0001 else of_model(c.model)


def over_q(c: Comparison) -> tuple[data.Rows, dict[str, Any]]:
    """(R over q, summary): the median, both intervals, P(dense wins) and every q at which R crosses 1.

    R is the ratio that the answer leads with: at the batch or latency asked for, else at largest batches.
    """
    if c.scenario.dense not in SHAPES:
        raise RoutelineError("against a named dense model q is implied by its size; leave --dense out to vary q")
    found, lead = spread(c), lead_ratio(c)
    low, high = found.interval90
    chance = odds(replace(c, q_evidence=found, ratios={lead: c.ratios[lead]}))
    flips = [f.q for f in chance.flips if f.ratio == lead] if chance is not None else []
    ends = [*(f for f in flips if f < 100.0), min(high, 100.0) * 1.25, c.q, 8.0]
    rows = grid.over_q(c, min(1.0, low * 0.7, c.q * 0.8), max(ends) * 1.2)
    if not rows:
        raise RoutelineError(
            f"{c.model.name} and a dense match never fit together on {c.cluster.name}; use more devices"
        )
    above = None if chance is None else chance.p_above.get(lead)
    unfit = 0.0 if chance is None else chance.p_unfit.get(lead, 0.0)
    return rows, {
        "median": float(found.median), "interval50": [float(v) for v in found.interval50],
        "interval90": [float(low), float(high)], "convention": found.convention, "origin": found.origin,
        "dense": above, "unfit": unfit, "ratio": lead,
        "flips": flips,
    }  # fmt: skip


def opinions(found: Any) -> data.Rows:
    """One row per law and per pair of a QEvidence: q, where it comes from, whether it may inform the estimate."""
    out: data.Rows = []
    for law in found.laws:
        if law.q is None or not math.isfinite(law.q):
            continue
        kind = "law, in range" if law.in_range else "law, outside its range"
        if law.role == "study":
            kind = "law, for study only"
        low, high = law.q_range or (law.q, law.q)
        out.append({"what": short(law.title, 90), "q": float(law.q), "kind": kind, "note": short(law.warning, 200),
                    "low": float(low), "high": float(high)})  # fmt: skip
    for pair in found.pairs:
        kind = "matched pair, enters" if pair.enters else "matched pair, shown only"
        what = short(f"{pair.benchmark} against {pair.ladder}".replace(" -> ", " to "), 90)
        note = short(pair.weight_reason or pair.note, 200)
        q = float(pair.q)
        out.append({"what": what, "q": q, "kind": kind, "note": note, "low": q, "high": q})
    return out
