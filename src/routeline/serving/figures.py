"""Predicted against measured, as SVG: one file per target. Needs the extra `plots`."""

from __future__ import annotations

import os
from typing import Any

from ..errors import RoutelineError


def write(result: dict[str, Any], folder: str) -> list[str]:
    """Write tpot.svg and ttft.svg of validate.run's result; returns the paths.

    Raises:
        RoutelineError: altair is not installed.
    """
    try:
        import altair as alt
    except ModuleNotFoundError:
        raise RoutelineError("plots need altair; install it with pip install 'routeline[plots]'") from None
    os.makedirs(folder, exist_ok=True)
    d = result["rows_detail"]
    out = []
    for target in ("tpot", "ttft"):
        rows = [
            {"measured": m, "predicted": p, "family": f, "engine": e}
            for m, p, f, e in zip(
                d[f"measured_{target}_ms"], d[f"predicted_{target}_ms"], d["family"], d["engine"], strict=True
            )
        ]
        scale = alt.Scale(type="log")
        points = alt.Chart(alt.Data(values=rows)).mark_circle(size=12, opacity=0.5).encode(
            x=alt.X("measured:Q", scale=scale, title=f"measured {target.upper()} [ms]"),
            y=alt.Y("predicted:Q", scale=scale, title="predicted, family left out [ms]"), color="family:N",
        )  # fmt: skip
        ends = [min(r["measured"] for r in rows), max(r["measured"] for r in rows)]
        line = (
            alt.Chart(alt.Data(values=[{"x": v, "y": v} for v in ends]))
            .mark_line(color="black")
            .encode(x="x:Q", y="y:Q")
        )
        error = result[target]["all_rows"]["mape"]
        path = os.path.join(folder, f"{target}.svg")
        (points + line).properties(
            width=460, height=460, title=f"{target.upper()}: {len(rows)} rows, MAPE {100 * error:.1f}%"
        ).save(path)
        out.append(path)
    return out
