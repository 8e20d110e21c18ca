"""MoE against its matched dense model (or any second model): ratios, penalties, verdict.

Pure: models and clusters come in as objects, numbers go out in one frozen Comparison. Names are
resolved in routeline.resolve; text and JSON are made in routeline.answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from . import counts, dense, estimate, layouts, side
from .arch import Model
from .counts import Counted
from .errors import RoutelineError
from .ground import make_ground, options, prepared
from .hardware import Cluster, Sourced
from .routing import Routing
from .scenario import Efficiency, Layout, Precision, Scenario
from .side import TIE, Ground, Point


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One value an answer rests on. default: nobody asked for it."""

    name: str
    value: Any
    unit: str = ""
    kind: str = "given"
    source: str = ""
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Side:
    """One model's half of the answer. weight_bytes: one copy [B]; cache_bytes: one sequence [B].

    point: at the batch asked for, else at the largest admissible one; where the model does not fit None,
    or the forced point with ignore_fit. largest: at the largest admissible batch, whatever was asked.
    reason: why it does not fit; held: these devices would hold it, in another layout or number than asked.
    """

    name: str
    counted: Counted
    options: Layout
    fits: bool
    point: Point | None
    largest: Point | None
    weight_bytes: float
    cache_bytes: float
    devices_needed: int | None
    reason: str = ""
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """R = dense over MoE throughput under one rule, with the two points it compares. None: `reason`."""

    name: str
    value: float | None
    moe: Point | None = None
    dense: Point | None = None
    reason: str = ""
    at: float | None = None
    """The common batch or the TPOT limit [s]."""
    detail: Any = field(default=None, repr=False)
    """ratios['request']: the requests.Requests behind it."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The answer. throughput_ratio = ratios['max_batch'].value = reuse_penalty * headroom_gain."""

    model: Model
    opponent: Model
    cluster: Cluster
    scenario: Scenario
    ground: Ground
    s: float
    q: float
    qs: float
    q_source: str
    moe: Side
    dense: Side
    ratios: dict[str, Ratio]
    reuse_penalty: float | None
    headroom_gain: float | None
    verdict: str
    assumptions: tuple[Assumption, ...]
    warnings: tuple[str, ...]
    q_evidence: Any = field(default=None, repr=False)

    @property
    def throughput_ratio(self) -> float | None:
        return self.ratios["max_batch"].value

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, as `routeline compare` prints it."""
        return import_module("routeline.answer").verdict(self)

    @property
    def break_even(self) -> dict[str, Any]:
        """Where the verdict turns, by variable (routeline.breakeven.break_evens); solved when asked for."""
        return import_module("routeline.breakeven").break_evens(self)

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain values: the JSON of docs/json.md."""
        made = import_module("routeline.answer")
        return made.clean(made.payload(self))

    def __repr__(self) -> str:
        ratio = "none" if self.throughput_ratio is None else f"{self.throughput_ratio:.4g}"
        return f"Comparison({self.model.name!r}, {self.cluster.name!r}, verdict={self.verdict!r}, R={ratio})"

    def chart(self, name: str, **options: Any) -> Any:
        """A chart of this answer, by a name of routeline.plots.CHARTS; needs the extra [plots].

        Charts and reports are looked up when called: the core imports nothing that stands above it.
        """
        return import_module("routeline.plots").chart(name, self, **options)

    def report(self, path: Any, **options: Any) -> Any:
        """Write this answer as one file, .html or .md (routeline.report.write)."""
        return import_module("routeline.report").write(self, path, **options)

    def _repr_html_(self) -> str:
        return import_module("routeline.report").snippet(self)


@lru_cache(maxsize=128)
def _matched(model: Model, q: float, shape: str) -> tuple[Model, float]:
    other = dense.matched(model, q, shape)
    return other, float(counts.active(other).all)


@lru_cache(maxsize=128)
def _size(model: Model) -> tuple[float, float]:
    return float(counts.active(model).all), float(counts.total(model))


