"""`routeline report`: one comparison as one file to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import command, devices_option, model_argument, scenario_options


@command(example="routeline report DeepSeek-V3 --devices 8xH200 --context 128k -o report.html")
@model_argument
@devices_option
@click.option(
    "-o",
    "--to",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    metavar="FILE",
    help="Where to write: .html (one file, offline) or .md. Default: report.html.",
)
@click.option("--charts", metavar="NAMES", help="Charts, comma-separated (`routeline plot --list`). Default: all.")
@scenario_options()
def report(model: str, devices: str, given: dict[str, Any], to: Path, charts: str | None) -> None:
    """Write a comparison as one self-contained file: verdict, numbers, charts, assumptions, sources, accuracy.

    The HTML needs no network and prints; Markdown puts its pictures in a folder beside it.

    Example: `routeline report DeepSeek-V3 --devices 8xH200 --context 128k -o report.html`
    """
    from .. import report as reports
    from ..resolve import ask

    answer = ask(model, devices, **given)
    names = tuple(n.strip() for n in charts.split(",") if n.strip()) if charts else None
    click.echo(f"wrote {reports.write(answer, to, charts=names)}")
