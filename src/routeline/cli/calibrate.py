"""`routeline calibrate`: fit the constants again, or learn corrections from your own measurements."""

from __future__ import annotations

import click

from ._options import command, json_option
from ._show import console, emit, table


@command(example="routeline calibrate --show")
@click.option(
    "--from", "source", metavar="ROWS.CSV", help="Your rows: predict columns with measured_tpot_ms, measured_ttft_ms."
)
@click.option(
    "-o", "--out", metavar="FILE", default="calibration.json", show_default=True, help="Where corrections go."
)
@click.option("--level", type=click.Choice(["kernels", "serving", "all"]), default="all", show_default=True)
@click.option("--folder", metavar="FOLDER", help="Write refitted constants here instead of over the package's.")
@click.option("--show", is_flag=True, help="Print the shipped serving constants.")
@json_option
def calibrate(source: str | None, out: str, level: str, folder: str | None, show: bool, as_json: bool) -> None:
    """Turn your own rows into corrections (--from), or refit kernel and serving constants from aiconfigurator-core.

    Corrections are used by `routeline predict --calibration FILE`; they shrink towards the shipped constants, and what
    they do to your rows is printed. An unreadable measured cell is named and the other rows are used.

    Without --from and --show the constants are fitted anew and WRITTEN OVER THOSE OF THE INSTALLED PACKAGE: every later
    prediction uses them. Give --folder to write them elsewhere.
    """
    if show:
        _show(as_json)
        return
    if source is not None:
        from ..serving import personal
        from ..serving.predict import keep, misnamed, read_rows

        keep(source, out)
        given = read_rows(source)
        learned = personal.learn(given)
        personal.save(out, learned)
        for line in (*misnamed(given), *learned["skipped"][:20]):
            click.echo(f"routeline: {line}", err=True)
        if len(learned["skipped"]) > 20:
            click.echo(f"routeline: ... and {len(learned['skipped']) - 20} more not used", err=True)
        if as_json:
            emit(learned)
        else:
            click.echo(f"{learned['rows']} measured rows; corrections written to {out}")
            for line in personal.summary(learned):
                click.echo(line)
        return
    from pathlib import Path

    from ..serving import calibrate as work

    done = work.run(level, Path(folder) if folder else None)
    if as_json:
        emit(done)
    else:
        for line in work.summary(done):
            click.echo(line)


def _show(as_json: bool) -> None:
    from ..serving import constants

    known = constants.fitted() or {}
    if as_json:
        emit(known)
        return
    out = console()
    out.print(f"{known.get('rows', 0)} rows; {known.get('source', 'not fitted')}")
    body = [(", ".join(e["names"]), ", ".join(e["by"].values()), f"{2.718281828 ** e['log']:.3f}", e["sigmas"])
            for e in known.get("effects", [])]  # fmt: skip
    out.print(table(["constant", "for", "factor on its prior", "in sigmas"], body, left=2))
