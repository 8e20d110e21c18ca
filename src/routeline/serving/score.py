"""Error measures of predictions against measurements, and tables of them by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def measures(predicted: np.ndarray, measured: np.ndarray, low: Any = None, high: Any = None) -> dict[str, Any]:
    """n, answered, mape, median, within20, bias, spearman and interval80_coverage [all shares but n and spearman].

    mape, median: mean and median of |predicted/measured - 1|; bias: median of predicted/measured - 1.
    Unanswered rows (nan) count in n only.
    """
    use = np.isfinite(predicted) & np.isfinite(measured)
    out: dict[str, Any] = {"n": len(measured), "answered": int(use.sum())}
    if not use.any():
        return out | dict.fromkeys(("mape", "median", "within20", "bias", "spearman", "interval80_coverage"))
    ratio = predicted[use] / measured[use]
    error = np.abs(ratio - 1.0)
    inside = None
    if low is not None:
        inside = float(np.mean((measured[use] >= low[use]) & (measured[use] <= high[use])))
    return out | {
        "mape": float(error.mean()), "median": float(np.median(error)), "within20": float(np.mean(error <= 0.2)),
        "bias": float(np.median(ratio) - 1.0), "spearman": spearman(predicted[use], measured[use]),
        "interval80_coverage": inside,
    }  # fmt: skip


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Rank correlation (ties share their mean rank); None for fewer than three rows."""
    if len(a) < 3:
        return None

    def rank(v: np.ndarray) -> np.ndarray:
        _, inverse, count = np.unique(v, return_inverse=True, return_counts=True)
        top = np.cumsum(count)
        return (top - (count - 1) / 2.0)[inverse]

    x, y = rank(a), rank(b)
    spread = x.std() * y.std()
    return float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread > 0 else None


def by(
    labels: Mapping[str, Sequence[Any]], predicted: np.ndarray, measured: np.ndarray, low: Any = None, high: Any = None
) -> dict[str, dict[str, Any]]:
    """measures per value of each label column."""
    out: dict[str, dict[str, Any]] = {}
    for name, column in labels.items():
        values = np.asarray(column, object)
        out[name] = {}
        for value in dict.fromkeys(column):
            hit = values == value
            args = (predicted[hit], measured[hit])
            out[name][str(value)] = measures(*args) if low is None else measures(*args, low[hit], high[hit])
    return out
