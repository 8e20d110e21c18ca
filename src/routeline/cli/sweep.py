"""`routeline sweep`: a whole design space, in blocks."""

from __future__ import annotations

import math
from typing import Any

import click

from ._options import command, json_option
from ._plots import draw, plot_option, wanted
from ._show import console, emit, table


@command(example="routeline sweep example --dry-run")
@click.argument("space", metavar="SPACE", required=False)
@click.option("--template", is_flag=True, help="Print the example space, to start a file of your own from.")
@click.option("-o", "--out", metavar="FOLDER", help="Folder for Parquet blocks or reduced results.")
@click.option("--resume", is_flag=True, help="Continue the run that FOLDER holds; finished blocks are kept.")
@click.option("--dry-run", is_flag=True, help="Print points, blocks, bytes and expected time; run nothing.")
@click.option("-w", "--workers", type=click.IntRange(1, 4096), metavar="N",
              help="Processes on this machine. Default: one per core.")  # fmt: skip
@click.option("--cluster", metavar="tcp://HOST:PORT", help="Dask scheduler to run the blocks on.")
@click.option("--limit", type=float, metavar="N", help="Refuse more points than this, whatever SPACE says.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@plot_option("a reducer or an output (default: the first)")
@json_option
def sweep(
    space: str | None,
    template: bool,
    out: str | None,
    resume: bool,
    dry_run: bool,
    workers: int | None,
    cluster: str | None,
    limit: float | None,
    quiet: bool,
    plots: tuple[str, ...],
    as_json: bool,
) -> None:
    """Evaluate every combination of the axes in SPACE, on the formulas of `compare`.

    SPACE is a TOML file with [axes], [fixed], outputs and [reduce.NAME] (docs/sweep.md), or `example`. Axes are models,
    devices, layouts, formats, context, batch, q, bandwidth and more. A run that was killed goes on with --resume; its
    result is the same to the last bit.
    """
    json = as_json
    from dataclasses import replace

    from ..errors import RoutelineError
    from ..sweep.plan import plan
    from ..sweep.run import sweep as run
    from ..sweep.space import bundled, read

    if template:
        click.echo(bundled(), nl=False)
        return
    if space is None:
        raise RoutelineError("no space given; name a file, or start one with `routeline sweep --template > space.toml`")
    asked = read(space) if limit is None else replace(read(space), limit=limit)
    if dry_run:
        _plan(plan(asked, workers), json)
        return
    if resume and out is None:
        raise RoutelineError("--resume needs the folder of the run: give it with -o")
    chosen = wanted(plots)
    with _bar(asked.points, quiet or json) as progress:
        result = run(asked, out=out, resume=resume, workers=workers, cluster=cluster, progress=progress)
    if chosen:
        from ..plots.sweeps import chart

        draw(chosen, lambda name: chart(result, name or None))
    if json:
        emit(_payload(result))
    else:
        _print(result)


def _plan(found: Any, json: bool) -> None:
    from dataclasses import asdict

    from ..units import show

    if json:
        emit(asdict(found))
        return
    rows = [
        ("points", f"{found.points:,.0f}"),
        ("blocks", f"{found.blocks:,}"),
        ("combinations of names", f"{found.cells:,}"),
        ("looped over", ", ".join(found.looped) or "-"),
        ("broadcast over", ", ".join(found.broadcast) or "-"),
        ("stored", "reduced on the fly" if found.reduced else f"{show(found.bytes, 'B')} before compression"),
        ("expected time", f"{_time(found.seconds)} on {found.workers} process(es), from a few timed tiles"),
    ]
    out = console()
    out.print(table(["dry run", ""], rows))
    for names, why in found.refused.items():
        out.print(f"Refused: {names}: {why}.", style="yellow")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _bar:  # noqa: N801
    """A progress bar on stderr with rate and time left; nothing when quiet or no terminal."""

    def __init__(self, points: float, quiet: bool) -> None:
        import sys

        self.points, self.shown = points, not quiet and sys.stderr.isatty()
        self.bar: Any = None

    def __enter__(self) -> Any:
        if not self.shown:
            return None
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TextColumn("{task.fields[rate]}"),
                   TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.bar.start()
        self.task = self.bar.add_task("sweep", total=None, rate="")
        self.first: tuple[float, float] | None = None
        return self.update

    def update(self, done: int, blocks: int, points: float) -> None:
        import time

        now = time.perf_counter()
        if self.first is None:
            self.first = (now, points)
        spent = now - self.first[0]
        rate = f"{(points - self.first[1]) / spent / 1e6:.3g} M points/s" if spent > 0.2 else ""
        self.bar.update(self.task, total=blocks, completed=done, rate=rate)

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def _payload(result: Any) -> dict[str, Any]:
    import numpy as np

    def plain(values: Any) -> list[Any]:
        return [None if isinstance(v, float) and not np.isfinite(v) else v for v in np.asarray(values).tolist()]

    made = {name: {k: plain(v) for k, v in columns.items()} for name, columns in result.reduced.items()}
    return {
        "points": result.points, "blocks": result.space.blocks, "computed_blocks": result.computed,
        "seconds": result.seconds, "points_per_second": result.points / result.seconds, "folder": result.folder,
        "reduced": made, "outputs": {n: plain(v.reshape(-1)) for n, v in result.arrays.items()},
        "axes": {a.name: [getattr(v, "name", v) for v in a.values] for a in result.space.axes},
        "refused": result.refusals(),
    }  # fmt: skip


ROWS = 20
"""Rows of a result that are printed."""


def _print(result: Any) -> None:
    from ..answer.rows import number

    out = console()
    computed = result.points * result.computed / max(result.space.blocks, 1)
    out.print(
        f"{result.points:,.0f} points in {result.space.blocks:,} blocks ({result.computed:,} computed now), "
        f"{_time(result.seconds)}, {computed / max(result.seconds, 1e-9) / 1e6:.3g} M points/s",
        style="bold",
    )
    for line in _asked(result.space):
        out.print(line)
    for name, columns in result.reduced.items():
        heads = list(columns)
        rows = [[_text(columns[h][i], number) for h in heads] for i in range(min(ROWS, len(columns[heads[0]])))]
        out.print(table(heads, rows, title=_title(name, result.space.reducers[name])))
        if len(columns[heads[0]]) > ROWS:
            out.print(f"... {len(columns[heads[0]]) - ROWS:,} more rows")
    if result.arrays:
        _outputs(out, result, number)
    if result.folder:
        what = "reduced results" if result.reduced else "Parquet blocks"
        out.print(f"{what} in {result.folder}")
    for names, why in list(result.refusals().items())[:ROWS]:
        out.print(f"Refused: {names}: {why}.", style="yellow")


def _asked(space: Any) -> list[str]:
    """What was swept over which values, and what stayed fixed, q and tier always named."""
    from ..scenario import Scenario
    from ..units import show

    def said(name: str, value: Any) -> str:
        from ..sweep.axes import AXES

        plain = getattr(value, "name", value)
        return show(plain, AXES[name].unit) if isinstance(plain, float) and name in AXES else str(plain)

    swept = []
    for axis in space.axes:
        values = [said(axis.name, v) for v in axis.values]
        few = axis.kind.role != "number" or len(values) <= 3
        swept.append(f"{axis.name} {' | '.join(values)}" if few else f"{axis.name} {values[0]} to {values[-1]} "
                     f"({len(values)} values)")  # fmt: skip
    fixed = dict(space.fixed)
    taken = {a.name for a in space.axes} | set(fixed)
    stays = [f"{name} {said(name, value)}" for name, value in fixed.items()]
    if "q" not in taken:
        stays.append("q from the evidence")
    if "tier" not in taken:
        stays.append(f"tier {Scenario.__dataclass_fields__['tier'].default}")
    return [f"Swept: {'; '.join(swept)}.", f"Fixed: {', '.join(stays)}; all else as in `routeline compare`."]


def _title(name: str, given: Any) -> str:
    """A reducer's name, and what its columns hold."""
    kind, output = given["kind"], given.get("output", "")
    said = {
        "verdict": "the commonest verdict over the other axes, and how many points have each",
        "best": f"the point with the {'smallest' if given.get('goal') == 'min' else 'largest'} {output}",
        "stats": f"{output} over the other axes; count: points that have one; then their mean, smallest and largest",
        "pareto": "points that no other beats in every output",
        "histogram": f"how many points have {output} in each bin",
        "quantiles": f"quantiles of {output} over {given.get('over', 'q')}",
    }
    return f"{name}: {said[kind]}"


def _text(value: Any, number: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return "-" if math.isnan(value) else number(value)
    return str(value)


def _outputs(out: Any, result: Any, number: Any) -> None:
    """The first points of a sweep kept in memory, and the range of every output."""
    import numpy as np

    from ..sweep.outputs import OUTPUTS

    axes, names = result.space.axes, list(result.arrays)
    shape = tuple(len(a) for a in axes)
    rows = []
    for flat in range(min(ROWS, int(result.points))):
        index = np.unravel_index(flat, shape) if shape else ()
        where = [getattr(a.values[i], "name", a.values[i]) for a, i in zip(axes, index, strict=True)]
        values = []
        for n in names:
            v = result.arrays[n][index]
            labels = OUTPUTS[n].labels
            values.append(labels[int(v)] if labels else _text(float(v), number))
        rows.append([*(_text(float(w) if isinstance(w, float) else w, number) for w in where), *values])
    out.print(table([*(a.name for a in axes), *names], rows))
    if result.points > ROWS:
        out.print(f"... {int(result.points) - ROWS:,} more points; -o FOLDER writes all of them")
