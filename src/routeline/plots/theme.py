"""The house style: colours that survive colour blindness and a black-and-white printer, type, captions.

Colours are Okabe & Ito's set (https://jfly.uni-koeln.de/color/): the MoE is vermilion and the dense
model blue in every chart, and whatever colour says is said again by position, dash or label.
"""

from __future__ import annotations

import textwrap
from typing import Any

MOE = "#D55E00"
DENSE = "#0072B2"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
INK = "#1F2933"
MUTED = "#5B6770"
FAINT = "#E3E7EB"
GROUND = "#FFFFFF"
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans Condensed, sans-serif"
"""Faces of nearly equal widths: a picture is measured with one of them and read with another."""

SIDES = ("MoE", "dense")
SIDE_COLOURS = (MOE, DENSE)
SERIES = (GREEN, PURPLE, ORANGE, INK, SKY, "#8C5A2B", "#7F7F7F", "#004D40")
"""Categories that are neither side: blue and vermilion always mean the dense model and the MoE."""
MOE_TINTS = (MOE, "#7A3300", "#1F2933", "#F0A36B")
"""Variants of the MoE; told apart by dash as well."""
GREENS = ("#00382B", "#00694F", GREEN, "#5DBE9F", "#93CDB9")
"""An ordered choice, dark to light; told apart by dash as well."""
BANDS = ("#E9EDF0", "#CDD5DB")
"""Outer and inner interval of what is uncertain."""

PARTS = {
    "routed experts": MOE,
    "shared experts": "#F0A36B",
    "dense FFN": DENSE,
    "attention weights": GREEN,
    "embedding, head": PURPLE,
    "norms, routers, other": "#B8C0C8",
    "cache": SKY,
    "attention over the cache": "#3F9FD6",
    "state": "#A6D8F5",
    "activations": "#8D99A5",
    "communication": ORANGE,
    "overhead": "#5B6770",
    "free": "#E4F3E9",
    "not used (utilisation, runtime)": "#DDE2E6",
}
"""Part of memory or time -> colour, in stacking order (weights, then what sequences need); the same everywhere."""

DIVERGING = ("#8C3A00", MOE, "#F6B48A", "#FAFAFA", "#8EC1E3", DENSE, "#003B66")
"""R from MoE wins (vermilion) over 1 (near white) to dense wins (blue)."""

WIDTH = 560
HEIGHT = 290
HALF = 340
THIRD = 235
"""Width of one panel alone, of two side by side, of three: small enough that 11 px stays readable on a page."""


def config(font: str = FONT) -> dict[str, Any]:
    """The Vega-Lite config that every chart carries."""
    label = {"labelColor": INK, "labelFont": font, "titleFont": font, "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": GROUND,
        "font": font,
        "view": {"stroke": None},
        "axis": label
        | {
            "titleColor": INK,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "gridColor": FAINT,
            "domainColor": MUTED,
            "tickColor": MUTED,
            "tickSize": 4,
            "labelOverlap": "greedy",
            "labelSeparation": 6,
        },
        "axisBand": {"labelLimit": 240},
        "legend": label
        | {
            "titleColor": INK,
            "titleFontWeight": "normal",
            "orient": "top",
            "symbolSize": 90,
            "columnPadding": 14,
            "labelLimit": 280,
            "titleLimit": 320,
            "offset": 6,
        },
        "title": {
            "font": font,
            "color": INK,
            "fontSize": 14,
            "fontWeight": 600,
            "anchor": "start",
            "offset": 10,
            "frame": "group",
            "subtitleFont": font,
            "subtitleColor": MUTED,
            "subtitleFontSize": 11,
            "subtitlePadding": 4,
        },
        "header": label | {"titleColor": INK, "labelFontWeight": 600, "labelAnchor": "start"},
        "text": {"font": font, "fontSize": 11, "color": INK},
        "line": {"strokeWidth": 2.2},
        "point": {"size": 55, "filled": True, "opacity": 1},
        "range": {"category": list(SERIES)},
    }


def wrap(text: str, width: int) -> list[str]:
    """Text in as few lines of at most `width` characters as hold it, the last one not much shorter than the others.

    A long unbroken name is cut, not let out of the frame.
    """
    text = " ".join(text.split())

    def lines(limit: int) -> list[str]:
        return textwrap.wrap(text, limit, break_long_words=True, break_on_hyphens=False) or [""]

    full = lines(width)
    for narrower in range(width, width // 2, -3):
        tried = lines(narrower)
        if len(tried) > len(full):
            break
        if len(tried[-1]) >= 0.6 * max(map(len, tried)):
            return tried
    return full


def short(name: object, limit: int = 44) -> str:
    """A name for a label: one printable line, bounded, never empty."""
    text = " ".join(str(name).split())
    text = "".join(c if c.isprintable() else "?" for c in text) or "unnamed"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def digits(value: float, count: int = 3) -> str:
    """A number to `count` significant digits, zeros kept, no exponent: 2.10, 12.3, 2,048."""
    if abs(value) >= 10 ** (count - 1):
        return f"{value:,.0f}"
    return f"{value:#.{count}g}".rstrip(".")


def on(colour: str) -> str:
    """Ink or white, whichever reads better on a colour (WCAG relative luminance)."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    light = sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in
                zip((0.2126, 0.7152, 0.0722), (r, g, b), strict=True))  # fmt: skip
    return GROUND if light < 0.24 else INK
