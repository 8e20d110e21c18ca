"""Charts: results in, pictures out. Needs the extra [plots] (altair, vl-convert-python)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from ..errors import RoutelineError, UnknownName

if TYPE_CHECKING:
    from ..compare import Comparison
    from .figure import Figure

CHARTS = {
    "roofline": ("roofline", "roofline", "experts, dense FFN and attention under the roof, both ridge points"),
    "fragmentation": ("fragmentation", "fragmentation", "phi, phi/q and tokens per expert over tokens per step"),
    "memory": ("memory", "memory", "what fills a device, both sides"),
    "step": ("steps", "step", "step time by part, both sides"),
    "throughput": ("penalties", "throughput", "tokens/s per device, R and both penalties over context"),
    "waterfall": ("penalties", "waterfall", "reuse penalty and headroom gain between dense and MoE"),
    "map": ("verdict", "verdict_map", "R over two axes, the line R = 1, what does not fit"),
    "request": ("request", "request", "R per request over output length and prefix-cache hits"),
    "q": ("evidence", "q_curve", "R over q, the evidence's intervals and P(dense wins)"),
    "evidence": ("evidence", "evidence", "q by every law and matched pair, beside the estimate"),
    "interactivity": ("frontier", "interactivity", "tokens/s/device over tokens/s/user"),
    "cluster": ("clusters", "cluster_size", "sequences per device over cluster size, and where it does not fit"),
    "width": ("clusters", "expert_width", "weight bytes per device over expert-parallel width"),
}
"""Chart of a comparison -> (module, function, what it shows)."""


ALIASES = {"verdict": "map"}
"""What a chart is called elsewhere (the README's picture is verdict.png) -> its name."""


def available() -> None:
    """Refuse with the remedy where the extra is not installed.

    Raises:
        RoutelineError: altair or vl-convert-python is missing.
    """
    for name, package in (("altair", "altair"), ("vl_convert", "vl-convert-python")):
        if importlib.util.find_spec(name) is None:
            raise RoutelineError(f"charts need the package {package}: pip install 'routeline[plots]'")


def check(name: str, path: Any) -> None:
    """Refuse an unknown chart or file ending before anything is computed.

    Raises:
        RoutelineError: unknown chart, unknown ending, missing extra.
    """
    from pathlib import Path

    from .figure import FORMATS

    _known(name)
    if Path(path).suffix.lower().lstrip(".") not in FORMATS:
        raise RoutelineError(f"cannot draw {Path(path).name!r}: end the file name with .png, .svg, .html or .json")
    available()


def _known(name: str) -> str:
    """The name of a chart, an alias resolved."""
    chosen = ALIASES.get(name, name)
    if chosen not in CHARTS:
        raise UnknownName("chart", name, CHARTS, f"known: {', '.join(CHARTS)}")
    return chosen


def chart(name: str, comparison: Comparison, **options: Any) -> Figure:
    """One chart of a comparison by name (a key of CHARTS or ALIASES).

    Raises:
        RoutelineError: an unknown chart, a missing extra, or nothing to draw (a side that does not fit).
    """
    name = _known(name)
    available()
    module, function, _ = CHARTS[name]
    return getattr(importlib.import_module(f".{module}", __package__), function)(comparison, **options)


__all__ = ["ALIASES", "CHARTS", "available", "chart", "check"]
