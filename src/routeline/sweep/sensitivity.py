"""What an answer hangs on: elasticities at a point, the swing of every choice, and a global ranking.

"What should I find out first?" is the order of the total Sobol indices over the ranges stated.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import dense, resolve
from ..errors import RoutelineError, UnknownName
from ..ground import network
from . import axes as axes_
from . import cells, lower, outputs
from . import space as spaces
from .lower import Cell

STEP = 0.05
"""Relative change for an elasticity: wide enough to pass over the steps of floored batches."""
NUMBERS = ("context", "q", "utilisation", "memory", "bandwidth", "peak", "link", "nic", "overhead", "batch")

RANGES: dict[str, tuple[str, float, float, str]] = {
    "context": ("times", 0.25, 4.0, "guess: what is served differs from what is planned"),
    "utilisation": ("to", 0.80, 0.95, "guess: what serving engines are usually given"),
    "memory": ("times", 0.95, 1.0, "guess: driver and runtime keep some"),
    "bandwidth": ("times", 0.6, 1.0, "guess: attained share of the datasheet's"),
    "peak": ("times", 0.4, 1.0, "guess: attained share of the datasheet's"),
    "link": ("times", 0.4, 1.0, "guess: attained share of the datasheet's"),
    "nic": ("times", 0.4, 1.0, "guess: attained share of the datasheet's"),
}
"""Default ranges of a global analysis: times the value at the point, or from-to; all guesses. q has its evidence."""

CHOICES: dict[str, tuple[str, ...]] = {
    "routing": ("uniform", "balanced", "zipf:0.8"), "tier": ("bandwidth", "ideal", "calibrated"),
    "layout": ("auto", "pooled"), "memory": ("usable", "marketed"), "weights": ("native", "fp8", "bf16"),
    "cache": ("bf16", "fp8"), "dense": ("same-attention", "standard"),
}  # fmt: skip


@dataclass(frozen=True)
class Elasticity:
    """d ln R / d ln x at a point: R changes by about `value` percent when x changes by one. low, high: R at x
    less and more STEP; value None where R has no value on one side."""

    name: str
    at: float
    unit: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Swing:
    """R when one choice is made otherwise; None where it has no value or is refused (`reason`)."""

    name: str
    choice: str
    ratio: float | None
    reason: str = ""


@dataclass(frozen=True)
class Global:
    """Sobol indices over ranges. of: what was analysed ('ln R', or 'dense leads' where R does not exist
    everywhere). first and total: name -> (index, 95% half width), by falling total."""

    of: str
    ranges: dict[str, tuple[float, float, str]]
    first: dict[str, tuple[float, float]]
    total: dict[str, tuple[float, float]]
    samples: int
    unfit: float
    dense_leads: float


@dataclass(frozen=True)
class Sensitivity:
    """Everything at one point."""

    ratio: float
    elasticities: tuple[Elasticity, ...]
    swings: tuple[Swing, ...]
    ranking: Global | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def sensitivity(
    model: Any,
    devices: Any,
    *,
    ranges: Mapping[str, tuple[Any, Any]] | None = None,
    samples: int = 1024,
    ranking: bool = True,
    **settings: Any,
) -> Sensitivity:
    """Elasticities of R at a point, R under every other choice, and the ranking over ranges.

    settings: fixed settings of a sweep (context, weights, q, ...). ranges: name -> (low, high) instead of RANGES;
    only these are varied then. samples: base samples of the Sobol design, a power of two.

    Raises:
        RoutelineError: R has no value at the point, unknown names, bad ranges, SALib missing.
    """
    if ranking:
        check_samples(samples)
        if needs():
            raise RoutelineError(needs())
    cell, numbers = _point(model, devices, settings)
    vary = resolve_ranges(numbers, ranges, q_range(cell, settings)) if ranking else None
    here = _ratios(cell, numbers)
    if not np.isfinite(here[0]):
        why = lower.REASONS[int(outputs.direct(cell, numbers, ["reason"])["reason"])]
        raise RoutelineError(
            f"R has no value at this point ({why}), so nothing can be said of its sensitivity; change the point"
        )
    return Sensitivity(
        ratio=float(here[0]), elasticities=elasticities(cell, numbers), swings=swings(model, devices, settings),
        ranking=None if vary is None else sobol(cell, numbers, vary, samples), settings=dict(settings),
    )  # fmt: skip


def needs() -> str:
    """What a global ranking lacks on this machine; '' where it lacks nothing."""
    if importlib.util.find_spec("SALib") is None:
        return "a global ranking needs SALib; pip install 'routeline[sweep]'"
    return ""


def _point(model: Any, devices: Any, settings: Mapping[str, Any]) -> tuple[Cell, dict[str, float]]:
    """A cell and every number that can be varied at it."""
    space = spaces.make({"model": [model]}, devices=devices, outputs=["ratio"], **settings)
    cell = cells.cell(space, 0)
    s, place = cell.scenario, cell.cluster
    net = network(place)
    numbers: dict[str, float] = {
        "context": float(s.context), "utilisation": float(s.utilisation),
        "memory": float((cell.numbers or {}).get("memory", place.device.memory(s.memory))),
        "bandwidth": float(place.device.bandwidth), "peak": 1.0,
    }  # fmt: skip
    if cell.opponent is None and s.q is not None:
        numbers["q"] = float(s.q)
    if float(s.overhead) > 0:
        numbers["overhead"] = float(s.overhead)
    for name in ("link", "nic"):
        if math.isfinite(getattr(net, name)):
            numbers[name] = float(getattr(net, name))
    return cell, {**numbers, **{k: float(v) for k, v in (cell.numbers or {}).items()}}


def _ratios(cell: Cell, numbers: Mapping[str, Any]) -> np.ndarray:
    """R at points (arrays of one axis), NaN where it has none."""
    size = max((np.size(v) for v in numbers.values()), default=1)
    given = {
        k: np.broadcast_to(np.asarray(v, float), (size,)) if np.size(v) > 1 or size > 1 else float(v)
        for k, v in numbers.items()
    }
    found = outputs.direct(cell, given, ["ratio"])
    return np.where(np.broadcast_to(found["ratio?"], (size,)), np.broadcast_to(found["ratio"], (size,)), np.nan)


def elasticities(cell: Cell, numbers: Mapping[str, float], step: float = STEP) -> tuple[Elasticity, ...]:
    """Central elasticities of R to every number, largest first."""
    out = []
    for name, at in numbers.items():
        ends = np.array([at * (1.0 - step), at * (1.0 + step)])
        ends = np.clip(ends, axes_.AXES[name].low, axes_.AXES[name].high)
        low, high = _ratios(cell, {**numbers, name: ends})
        known = np.isfinite(low) and np.isfinite(high) and ends[1] > ends[0]
        value = float(np.log(high / low) / np.log(ends[1] / ends[0])) if known else None
        out.append(
            Elasticity(
                name, at, axes_.AXES[name].unit, value, *(float(r) if np.isfinite(r) else None for r in (low, high))
            )
        )
    return tuple(sorted(out, key=lambda e: -abs(e.value) if e.value is not None else math.inf))


def swings(model: Any, devices: Any, settings: Mapping[str, Any]) -> tuple[Swing, ...]:
    """R when one choice at a time is made otherwise."""
    out = []
    for name, choices in CHOICES.items():
        for choice in choices:
            if settings.get(name) == choice or (
                name == "dense" and settings.get("dense", choice) not in CHOICES["dense"]
            ):
                continue
            try:
                cell, numbers = _point(model, devices, {**settings, name: choice})
                found = _ratios(cell, numbers)[0]
                reason = (
                    ""
                    if np.isfinite(found)
                    else lower.REASONS[int(outputs.direct(cell, numbers, ["reason"])["reason"])]
                )
                out.append(Swing(name, choice, float(found) if np.isfinite(found) else None, reason))
            except RoutelineError as error:
                out.append(Swing(name, choice, None, str(error)))
    return tuple(out)


def check_samples(samples: int) -> None:
    """Refuse a design that Saltelli's sequence cannot have."""
    if samples < 8 or samples > 2**20 or samples & (samples - 1):
        raise RoutelineError(f"samples must be a power of two from 8 to 1,048,576, not {samples}")


