"""Numbers for charts: every value comes from the functions `compare` calls, converted here to the unit shown.

Rows are dictionaries of plain numbers and text, one per mark. Charts draw them and do no arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from .. import counts
from ..compare import Comparison, Ratio, Side
from ..dense import SHAPES
from ..errors import RoutelineError
from ..scenario import Scenario
from ..units import show
from .theme import short

Rows = list[dict[str, Any]]


def labels(c: Comparison) -> tuple[str, str]:
    """Display names of both sides: bounded, one line, never equal."""
    one, two = short(c.model.name, 34), short(c.opponent.name, 34)
    if c.opponent.architecture == "matched dense":
        two = f"matched dense, {show(float(counts.total(c.opponent)), 'count', 3)}"
    return (one, two) if one != two else (one, f"{two} (second)")


def sides(c: Comparison) -> Iterable[tuple[str, str, Side]]:
    """(role, label, side) of both."""
    first, second = labels(c)
    return (("moe", first, c.moe), ("dense", second, c.dense))


def names(c: Comparison) -> tuple[str, str]:
    """What 'R' compares, in words: MoE and dense, or the models' own names where that would be wrong."""
    if np.any(c.moe.counted.moe_layers) and not np.any(c.dense.counted.moe_layers):
        return ("MoE", "dense")
    one, two = labels(c)
    return short(one, 24), short(two, 24)


def subjects(c: Comparison) -> tuple[str, str]:
    """The same as subjects of a sentence: 'the MoE', 'the dense model', or the models' own names."""
    return ("the MoE", "the dense model") if names(c) == ("MoE", "dense") else names(c)


def ratio_title(c: Comparison) -> str:
    """The axis title of R."""
    one, two = names(c)
    text = f"R, {two} over {one} throughput"
    return text if len(text) <= 45 else f"R, {two} over {one}"


SAID = ("context", "weights", "cache", "utilisation", "memory", "layout", "routing", "tier", "dense", "q", "batch")
REQUEST = ("input", "output", "prefix_hit")
"""Fields of a scenario that `assumptions` words itself, and those that only whole requests depend on."""


def assumptions(
    c: Comparison,
    *,
    batch: bool = True,
    context: bool = True,
    layout: bool = True,
    q: bool = True,
    at: Ratio | None = None,
) -> str:
    """What a chart rests on, in one sentence a reader can check. Flags leave out what the chart varies.

    at: the ratio whose two points the chart shows, where these are not the answer's own.
    """
    s = c.scenario
    parts = [short(c.cluster.name, 60)]
    if context:
        parts.append(f"context {show(float(s.context), 'tokens')} tokens")
    if batch and s.batch is not None and at is None:
        parts.append(f"batch {float(s.batch):,.0f}")
    parts.append(f"weights {s.weights}, cache {c.moe.counted.cache}")
    parts.append(f"tier {c.ground.efficiency.name}, routing {short(c.ground.routing.name)}")
    parts.append(f"{s.memory} memory × {float(s.utilisation):g}")
    if layout:
        points = (at.moe, at.dense) if at is not None else (c.moe.point, c.dense.point)
        chosen = [f"{label}: {p.layout}" for label, p in zip(labels(c), points, strict=True) if p is not None]
        parts.append(f"layout {short(s.layout)}" + (f" ({'; '.join(chosen)})" if chosen else ""))
    elif s.layout != "auto":
        parts.append(f"layout {short(s.layout)}")
    parts += [f"{name} {value}" for name, value in _unusual(s)]
    if s.dense in SHAPES and s.dense != Scenario().dense:
        parts.append(f"{s.dense} shape of the dense model")
    if q:
        parts.append(f"q = {c.q:.3g}" + (f", {short(c.q_source, 110)}" if c.q_source else ""))
    return "; ".join(parts) + "."


def _unusual(s: Scenario) -> list[tuple[str, str]]:
    """Whatever else differs from the defaults, as (name, value with its unit)."""
    out = []
    for f in fields(Scenario):
        value = getattr(s, f.name)
        if f.name in (*SAID, *REQUEST) or value == f.default:
            continue
        text = (
            "on"
            if value is True
            else short(value)
            if isinstance(value, str)
            else show(float(value), f.metadata["unit"])
        )
        out.append((f.name.replace("_", " "), text))
    return out


IGNORE_FIT = ", or --ignore-fit to see the times all the same"
"""Advice that holds on a command line only."""


def need(c: Comparison, *roles: str) -> None:
    """Refuse a chart that needs a side which does not fit."""
    for role, _, one in sides(c):
        if role in roles and one.point is None:
            fits = f"it needs {one.devices_needed} devices" if one.devices_needed else "no cluster size tried holds it"
            raise RoutelineError(
                f"{one.name} does not fit on {c.cluster.name} at this context, so there is nothing to draw: {fits}; "
                f"use more devices{IGNORE_FIT}"
            )
