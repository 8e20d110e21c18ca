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
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"

SIDES = ("MoE", "dense")
SIDE_COLOURS = (MOE, DENSE)
SERIES = (DENSE, MOE, GREEN, PURPLE, ORANGE, SKY, INK)

PARTS = {
    "routed experts": MOE,
    "shared experts": "#F0A36B",
    "dense FFN": DENSE,
    "attention weights": GREEN,
    "cache": SKY,
    "state": "#A6D8F5",
    "embedding, head": PURPLE,
    "norms, routers, other": "#B8C0C8",
    "activations": "#8D99A5",
    "communication": ORANGE,
    "overhead": "#5B6770",
    "free": "#E4F3E9",
    "not used (utilisation, runtime)": "#DDE2E6",
}
"""Part of memory or time -> colour, in stacking order; the same everywhere."""

DIVERGING = ("#8C3A00", MOE, "#F6B48A", "#FAFAFA", "#8EC1E3", DENSE, "#003B66")
"""R from MoE wins (vermilion) over 1 (near white) to dense wins (blue)."""

WIDTH = 460
HEIGHT = 290


def config() -> dict[str, Any]:
    """The Vega-Lite config that every chart carries."""
    label = {"labelColor": INK, "labelFont": FONT, "titleFont": FONT, "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": GROUND,
        "font": FONT,
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
            "font": FONT,
            "color": INK,
            "fontSize": 14,
            "fontWeight": 600,
            "anchor": "start",
            "offset": 10,
            "frame": "group",
            "subtitleFont": FONT,
            "subtitleColor": MUTED,
            "subtitleFontSize": 11,
            "subtitlePadding": 4,
        },
        "header": label | {"titleColor": INK, "labelFontWeight": 600, "labelAnchor": "start"},
        "text": {"font": FONT, "fontSize": 11, "color": INK},
        "line": {"strokeWidth": 2.2},
        "point": {"size": 55, "filled": True},
        "range": {"category": list(SERIES)},
    }


def wrap(text: str, width: int) -> list[str]:
    """Caption text in lines of at most `width` characters; a long unbroken name is cut, not let out of the frame."""
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=True) or [""]


def short(name: object, limit: int = 44) -> str:
    """A name for a label: one printable line, bounded, never empty."""
    text = " ".join(str(name).split())
    text = "".join(c if c.isprintable() else "?" for c in text) or "unnamed"
    return text if len(text) <= limit else text[: limit - 1] + "…"
