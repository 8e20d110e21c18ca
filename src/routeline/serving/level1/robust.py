"""Robust fits of a kernel formula, and the entry of kernels.json that a fit becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

SCALE = 0.06
"""Log error from which a point counts linearly instead of squared [-]: about what repeated runs differ by."""
SHARE = 0.01
"""Weight of a prior of one sigma, in points, per point fitted: it decides only what the points leave open."""
RIDGE = 0.03
"""Pull of a curve's values towards 0, per root of points."""
MOST = 3000
"""Training points used per fit (evenly thinned)."""
SCREEN = 0.05
"""A table passes while at most this share of its points is faster than its own roofline ..."""
SPREAD = 0.25
"""... and its held-out median error stays below this (a table that no kernel physics describes is not used)."""
FASTER = 0.97
"""A point counts as faster than its roofline below this fraction of it (clocks and timers are not exact)."""


class Prior(NamedTuple):
    """Where a constant starts, how far it may go, and its spread in log terms."""

    value: float
    sigma: float = 1.0
    low: float = 0.0
    high: float = np.inf


class Fit(NamedTuple):
    """Fitted constants and the values of a curve (empty without one), with the median error on training points."""

    constants: dict[str, float]
    curve: np.ndarray
    training: float


Model = Callable[[Mapping[str, float], np.ndarray], np.ndarray]
"""(constants, indices of points) -> seconds."""


def thinned(points: np.ndarray, most: int = MOST) -> np.ndarray:
    return points[:: max(1, -(-len(points) // most))]


def _soft(error: np.ndarray) -> np.ndarray:
    """Residuals whose squares are the soft L1 loss of `error`."""
    return np.sign(error) * SCALE * np.sqrt(2.0 * (np.sqrt(1.0 + (error / SCALE) ** 2) - 1.0))


def solve(
    model: Model,
    priors: Mapping[str, Prior],
    measured: np.ndarray,
    train: np.ndarray,
    basis: np.ndarray | None = None,
    most: int = MOST,
) -> Fit:
    """Constants that fit log(model) to log(measured) on the points `train` (indices), robustly.

    basis: (points, knots) of a curve added to the logarithm, its values ridge-regularised and within one e-fold.
    """
    from scipy.optimize import least_squares

    names = list(priors)
    at = thinned(train, most)
    knots = 0 if basis is None else basis.shape[1]
    x0 = np.log([max(p.value, 1e-14) for p in priors.values()])
    low = np.log([max(p.low, p.value * 1e-3, 1e-16) for p in priors.values()])
    high = np.log([min(p.high, p.value * 1e3) for p in priors.values()])
    pull = SCALE * np.sqrt(SHARE * len(at)) / np.array([p.sigma for p in priors.values()])
    seen = np.log(measured[at])

    def cost(x: np.ndarray) -> np.ndarray:
        constants = dict(zip(names, np.exp(x[: len(names)]), strict=True))
        error = np.log(model(constants, at)) - seen
        parts = [pull * (x[: len(names)] - x0)]
        if basis is not None:
            error = error + basis[at] @ x[len(names) :]
            parts.append(RIDGE * np.sqrt(len(at)) * x[len(names) :])
        return np.concatenate([_soft(error), *parts])

    ends = np.ones(knots)
    bounds = (np.concatenate([low, -ends]), np.concatenate([high, ends]))
    start = np.concatenate([np.clip(x0, low + 1e-9, high - 1e-9), np.zeros(knots)])
    found = least_squares(cost, start, bounds=bounds, max_nfev=80, x_scale="jac")
    constants = dict(zip(names, np.exp(found.x[: len(names)]), strict=True))
    curve = found.x[len(names) :]
    miss = np.log(model(constants, at)) - seen + (basis[at] @ curve if basis is not None else 0.0)
    return Fit(constants, curve, float(np.median(np.abs(np.expm1(miss)))))


def hat(x: np.ndarray, knots: int) -> np.ndarray:
    """Basis of a piecewise linear curve with knots at 0, 1, 2, ...: (points, knots), rows sum to 1."""
    x = np.clip(x, 0.0, knots - 1.0 - 1e-9)
    left = np.floor(x).astype(int)
    out = np.zeros((len(x), knots))
    rows = np.arange(len(x))
    out[rows, left] = 1.0 - (x - left)
    out[rows, np.minimum(left + 1, knots - 1)] += x - left
    return out


def grid(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Basis of a surface, linear between the knots of two curves: (points, knots of left x knots of right)."""
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def bend(miss: np.ndarray, basis: np.ndarray, rounds: int = 30) -> np.ndarray:
    """Values on `basis` that describe the logarithms `miss` under the loss and the ridge of `solve`."""
    values = np.zeros(basis.shape[1])
    pull = RIDGE**2 * len(miss) * np.eye(basis.shape[1])
    for _ in range(rounds):
        weight = 1.0 / np.sqrt(1.0 + ((miss - basis @ values) / SCALE) ** 2)
        weighted = basis * weight[:, None]
        found = np.linalg.solve(basis.T @ weighted + pull, weighted.T @ miss)
        done = float(np.abs(found - values).max()) < 1e-4
        values = found
        if done:
            break
    return values


class Split(NamedTuple):
    """A table's rows: which are fitted, held out, left out by a rule on shapes, and faster than their roofline."""

    train: np.ndarray
    test: np.ndarray
    held: np.ndarray
    """every row of a held-out shape, whether or not a rule leaves it out"""
    points: int
    kept: int
    screened: float
    """share of the kept rows that are faster than their own roofline"""

    def enough(self, train: int, test: int) -> bool:
        return len(self.train) >= train and len(self.test) >= test


def split(keep: np.ndarray, fast: np.ndarray, hold: np.ndarray) -> Split:
    """keep: rows the rules on shapes leave in; fast: faster than their roofline; hold: of a held-out shape."""
    ok = keep & ~fast
    share = float(fast[keep].mean()) if keep.any() else 0.0
    train, test, held = (np.flatnonzero(mask) for mask in (ok & ~hold, ok & hold, hold))
    return Split(train, test, held, len(keep), int(keep.sum()), share)


def errors(seconds: np.ndarray, measured: np.ndarray, parts: Split) -> dict[str, float]:
    """Median relative error on held-out shapes: of the rows that count, and of all of them."""
    miss = np.abs(seconds / measured - 1.0)
    return {
        "held_out_median": round(float(np.median(miss[parts.test])), 4),
        "held_out_all": round(float(np.median(miss[parts.held])), 4),
    }


def rounded(constants: Mapping[str, float], digits: int = 3) -> dict[str, float]:
    return {name: float(f"{value:.{digits}g}") for name, value in constants.items()}


def verdict(parts: Split, error: float | None) -> str:
    """Why a table does not pass; empty if it does."""
    if error is None:
        return "too few points"
    if parts.screened > SCREEN:
        return "too many points above the roofline"
    return "" if error <= SPREAD else "no kernel physics describes it"


def report(head: dict[str, Any], parts: Split, error: dict[str, float] | None, rest: dict[str, Any]) -> dict[str, Any]:
    """One entry of kernels.json.

    points: rows of the table; used: fitted or held out; screened: share of the rows within the rules that are faster
    than their own roofline.
    """
    found = error or {"held_out_median": None, "held_out_all": None}
    why = verdict(parts, found["held_out_median"])
    used = len(parts.train) + len(parts.test)
    return head | {"points": parts.points, "used": used, "screened": round(parts.screened, 4)} | found | {
        "passes": not why,
    } | ({"why": why} if why else {}) | rest  # fmt: skip
