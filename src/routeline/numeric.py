"""max, min, ceil, floor and choose for scalars and arrays alike.

A NumPy ufunc on a Python float costs ten times the float operation, and one answer makes thousands.
These call Python on plain numbers and NumPy on arrays; the values are the same to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_PLAIN = (float, int)


def maximum(a: Any, b: Any) -> Any:
    """Elementwise max(a, b)."""
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return a if a >= b else b
    return np.maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """Elementwise min(a, b)."""
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return a if a <= b else b
    return np.minimum(a, b)


def clip(a: Any, low: Any, high: Any) -> Any:
    """Elementwise min(max(a, low), high)."""
    return minimum(maximum(a, low), high)


def ceil(a: Any) -> Any:
    """Smallest whole number not below a, as a float."""
    return float(math.ceil(a)) if isinstance(a, _PLAIN) and math.isfinite(a) else np.ceil(a)


def floor(a: Any) -> Any:
    """Largest whole number not above a, as a float."""
    return float(math.floor(a)) if isinstance(a, _PLAIN) and math.isfinite(a) else np.floor(a)


def sqrt(a: Any) -> Any:
    """Square root."""
    return math.sqrt(a) if isinstance(a, _PLAIN) else np.sqrt(a)


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """yes where condition holds, else no."""
    if isinstance(condition, (bool, np.bool_)) and isinstance(yes, _PLAIN) and isinstance(no, _PLAIN):
        return yes if condition else no
    return np.where(condition, yes, no)
