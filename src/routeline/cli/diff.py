"""`routeline diff`: two saved questions, what changed and what it did."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, json_option
from ._show import console, emit, table


@command(example="routeline diff before.toml after.toml")
@click.argument("before", metavar="BEFORE.toml")
@click.argument("after", metavar="AFTER.toml")
@json_option
def diff(before: str, after: str, as_json: bool) -> None:
    """Compare two questions saved by `routeline compare --save FILE`: each change, what it does alone, the results.

    Files hold model, devices and a [scenario] table; unknown keys are refused.
    """
    from ..diff import VERDICTS
    from ..diff import diff as difference
    from ..scenario_file import load

    found = difference(load(before), load(after))
    if as_json:
        emit(_payload(found))
        return
    out = console()
    out.print(f"{found.sentence[:1].upper()}{found.sentence[1:]}.", style="bold")
    if found.changes:
        rows = [(c.name, _text(c.before, c.name), _text(c.after, c.name),
                 "-" if c.ratio_alone is None else f"{c.ratio_alone:.3g}",
                 VERDICTS.get(c.verdict_alone, c.verdict_alone), c.reason) for c in found.changes]  # fmt: skip
        out.print(table(["changed", "before", "after", "R with this alone", "verdict", ""], rows, left=3))
    if found.outcomes:
        rows = [
            (o.name, _value(o.before, o.unit), _value(o.after, o.unit), f"x{o.factor:.3g}" if o.factor else "")
            for o in found.outcomes
        ]
        out.print(table(["result", "before", "after", "factor"], rows))


def _text(value: Any, name: str) -> str:
    from ..resolve import DIMENSIONS
    from ..units import show

    if isinstance(value, (int, float)) and not isinstance(value, bool) and name in DIMENSIONS:
        return show(value, DIMENSIONS[name])
    if value is None and name == "q":
        return "from evidence"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _value(value: Any, unit: str) -> str:
    from ..units import show

    if value is None or isinstance(value, str):
        return value or "-"
    return show(value, unit) if unit in ("B", "s") else f"{value:,.4g}"


def _payload(found: Any) -> dict[str, Any]:
    return {
        "schema_version": 1, "sentence": found.sentence,
        "changes": [
            {"name": c.name, "before": c.before, "after": c.after, "ratio_alone": c.ratio_alone,
             "verdict_alone": c.verdict_alone, "reason": c.reason} for c in found.changes
        ],
        "results": [
            {"name": o.name, "unit": o.unit, "before": o.before, "after": o.after, "factor": o.factor}
            for o in found.outcomes
        ],
    }  # fmt: skip
