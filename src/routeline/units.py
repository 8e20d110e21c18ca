"""The edge: text with units in, SI floats out, and back. The only place where a prefix has meaning.

Inside Routeline every quantity is a plain float in bytes, seconds, FLOP, watts or counts.
"""

from __future__ import annotations

import math
import re

from .errors import RoutelineError, shorten

SCALES: dict[str, dict[str, float]] = {
    "B": {
        "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
    },
    "B/s": {
        "B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9, "TB/s": 1e12, "PB/s": 1e15,
        "MiB/s": 2.0**20, "GiB/s": 2.0**30, "TiB/s": 2.0**40,
        "bit/s": 0.125, "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8, "Tbit/s": 1e12 / 8,
    },
    "FLOP/s": {
        "FLOP/s": 1.0, "GFLOP/s": 1e9, "TFLOP/s": 1e12, "PFLOP/s": 1e15,
        "OP/s": 1.0, "GOP/s": 1e9, "TOP/s": 1e12, "POP/s": 1e15,
    },
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
    "W": {"W": 1.0, "kW": 1e3, "MW": 1e6},
    "tokens": {"": 1.0, "k": 1024.0, "K": 1024.0, "Ki": 1024.0, "M": 1024.0**2, "Mi": 1024.0**2},
    "count": {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12},
}  # fmt: skip
"""dimension -> unit -> SI scale. `tokens` (a context) is binary as the field types it: 128k =
131,072; `count` (training tokens, parameters) is decimal: 14.8T = 1.48e13."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ/]*)\s*")


def parse(text: str | float, dimension: str, what: str = "value") -> float:
    """'400 Gbit/s' with dimension 'B/s' -> 5e10.

    A bare number is accepted only where the dimension has a unit '' (tokens, counts); elsewhere
    the unit must be written, because "80" could be GB or GiB.

    Raises:
        RoutelineError: not a number, unknown or missing unit, or not finite.
    """
    units = SCALES[dimension]
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise RoutelineError(f"{what} {shorten(text)!r} is not a quantity; write e.g. {_example(dimension)}")
    if (isinstance(text, str) and len(text) > 100) or (isinstance(text, int) and abs(text) > 10**300):
        raise RoutelineError(f"{what} is too long to be a quantity; write e.g. {_example(dimension)}")
    match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, str):
        if match is None:
            raise RoutelineError(f"{what} {shorten(text)!r} is not a quantity; write e.g. {_example(dimension)}")
        number, unit = float(match[1].replace(",", "").replace("_", "")), match[2]
    else:
        number, unit = float(text), ""
    if unit not in units:
        if unit == "":
            raise RoutelineError(f"{what} {shorten(text)!r} has no unit; write e.g. {_example(dimension)}")
        near = ", ".join(u for u in units if u) or "none"
        raise RoutelineError(f"unknown unit {unit!r} in {what} {shorten(text)!r}; known here: {near}")
    value = number * units[unit]
    if not math.isfinite(value):
        raise RoutelineError(f"{what} {shorten(text)!r} is not finite")
    return value


def _example(dimension: str) -> str:
    return {
        "B": "'80 GB' or '81559 MiB'", "B/s": "'3.35 TB/s' or '400 Gbit/s'",
        "FLOP/s": "'989 TFLOP/s'", "s": "'50 ms'", "W": "'700 W'",
        "tokens": "'128k' (k = 1024)", "count": "'14.8T' (decimal)",
    }[dimension]  # fmt: skip


_STEPS = {
    "B": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "B/s": ((1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")),
    "FLOP": ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1.0, "FLOP")),
    "FLOP/s": ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1.0, "FLOP/s")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "W": ((1e3, "kW"), (1.0, "W")),
    "count": ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, "")),
}


def show(value: float, dimension: str, digits: int = 4) -> str:
    """A number for people: 1.342e12, 'B' -> '1.342 TB'. Unknown dimensions print the number."""
    if value is None:
        return "-"
    value = float(value)
    if not math.isfinite(value):
        return "unbounded" if value > 0 else str(value)
    if dimension == "tokens":
        whole = value / 1024.0
        if value >= 1024 and whole == int(whole):
            return f"{whole:g}k"
        return f"{value:,.{digits}g}" if value < 1e4 else f"{value:,.0f}"
    steps = _STEPS.get(dimension)
    if not steps or value == 0:
        return f"{value:.{digits}g}" + (f" {dimension}" if dimension not in ("", "-", "count") else "")
    for scale, unit in steps:
        if abs(value) >= scale * 0.99995:
            return f"{value / scale:.{digits}g} {unit}".rstrip()
    scale, unit = steps[-1]
    return f"{value / scale:.{digits}g} {unit}".rstrip()
