"""From equal training tokens, which the pairs measure, to the other two ways of matching."""

from __future__ import annotations

import math

from . import _data
from .distribution import LogStudent, Mapped, QDistribution
from .laws import ludziejewski
from .subject import Subject


def convert(subject: Subject, base: LogStudent, convention: str) -> QDistribution:
    """The equal-token distribution carried to another convention (estimate.toml says how and why).

    compute-optimal: ln q falls to a share of itself, the share uncertain. equal-flop: the dense model
    of equal loss on the same tokens is replaced by the one that spends the MoE's FLOP on more
    parameters and fewer tokens, along a published dense law; where none exists q is infinite.
    """
    if convention == "equal-tokens" or base.scale == 0:
        return base
    rule = _data.document("estimate.toml")["convert"][convention]
    if convention == "compute-optimal":
        r, spread = rule["exponent"], rule["sd"]
        return LogStudent(r * base.centre, math.hypot(r * base.scale, spread * base.centre), base.df)
    k = _data.document("laws.toml")["ludziejewski"]["coefficients"]
    low, high = subject.train_tokens or (0.0, 0.0)
    tokens = math.sqrt(low * high)
    top_q = float(ludziejewski.best_split(subject.active, tokens, k))

    def back(q):
        return ludziejewski.tokens_from_flop(q, subject.active, tokens, k)

    return Mapped(base, back, top_q, float(back(top_q)))
