"""Names and text -> objects: the door between what people type and the pure core.

`ask` is the one call behind `routeline compare`, the page, the report and sweeps' spot checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from . import counts
from .arch import Model
from .compare import Comparison, compare
from .dense import SHAPES
from .errors import RoutelineError, UnknownName, shorten
from .hardware import Cluster
from .plan import check_overhead
from .routing import Routing
from .scenario import Scenario
from .units import parse

if TYPE_CHECKING:
    from .quality import QEvidence, Subject

DIMENSIONS = {
    "context": "tokens", "input": "tokens", "output": "tokens", "overhead": "B", "tpot": "s",
}  # fmt: skip
"""Scenario fields that are typed with a unit, and the dimension they are parsed in."""


def scenario(values: Mapping[str, Any]) -> Scenario:
    """A Scenario from what a person typed: '128k', '0GB', '50ms' or numbers; None means not given.

    Raises:
        RoutelineError: an unknown field, a bad number or unit.
    """
    known = {f.name for f in fields(Scenario)}
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise UnknownName("scenario field", name, known)
        if value is not None:
            out[name] = _typed(name, value) if isinstance(value, str) else value
    return Scenario(**out)


def _typed(name: str, text: str) -> Any:
    if name in DIMENSIONS:
        return parse(text, DIMENSIONS[name], name)
    if name not in ("utilisation", "batch", "redundant", "draft", "accept", "prefix_hit"):
        return text
    try:
        return float(text)
    except ValueError:
        raise RoutelineError(f"{name} must be a number, not {shorten(text)!r}") from None


def model(name: str | Model) -> Model:
    """A Model from a catalogue name, a path to a config.json or a Hugging Face id."""
    if isinstance(name, Model):
        return name
    from .models import load_model

    return load_model(name)


def cluster(text: str | Cluster) -> Cluster:
    """A Cluster from '8xH200', '2x8xH100', or a TOML path."""
    if isinstance(text, Cluster):
        return text
    from .devices import parse_devices

    return parse_devices(text)


def routing(text: str, asked: Model) -> Routing:
    """A Routing from 'uniform', 'balanced', 'zipf:1.2' or 'measured:FILE'."""
    from . import routing as rules

    kind, _, path = text.partition(":")
    if kind == "measured":
        from .routing_file import read

        if not path:
            raise RoutelineError("measured routing needs a file: measured:FILE with counts or probabilities")
        return read(path, asked)
    return rules.parse(text)


def ask(moe: str | Model, devices: str | Cluster, given: Scenario | None = None, **values: Any) -> Comparison:
    """MoE or dense? One answer from names: resolve, choose q, compare, collect warnings.

    ask("DeepSeek-V3", "8xH200", context="128k", q=2). Values are Scenario fields as typed or in SI.

    Raises:
        RoutelineError: anything that cannot be answered, in one sentence with the remedy.
    """
    from .devices import cluster_warnings

    chosen = given if given is not None and not values else scenario({**(_dict(given) if given else {}), **values})
    asked, place = model(moe), cluster(devices)
    check_count(place, chosen)
    check_overhead(place, chosen)
    opponent = None if chosen.dense in SHAPES else _opponent(chosen)
    evidence = None if opponent is not None else q_of(asked, chosen)
    q, source = (None, "") if evidence is None else number(evidence)
    answer = compare(
        asked, place, chosen, q=q, q_source=source, opponent=opponent,
        routed=routing(chosen.routing, asked), q_evidence=evidence,
    )  # fmt: skip
    extra = (
        *without_effect(answer),
        *narrow_experts(answer),
        *answer.warnings,
        *place.notes,
        *cluster_warnings(place, chosen.memory),
    )
    return replace(answer, warnings=tuple(dict.fromkeys(extra)))


MOST_DEVICES = 65536
"""Devices that auto may lay out; no layout it tries has ever been run on more."""


def check_count(place: Cluster, chosen: Scenario) -> None:
    """Refuse more devices than `auto` can stand behind.

    Raises:
        RoutelineError: more than MOST_DEVICES under layout auto.
    """
    if place.count > MOST_DEVICES and chosen.layout.strip().lower() == "auto":
        raise RoutelineError(
            f"{place.count:,} devices are more than the {MOST_DEVICES:,} that auto lays out; ask for fewer (throughput "
            "of whole replicas adds up) or name a layout"
        )


def narrow_experts(answer: Comparison) -> list[str]:
    """A warning where the experts do not divide over a node: spare slots would allow wider expert parallelism."""
    experts, asked = int(answer.moe.counted.experts), answer.scenario
    width = int(min(answer.cluster.node, answer.cluster.count))
    if experts < 2 or asked.redundant or asked.layout.strip().lower() != "auto":
        return []
    widest = math.gcd(experts, width)
    if widest * 8 > width:
        return []
    return [
        f"{experts} experts divide over at most {widest} of {width} devices in expert parallelism; --redundant "
        f"{-experts % width} (spare expert slots) would allow ep={width}"
    ]


def without_effect(answer: Comparison) -> list[str]:
    """Warnings on what was asked for and changes nothing in this answer."""
    asked, tier = answer.scenario, answer.ground.efficiency
    out = []
    if asked.accept and not asked.draft:
        out.append("accept has no effect without draft: no tokens are speculated")
    if asked.engine and tier.kernels is None:
        out.append(f"engine {asked.engine} has no effect: tier {tier.name} knows no engines")
    if answer.q_evidence is None:
        why = f"{answer.opponent.name} is named, so q is implied"
    elif asked.q is not None:
        why = "q was given"
    elif asked.q_law is None and answer.q_evidence.subject.sparsity >= 1.0:
        why = f"{answer.model.name} is dense, so it is its own match"
    else:
        return out
    given = [f.name for f in fields(Scenario) if f.name in EVIDENCE and getattr(asked, f.name) != f.default]
    return out + [f"{name} has no effect: {why}" for name in given]


EVIDENCE = ("convention", "train_tokens", "q_pairs")
"""Scenario fields that only the estimate of q reads."""


def _opponent(chosen: Scenario) -> Model:
    """The model named as opponent.

    Raises:
        RoutelineError: an unknown name (the shapes are known names too), or a q beside it.
    """
    try:
        found = model(chosen.dense)
    except UnknownName as error:
        if "/" in chosen.dense:
            raise
        from .models import model_names

        shapes = ", ".join(SHAPES)
        raise UnknownName(
            "dense shape or model", chosen.dense, [*SHAPES, *model_names()], f"shapes: {shapes}"
        ) from error
    for field in ("q", "q_law", "q_pairs"):
        if getattr(chosen, field) is not None:
            raise RoutelineError(f"{found.name} is a model, so q is implied; leave {field} out or name a dense shape")
    return found


def _dict(given: Scenario) -> dict[str, Any]:
    return {f.name: getattr(given, f.name) for f in fields(Scenario)}


def subject(model: Model) -> Subject:
    """What the evidence on q needs to know of a model: sizes, expert shape, name."""
    from .quality import Subject

    counted = counts.count(model)
    routed = next((g for g in model.layers if g.experts > 1), None)
    matrices = [w for w in routed.weights if w.part == "routed" and w.matmul] if routed else []
    width = matrices[0].params / (routed.experts * model.hidden) if routed and matrices else None
    shared = sum(w.params for w in routed.weights if w.part == "shared" and w.matmul) if routed else 0.0
    one = sum(w.params for w in matrices) / routed.experts if routed and matrices else 1.0
    total = float(counts.total(model))
    active = min(float(counts.active(model).all), total) if routed else total  # a vision tower makes no expert
    return Subject(
        name=model.name, active=active, total=total,
        experts=float(counted.experts) if routed else None, top_k=float(counted.top_k) if routed else None,
        shared=float(shared / one), d_model=float(model.hidden), d_expert=float(width) if width else None,
    )  # fmt: skip


def q_of(model: Model, chosen: Scenario) -> QEvidence:
    """The evidence on q for a model: what was stated, one law, or the estimate from matched pairs.

    A dense model needs no evidence: it matches itself, q = 1.

    Raises:
        RoutelineError: a bad q, law, convention, token count or pair file.
    """
    from . import quality

    if chosen.q_pairs is not None and (chosen.q is not None or chosen.q_law is not None):
        raise RoutelineError("q_pairs feeds the estimate of q, and q or q_law replaces it; leave one of them out")
    known = subject(model)
    stated = chosen.q if chosen.q is not None or chosen.q_law or known.sparsity < 1.0 else 1.0
    return quality.evidence(
        known, q=stated, q_law=chosen.q_law, convention=chosen.convention,
        train_tokens=chosen.train_tokens, user_pairs=chosen.q_pairs,
    )  # fmt: skip


def number(evidence: QEvidence) -> tuple[float, str]:
    """(the q used, where it comes from): the median of the evidence.

    Raises:
        RoutelineError: under this convention no dense model reaches the quality.
    """
    q = float(evidence.median)
    if not math.isfinite(q):
        raise RoutelineError(
            f"under {evidence.convention} no dense model is expected to match {evidence.subject.name}; state --q, or "
            "use --convention equal-tokens"
        )
    low, high = evidence.interval90
    if low == high:
        return q, "asked" if evidence.origin == "stated" else evidence.origin
    name = {"estimate": "estimate from matched pairs", "stated": "asked"}.get(evidence.origin, evidence.origin)
    return q, f"median of the {name} ({evidence.convention}; 90% between {low:.3g} and {high:.3g})"
