"""The estimate's statistics: one exponent, random effects of family and model, benchmark noise.

For row j of model i in family f, with s0 the saturation constant:

    x_i = ln((1 + s0)/(s_i + s0))                     # ln(1/s) that saturates, as in Clark's and Ling's laws
    ln q_ij = x_i (b + F_f + M_i) + C_i + e_ij
    F ~ N(0, family^2), M ~ N(0, model^2): true differences, they scale with x and vanish for a dense model
    C ~ N(0, confounding^2), doubled variance for class B: recipe and data, not part of q
    e ~ N(0, benchmark^2), doubled variance for extrapolated rows

b is estimated by generalised least squares on the fly, F and M of the model asked for by the same
equations (best linear unbiased prediction), so a model's own pairs move its q by their weight and
nothing overrides anything. The five constants are fitted by restricted maximum likelihood under the
weak priors of estimate.toml and shipped as data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from ..errors import RoutelineError
from . import _data
from .pairs import Pair, load, usable


@dataclass(frozen=True, kw_only=True)
class Constants:
    """s0 and the four standard deviations, all [-]."""

    s0: float
    family: float
    model: float
    confounding: float
    benchmark: float


def shipped() -> Constants:
    """The fitted constants of data/quality/estimate.toml."""
    return Constants(**_data.document("estimate.toml")["fitted"])


def effective_log(sparsity, s0: float):
    """x_eff = ln((1 + s0)/(s + s0)) [-]: 0 at s = 1, near ln(1/s) for s well above s0, bounded below it."""
    return np.log((1.0 + s0) / (np.asarray(sparsity, dtype=float) + s0))


@dataclass(frozen=True)
class _Rows:
    """Rows as arrays: y = ln q, s, indices of model and family, variance factors."""

    y: np.ndarray
    s: np.ndarray
    model: np.ndarray
    family: np.ndarray
    confounding: np.ndarray
    noise: np.ndarray


def _rows(pairs: Sequence[Pair]) -> _Rows:
    rule = _data.document("estimate.toml")["model"]
    return _Rows(
        y=np.log([p.q for p in pairs]),
        s=np.array([p.active / p.total for p in pairs]),
        model=np.array([p.model for p in pairs]),
        family=np.array([p.family for p in pairs]),
        confounding=np.array([1.0 if p.grade == "A" else rule["grade_b_variance"] for p in pairs]),
        noise=np.array([rule["extrapolated_variance"] if p.status == "extrapolated" else 1.0 for p in pairs]),
    )


def _covariance(r: _Rows, k: Constants):
    """(x, V) of the rows."""
    x = effective_log(r.s, k.s0)
    same_model, same_family = r.model[:, None] == r.model[None, :], r.family[:, None] == r.family[None, :]
    v = np.outer(x, x) * (k.family**2 * same_family + k.model**2 * same_model)
    v += k.confounding**2 * same_model * np.sqrt(np.outer(r.confounding, r.confounding))
    return x, v + np.diag(k.benchmark**2 * r.noise)


def _penalised(theta: np.ndarray, r: _Rows) -> float:
    """Minus the restricted log-likelihood, minus the log-prior, up to a constant."""
    k = Constants(**dict(zip((f.name for f in fields(Constants)), np.exp(theta), strict=True)))
    x, v = _covariance(r, k)
    chol = np.linalg.cholesky(v)
    a, b = np.linalg.solve(chol, x), np.linalg.solve(chol, r.y)
    info = a @ a
    rest = b - a * (a @ b / info)
    value = np.log(np.diag(chol)).sum() + 0.5 * (rest @ rest) + 0.5 * math.log(info)
    for i, f in enumerate(fields(Constants)):
        centre, sd = _data.document("estimate.toml")["prior"][f.name]
        value += 0.5 * ((theta[i] - math.log(centre)) / sd) ** 2
    return float(value)


def fit(pairs: Sequence[Pair] | None = None) -> Constants:
    """The five constants from pairs (default: the shipped usable rows). Needs SciPy.

    Raises:
        RoutelineError: SciPy is absent, or fewer than three families are left.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise RoutelineError("refitting needs SciPy; install it with: pip install 'routeline[fit]'") from None
    used = usable(load() if pairs is None else pairs)
    if len({p.family for p in used}) < 3:
        raise RoutelineError("a fit of the spread between families needs pairs of at least three families")
    rows = _rows(used)
    prior = _data.document("estimate.toml")["prior"]
    start = np.log([prior[f.name][0] for f in fields(Constants)])
    best = minimize(_penalised, start, args=(rows,), method="L-BFGS-B", options={"maxiter": 200})
    return Constants(**{f.name: float(v) for f, v in zip(fields(Constants), np.exp(best.x), strict=True)})


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """ln q of one MoE and where it comes from.

    Args:
        centre: ln q [-].
        sd: its standard deviation [-], of q itself: neither confounding nor benchmark noise.
        slope, slope_sd: the common exponent b [-].
        weights: share of each model's rows in the answer; shares add up to 1, single ones may be negative.
    """

    centre: float
    sd: float
    slope: float
    slope_sd: float
    weights: dict[str, float]
    rows: int


@lru_cache(maxsize=64)
def _solved(pairs: tuple[Pair, ...], k: Constants):
    """Everything that does not depend on the model asked for."""
    r = _rows(pairs)
    x, v = _covariance(r, k)
    inverse = np.linalg.inv(v)
    info = float(x @ inverse @ x)
    return r, x, inverse, info, float(x @ inverse @ r.y) / info


def predict(
    sparsity: float, model: str, family: str, pairs: Sequence[Pair], constants: Constants | None = None
) -> Prediction:
    """ln q of an MoE with activated fraction s, given usable pairs.

    Rows of the same model and family pull the answer by their weight; with none of them it is b x_eff.
    """
    k = constants or shipped()
    pairs = tuple(pairs)
    if not pairs:
        raise RoutelineError("no usable pairs are left to estimate q from; allow the shipped ones or state q")
    r, x, inverse, info, slope = _solved(pairs, k)
    x0 = float(effective_log(sparsity, k.s0))
    shared = x0 * x * (k.family**2 * (r.family == family) + k.model**2 * (r.model == model))
    pull = inverse @ shared
    rest = x0 - float(x @ pull)
    centre = slope * x0 + float(pull @ (r.y - slope * x))
    variance = x0**2 * (k.family**2 + k.model**2) - float(shared @ pull) + rest**2 / info
    row_weight = pull + inverse @ x * rest / info  # centre = row_weight . y
    shares: dict[str, float] = {}
    if x0 > 0:
        for name, part in zip(r.model, row_weight * x / x0, strict=True):
            shares[str(name)] = shares.get(str(name), 0.0) + float(part)
    return Prediction(
        centre=centre,
        sd=math.sqrt(max(variance, 0.0)),
        slope=slope,
        slope_sd=1.0 / math.sqrt(info),
        weights=dict(sorted(shares.items(), key=lambda item: -abs(item[1]))),
        rows=len(pairs),
    )