def compare(
    model: Model,
    cluster: Cluster,
    scenario: Scenario,
    *,
    q: float | None = None,
    q_source: str = "",
    opponent: Model | None = None,
    routed: Routing | None = None,
    efficiency: Efficiency | None = None,
    q_evidence: Any = None,
    rules: Iterable[str] = ("equal_batch", "tpot"),
) -> Comparison:
    """Compare `model` with its matched dense model of size q, or with `opponent` (q is then implied).

    rules: what to compare under beside the largest batches; `request` follows from the scenario.

    Raises:
        RoutelineError: context past a model's limit, a layout that cannot run, q too small for the shape.
    """
    ground = make_ground(cluster, scenario, routed, efficiency)
    active, total = _size(model)
    if opponent is None:
        if q is None:
            raise RoutelineError("q is needed for the matched dense model; give --q or let the evidence choose")
        opponent, _ = _matched(model, float(q), scenario.dense)
    else:
        q = _size(opponent)[0] / active
        q_source = f"implied by {opponent.name}"
    s = active / total
    warnings = _context(model, scenario) + _context(opponent, scenario)
    moe = _side(model, cluster, scenario, ground, "moe")
    rival = _side(opponent, cluster, scenario, ground, "dense")
    ratios = {name: rule(name, moe, rival, ground, scenario) for name in dict.fromkeys(("max_batch", *rules))}
    if scenario.input is not None or scenario.output is not None:
        warnings += _request_limits(model, opponent, scenario)
        ratios["request"] = _request(moe, rival, ground, scenario)
    reuse, headroom = _penalties(moe, rival, ratios["max_batch"], ground)
    device = cluster.device
    for one in (moe, rival):
        if one.fits and one.reason:
            warnings.append(f"{one.name}: {one.reason}; its numbers are for that")
        warnings += estimate.format_warnings(one.counted, ground.rates, device, Precision(compute=scenario.compute))
    if bold := split_layouts(ground, (moe.point, rival.point)):
        warnings.append(
            f"no measured deployment uses context or pipeline parallelism, so times of {' and '.join(bold)} are "
            "extrapolated; --layout names another layout"
        )
    warnings += list(model.warnings)
    if ground.rates.network.nic is not math.inf and cluster.count > cluster.node and scenario.layout == "auto":
        warnings.append("tensor parallelism is kept inside a node; other dimensions may cross the NICs")
    return Comparison(
        model=model, opponent=opponent, cluster=cluster, scenario=scenario, ground=ground, s=s, q=float(q),
        qs=float(q) * s, q_source=q_source, moe=moe, dense=rival, ratios=ratios, reuse_penalty=reuse,
        headroom_gain=headroom, verdict=verdict(moe, rival, ratios["max_batch"].value),
        assumptions=tuple(_assumptions(cluster, scenario, ground, moe, rival, float(q), q_source)),
        warnings=tuple(dict.fromkeys(warnings)), q_evidence=q_evidence,
    )  # fmt: skip


def split_layouts(ground: Ground, points: Iterable[Point | None]) -> list[str]:
    """Layouts of a calibrated answer that split context or layers, which no measured deployment does."""
    if ground.efficiency.kernels is None:
        return []
    used = [p.layout for p in points if p is not None and (p.layout.cp > 1 or p.layout.pp > 1)]
    return list(dict.fromkeys(map(str, used)))


def _context(model: Model, scenario: Scenario, what: str = "context", flag: str = "--context") -> list[str]:
    """Refuse (or warn of, with extend_context) more tokens than a model's limit."""
    limit = model.context_limit
    if limit is None or scenario.context <= limit:
        return []
    text = f"{what} of {int(scenario.context):,} tokens is past the limit of {model.name} ({int(limit):,} tokens)"
    if not scenario.extend_context:
        raise RoutelineError(f"{text}; use a shorter {flag}, or --extend-context to compute it all the same")
    return [f"{text}; computed all the same: quality there is unknown"]


def _request(moe: Side, rival: Side, ground: Ground, scenario: Scenario) -> Ratio:
    """R per request: prefill of the uncached prompt and decode of the output (routeline.requests)."""
    from . import requests

    shape = requests.shape_of(scenario)
    assert shape is not None
    found = requests.between(moe, rival, ground, scenario, shape)
    points = [requests.decode_point(x.counted, ground, c, shape) for x, c in ((moe, found.moe), (rival, found.dense))]
    return Ratio(name="request", value=found.value, moe=points[0], dense=points[1], reason=found.reason, detail=found)


def _request_limits(model: Model, opponent: Model, scenario: Scenario) -> list[str]:
    """Refuse (or warn of, with extend_context) requests longer than a model's limit."""
    from . import requests

    shape = requests.shape_of(scenario)
    assert shape is not None
    whole = replace(scenario, context=float(shape.input) + float(shape.output))
    return [text for x in (model, opponent) for text in _context(x, whole, "a request", "--input and --output")]


