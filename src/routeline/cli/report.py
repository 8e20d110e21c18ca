"""`routeline report`: one comparison as one file to hand on."""

from __future__ import annotations

import shlex
from typing import Any

import click

from ._options import command, devices_option, model_argument, scenario_options


@command(example="routeline report DeepSeek-V3 --devices 8xH200 --context 128k -o report.html")
@model_argument
@devices_option
@click.option(
    "-o", "--to", metavar="FILE", default="report.html", help="Where to write: .html or .md. Default: report.html."
)
@click.option("--charts", metavar="NAMES", help="Charts, comma-separated (`routeline plot --list`). Default: all.")
@scenario_options()
def report(model: str, devices: str, to: str, charts: str | None, given: dict[str, Any]) -> None:
    """Write a comparison as one self-contained file: verdict, numbers, charts, assumptions, sources, accuracy.

    The HTML needs no network and prints; Markdown puts its pictures in a folder beside it.
    """
    from .. import report as reports
    from ..errors import RoutelineError
    from ..plots import available
    from ..resolve import ask

    reports.check(to)
    names = tuple(n.strip() for n in charts.split(",") if n.strip()) if charts else None
    try:
        available()
    except RoutelineError as error:
        if names is not None:
            raise
        click.echo(f"Warning: the report will have no pictures: {error}", err=True)
    answer = ask(model, devices, **given)
    command_line = reports.command_of(answer, "report", model, devices)
    if charts:
        command_line += f" --charts {shlex.quote(charts)}"
    click.echo(f"wrote {reports.write(answer, to, charts=names, command=command_line)}")
