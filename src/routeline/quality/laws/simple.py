"""Rules that need only s, or only the expert count."""

from __future__ import annotations

import numpy as np


def power(sparsity, kappa):
    """q = s^-kappa [-]; kappa = 1/2 is the square-root rule, and qs < 1 means kappa < 1."""
    return np.asarray(sparsity, dtype=float) ** -np.asarray(kappa, dtype=float)


def kimi_leverage(sparsity, k: dict):
    """FLOP leverage over E/k = 1 of an MoE with E/k as given [-]: (E/k)^exponent.

    The report gives the FLOP that E/k = 48 saves against 8, 16 and 32 (1.69, 1.39, 1.15), which are
    exponents 0.293, 0.300 and 0.345; the middle one is used and carried to E/k = 1, our extrapolation.
    """
    return np.asarray(sparsity, dtype=float) ** k["exponent"]
