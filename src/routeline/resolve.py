"""Names and text -> objects: the door between what people type and the pure core.

`ask` is the one call behind `routeline compare`, the page, the report and sweeps' spot checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .arch import Model
from .compare import Comparison, compare
from .dense import SHAPES
from .errors import RoutelineError, UnknownName, shorten
from .hardware import Cluster
from .routing import Routing
from .scenario import Scenario
from .units import parse

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

    return rules.parse(text)


def ask(moe: str | Model, devices: str | Cluster, given: Scenario | None = None, **values: Any) -> Comparison:
    """MoE or dense? One answer from names: resolve, choose q, compare, collect warnings.

    ask("DeepSeek-V3", "8xH200", context="128k", q=2). Values are Scenario fields as typed or in SI.

    Raises:
        RoutelineError: anything that cannot be answered, in one sentence with the remedy.
    """
    from .devices import cluster_warnings

    chosen = given if given is not None and not values else scenario({**(_dict(given) if given else {}), **values})
    subject, place = model(moe), cluster(devices)
    opponent = None if chosen.dense in SHAPES else model(chosen.dense)
    q, source, evidence = (None, "", None) if opponent is not None else default_q(subject, chosen)
    answer = compare(
        subject, place, chosen, q=q, q_source=source, opponent=opponent,
        routed=routing(chosen.routing, subject), q_evidence=evidence,
    )  # fmt: skip
    extra = (*answer.warnings, *place.notes, *cluster_warnings(place, chosen.memory))
    from dataclasses import replace

    return replace(answer, warnings=tuple(dict.fromkeys(extra)))


def _dict(given: Scenario) -> dict[str, Any]:
    return {f.name: getattr(given, f.name) for f in fields(Scenario)}


def default_q(subject: Model, chosen: Scenario) -> tuple[float, str, Any]:
    """(q, where it comes from, evidence): the one asked for, else the square-root rule q = s**-0.5."""
    from .counts import sparsity

    if chosen.q is not None:
        return float(chosen.q), "asked", None
    s = float(sparsity(subject))
    return s**-0.5, "square-root rule q = s**-0.5 (folklore: dense size = sqrt(active*total); no derivation)", None
