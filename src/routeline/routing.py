"""Which experts a step touches: expected unions, load and the slowest rank. Knows no device.

Routings: `uniform` (independent, every expert equally likely), `balanced` (the router spreads tokens
perfectly), `zipf:a` (popularity rank**-a, drawn without replacement), `measured:FILE`.
All functions broadcast over experts, top_k, tokens and ranks; a dense layer is experts = top_k = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import RoutelineError
from .numeric import choose, clip, maximum, minimum, sqrt


@dataclass(frozen=True)
class Routing:
    """A named routing. probabilities: inclusion probabilities per expert, each row summing to top_k
    (measured or derived from a law), or None for the closed forms. redundant: spare expert slots
    cluster-wide (EPLB) that even out rank loads.
    """

    name: str = "uniform"
    exponent: float = 0.0
    probabilities: Any = None
    redundant: float = 0.0


UNIFORM = Routing("uniform")
BALANCED = Routing("balanced")


def touched_uniform(experts: Any, top_k: Any, tokens: Any) -> Any:
    """Expected distinct experts read per layer [-]: E * (1 - (1 - k/E)**T); arguments broadcast.

    Independent uniform routing; skew touches fewer, deliberate balancing more. Dense (E = k = 1)
    gives 1. Union of T independent draws (docs/physics.md section 2).
    """
    return experts * (1.0 - (1.0 - top_k / experts) ** tokens)


def touched_balanced(experts: Any, top_k: Any, tokens: Any) -> Any:
    """Distinct experts when the router avoids repeats: min(E, T*k), the upper limit of any routing."""
    return minimum(experts, tokens * top_k)


def touched_from(probabilities: Any, tokens: Any) -> Any:
    """sum_e 1 - (1 - pi_e)**T for inclusion probabilities (last axis), never above the uniform value."""
    pi = np.asarray(probabilities, float)
    t = np.asarray(tokens, float)[..., None]
    return np.sum(1.0 - (1.0 - pi) ** t, axis=-1)


def experts_touched(routing: Routing, experts: Any, top_k: Any, tokens: Any) -> Any:
    """Expected distinct experts read per layer under a routing [-]; arguments broadcast."""
    if routing.name == "balanced":
        return touched_balanced(experts, top_k, tokens)
    if routing.probabilities is not None or routing.name == "zipf":
        if np.ndim(experts) == 0 and float(experts) == 1.0:
            return touched_uniform(experts, top_k, tokens)
        pi = inclusion(routing, experts, top_k)
        return touched_from(pi, tokens) if pi.ndim == 1 else np.mean([touched_from(p, tokens) for p in pi], axis=0)
    return touched_uniform(experts, top_k, tokens)


def inclusion(routing: Routing, experts: Any, top_k: Any) -> np.ndarray:
    """Inclusion probability per expert (sums to top_k). Shape (E,) or (layers, E).

    Raises:
        RoutelineError: the measured table is for another number of experts or another top-k.
    """
    n, k = int(experts), float(top_k)
    if routing.probabilities is not None:
        pi = np.asarray(routing.probabilities, float)
        if pi.shape[-1] != n:
            raise RoutelineError(
                f"measured routing has {pi.shape[-1]} experts, the model has {n}; give a table for this model"
            )
        return pi
    if routing.name == "zipf":
        return zipf_inclusion(n, k, routing.exponent)
    return np.full(n, k / n)


_ZIPF: dict[tuple[int, float, float], np.ndarray] = {}


def zipf_inclusion(experts: int, top_k: float, exponent: float) -> np.ndarray:
    """Inclusion probabilities of top-k drawn without replacement with weights rank**-a.

    Successive sampling; solved in its Poisson (Rosen 1972) form: pi_e = 1 - exp(-w_e * t) with t such
    that the sum is k. For E = 256, k = 8, a = 1.2 it agrees with simulation within 0.01.
    """
    key = (experts, top_k, exponent)
    if key not in _ZIPF:
        w = np.arange(1, experts + 1, dtype=float) ** -exponent
        w /= w.sum()
        if top_k >= experts:
            return np.ones(experts)
        lo, hi = -60.0, 60.0  # log t
        for _ in range(200):
            mid = 0.5 * (lo + hi)
            if -np.expm1(-w * math.exp(mid)).sum() < top_k:
                lo = mid
            else:
                hi = mid
        _ZIPF[key] = -np.expm1(-w * math.exp(0.5 * (lo + hi)))
    return _ZIPF[key]


def fragmentation(touched: Any, top_k: Any) -> Any:
    """Reuse fragmentation phi = U/k [-]: a dense FFN serves phi times more tokens per fetched weight."""
    return touched / top_k


def tokens_per_expert(tokens: Any, top_k: Any, touched: Any) -> Any:
    """Tokens served per fetch of one expert's weights [-]: T*k/U; dense gives T."""
    return tokens * top_k / touched