def _side(model: Model, cluster: Cluster, scenario: Scenario, ground: Ground, role: str) -> Side:
    counted = prepared(model, scenario)
    choice = options(counted, cluster, scenario, role)
    largest = point = side.at_max(counted, ground, choice)
    fits, reason = largest is not None, "" if largest else "not even one sequence fits beside the weights"
    if largest is not None and scenario.batch is not None:
        point = side.at_batch(counted, ground, choice, float(scenario.batch))
        if point is None:
            reason = f"batch {int(scenario.batch)} does not fit, at most {int(largest.max_batch)} does"
            fits, point = not scenario.ignore_fit, largest
    if not fits:
        point = None
        if scenario.ignore_fit:
            point = side.at_batch(counted, ground, choice, float(scenario.batch or 1.0), fit=False)
    whole = layouts.pooled(1)
    pooled = scenario.layout.strip().lower() == "pooled"
    need = side.devices_needed(counted, ground, node=cluster.largest_node, pooled=pooled)
    held = largest is None and need is not None and need <= cluster.count
    if held:
        reason = _held(counted, ground, choice, cluster, int(need or 0))
    return Side(
        name=model.name, counted=counted, options=choice, fits=fits, point=point, largest=largest,
        weight_bytes=float(side.memory.weights_per_device(counted, whole)),
        cache_bytes=float(side.memory.cache_per_device(counted, whole, ground.workload)),
        devices_needed=need, reason=reason, held=held,
    )  # fmt: skip


def _held(counted: Counted, ground: Ground, choice: Layout, cluster: Cluster, need: int) -> str:
    """Why a side does not run on devices that would hold it."""
    every = layouts.candidates(counted, cluster.count, cluster.node, ground.routing.redundant)
    if np.ndim(choice.tp) or not np.any(np.asarray(side.max_batch(counted, ground, every)) >= 1):
        return (
            f"no layout of {cluster.count} devices holds it: they do not divide its heads and experts; "
            f"{need} of them would do"
        )
    return f"in layout {choice} not even one sequence fits beside the weights; --layout auto holds it"


def _again(one: Side, batch: float) -> Point | None:
    """The side's own point when it already is the answer: a single layout at this batch."""
    point = one.point
    return point if point is not None and point.batch == batch and not np.ndim(one.options.tp) else None


def _missing(moe: Side, rival: Side) -> str:
    return "; ".join(f"{x.name} does not fit: {x.reason}" for x in (moe, rival) if not x.fits)


def _ratio(name: str, moe: Point | None, rival: Point | None, reason: str, at: float | None = None) -> Ratio:
    if moe is None or rival is None:
        return Ratio(name=name, value=None, moe=moe, dense=rival, reason=reason, at=at)
    return Ratio(name=name, value=rival.rate / moe.rate, moe=moe, dense=rival, at=at)


def rule(name: str, moe: Side, rival: Side, ground: Ground, scenario: Scenario) -> Ratio:
    """R under one rule: max_batch, equal_batch or tpot."""
    if name == "max_batch":
        return _at_max(moe, rival)
    return (_equal_batch if name == "equal_batch" else _tpot)(moe, rival, ground, scenario)


def _at_max(moe: Side, rival: Side) -> Ratio:
    if not (moe.fits and rival.fits):
        return Ratio(name="max_batch", value=None, reason=_missing(moe, rival))
    return _ratio("max_batch", moe.largest, rival.largest, "")


def _equal_batch(moe: Side, rival: Side, ground: Ground, scenario: Scenario) -> Ratio:
    if not (moe.fits and rival.fits):
        return Ratio(name="equal_batch", value=None, reason=_missing(moe, rival))
    if scenario.batch is not None:
        batch = float(scenario.batch)
    else:
        assert moe.largest is not None
        assert rival.largest is not None
        batch = min(moe.largest.max_batch, rival.largest.max_batch)
    a, b = (_again(x, batch) or side.at_batch(x.counted, ground, x.options, batch) for x in (moe, rival))
    absent = "; ".join(f"{x.name} does not admit batch {int(batch)}" for x, p in ((moe, a), (rival, b)) if p is None)
    return _ratio("equal_batch", a, b, absent, batch)


def _tpot(moe: Side, rival: Side, ground: Ground, scenario: Scenario) -> Ratio:
    if not (moe.fits and rival.fits):
        return Ratio(name="tpot", value=None, reason=_missing(moe, rival))
    assert moe.largest is not None
    limit = float(scenario.tpot) if scenario.tpot is not None else moe.largest.tpot
    own = scenario.tpot is None and not np.ndim(moe.options.tp)
    a = moe.largest if own else side.under_tpot(moe.counted, ground, moe.options, limit)
    b = side.under_tpot(rival.counted, ground, rival.options, limit)
    slow = "; ".join(
        f"{x.name} cannot reach {limit * 1e3:.4g} ms per token at any batch"
        for x, p in ((moe, a), (rival, b))
        if p is None
    )
    return _ratio("tpot", a, b, slow, limit)


