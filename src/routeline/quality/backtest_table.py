"""How far the estimate and each single law are from what was measured, family by family left out.

The measure of truth is a model's median q over its usable rows (class A and B), itself noisy: the
benchmarks of one model disagree by a factor of about 1.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from . import _data, combine, pairs
from .distribution import t_quantile
from .laws import clark, ling, ludziejewski, simple, study
from .subject import Subject, subject_of
from .training import train_tokens


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One model, its family left out of the fit: measured q and the estimate's distribution of it.

    `inside50` and `inside90`: the measured median lies in the printed interval of q; `seen90`: in the
    interval that also counts confounding and benchmark noise of the measurement.
    """

    model: str
    family: str
    grade: str
    rows: int
    measured: float
    predicted: float
    interval90: tuple[float, float]
    inside50: bool
    inside90: bool
    seen90: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """One method: bias and rms of predicted over measured q as factors, and a paired comparison.

    ratio90 is the 90% interval of (method's rms log error)/(estimate's) over bootstrap draws of whole
    families; p_worse the share of draws in which the method errs more than the estimate.
    """

    method: str
    models: int
    bias: float
    rms: float
    ratio90: tuple[float, float] | None
    p_worse: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Held-out models and the score of every method."""

    models: tuple[HeldOut, ...]
    scores: tuple[Score, ...]

    @property
    def rms(self) -> float:
        """The estimate's rms factor, left out by family."""
        return self.scores[0].rms

    def covered(self, which: str = "inside90") -> int:
        """How many models an interval covered."""
        return sum(getattr(m, which) for m in self.models)

    def __str__(self) -> str:
        lines = [f"{'method':<28}{'models':>7}{'bias':>8}{'rms':>8}  against the estimate"]
        for s in self.scores:
            bias, rms = f"x{s.bias:.2f}", f"x{s.rms:.2f}"
            lines.append(f"{s.method:<28}{s.models:>7}{bias:>8}{rms:>8}  {s.verdict}")
        n = len(self.models)
        lines.append(
            f"of {n} models the 50% interval covered {self.covered('inside50')}, the 90% interval "
            f"{self.covered()}; with confounding and benchmark noise counted, 90% covered {self.covered('seen90')}"
        )
        return "\n".join(lines)


def _held_out() -> tuple[HeldOut, ...]:
    rule = _data.document("estimate.toml")["model"]
    rows = pairs.usable(pairs.load())
    out = []
    for family in sorted({p.family for p in rows}):
        kept = tuple(p for p in rows if p.family != family)
        k = combine.fit(kept)
        for seen in pairs.empirical(p for p in rows if p.family == family):
            found = combine.predict(seen.active / seen.total, seen.model, family, kept, k)
            mine = [p for p in rows if p.model == seen.model]
            noise = np.mean([rule["extrapolated_variance"] if p.status == "extrapolated" else 1.0 for p in mine])
            spread = 1.0 if seen.grade == "A" else rule["grade_b_variance"]
            wide = math.sqrt(found.sd**2 + spread * k.confounding**2 + noise * k.benchmark**2 / seen.rows)
            off = abs(math.log(seen.q) - found.centre)
            t50, t90 = t_quantile(0.75, rule["df"]), t_quantile(0.95, rule["df"])
            out.append(
                HeldOut(
                    model=seen.model,
                    family=family,
                    grade=seen.grade,
                    rows=seen.rows,
                    measured=seen.q,
                    predicted=math.exp(found.centre),
                    interval90=(math.exp(found.centre - t90 * found.sd), math.exp(found.centre + t90 * found.sd)),
                    inside50=bool(off <= t50 * found.sd),
                    inside90=bool(off <= t90 * found.sd),
                    seen90=bool(off <= t90 * wide),
                )
            )
    return tuple(out)