def worst_rank_touched(
    routing: Routing, experts: Any, top_k: Any, tokens: Any, ranks: Any, *, groups: Any = 1.0, kept: Any = 1.0
) -> Any:
    """Expected largest number of touched expert slots on any of `ranks` expert-parallel ranks [-].

    Each rank holds m = E/ranks experts, dealt at random (a measured table: in its own order; redundant
    slots: greedily, routeline.placement). The count on a rank has mean U/ranks and, relative to the other
    ranks, variance m p(1-p) + m(m-1) c_in - m**2 c_out + the variance of the ranks' own means; p is the
    chance that an expert is touched, c_in and c_out the exact covariances of two experts of one rank and
    of two ranks: equal and negative for k drawn without replacement, c_in larger where a token may use
    experts of only `kept` of `groups` groups. Expected maximum by Blom's normal order statistic with a
    Cornish-Fisher skew term, clipped to [mean, min(m, T*k)] and the union bound 1 + ranks * P(pair on one
    rank). Within 5% of simulation, 10% at T = 1 on many ranks (tests/test_routing.py; DeepSeek-V3, 8 ranks,
    T = 64: 30.4 of 32, mean 27.8).
    """
    if routing.name == "balanced":
        mean = touched_balanced(experts, top_k, tokens) / ranks
        ceiling = maximum(minimum(experts / ranks, tokens * top_k), mean)
        return minimum(maximum(np.ceil(mean - 1e-9), mean), ceiling)
    m = (experts + routing.redundant) / ranks
    near, far = _covariances(experts, top_k, tokens, ranks, groups, kept)
    if (routing.probabilities is not None or routing.redundant) and np.ndim(experts) == 0 and float(experts) > 1.0:
        from . import placement

        pi = inclusion(routing, experts, top_k)
        mean, floor, between, inside = placement.touched_by_rank(routing, pi, tokens, ranks)
        p, spread = clip(mean / m, 0.0, 1.0), 0.0
    else:
        total = experts_touched(routing, experts, top_k, tokens)
        mean = floor = total / ranks
        p = clip(total / experts, 0.0, 1.0)
        spread = _popularity_spread(routing, experts, top_k, tokens)
        inside = m * maximum(p * (1.0 - p) - spread, 0.0)
        between = m * spread * (experts - m) / maximum(experts - 1.0, 1.0)
    variance = maximum(inside + m * maximum(m - 1.0, 0.0) * near - m * m * far, 0.0) + between
    z = expected_max_normal(ranks)
    skew = (1.0 - 2.0 * p) / sqrt(maximum(m * p * (1.0 - p), 0.25))
    peak = mean + sqrt(maximum(variance, 1e-300)) * (z + (z * z - 1.0) * skew / 6.0) * (z > 0)
    pair = clip(p * p - spread / maximum(experts - 1.0, 1.0) + near, 0.0, 1.0)
    union = 1.0 + ranks * 0.5 * m * maximum(m - 1.0, 0.0) * pair
    ceiling = maximum(minimum(minimum(m, tokens * top_k), union), floor)
    return clip(peak, floor, ceiling)


def _pairs_chosen(experts: Any, top_k: Any, ranks: Any, groups: Any, kept: Any) -> tuple[Any, Any]:
    """Chance that one token uses both of two experts, on one rank and on two ranks [-].

    k of E without replacement: k(k-1)/(E(E-1)). With groups: first `kept` of `groups` at random, then k of
    their n experts: kept/groups * k(k-1)/(n(n-1)) inside a group, times (kept-1)/(groups-1) across groups;
    ranks hold experts in order.
    """
    n = experts * kept / groups
    inside = kept / groups * top_k * (top_k - 1.0) / maximum(n * (n - 1.0), 1.0)
    if isinstance(groups, (int, float)) and groups == 1.0:
        return inside, inside
    across = inside * (kept - 1.0) / maximum(groups - 1.0, 1.0)
    m, e = experts / ranks, experts / groups
    near = clip((minimum(m, e) - 1.0) / maximum(m - 1.0, 1e-9), 0.0, 1.0)
    far = clip((e - minimum(m, e)) / maximum(experts - m, 1e-9), 0.0, 1.0)
    return near * inside + (1.0 - near) * across, far * inside + (1.0 - far) * across


