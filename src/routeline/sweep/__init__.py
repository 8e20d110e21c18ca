"""Sweeps over whole design spaces, on the formulas of `compare`.

>>> import routeline.sweep
>>> found = routeline.sweep({"context": ["8k", "128k"], "q": [2, 4.5]}, model="DeepSeek-V3", devices="8xH200")
>>> found.arrays["ratio"].shape
(2, 2)

The module is callable: `routeline.sweep(...)` is `routeline.sweep.run.sweep(...)`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from .axes import AXES, Axis
from .outputs import OUTPUTS
from .run import Result, sweep
from .space import Space, make, read

__all__ = ["AXES", "OUTPUTS", "Axis", "Result", "Space", "make", "read", "sweep"]


class _Callable(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
