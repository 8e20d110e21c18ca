"""A Comparison in words and in JSON: what the command line, the report and the page say.

`payload` gives the documented JSON (docs/json.md), `verdict` the answer in words (`headline`, `how_sure`,
`still_open`), `rows` the numbers side by side as text. No arithmetic beyond ratios of numbers that the
Comparison already holds.
"""

from .extras import Extras, extras
from .payload import SCHEMA_VERSION, clean, payload
from .rows import break_even_rows, choice_rows, layout_rows, part_rows, point_rows, ratio_rows, side_rows
from .stated import assumptions
from .words import headline, how_sure, limits, request_line, said, short_name, sides, still_open, turns, verdict

__all__ = [
    "SCHEMA_VERSION",
    "Extras",
    "assumptions",
    "break_even_rows",
    "choice_rows",
    "clean",
    "extras",
    "headline",
    "how_sure",
    "layout_rows",
    "limits",
    "part_rows",
    "payload",
    "point_rows",
    "ratio_rows",
    "request_line",
    "said",
    "short_name",
    "side_rows",
    "sides",
    "still_open",
    "turns",
    "verdict",
]
