"""Clark et al. 2022: unified scaling laws for routed language models, three routers.

All of it at 130B training tokens, top-1: at frontier size an extrapolation of 10-65x in N, and its
fading benefit is put down by Krajewski et al. to the fixed token count. A lower bound, no more.
"""

from __future__ import annotations

import numpy as np


def saturated(experts, start, top):
    """Eh, the saturating expert count: 1/Eh = 1/(E - 1 + 1/(1/Es - 1/Em)) + 1/Em [-]; Eh(1) = Es."""
    experts = np.asarray(experts, dtype=float)
    return 1.0 / (1.0 / (experts - 1.0 + 1.0 / (1.0 / start - 1.0 / top)) + 1.0 / top)


def slope(k: dict) -> float:
    """c, the cross term, from the published cutoff size: the printed c is rounded too coarsely."""
    return -k["b"] / np.log10(k["cutoff"])


def loss_log10(size, experts, k: dict):
    """log10 of the loss (Eq. 1) of a model of dense size `size` with E experts; arrays broadcast."""
    n, e = np.log10(size), np.log10(saturated(experts, k["start"], k["max"]))
    return k["a"] * n + k["b"] * e + slope(k) * n * e + k["d"]


def effective_size(size, experts, k: dict):
    """Dense size of equal loss (Eq. 11), in closed form [-]: log10 L(Nbar, 1) = log10 L(N, E)."""
    e1 = np.log10(saturated(1.0, k["start"], k["max"]))
    target = loss_log10(size, experts, k)
    return 10.0 ** ((target - k["d"] - k["b"] * e1) / (k["a"] + slope(k) * e1))


def q(active, ratio, k: dict):
    """Size multiplier at equal tokens, never below 1: past the cutoff routing no longer helps [-].

    `ratio` is experts held over experts used, the law's E for models that use more than one.
    """
    return np.maximum(effective_size(active, ratio, k) / np.asarray(active, dtype=float), 1.0)
