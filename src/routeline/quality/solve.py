"""Roots by bisection, for arrays: all that the laws need of a solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def bisect(f: Callable, low, high, *, steps: int = 100, log: bool = False) -> np.ndarray:
    """Root of a rising f between low and high, elementwise; log halves the ratio instead.

    Where f(low) > 0 the result tends to low, where f(high) < 0 to high: callers check the ends.
    """
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    if log:
        low, high = np.log(low), np.log(high)
    for _ in range(steps):
        middle = 0.5 * (low + high)
        above = np.asarray(f(np.exp(middle) if log else middle)) > 0
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    root = 0.5 * (low + high)
    return np.exp(root) if log else root
