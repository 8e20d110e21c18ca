"""Lines, edges and label places of a map, worked out on the scales it is drawn in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .data import Rows

LINEAR = ("utilisation", "accept", "overhead")
"""Axes drawn on a linear scale; every other one is logarithmic."""


def scaled(values: Any, name: str) -> np.ndarray:
    """Values of an axis on the scale it is drawn in."""
    v = np.asarray(values, float)
    return v if name in LINEAR else np.log(v)


def _back(value: float, name: str) -> float:
    return float(value) if name in LINEAR else float(np.exp(value))


def edges(centres: Any, name: str) -> np.ndarray:
    """Cell edges half-way between centres, on the scale the axis is drawn in; the outer ones are the outer centres."""
    v = np.asarray(centres, float)
    if len(v) == 1:
        return np.array([v[0], v[0] * 1.0001])
    middle = 0.5 * (v[1:] + v[:-1]) if name in LINEAR else np.sqrt(v[1:] * v[:-1])
    return np.concatenate([v[:1], middle, v[-1:]])


def line(xs: Any, ys: Any, field: np.ndarray, x: str, y: str) -> Rows:
    """Segments where `field` crosses 0, between the centres of neighbouring cells (marching squares).

    Linear along the sides of each square, on the drawn scale. Where only one side is crossed because a corner has
    no value, the line runs to the middle of the square, which is where the area without a value begins.
    """
    sx, sy = scaled(xs, x), scaled(ys, y)
    out: Rows = []
    for i in range(len(sx) - 1):
        for j in range(len(sy) - 1):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            values = [float(field[p]) for p in corners]
            known = [v for v in values if np.isfinite(v)]
            if len(known) < 2 or (min(known) >= 0) == (max(known) >= 0):
                continue
            hits = []
            for (a, fa), (b, fb) in pairwise([*zip(corners, values, strict=True), (corners[0], values[0])]):
                if np.isfinite(fa) and np.isfinite(fb) and (fa >= 0) != (fb >= 0):
                    t = fa / (fa - fb)
                    hits.append((sx[a[0]] + t * (sx[b[0]] - sx[a[0]]), sy[a[1]] + t * (sy[b[1]] - sy[a[1]])))
            middle = (0.5 * (sx[i] + sx[i + 1]), 0.5 * (sy[j] + sy[j + 1]))
            pieces = zip(hits[::2], hits[1::2], strict=True) if len(hits) % 2 == 0 else [(hits[0], middle)]
            out += [
                {"x": _back(a[0], x), "y": _back(a[1], y), "x1": _back(b[0], x), "y1": _back(b[1], y)}
                for a, b in pieces
            ]
    return out


LEAST = 0.05
"""Smallest share of a map's cells that is named on it."""
ROOM = (0.15, 0.05)
"""Half the width and height of a name, as shares of the map."""


def place(xs: Any, ys: Any, inside: np.ndarray, x: str, y: str) -> tuple[float, float] | None:
    """Where to write the name of an area: far from everything else, near the middle; None where it is too small."""
    if inside.mean() < LEAST:
        return None
    sx, sy = scaled(xs, x), scaled(ys, y)
    u = (sx - sx[0]) / max(sx[-1] - sx[0], 1e-300)
    v = (sy - sy[0]) / max(sy[-1] - sy[0], 1e-300)
    cells = np.argwhere(inside)
    roomy = cells[(np.abs(u[cells[:, 0]] - 0.5) <= 0.5 - ROOM[0]) & (np.abs(v[cells[:, 1]] - 0.5) <= 0.5 - ROOM[1])]
    if not len(roomy):
        return None
    others = np.argwhere(~inside)
    if not len(others):
        best = roomy[np.argmin(np.hypot(u[roomy[:, 0]] - 0.5, v[roomy[:, 1]] - 0.5))]
    else:
        du = np.abs(u[roomy[:, 0]][:, None] - u[others[:, 0]][None, :]) / ROOM[0]
        dv = np.abs(v[roomy[:, 1]][:, None] - v[others[:, 1]][None, :]) / ROOM[1]
        off = np.hypot(u[roomy[:, 0]] - 0.5, v[roomy[:, 1]] - 0.5)
        best = roomy[np.argmax(np.minimum(np.min(np.maximum(du, dv), axis=1), 2.0) - off)]
    return float(np.asarray(xs, float)[best[0]]), float(np.asarray(ys, float)[best[1]])


def hatch(cells: Rows, x: str, y: str) -> Rows:
    """Diagonals of cells that do not fit: rising where the MoE does not, falling where dense does not, else both.

    The cells at the rim of a map are halves of what they would be inside it, and carry half a diagonal.
    """
    out: Rows = []
    for r in cells:
        (x0, x1), (y0, y1) = _whole(r, "x", x), _whole(r, "y", y)
        ax, bx = _span(r, "x", x, x0, x1)
        ay, by = _span(r, "y", y, y0, y1)
        for low, high, fits in ((ay, by, "dense does not fit"), (1 - by, 1 - ay, "MoE does not fit")):
            start, end = max(ax, low), min(bx, high)
            if r["state"] == fits or start >= end:
                continue
            rising = fits == "dense does not fit"
            here, there = (start, end) if rising else (1 - start, 1 - end)
            out.append({"x0": _back(x0 + start * (x1 - x0), x), "x1": _back(x0 + end * (x1 - x0), x),
                        "y0": _back(y0 + here * (y1 - y0), y), "y1": _back(y0 + there * (y1 - y0), y)})  # fmt: skip
    return out


def _whole(cell: dict[str, Any], key: str, name: str) -> tuple[float, float]:
    """A cell's two edges on the drawn scale, as if it were not cut at the rim of the map."""
    at, low, high = (float(scaled(cell[k], name)) for k in (key, f"{key}0", f"{key}1"))
    return (2 * at - high if low == at else low, 2 * at - low if high == at else high)


def _span(cell: dict[str, Any], key: str, name: str, low: float, high: float) -> tuple[float, float]:
    """The share of the whole cell that is drawn."""
    a, b = (float(scaled(cell[f"{key}{i}"], name)) for i in (0, 1))
    return (a - low) / (high - low), (b - low) / (high - low)
