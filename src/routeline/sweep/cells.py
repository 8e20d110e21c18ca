"""One combination of names of a space, resolved to the objects that formulas take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import resolve
from ..arch import Model
from ..dense import SHAPES
from ..errors import RoutelineError
from ..hardware import Cluster
from . import synthetic
from .grid import Space
from .lower import Cell


@dataclass(frozen=True)
class Refused:
    """A combination of names that cannot be evaluated at all, with the sentence that says why."""

    reason: str


def attempt(space: Space, index: int) -> Cell | Refused:
    """`cell`, or why there is none."""
    try:
        return cell(space, index)
    except RoutelineError as error:
        return Refused(str(error))


def cell(space: Space, index: int) -> Cell:
    """Resolve the names of a cell to objects.

    Raises:
        RoutelineError: an unknown name, or settings that contradict each other.
    """
    v = {**space.fixed, **space.names_of(index)}
    shape = {k: v.pop(k) for k in list(v) if k in synthetic.DEFAULTS}
    swept = {a.name for a in space.numeric if a.name in synthetic.DEFAULTS}
    model: Model | None = None
    if "model" in v and v["model"] != "synthetic":
        if shape or swept:
            raise RoutelineError(
                f"{next(iter(swept or shape))} describes a synthetic architecture; leave it out, "
                "or use model = 'synthetic'"
            )
        model = resolve.model(v.pop("model"))
    else:
        if not (shape or swept) and v.get("model") != "synthetic":
            raise RoutelineError(
                "no model: give an axis model, or a value under [fixed], or the axes of a synthetic one"
            )
        v.pop("model", None)
        shape = {k: x if isinstance(x, str) else float(x) for k, x in shape.items()}
        if not swept:
            synthetic.require(shape)
            model, shape = synthetic.build(shape), {}
    place = _cluster(v)
    numbers = {k: float(v.pop(k)) for k in ("memory", "bandwidth", "peak", "link", "nic") if k in v}
    if "basis" in v:
        v["memory"] = v.pop("basis")
    scenario = resolve.scenario(
        {k: float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else x for k, x in v.items()}
    )
    resolve.check_count(place, scenario)
    opponent = None if scenario.dense in SHAPES else resolve.model(scenario.dense)
    if opponent is not None and space.has("q"):
        raise RoutelineError(f"q is implied by the dense model {opponent.name}: leave the axis q out")
    if opponent is None and scenario.q is None and not space.has("q"):
        if model is None or model.name == "synthetic":
            raise RoutelineError(
                "a synthetic architecture has no evidence on q: give an axis q, or a value under [fixed]"
            )
        scenario = replace(scenario, q=resolve.number(resolve.q_of(model, scenario))[0])
    routed = resolve.routing(scenario.routing, model) if model is not None else None
    return Cell(model=model, cluster=place, scenario=scenario, opponent=opponent, shape=None if model else shape,
                routed=routed, numbers=numbers)  # fmt: skip


def _cluster(v: dict[str, Any]) -> Cluster:
    if "devices" in v:
        if "device" in v or "count" in v:
            raise RoutelineError("give devices ('8xH200'), or device and count, not both")
        return resolve.cluster(v.pop("devices"))
    if "device" not in v:
        raise RoutelineError("no devices: give an axis devices = ['8xH200', ...], or device and count")
    device, count = v.pop("device"), int(v.pop("count", 1))
    if isinstance(device, str):
        return resolve.cluster(f"{count}x{device}")
    from ..devices import make_cluster

    return make_cluster(device, count)


def point(space: Space, index: Mapping[str, int]) -> tuple[Cell, dict[str, float]]:
    """The cell and the numbers of one point, for checks against `compare`."""
    sizes = tuple(len(a) for a in space.looped)
    where = int(np.ravel_multi_index([index[a.name] for a in space.looped], sizes)) if sizes else 0
    return cell(space, where), {a.name: float(a.values[index[a.name]]) for a in space.numeric}
