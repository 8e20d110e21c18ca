"""Routeline: the roofline for routed models. Mixture of experts or dense, at inference?

>>> import routeline
>>> answer = routeline.ask("DeepSeek-V3", "8xH200", context="128k", q=2)
>>> answer.verdict
'dense'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .compare import Comparison, compare
from .errors import RoutelineError
from .resolve import ask, cluster, model, scenario
from .scenario import Scenario

if TYPE_CHECKING:
    from .api import (
        break_evens,
        cite,
        diff,
        evidence,
        explain,
        fit,
        odds,
        predict,
        quality,
        reproduce,
        sensitivity,
        sweep,
        validate,
    )

__version__ = "0.1.0"
FUNCTIONS = (
    "break_evens", "cite", "diff", "evidence", "explain", "fit", "odds", "predict", "quality", "reproduce",
    "sensitivity", "sweep", "validate",
)  # fmt: skip
"""The commands as functions (routeline.api), loaded when first used."""
__all__ = [
    "Comparison", "RoutelineError", "Scenario", "__version__", "ask", "break_evens", "cite", "cluster", "compare",
    "diff", "evidence", "explain", "fit", "model", "odds", "predict", "quality", "reproduce", "scenario", "sensitivity",
    "sweep", "validate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """A command as a function. A submodule of that name is callable (routeline.callable)."""
    if name not in FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("diff", "explain", "odds", "quality", "reproduce", "sweep"):
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS})
