"""`--plot` of sweep, validate and reproduce: pictures of what the command has computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click


def plot_option(what: str) -> Callable[..., Any]:
    """The option --plot [NAME=]FILE, repeatable; arrives as `plots`."""
    return click.option(
        "--plot", "plots", multiple=True, metavar="[NAME=]FILE",
        help=f"Draw {what} as .png, .svg, .html or .json. Repeatable.",
    )  # fmt: skip


def wanted(texts: Sequence[str]) -> list[tuple[str, str]]:
    """(name or '', file) of each --plot, refused before anything is computed.

    Raises:
        RoutelineError: a file ending that cannot be drawn, no such folder, or the extra [plots] missing.
    """
    from ..errors import RoutelineError
    from ..plots import available
    from ..plots.figure import FORMATS

    out = []
    for text in texts:
        name, _, file = text.rpartition("=")
        if Path(file).suffix.lower().lstrip(".") not in FORMATS:
            raise RoutelineError(f"cannot draw {Path(file).name!r}: end the file name with .png, .svg, .html or .json")
        if not Path(file).parent.is_dir():
            raise RoutelineError(f"cannot write {file}: the folder {Path(file).parent} does not exist; create it first")
        out.append((name, file))
    if out:
        available()
    return out


def draw(chosen: Sequence[tuple[str, str]], make: Callable[[str], Any]) -> None:
    """Draw each to its file and say so on stderr, so that --json stays JSON."""
    for name, file in chosen:
        click.echo(f"wrote {make(name).save(file)}", err=True)
