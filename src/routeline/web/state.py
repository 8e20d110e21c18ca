"""What the page asks, as plain data: to and from the address bar, checked on the way in. Knows no Streamlit.

Only names of the catalogue (or an upload held in the visitor's session) become models and devices: nothing
typed here is ever read as a path or fetched as an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..arch import FORMATS
from ..errors import RoutelineError, shorten
from ..scenario import CACHE_BITS
from ..serving.names import MEASURED_ENGINES
from ..tiers import NAMES as TIERS

UPLOAD = "uploaded config.json"
HUB = "hub:"
MATCHED = ("same-attention", "standard")
COUNTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 72, 96, 128, 256, 512, 1024)
CONTEXTS = tuple(2**i for i in range(10, 21))
WEIGHTS = ("native", *(f for f in FORMATS if f not in ("fp32", "fp16")))
ENGINES = ("", *MEASURED_ENGINES)
LAYOUT = re.compile(r"auto|pooled|[a-z_]{1,9}=?[0-9]{1,5}(,[a-z_]{1,9}=?[0-9]{1,5}){0,6}")
ROUTING = re.compile(r"uniform|balanced|zipf:[0-9]{1,2}(\.[0-9]{1,4})?")
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Everything a visitor can set. None: not given, so the library's own default holds."""

    model: str = "DeepSeek-V3"
    dense: str = "same-attention"
    device: str = "H200 SXM"
    count: int = 8
    context: int = 32768
    weights: str = "native"
    cache: str = "auto"
    tier: str = "auto"
    engine: str = ""
    layout: str = "auto"
    routing: str = "uniform"
    memory: str = "usable"
    utilisation: float = 0.9
    batch: int | None = None
    tpot: float | None = None
    q: float | None = None
    input: int | None = None
    output: int | None = None
    prefix_hit: float = 0.0
    draft: int = 0
    accept: float = 0.0
    extend_context: bool = False

    def values(self) -> dict[str, Any]:
        """The Scenario fields of this choice."""
        named = ("model", "device", "count")
        out = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in named}
        return {k: float(v) if type(v) is int else v for k, v in out.items() if v is not None}


NUMBERS: dict[str, tuple[float, float, type]] = {
    "count": (1, 10**6, int),
    "context": (1, 1e7, int),
    "utilisation": (0.05, 1.0, float),
    "batch": (1, 1e6, int),
    "tpot": (1e-6, 1e3, float),
    "q": (0.01, 1e3, float),
    "input": (1, 1e7, int),
    "output": (1, 1e7, int),
    "prefix_hit": (0.0, 1.0, float),
    "draft": (0, 16, int),
    "accept": (0.0, 1.0, float),
}
"""Field -> (least, most, type): what the address bar may hold."""


def _text(name: str, value: str, models: tuple[str, ...], devices: tuple[str, ...], allow_hub: bool) -> str:
    known: Mapping[str, tuple[str, ...]] = {
        "device": devices,
        "weights": WEIGHTS,
        "cache": ("auto", *CACHE_BITS),
        "tier": TIERS,
        "engine": ENGINES,
        "memory": ("usable", "marketed"),
    }
    if name in known:
        ok = value in known[name]
    elif name == "layout":
        ok = LAYOUT.fullmatch(value) is not None
    elif name == "routing":
        ok = ROUTING.fullmatch(value) is not None
    elif name == "dense":
        ok = value in MATCHED or value in models
    else:
        ok = value in models or (allow_hub and value.startswith(HUB) and bool(HUB_ID.fullmatch(value[len(HUB) :])))
    if not ok:
        raise RoutelineError(f"{name} {shorten(value, 40)!r} is not one of the choices on this page")
    return value


def read(
    query: Mapping[str, str], models: tuple[str, ...], devices: tuple[str, ...], *, allow_hub: bool = False
) -> tuple[Choice, list[str]]:
    """A Choice from the address bar, and one sentence for everything in it that was not understood."""
    choice, complaints = Choice(), []
    known = {f.name for f in fields(Choice)}
    for name, raw in query.items():
        value = str(raw)
        if name not in known:
            complaints.append(f"the link holds an unknown setting {shorten(name, 30)!r}; it is left out")
            continue
        try:
            choice = replace(choice, **{name: _one(name, value, models, devices, allow_hub)})
        except RoutelineError as error:
            complaints.append(f"{error}; the default is used")
    return choice, complaints


def _one(name: str, value: str, models: tuple[str, ...], devices: tuple[str, ...], allow_hub: bool) -> Any:
    if name == "extend_context":
        return value == "True"
    if name not in NUMBERS:
        return _text(name, value, models, devices, allow_hub)
    low, high, kind = NUMBERS[name]
    try:
        number = float(value) if len(value) <= 24 else float("nan")
    except ValueError:
        number = float("nan")
    if not low <= number <= high or (kind is int and number != int(number)):
        raise RoutelineError(f"{name} {shorten(value, 30)!r} must be a number from {low:g} to {high:g}")
    return kind(number)


def write(choice: Choice) -> dict[str, str]:
    """The address-bar form: only what differs from the defaults. An uploaded model is not part of a link."""
    usual = Choice()
    out = {}
    for f in fields(Choice):
        value = getattr(choice, f.name)
        if value != getattr(usual, f.name) and value is not None and not (f.name == "model" and value == UPLOAD):
            out[f.name] = f"{value:.10g}" if isinstance(value, float) else str(value)
    return out
