"""Counts and rates -> seconds. Knows no model."""

from __future__ import annotations

import math
from typing import Any

from .numeric import maximum


def roofline(flop: Any, moved: Any, peak: Any, bandwidth: Any, sharpness: float = math.inf) -> Any:
    """Seconds of one operation [s] from FLOP, bytes moved and attainable rates; arguments broadcast.

    Perfect overlap (sharpness inf) is Williams, Waterman, Patterson 2009: max(flop/peak, moved/bandwidth).
    Measured kernels round the ridge: (c**p + m**p)**(1/p) with finite p. Apply per operation, then
    sum: the max of sums is too low.
    """
    compute, memory = flop / peak, moved / bandwidth
    if math.isinf(sharpness):
        return maximum(compute, memory)
    return (compute**sharpness + memory**sharpness) ** (1.0 / sharpness)


def ridge(peak: Any, bandwidth: Any) -> Any:
    """Arithmetic intensity where compute and memory take equal time [FLOP/B]."""
    return peak / bandwidth
