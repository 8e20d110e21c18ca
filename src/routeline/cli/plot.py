"""`routeline plot`: one chart as a file."""

from __future__ import annotations

from typing import Any

import click

from ._options import MODEL, command, scenario_options


@command(example="routeline plot map DeepSeek-V3 --devices 8xH200 --context 128k -o map.png")
@click.argument("name", required=False)
@click.argument("model", metavar="MODEL", required=False)
@click.option("-d", "--devices", metavar="CLUSTER", help="8xH200, 2x8xH100 (two nodes of eight), 72xGB200.")
@click.option("-o", "--to", metavar="FILE", help="Where to draw: .png, .svg, .html (interactive, offline) or .json.")
@click.option("--x", metavar="AXIS", help="Horizontal axis of a map: context, batch, q, utilisation, ...")
@click.option("--y", metavar="AXIS", help="Vertical axis of a map.")
@click.option("--list", "listed", is_flag=True, help="Name every chart and what it shows.")
@scenario_options()
def plot(
    name: str | None,
    model: str | None,
    devices: str | None,
    to: str | None,
    x: str | None,
    y: str | None,
    listed: bool,
    given: dict[str, Any],
) -> None:
    """Draw one chart of a comparison, without a browser and without the network."""
    from .. import plots
    from ..errors import RoutelineError
    from ..resolve import ask

    if listed:
        from ._show import console, table

        console().print(table(["chart", "what it shows"], [(k, v[2]) for k, v in plots.CHARTS.items()], left=2))
        return
    if not (name and model and devices and to):
        wanted = (("NAME", name), ("MODEL", model), ("--devices", devices), ("-o FILE", to))
        missing = ", ".join(label for label, value in wanted if not value)
        raise RoutelineError(f"plot needs {missing}: routeline plot map DeepSeek-V3 --devices 8xH200 -o map.png")
    axes = {k: v for k, v in (("x", x), ("y", y)) if v}
    if axes and plots.ALIASES.get(name, name) != "map":
        raise RoutelineError(f"--x and --y belong to the chart map, not to {name}")
    plots.check(name, to)
    click.echo(f"wrote {plots.chart(name, ask(model, devices, **given), **axes).save(to)}")


plot.help = f"{plot.help}\n\n{MODEL} `routeline plot --list` names the charts."
