"""`routeline sensitivity`: what the answer hangs on."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, devices_option, json_option, model_argument, scenario_options
from ._show import console, emit, table

SKIP = ("tpot", "input", "output", "prefix_hit", "ignore_fit")


@command(example="routeline sensitivity DeepSeek-V3 --devices 8xH200")
@model_argument
@devices_option
@scenario_options(*SKIP)
@click.option("--range", "ranges", multiple=True, metavar="NAME=LOW:HIGH",
              help="Vary NAME over LOW..HIGH, e.g. q=2:10 or context=8k:64k. Default: stated ranges.")  # fmt: skip
@click.option(
    "--samples", type=int, default=512, show_default=True, help="Base samples of the Sobol design, a power of two."
)
@click.option("--no-ranking", is_flag=True, help="Elasticities and choices only.")
@json_option
def sensitivity(
    model: str,
    devices: str,
    given: dict[str, Any],
    ranges: tuple[str, ...],
    samples: int,
    no_ranking: bool,
    as_json: bool,
) -> None:
    """What should I find out first? How R (dense over MoE throughput) of MODEL depends on every assumption.

    Elasticities at the point asked for, R under every other choice, and a ranking of the numbers by how much of the
    spread of R over their ranges they explain (total Sobol index). MODEL is as in `compare`.
    """
    from dataclasses import asdict

    from ..sweep.sensitivity import needs
    from ..sweep.sensitivity import sensitivity as analyse

    asked = _ranges(ranges) if ranges else None
    lacking = "" if no_ranking else needs()
    found = analyse(model, devices, ranges=asked, samples=samples, ranking=not (no_ranking or lacking), **given)
    if as_json:
        emit(asdict(found))
    else:
        _print(found)
    if lacking:
        click.echo(f"No ranking: {lacking}", err=True)


def _ranges(texts: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    from ..errors import RoutelineError, shorten

    out = {}
    for text in texts:
        name, equals, ends = text.partition("=")
        low, colon, high = ends.partition(":")
        if not (equals and colon and low and high):
            raise RoutelineError(f"range {shorten(text)!r} not understood; write NAME=LOW:HIGH, e.g. q=2:10")
        out[name.strip()] = (low.strip(), high.strip())
    return out


def _print(found: Any) -> None:
    from ..answer.rows import number
    from ..units import show

    out = console()
    out.print(f"R = {found.ratio:.3g} here (dense over MoE throughput, each at its largest batch)", style="bold")

    def text(value: float | None) -> str:
        return "-" if value is None else number(value)

    rows = [(e.name, show(e.at, e.unit), text(e.value), text(e.low), text(e.high)) for e in found.elasticities]
    out.print(table(["assumption", "now", "R per 1% more of it, %", "R at 5% less", "R at 5% more"], rows))
    rows = [(s.name, s.choice, text(s.ratio) + (f"  {s.reason}" if s.ratio is None else "")) for s in found.swings]
    out.print(table(["assumption", "instead", "R"], rows, left=3))
    if found.ranking is not None:
        _ranking(out, found.ranking, show)


def _ranking(out: Any, ranking: Any, show: Any) -> None:
    from ..sweep.axes import AXES

    rows = []
    for name, (total, half) in ranking.total.items():
        low, high, why = ranking.ranges[name]
        unit = AXES[name].unit
        rows.append(
            (
                name,
                f"{total:.2f} ± {half:.2f}",
                f"{ranking.first[name][0]:.2f}",
                f"{show(low, unit)} .. {show(high, unit)}",
                why,
            )
        )
    heads = ["assumption", "share, total", "share, alone", "range", "source of the range"]
    out.print(table(heads, rows, title=f"Share of the spread of {ranking.of} that each number takes part in (Sobol)"))
    out.print(
        f"Over these ranges the dense model leads in {ranking.dense_leads:.0%} of the samples"
        + (f"; in {ranking.unfit:.0%} a side does not fit, so the ranking is of who leads." if ranking.unfit else ".")
    )
