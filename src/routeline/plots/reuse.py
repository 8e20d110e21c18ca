"""Numbers of the fragmentation chart: experts touched over tokens per step, under several routings."""

from __future__ import annotations

import numpy as np

from .. import routing
from ..compare import Comparison
from ..errors import RoutelineError
from ..routing import Routing
from .data import Rows

MOST = 2.0**16
"""Most tokens per step drawn."""


def routings(c: Comparison) -> list[tuple[str, Routing]]:
    """The routings a fragmentation chart sets side by side: uniform, a skewed one and the scenario's own."""
    own = c.ground.routing
    found = [("uniform", routing.UNIFORM), ("zipf 1.2", routing.parse("zipf:1.2"))]
    if own.probabilities is not None:
        found.append(("measured", own))
    elif own.name == "zipf" and own.exponent != 1.2:
        found.append((f"zipf {own.exponent:g}", own))
    found.append(("balanced", routing.BALANCED))
    return found


def fragmentation(c: Comparison, limit: float = MOST) -> Rows:
    """phi = U/k, phi/q and tokens per fetched expert over tokens per step T, per routing."""
    experts, k = c.moe.counted.experts, c.moe.counted.top_k
    if not np.any(c.moe.counted.moe_layers):
        raise RoutelineError(f"{c.model.name} has no routed experts: there is no reuse to fragment")
    tokens = np.unique(np.round(2.0 ** np.arange(0, np.log2(limit) + 0.01, 0.5)))
    out: Rows = []
    for name, rule in routings(c):
        touched = routing.experts_touched(rule, experts, k, tokens)
        phi = routing.fragmentation(touched, k)
        reuse = routing.tokens_per_expert(tokens, k, touched)
        out += [
            {
                "tokens": float(t),
                "routing": name,
                "touched": float(u),
                "phi": float(p),
                "phi_over_q": float(p) / c.q,
                "tokens_per_expert": float(r),
            }
            for t, u, p, r in zip(tokens, np.atleast_1d(touched), np.atleast_1d(phi), np.atleast_1d(reuse), strict=True)
        ]
    return out