def _subject(name: str) -> Subject:
    """A model of the pairs with tokens filled in, the geometric middle where they are a range."""
    known = subject_of(name)
    assert known is not None  # a test holds every usable pair to this
    if known.train_tokens is None:
        found = train_tokens(name)
        known = replace(known, train_tokens=(found.low, found.high))
    low, high = known.train_tokens or (1.0, 1.0)
    return replace(known, train_tokens=(math.sqrt(low * high),) * 2)


def law_q(method: str, m: Subject) -> float:
    """A law's equal-token q without its refusals: a backtest asks every law of every model.

    'ling' clips to the fitted range, 'ling C<=1e22' and 'ling raw C' move or lift the compute limit.
    """
    laws = _data.document("laws.toml")
    k = laws[method.partition(" ")[0]]["coefficients"]
    tokens = (m.train_tokens or (0.0, 0.0))[0]
    activation, granularity = m.activation or m.sparsity, m.granularity or 1.0
    if method.startswith("ling"):
        top = {"ling": 6e20, "ling C<=1e22": 1e22, "ling raw C": math.inf}[method]
        limits = laws["ling"]["range"] | {"compute": [1e18, top]}
        return float(ling.leverage(*ling.clip(activation, granularity, 6.0 * m.active * tokens, limits), k))
    if method.startswith("clark"):
        return float(clark.q(m.active, 1.0 / activation, k))
    if method == "kimi-k2":
        return float(simple.kimi_leverage((m.experts or 1.0) / (m.top_k or 1.0), k))
    if method == "ludziejewski":
        return float(ludziejewski.q_equal_tokens(m.active, m.total, tokens, k))
    if method == "krajewski":
        return float(study.krajewski_q(m.active, m.total, tokens, max(2.0 * granularity, 1.0), k))
    if method == "abnar":
        return float(study.abnar_q(m.active, m.total, tokens, k))
    return float(simple.power(m.sparsity, k["kappa"]))


METHODS = (
    "ling",
    "ling C<=1e22",
    "ling raw C",
    "sqrt",
    "power",
    "kimi-k2",
    "ludziejewski",
    "clark-sbase",
    "clark-rl",
    "clark-hash",
    "abnar",
    "krajewski",
)


def run(*, draws: int = 4000, seed: int = 0) -> Backtest:
    """Refit with each family left out, score the estimate and every law on the same models.

    Takes some seconds: one fit per family. The paired bootstrap resamples whole families, because
    models of one family share data and recipe.
    """
    held = _held_out()
    truth = np.log([m.measured for m in held])
    mine = np.log([m.predicted for m in held]) - truth
    subjects = [_subject(m.model) for m in held]
    families = sorted({m.family for m in held})
    member = np.array([[m.family == f for m in held] for f in families], dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(families), size=(draws, len(families)))
    weights = member[picks].sum(axis=1)  # how often each model appears in each draw

    def score(method: str, error: np.ndarray) -> Score:
        bias, rms = float(np.exp(error.mean())), float(np.exp(math.sqrt((error**2).mean())))
        if method == "estimate":
            return Score(method=method, models=len(error), bias=bias, rms=rms, ratio90=None, p_worse=None, verdict="")
        ratio = np.sqrt((weights @ error**2) / (weights @ mine**2))
        low, high = np.quantile(ratio, [0.05, 0.95])
        word = "worse" if low > 1 else "better" if high < 1 else "indistinguishable"
        share = float((ratio > 1).mean())
        return Score(
            method=method,
            models=len(error),
            bias=bias,
            rms=rms,
            ratio90=(float(low), float(high)),
            p_worse=share,
            verdict=f"{word}: rms log error {low:.2f} to {high:.2f} times the estimate's, larger in {share:.0%} "
            "of draws",
        )

    scores = [score("estimate", mine)]
    for method in METHODS:
        scores.append(score(method, np.log([law_q(method, m) for m in subjects]) - truth))
    return Backtest(models=held, scores=tuple(scores))
