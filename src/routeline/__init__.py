"""Routeline: the roofline for routed models. Mixture of experts or dense, at inference?

>>> import routeline
>>> answer = routeline.ask("DeepSeek-V3", "8xH200", context="128k", q=2)
>>> answer.verdict
'dense'
"""

from .compare import Comparison, compare
from .errors import RoutelineError
from .resolve import ask, cluster, model, scenario
from .scenario import Scenario

__version__ = "0.1.0"
__all__ = ["Comparison", "RoutelineError", "Scenario", "__version__", "ask", "cluster", "compare", "model", "scenario"]
