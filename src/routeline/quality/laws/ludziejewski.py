"""Ludziejewski et al. 2025: one loss law for dense and MoE, so q follows under every convention."""

from __future__ import annotations

import numpy as np

from ..solve import bisect
from .clark import saturated


def experts_of(active, total):
    """E of a standard MoE with these sizes [-]: N = (4 + 9E) n d^2, N_a = 13 n d^2, embeddings left out."""
    return np.maximum((13.0 * np.asarray(total, dtype=float) / active - 4.0) / 9.0, 1.0)


def reduced(experts, k: dict):
    """(m, mu, n, nu) of Table 4: L = m N^mu + n D^nu + c at a fixed E; both exponents negative."""
    e = saturated(experts, k["start"], k["max"])
    log = np.log(e)
    return (
        k["a"] * e ** k["delta"],
        k["alpha"] + k["gamma"] * log,
        k["b"] * e ** k["omega"],
        k["beta"] + k["zeta"] * log,
    )


def loss(active, tokens, experts, k: dict):
    """Eq. 6: loss of a model with that many active parameters, training tokens and experts."""
    m, mu, n, nu = reduced(experts, k)
    return m * np.asarray(active, dtype=float) ** mu + n * np.asarray(tokens, dtype=float) ** nu + k["c"]


def q_equal_tokens(active, total, tokens, k: dict):
    """Dense size of equal loss on the same tokens, over active; nan if no dense size reaches it."""
    m, mu, n, nu = reduced(1.0, k)
    room = loss(active, tokens, experts_of(active, total), k) - k["c"] - n * np.asarray(tokens, dtype=float) ** nu
    return np.where(room > 0, (np.maximum(room, 1e-300) / m) ** (1.0 / mu), np.nan) / active


def best_split(active, tokens, k: dict):
    """q at which a dense model does best with the FLOP of (active, tokens): q N_a on D/q tokens [-]."""
    m, mu, n, nu = reduced(1.0, k)
    params = m * np.asarray(active, dtype=float) ** mu * mu
    data = n * np.asarray(tokens, dtype=float) ** nu * nu
    return (params / data) ** (1.0 / (-mu - nu))


def q_equal_flop(active, total, tokens, k: dict):
    """Smallest dense q with the MoE's loss at 6 N D equal; nan where no split of the FLOP reaches it."""
    active, tokens = np.asarray(active, dtype=float), np.asarray(tokens, dtype=float)
    target = loss(active, tokens, experts_of(active, total), k)

    def gain(q):
        return target - loss(q * active, tokens / q, 1.0, k)

    top = best_split(active, tokens, k)
    return np.where(gain(top) >= 0, bisect(gain, top * 1e-4, top, log=True), np.nan)[()]


def tokens_from_flop(q, active, tokens, k: dict):
    """Equal-token q of the dense model whose equal-FLOP multiplier is q [-].

    Both name the same loss: dense (q N_a, D/q) and dense (q' N_a, D); rising in q up to `best_split`.
    """
    m, mu, n, nu = reduced(1.0, k)
    q, active, tokens = (np.asarray(v, dtype=float) for v in (q, active, tokens))
    params = m * (q * active) ** mu + n * tokens**nu * (q**-nu - 1.0)
    return (params / m) ** (1.0 / mu) / active


def compute_optimal(flop, experts, k: dict):
    """(active parameters, loss) that minimise the law at 6 N D = flop, for one E."""
    m, mu, n, nu = reduced(experts, k)
    c6 = np.asarray(flop, dtype=float) / 6.0
    best = (n * nu * c6**nu / (m * mu)) ** (1.0 / (mu + nu))
    return best, m * best**mu + n * (c6 / best) ** nu + k["c"]


def q_compute_optimal(active, total, tokens, k: dict):
    """(q, FLOP leverage) when the MoE and the dense model each sit at their own optimum."""
    flop = 6.0 * np.asarray(active, dtype=float) * tokens
    mine, target = compute_optimal(flop, experts_of(active, total), k)
    dense = bisect(lambda c: target - compute_optimal(c, 1.0, k)[1], flop * 1e-3, flop * 1e6, log=True)
    return compute_optimal(dense, 1.0, k)[0] / mine, dense / flop
