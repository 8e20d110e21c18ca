"""Charts on a dark page: the same marks, with ink and ground exchanged. Files are always drawn for paper."""

from __future__ import annotations

from typing import Any

from ..plots import theme, verdict

GROUND = "#14181C"
INK = "#E6EAED"

SHADES = {
    theme.INK: INK,
    theme.GROUND: GROUND,
    theme.MUTED: "#A6B1BA",
    theme.FAINT: "#333B43",
    theme.MOE: "#EE7F32",
    theme.DENSE: "#3E9FDB",
    theme.BANDS[0]: "#2A3138",
    theme.BANDS[1]: "#3D4750",
    verdict.UNFIT: "#1E242A",
    verdict.HATCH: "#4C5761",
    theme.MOE_TINTS[1]: "#C9976F",
    theme.GREENS[0]: "#C9EFE2",
    theme.GREENS[1]: "#8FDCC2",
    theme.GREENS[3]: "#1E8C6A",
    theme.GREENS[4]: "#156A50",
    theme.PARTS["free"]: "#20342A",
    theme.PARTS["not used (utilisation, runtime)"]: "#2B3239",
    theme.DIVERGING[0]: "#FFB27D",
    theme.DIVERGING[2]: "#8A4213",
    theme.DIVERGING[3]: "#262C32",
    theme.DIVERGING[4]: "#1D5A82",
    theme.DIVERGING[6]: "#9AD2F5",
    "#C3CBD2": "#3A434B",
    "#DDE5EB": "#2A3138",
}
"""Colour on paper -> colour on a dark page; any other is readable on both."""


def night(spec: Any) -> Any:
    """A specification for a dark page. Data rows stay as they are: what they colour is what they stand on."""
    if isinstance(spec, dict):
        return {k: v if k == "data" else night(v) for k, v in spec.items()}
    if isinstance(spec, list):
        return [night(v) for v in spec]
    return SHADES.get(spec, spec) if isinstance(spec, str) else spec
