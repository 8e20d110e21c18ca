"""A Comparison in words and in JSON: what the command line, the report and the page say.

`payload` gives the documented JSON (docs/json.md), `verdict` the one sentence, `rows` the numbers side by
side as text. No arithmetic beyond ratios of numbers that the Comparison already holds.
"""

from .payload import SCHEMA_VERSION, clean, payload
from .rows import part_rows, point_rows, ratio_rows, side_rows
from .words import limits, verdict

__all__ = [
    "SCHEMA_VERSION",
    "clean",
    "limits",
    "part_rows",
    "payload",
    "point_rows",
    "ratio_rows",
    "side_rows",
    "verdict",
]