def q_range(cell: Cell, settings: Mapping[str, Any]) -> tuple[float, float, str] | None:
    """The 90% interval of q that `compare` shows; of the estimate where a single q was stated."""
    if cell.opponent is not None or cell.model is None:
        return None
    names = ("q", "q_law", "convention", "train_tokens", "q_pairs")
    asked = {k: settings[k] for k in names if settings.get(k) is not None}
    for given in (asked, {k: v for k, v in asked.items() if k in ("convention", "train_tokens", "q_pairs")}):
        low, high = (float(v) for v in resolve.q_of(cell.model, resolve.scenario(given)).interval90)
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return low, high, "90% interval of the evidence on q, as `compare` shows it"
    return None


def resolve_ranges(
    numbers: Mapping[str, float],
    ranges: Mapping[str, tuple[Any, Any]] | None,
    q: tuple[float, float, str] | None = None,
) -> dict[str, tuple[float, float, str]]:
    """(low, high, where from) of every number to vary; q: its default range.

    Raises:
        RoutelineError: an unknown name, values out of range, low not below high.
    """
    if ranges is not None:
        out = {}
        for name, ends in ranges.items():
            plain = axes_.canonical(name)
            if plain not in numbers:
                raise UnknownName("number to vary", name, numbers, "only numbers that matter at this point vary")
            low, high = axes_.make(plain, list(ends)).values
            if not low < high:
                raise RoutelineError(f"range of {name}: {low:g} is not below {high:g}")
            out[plain] = (low, high, "given")
        if len(out) < 2:
            raise RoutelineError("a ranking needs at least two ranges")
        return out
    out = {}
    for name, at in numbers.items():
        if name == "q" and q is not None:
            out[name] = q
        elif name in RANGES:
            how, a, b, why = RANGES[name]
            low, high = (a * at, b * at) if how == "times" else (min(a, at), max(b, at))
            kind = axes_.AXES[name]
            out[name] = (max(low, kind.low), min(high, kind.high), why)
    return out


