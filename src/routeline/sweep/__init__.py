"""Sweeps over whole design spaces, on the formulas of `compare`.

>>> import routeline.sweep
>>> found = routeline.sweep({"context": ["8k", "128k"], "q": [2, 4.5]}, model="DeepSeek-V3", devices="8xH200")
>>> found.arrays["ratio"].shape
(2, 2)

The module is callable: `routeline.sweep(...)` is `routeline.sweep.run.sweep(...)`.
"""

from __future__ import annotations

from ..callable import named
from .axes import AXES, Axis
from .outputs import OUTPUTS
from .run import Result, sweep
from .space import Space, make, read

__all__ = ["AXES", "OUTPUTS", "Axis", "Result", "Space", "make", "read", "sweep"]


named(__name__)
