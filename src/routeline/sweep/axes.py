"""What can be swept: every axis by name, with its unit, range and how its values are typed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arch import Model
from ..errors import RoutelineError, UnknownName, shorten
from ..hardware import Cluster, Device
from ..units import parse


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An axis that exists. role: 'name' (looped over), 'number' (broadcast over) or 'shape' (synthetic models).

    dimension: key of units.SCALES for typed text, '' for bare numbers; low and high: inclusive limits.
    """

    role: str
    what: str
    unit: str = ""
    dimension: str = ""
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False


def _name(what: str) -> Kind:
    return Kind(role="name", what=what)


def _number(what: str, unit: str, low: float, high: float, dimension: str = "", *, whole: bool = False) -> Kind:
    return Kind(role="number", what=what, unit=unit, dimension=dimension, low=low, high=high, whole=whole)


def _shape(what: str, low: float, high: float, dimension: str = "") -> Kind:
    return Kind(role="shape", what=what, unit="-", dimension=dimension, low=low, high=high, whole=True)


AXES: dict[str, Kind] = {
    "model": _name("the MoE: catalogue name, config.json or Hugging Face id"),
    "devices": _name("cluster: 8xH200, 2x8xH100"),
    "device": _name("device of the cluster, with the axis count"),
    "count": Kind(
        role="name", what="devices in the cluster, with the axis device", unit="devices", low=1, high=1e7, whole=True
    ),
    "layout": _name("auto, pooled, tp8, 'dp8,ep8'"),
    "weights": _name("stored weight format"),
    "cache": _name("cache format"),
    "compute": _name("compute format of weight matrices"),
    "routing": _name("uniform, balanced, zipf:A"),
    "tier": _name("bandwidth, ideal, calibrated"),
    "dense": _name("shape of the matched dense model, or a model"),
    "basis": _name("memory basis: usable or marketed"),
    "redundant": Kind(role="name", what="spare expert slots", unit="experts", low=0, high=16384, whole=True),
    "context": _number("tokens already in the cache of each sequence", "tokens", 1, 1e9, "tokens"),
    "batch": _number("sequences decoded together", "sequences", 1, 1e9, whole=True),
    "utilisation": _number("fraction of device memory for weights and cache", "-", 1e-6, 1),
    "overhead": _number("bytes a device keeps for the runtime", "B", 0, 1e15, "B"),
    "memory": _number("memory of a device", "B", 1e6, 1e15, "B"),
    "bandwidth": _number("memory bandwidth of a device", "B/s", 1e6, 1e18, "B/s"),
    "peak": _number("factor on every compute peak of the device", "-", 1e-6, 1e6),
    "link": _number("link rate of a device inside its node", "B/s", 1e3, 1e18, "B/s"),
    "nic": _number("network rate of a device to other nodes", "B/s", 1e3, 1e18, "B/s"),
    "q": _number("size multiplier of the matched dense model", "-", 1e-6, 1e6),
    "tpot": _number("limit on time per output token", "s", 1e-9, 1e6, "s"),
    "draft": _number("speculative tokens verified per sequence and step", "tokens", 0, 64),
    "accept": _number("share of draft tokens accepted", "-", 0, 1),
    "input": _number("prompt tokens per request", "tokens", 1, 1e9, "tokens"),
    "output": _number("output tokens per request", "tokens", 1, 1e9, "tokens"),
    "prefix_hit": _number("share of the prompt already cached", "-", 0, 1),
    "experts": _shape("routed experts per MoE layer", 1, 1e6),
    "top_k": _shape("experts per token", 1, 1e6),
    "expert_width": _shape("intermediate width of one expert", 1, 1e7),
    "granularity": _shape("every expert cut into this many, as many times more chosen", 1, 1e4),
    "shared_experts": _shape("experts every token takes", 0, 1e4),
    "layers": _shape("layers, all MoE except dense_layers", 1, 1e5),
    "dense_layers": _shape("leading layers with a dense FFN of the active width", 0, 1e5),
    "hidden": _shape("model width", 1, 1e7),
    "attention": Kind(role="name", what="gqa, mha, mqa or mla"),
    "heads": _shape("query heads", 1, 1e5),
    "kv_heads": _shape("key/value heads (gqa)", 1, 1e5),
    "head_dim": _shape("width of a head", 1, 1e5),
    "vocab": _shape("vocabulary", 1, 1e8, "count"),
}  # fmt: skip

MOST = 10**7
"""Values an axis may hold."""

SHAPES = (*(n for n, k in AXES.items() if k.role == "shape"), "attention")
NUMBERS = tuple(n for n, k in AXES.items() if k.role == "number")

OTHER_NAMES = {"expert-width": "expert_width", "top-k": "top_k", "cluster": "devices", "prefix_hits": "prefix_hit",
               "util": "utilisation"}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """A named axis with its values: text or integers for names, floats for numbers."""

    name: str
    values: tuple[Any, ...]

    @property
    def kind(self) -> Kind:
        return AXES[self.name]

    def __len__(self) -> int:
        return len(self.values)


