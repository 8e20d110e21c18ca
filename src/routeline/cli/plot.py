"""`routeline plot`: one chart as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import command, scenario_options


@command(example="routeline plot map DeepSeek-V3 --devices 8xH200 --context 128k -o map.png")
@click.argument("name", required=False)
@click.argument("model", required=False)
@click.option("-d", "--devices", metavar="CLUSTER", help="Cluster, as 8xH200.")
@click.option(
    "-o", "--to", type=click.Path(path_type=Path), metavar="FILE", help="Where to draw: .png, .svg, .html or .json."
)
@click.option("--x", metavar="AXIS", help="Horizontal axis of a map.")
@click.option("--y", metavar="AXIS", help="Vertical axis of a map.")
@click.option("--list", "listed", is_flag=True, help="Name every chart and what it shows.")
@scenario_options()
def plot(
    name: str | None,
    model: str | None,
    devices: str | None,
    given: dict[str, Any],
    to: Path | None,
    x: str | None,
    y: str | None,
    listed: bool,
) -> None:
    """Draw one chart of a comparison, without a browser: .png, .svg, .html (offline, interactive) or .json."""
    from .. import plots
    from ..errors import RoutelineError

    if listed:
        from ._show import console, table

        console().print(table(["chart", "what it shows"], [(k, v[2]) for k, v in plots.CHARTS.items()], left=2))
        return
    missing = [t for t, v in (("NAME", name), ("MODEL", model), ("--devices", devices), ("-o FILE", to)) if not v]
    if missing:
        raise RoutelineError(
            f"plot needs {', '.join(missing)}; write e.g. "
            "routeline plot map DeepSeek-V3 --devices 8xH200 --context 128k -o map.png"
        )
    axes = {k: v for k, v in (("x", x), ("y", y)) if v}
    if axes and name != "map":
        raise RoutelineError(f"--x and --y belong to the chart map, not to {name}")
    assert name is not None
    assert model is not None
    assert devices is not None
    assert to is not None
    plots.check(name, to)
    from ..resolve import ask

    made = plots.chart(name, ask(model, devices, **given), **axes)
    click.echo(f"wrote {made.save(to)}")