def _penalties(moe: Side, rival: Side, at_max: Ratio, ground: Ground) -> tuple[float | None, float | None]:
    """R = [t_m(B_m)/t_d(B_m)] * [(B_d/t_d(B_d)) / (B_m/t_d(B_m))]: reuse penalty, headroom gain (section 7)."""
    m, d = at_max.moe, at_max.dense
    if at_max.value is None or m is None or d is None:
        return None, None
    there = float(side.step_at(rival.counted, ground, d.layout, m.batch).seconds)
    reuse = float(m.step.seconds) / there
    return reuse, at_max.value / reuse


def verdict(moe: Side, rival: Side, ratio: float | None) -> str:
    """dense | moe | tie | moe_infeasible | dense_infeasible | neither_fits, from R at largest batches."""
    if not moe.fits or not rival.fits or ratio is None:
        if not moe.fits and not rival.fits:
            return "neither_fits"
        return "moe_infeasible" if not moe.fits else "dense_infeasible"
    if abs(ratio - 1.0) <= TIE:
        return "tie"
    return "dense" if ratio > 1.0 else "moe"


def hardware(
    cluster: Cluster, scenario: Scenario, ground: Ground, moe: Side, rival: Side
) -> Iterable[tuple[str, Any, str]]:
    """(name, value, unit) of every figure of the devices that this answer uses: peaks only of the formats that its
    weights and attention are computed in, links only where work is spread, start-up times where the tier has them."""
    device, ran = cluster.device, ground.rates.computed_in
    usable = scenario.memory == "usable" and device.memory_usable
    yield "device.memory", device.memory_usable if usable else device.memory_marketed, "B"
    yield "device.bandwidth", device.bandwidth, "B/s"
    stored = {op.format for x in (moe, rival) for op in x.counted.operations} | {ground.attention_format}
    for fmt, peak in device.peaks.items():
        if fmt in {ran.get(f, f) for f in stored}:
            yield f"device.peak.{fmt}", peak, "FLOP/s"
    if scenario.layout.strip().lower() == "pooled" or cluster.count == 1:
        return
    starts = ground.efficiency.kernels is None and ground.efficiency.latency_scale > 0.0
    inside, outside = (cluster.link if cluster.node > 1 else None), cluster.count > cluster.node
    for name, link in (("link", inside), ("nic", cluster.nic if outside else None)):
        if link is not None:
            yield f"device.{name}", link.bandwidth, "B/s"
            if starts:
                yield f"{name}.hop", link.hop, "s"


def _assumptions(
    cluster: Cluster, scenario: Scenario, ground: Ground, moe: Side, rival: Side, q: float, q_source: str
) -> list[Assumption]:
    from dataclasses import fields

    out: list[Assumption] = []
    for f in fields(Scenario):
        value = getattr(scenario, f.name)
        if f.name == "q":
            out.append(Assumption(name="q", value=q, unit="-", kind="given" if scenario.q is not None else "fitted",
                                  source=q_source, default=scenario.q is None))  # fmt: skip
            continue
        given = value != f.default
        out.append(
            Assumption(
                name=f.name,
                value=value,
                unit=f.metadata["unit"],
                kind="given" if given else "default",
                source="asked" if given else f.metadata["what"],
                default=not given,
            )
        )
    out += [
        Assumption(name=name, value=float(value), unit=unit, kind=getattr(value, "kind", "derived"),
                   source=getattr(value, "source", ""))
        for name, value, unit in hardware(cluster, scenario, ground, moe, rival)
    ]  # fmt: skip
    out.append(
        Assumption(name="tier.meaning", value=ground.efficiency.name, source=ground.efficiency.source, kind="given")
    )
    for role, one in (("moe", moe), ("dense", rival)):
        if one.point is not None:
            out.append(Assumption(name=f"{role}.layout", value=str(one.point.layout), kind="derived",
                                  source=f"{scenario.layout} layout", default=scenario.layout == "auto"))  # fmt: skip
        origin = "config" if one.counted.model.cache_format else "bf16 unless the config says otherwise"
        out.append(Assumption(name=f"{role}.cache_format", value=one.counted.cache, kind="derived", source=origin))
    return out


__all__ = ["TIE", "Assumption", "Comparison", "Ratio", "Side", "Sourced", "compare", "make_ground"]