def canonical(name: str) -> str:
    """The axis a name stands for.

    Raises:
        UnknownName: no such axis; carries the nearest.
    """
    name = str(name)
    plain = OTHER_NAMES.get(name, name)
    if plain not in AXES:
        raise UnknownName("axis", name, AXES, f"known: {', '.join(AXES)}")
    return plain


def make(name: str, given: Any) -> Axis:
    """An axis from a list, an array, one value, or {from, to, n | step, scale}.

    Raises:
        RoutelineError: no values, repeated values, a value that is out of range or has a wrong unit.
    """
    plain = canonical(name)
    if plain == "memory" and _basis(given):
        plain = "basis"
    kind = AXES[plain]
    raw = _spread(plain, kind, given) if isinstance(given, Mapping) else given
    if isinstance(raw, (str, int, float)) or not isinstance(raw, (Sequence, np.ndarray)):
        raw = [raw]
    if len(raw) > MOST:
        raise RoutelineError(f"axis {name} holds {len(raw):,} values, over {MOST:,}; thin it out")
    values = tuple(_value(plain, kind, v) for v in raw)
    if not values:
        raise RoutelineError(f"axis {name} is empty; give at least one value")
    seen: set[Any] = set()
    for v in values:
        key = v if isinstance(v, (str, int, float)) else id(v)
        if key in seen:
            raise RoutelineError(f"axis {name} holds {shorten(v)} twice; give every value once")
        seen.add(key)
    return Axis(plain, values)


def _basis(given: Any) -> bool:
    values = [given] if isinstance(given, str) else given if isinstance(given, (list, tuple)) else []
    return bool(values) and all(v in ("usable", "marketed") for v in values)


_OBJECTS: dict[str, tuple[type, ...]] = {
    "model": (Model,), "dense": (Model,), "devices": (Cluster,), "device": (Device,),
}  # fmt: skip
"""What may stand for a name: the object itself."""


def _value(name: str, kind: Kind, value: Any) -> Any:
    if kind.role == "name" and kind.unit == "":
        if isinstance(value, (str, *_OBJECTS.get(name, ()))):
            return value
        raise RoutelineError(f"axis {name} takes names, not {shorten(value, 40)!r}")
    number = _as_number(name, kind, value)
    if not kind.low <= number <= kind.high:
        raise RoutelineError(f"axis {name}: {number:g} is outside [{kind.low:g}, {kind.high:g}] {kind.unit}".rstrip())
    if kind.whole and number != round(number):
        raise RoutelineError(f"axis {name} takes whole numbers, not {number:g}")
    return int(number) if kind.role == "name" else number


def _as_number(name: str, kind: Kind, value: Any) -> float:
    if isinstance(value, bool) or value is None:
        raise RoutelineError(f"axis {name} takes numbers, not {value!r}")
    if isinstance(value, str):
        if kind.dimension:
            return parse(value, kind.dimension, f"axis {name}")
        try:
            return float(value)
        except ValueError:
            raise RoutelineError(f"axis {name} takes bare numbers, not {shorten(value)!r}") from None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RoutelineError(f"axis {name} takes numbers, not {shorten(value)!r}") from None
    if not math.isfinite(number):
        raise RoutelineError(f"axis {name} takes finite numbers, not {number}")
    return number


def _spread(name: str, kind: Kind, given: Mapping[str, Any]) -> Any:
    """Values of {values = [...]} or {from, to, n or step, scale = linear|log}."""
    known = {"values", "from", "to", "n", "step", "scale"}
    for key in given:
        if key not in known:
            raise UnknownName(f"key of axis {name}", key, known)
    if "values" in given:
        if len(given) > 1:
            raise RoutelineError(f"axis {name}: values stand alone; leave {', '.join(set(given) - {'values'})} out")
        return given["values"]
    if kind.role == "name" and kind.unit == "":
        raise RoutelineError(f"axis {name} takes a list of names, not a range")
    if "from" not in given or "to" not in given or ("n" in given) == ("step" in given):
        raise RoutelineError(f"axis {name}: a range needs from, to, and n or step")
    low, high = (_as_number(name, kind, given[k]) for k in ("from", "to"))
    scale = given.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise RoutelineError(f"axis {name}: scale must be linear or log, not {shorten(scale)!r}")
    if high < low:
        raise RoutelineError(f"axis {name}: from {low:g} is above to {high:g}")
    if "step" in given:
        step = _as_number(name, kind, given["step"])
        if step <= 0 or scale == "log":
            raise RoutelineError(f"axis {name}: step must be positive and goes with scale = linear")
        many = (high - low) / step * (1 + 1e-12) + 1
        if many > MOST:
            raise RoutelineError(f"axis {name}: a step of {step:g} makes {many:.3g} values, over {MOST:,}; widen it")
        points: Any = low + step * np.arange(math.floor(many))
    else:
        n = given["n"]
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MOST:
            raise RoutelineError(f"axis {name}: n must be a whole number from 1 to {MOST:,}, not {shorten(n)}")
        if scale == "log" and low <= 0:
            raise RoutelineError(f"axis {name}: a log range starts above 0, not at {low:g}")
        points = np.geomspace(low, high, n) if scale == "log" else np.linspace(low, high, n)
    if kind.whole:
        points = np.unique(np.rint(points))
    return [float(x) for x in points]