def sobol(
    cell: Cell, numbers: Mapping[str, float], vary: Mapping[str, tuple[float, float, str]], samples: int = 1024
) -> Global:
    """Sobol indices of ln R over ranges (of resolve_ranges), uniform in the logarithm (Saltelli's design, by SALib).

    Where a side does not fit in part of the ranges, ln R does not exist there and the indices are of the
    indicator "dense leads" (R > 1, or only the dense model fits).

    Raises:
        RoutelineError: SALib missing, bad ranges or samples, or nothing fits anywhere.
    """
    if needs():
        raise RoutelineError(needs())
    from SALib.analyze import sobol as analyse
    from SALib.sample import sobol as sample

    check_samples(samples)
    vary = dict(vary)
    if not cell.scenario.extend_context and "context" in vary:
        limits = [m.context_limit for m in (cell.model, cell.opponent) if m is not None and m.context_limit is not None]
        low, high, why = vary["context"]
        top = min([high, *map(float, limits)])
        vary["context"] = (min(low, top / 2), top, why)
    least = cell.opponent is None and "q" in vary and cell.model is not None
    if least:
        low, high, why = vary["q"]
        smallest = dense.smallest_q(cell.model, cell.scenario.dense) * 1.01  # type: ignore[arg-type]
        vary["q"] = (max(low, smallest), max(high, 1.1 * smallest), why)
    problem = {
        "num_vars": len(vary), "names": list(vary), "bounds": [[math.log(a), math.log(b)] for a, b, _ in vary.values()],
    }  # fmt: skip
    points = np.exp(sample.sample(problem, samples, calc_second_order=False, seed=1))
    given = {**numbers, **{n: points[:, i] for i, n in enumerate(vary)}}
    found = np.concatenate([
        _outcomes(cell, {k: v[i : i + 2**14] if np.size(v) > 1 else v for k, v in given.items()})
        for i in range(0, len(points), 2**14)
    ])  # fmt: skip
    ratio, leads = found[:, 0], found[:, 1]
    unfit = float(np.mean(np.isnan(ratio)))
    if unfit == 1.0:
        raise RoutelineError("nothing fits anywhere in these ranges; widen them or take more devices")
    y, of = (np.log(ratio), "ln R") if unfit == 0.0 else (leads, "dense leads")
    if np.ptp(y) == 0.0:
        one = dict.fromkeys(vary, (0.0, 0.0))
        return Global(of, vary, one, one, samples, unfit, float(np.mean(leads)))
    s = analyse.analyze(problem, y, calc_second_order=False, seed=1)
    order = np.argsort(-s["ST"])
    names = list(vary)

    def ranked(key: str) -> dict[str, tuple[float, float]]:
        return {names[i]: (float(s[key][i]), float(s[f"{key}_conf"][i])) for i in order}

    return Global(of, vary, ranked("S1"), ranked("ST"), samples, unfit, float(np.mean(leads)))


def _outcomes(cell: Cell, numbers: Mapping[str, Any]) -> np.ndarray:
    """Columns R (NaN where it has none) and "dense leads" (1 where R > 1 or only the dense model fits)."""
    size = max(np.size(v) for v in numbers.values())
    given = {k: np.broadcast_to(np.asarray(v, float), (size,)) for k, v in numbers.items()}
    found = outputs.direct(cell, given, ["ratio", "reason"])
    ok = np.broadcast_to(found["ratio?"], (size,))
    ratio = np.where(ok, np.broadcast_to(found["ratio"], (size,)), np.nan)
    reason = np.broadcast_to(np.asarray(found["reason"]), (size,))
    with np.errstate(invalid="ignore"):
        leads = (ratio > 1.0) | (reason == lower.REASONS.index("moe does not fit"))
    return np.stack([ratio, leads.astype(float)], axis=1)


__all__ = ["Elasticity", "Global", "Sensitivity", "Swing", "elasticities", "sensitivity", "sobol", "swings"]
