"""Distributions of q behind one interface: quantile, cdf, median, intervals, samples.

Student's t enters because the spread of kappa is itself learnt from about ten families. Its
distribution function has a closed form for even degrees of freedom, so NumPy is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import RoutelineError, shorten
from .solve import bisect


class QDistribution:
    """What is believed of q. Subclasses give `quantile` and `cdf`; arrays broadcast."""

    kind = "abstract"

    def quantile(self, p):
        """q below which the probability is p [-], p in (0, 1)."""
        raise NotImplementedError

    def cdf(self, q):
        """Probability that q is at most the value given [-]."""
        raise NotImplementedError

    def p_below(self, threshold):
        """P(q < threshold) [-]."""
        return self.cdf(threshold)

    @property
    def median(self) -> float:
        """The value with equal odds on either side [-]."""
        return float(self.quantile(0.5))

    def interval(self, mass: float) -> tuple[float, float]:
        """Central interval that holds `mass` of the probability."""
        if not 0 < mass < 1:
            raise RoutelineError(f"an interval's mass must lie in (0, 1), not {shorten(mass)}")
        return float(self.quantile((1 - mass) / 2)), float(self.quantile((1 + mass) / 2))

    @property
    def interval50(self) -> tuple[float, float]:
        """Central half."""
        return self.interval(0.5)

    @property
    def interval90(self) -> tuple[float, float]:
        """Central nine tenths."""
        return self.interval(0.9)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """n independent draws, the same for the same seed."""
        u = np.random.default_rng(seed).uniform(1e-12, 1 - 1e-12, int(n))
        return np.asarray(self.quantile(u), dtype=float)

    def to_dict(self) -> dict:
        """Median and intervals; an end no dense model reaches is None."""
        show = [self.median, *self.interval50, *self.interval90]
        m, a, b, c, d = (x if math.isfinite(x) else None for x in show)
        return {"median": m, "interval50": [a, b], "interval90": [c, d], "kind": self.kind}


@dataclass(frozen=True)
class Fixed(QDistribution):
    """q known exactly, as a user states it."""

    q: float
    kind = "fixed"

    def quantile(self, p):
        return np.full(np.shape(p), self.q) if np.ndim(p) else self.q

    def cdf(self, q):
        return np.where(np.asarray(q, dtype=float) >= self.q, 1.0, 0.0)[()]

    def p_below(self, threshold):
        return np.where(self.q < np.asarray(threshold, dtype=float), 1.0, 0.0)[()]


@dataclass(frozen=True)
class LogUniform(QDistribution):
    """Every factor between two ends equally likely: how a stated range is read."""

    low: float
    high: float
    kind = "log-uniform"

    def quantile(self, p):
        return self.low * (self.high / self.low) ** np.asarray(p, dtype=float)[()]

    def cdf(self, q):
        with np.errstate(divide="ignore"):
            u = np.log(np.maximum(np.asarray(q, dtype=float), 0.0) / self.low) / math.log(self.high / self.low)
        return np.clip(u, 0.0, 1.0)[()]


def t_cdf(t, df: int):
    """Distribution function of Student's t for even degrees of freedom [-].

    F = 1/2 + sin(a)/2 * (1 + cos^2(a)/2 + 1*3/(2*4) cos^4(a) + ...), tan(a) = t/sqrt(df), df/2 terms
    (Abramowitz and Stegun 26.7.4).
    """
    angle = np.arctan(np.asarray(t, dtype=float) / math.sqrt(df))
    cos2 = np.cos(angle) ** 2
    term, total = np.ones_like(cos2), np.ones_like(cos2)
    for i in range(1, df // 2):
        term = term * cos2 * (2 * i - 1) / (2 * i)
        total = total + term
    return (0.5 + 0.5 * np.sin(angle) * total)[()]


def t_quantile(p, df: int):
    """Inverse of `t_cdf` by bisection [-]. Single probabilities are remembered: every answer asks for the same few."""
    return _t_quantile(float(p), df) if np.ndim(p) == 0 else _invert(p, df)


@lru_cache(maxsize=256)
def _t_quantile(p: float, df: int):
    return _invert(p, df)


def _invert(p, df: int):
    p = np.asarray(p, dtype=float)
    return bisect(lambda t: t_cdf(t, df) - p, np.full(p.shape, -1e4), np.full(p.shape, 1e4), steps=80)[()]


@dataclass(frozen=True)
class LogStudent(QDistribution):
    """ln q = centre + scale * t: the estimate's own form. scale 0 is a point (a dense model)."""

    centre: float
    scale: float
    df: int
    kind = "log-student"

    def quantile(self, p):
        return np.exp(self.centre + self.scale * t_quantile(p, self.df))

    def cdf(self, q):
        with np.errstate(divide="ignore"):
            logq = np.log(np.maximum(np.asarray(q, dtype=float), 0.0))
        if self.scale == 0:
            return np.where(logq >= self.centre, 1.0, 0.0)[()]
        return t_cdf((logq - self.centre) / self.scale, self.df)

    def p_below(self, threshold):
        if self.scale == 0:
            return Fixed(math.exp(self.centre)).p_below(threshold)
        return self.cdf(threshold)


@dataclass(frozen=True)
class Mapped(QDistribution):
    """A distribution carried through a rising map, e.g. from equal tokens to equal FLOP.

    `back` maps the new value to the old one on (0, q_top]; above `top` of the old variable no
    finite new value exists, and quantiles are infinite.
    """

    base: QDistribution
    back: Callable
    q_top: float
    top: float
    kind = "mapped"

    @property
    def p_unreachable(self) -> float:
        """Probability that no finite q exists [-]."""
        return float(1.0 - self.base.cdf(self.top))

    def cdf(self, q):
        q = np.asarray(q, dtype=float)
        inside = np.minimum(q, self.q_top)
        return np.where(q > 0, self.base.cdf(self.back(np.maximum(inside, 1e-9))), 0.0)[()]

    def quantile(self, p):
        old = np.asarray(self.base.quantile(p), dtype=float)
        held = np.minimum(old, self.top)
        low, high = np.full(old.shape, 1e-6), np.full(old.shape, self.q_top)
        new = bisect(lambda q: np.log(self.back(q)) - np.log(held), low, high, steps=120, log=True)
        return np.where(old > self.top, np.inf, new)[()]


def parse_q(text: str | float) -> QDistribution:
    """'2' -> a fixed q; '1.5..4' -> log-uniform between the two.

    Raises:
        RoutelineError: not a number, not above zero, or ends in the wrong order.
    """

    def number(part: object) -> float:
        try:
            value = float(str(part).strip())
        except ValueError:
            raise RoutelineError(f"q {shorten(text)!r} is not a number; write e.g. 2 or a range 1.5..4") from None
        if not math.isfinite(value) or value <= 0:
            raise RoutelineError(f"q must be above zero and finite, not {shorten(text)}; write e.g. 2 or 1.5..4")
        return value

    if isinstance(text, bool):
        raise RoutelineError("q is a number such as 2 or a range 1.5..4, not true or false")
    parts = str(text).split("..")
    if len(parts) == 1:
        return Fixed(number(parts[0]))
    if len(parts) != 2:
        raise RoutelineError(f"q {shorten(text)!r} has more than two ends; write a range as 1.5..4")
    low, high = number(parts[0]), number(parts[1])
    if low > high:
        raise RoutelineError(
            f"q range {shorten(text)!r} runs downwards; write the smaller end first: {high:g}..{low:g}"
        )
    return Fixed(low) if low == high else LogUniform(low, high)