def _covariances(experts: Any, top_k: Any, tokens: Any, ranks: Any, groups: Any, kept: Any) -> tuple[Any, Any]:
    """Covariance of "touched" between two experts of one rank and of two ranks [-]: (1-2p+P)^T - (1-p)^2T."""
    p = top_k / experts
    alone = (1.0 - p) ** (2.0 * tokens)
    near, far = _pairs_chosen(experts, top_k, ranks, groups, kept)
    missed = [maximum(1.0 - 2.0 * p + both, 0.0) ** tokens - alone for both in (near, far)]
    return missed[0], missed[1]


def _popularity_spread(routing: Routing, experts: Any, top_k: Any, tokens: Any) -> Any:
    """Variance over experts of the chance to be touched [-]; 0 when every expert is equally likely."""
    if (routing.probabilities is None and routing.name != "zipf") or (np.ndim(experts) == 0 and float(experts) == 1.0):
        return 0.0
    pi = np.atleast_2d(inclusion(routing, experts, top_k))
    t = np.asarray(tokens, float)[..., None]
    return np.mean([np.var(1.0 - (1.0 - row) ** t, axis=-1) for row in pi], axis=0)


def worst_rank_load(
    routing: Routing, experts: Any, top_k: Any, tokens: Any, ranks: Any, *, groups: Any = 1.0, kept: Any = 1.0
) -> Any:
    """Expected largest share of token-expert pairs on a rank, relative to the mean [-], >= 1.

    One token puts X of its k pairs on a rank: mean k/ranks, exact variance from the chances of one and two
    experts; T tokens are independent, and ranks share a fixed total. Popularity adds the busiest rank's
    load in the limit of many tokens (routeline.placement), in quadrature with the noise. Never more than T
    tokens for each touched slot. Within 8% of simulation, 10% at T = 1 (tests/test_routing.py).
    """
    pairs = tokens * top_k / ranks
    if routing.name == "balanced":
        return maximum(1.0, np.ceil(pairs - 1e-9) / maximum(pairs, 1e-300))
    m, p = experts / ranks, top_k / experts
    near, far = _pairs_chosen(experts, top_k, ranks, groups, kept)
    one = m * p * (1.0 - p) + m * (m - 1.0) * (near - p * p) - m * m * (far - p * p)
    spread = maximum(one, 0.0) * tokens / maximum(pairs * pairs, 1e-300)
    skew = 1.0 / sqrt(maximum(pairs, 0.25))
    z = expected_max_normal(ranks)
    noise = sqrt(spread) * (z + (z * z - 1.0) * skew / 6.0) * (z > 0)
    steady: Any = 1.0
    skewed = routing.probabilities is not None or routing.name == "zipf" or routing.redundant
    if skewed and np.ndim(experts) == 0 and float(experts) > 1.0:
        from . import placement

        steady = placement.heaviest(routing, inclusion(routing, experts, top_k), ranks)
    peak = 1.0 + sqrt((steady - 1.0) ** 2 + noise**2)
    hot = worst_rank_touched(routing, experts, top_k, tokens, ranks, groups=groups, kept=kept)
    return clip(peak, 1.0, maximum(minimum(ranks, hot * tokens / maximum(pairs, 1e-300)), 1.0))


def expected_max_normal(n: Any) -> Any:
    """Expected maximum of n independent standard normals [-]; 0 for n = 1.

    Blom's approximation Phi^-1((n - 0.375)/(n + 0.25)), within 1% for n <= 10^4 (Blom 1958).
    """
    return choose(n > 1, _normal_quantile((maximum(n, 2.0) - 0.375) / (maximum(n, 2.0) + 0.25)), 0.0)


def _normal_quantile(p: Any) -> Any:
    """Inverse standard normal CDF for 0.5 <= p < 1 (Abramowitz & Stegun 26.2.23, |error| < 4.5e-4)."""
    t = sqrt(-2.0 * (math.log(1.0 - p) if isinstance(p, float) else np.log(1.0 - p)))
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    return t - top / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))


def parse(text: str) -> Routing:
    """'uniform', 'balanced' or 'zipf:1.2'. Files are read at the edge (routeline.routing_file).

    Raises:
        RoutelineError: unknown name or an exponent outside [0, 5].
    """
    if text in ("uniform", "balanced"):
        return Routing(text)
    head, _, tail = text.partition(":")
    if head == "zipf":
        try:
            exponent = float(tail)
        except ValueError:
            raise RoutelineError(f"routing {text!r}: write the exponent as a number, e.g. zipf:1.2") from None
        if not 0.0 <= exponent <= 5.0:
            raise RoutelineError(f"routing {text!r}: the exponent must be between 0 and 5")
        return Routing("zipf", exponent=exponent)
    raise RoutelineError(f"unknown routing {text!r}; known: uniform, balanced, zipf:A, measured:FILE")
