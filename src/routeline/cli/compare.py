"""`routeline compare`: MoE or dense, on these devices?"""

from __future__ import annotations

from typing import Any

import click

from ..errors import RoutelineError
from ._options import CLUSTER, command, json_option, scenario_options, verbose_option
from ._show import console, emit, table


@command(example="routeline compare DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8")
@click.argument("model", metavar="MODEL", required=False)
@click.option("-d", "--devices", metavar="CLUSTER", help=CLUSTER)
@scenario_options()
@click.option("--compare-layouts", "layouts", is_flag=True, help="Add the verdict under every layout.")
@click.option("--scenario", "source", metavar="FILE", help="Ask a saved question; flags given here replace its own.")
@click.option("--save", metavar="FILE", help="Save the question as TOML, for --scenario and `routeline diff`.")
@click.option(
    "--plot",
    "plots",
    multiple=True,
    metavar="[CHART=]FILE",
    help="Draw a chart (`routeline plot --list`; default: map) as .png, .svg, .html or .json. Repeatable.",
)
@json_option
@verbose_option
def compare(
    model: str | None,
    devices: str | None,
    given: dict[str, Any],
    layouts: bool,
    source: str | None,
    save: str | None,
    plots: tuple[str, ...],
    as_json: bool,
    verbose: bool,
) -> None:
    """Does MODEL or its quality-matched dense model serve more tokens on the same devices?

    MODEL is a catalogue name (`routeline models`), a path to a config.json or its folder, or a Hugging Face id.
    Several clusters, comma-separated, give a table of devices. The derivations are Routeline's own: the settings of
    the paper that posed the question (arXiv:2603.08960) are unknown.
    """
    from .. import answer as say
    from ..resolve import ask

    if source is not None:
        from ..scenario_file import load

        kept = load(source)
        model, devices, given = model or kept.model, devices or kept.devices, {**kept.given, **given}
    for value, what in ((model, "argument 'MODEL'"), (devices, "option '--devices'")):
        if not value:
            raise click.UsageError(f"Missing {what}.", click.get_current_context())
    assert model is not None
    assert devices is not None
    wanted = [_chart(text) for text in plots]
    clusters = [part.strip() for part in devices.split(",") if part.strip()] or [devices]
    for asked, what in ((layouts, "--compare-layouts"), (save is not None, "--save"), (bool(wanted), "--plot")):
        if asked and len(clusters) > 1:
            raise RoutelineError(f"{what} takes one cluster, and {len(clusters)} are given; leave it or the others out")
    answers = [ask(model, one, **given) for one in clusters]
    mixed = len({a.ground.efficiency.name for a in answers}) > 1
    if mixed:  # devices are ranked in one tier, never across tiers
        answers = [ask(model, one, **{**given, "tier": "ideal"}) for one in clusters]
    if save is not None:
        from ..scenario_file import save as write

        write(save, model, devices, answers[0].scenario)
    if as_json:
        found = [_payload(a, layouts) for a in answers]
        many = {"schema_version": say.SCHEMA_VERSION, "comparisons": found}
        emit(found[0] if len(found) == 1 else many)
    elif len(answers) == 1:
        _print(answers[0], verbose, layouts)
    else:
        _print_clusters(answers, mixed)
    for name, file in wanted:
        from .. import plots as charts

        click.echo(f"wrote {charts.chart(name, answers[0]).save(file)}", err=as_json)


def _chart(text: str) -> tuple[str, Any]:
    """'waterfall=w.png' or 'm.html' (the map) -> (chart, file), refused before anything is computed."""
    from pathlib import Path

    from ..plots import check

    name, _, file = text.rpartition("=")
    check(name or "map", file)
    return name or "map", Path(file)


def _payload(answer: Any, layouts: bool) -> dict[str, Any]:
    from .. import answer as say

    if not layouts:
        return say.payload(answer)
    from ..plan import compare_layouts

    table = compare_layouts(answer)
    rows = [{**say.clean(r), "layout": str(r.layout)} for r in table.rows]
    return say.payload(answer) | {"layouts": {"sentence": table.sentence, "flips": table.flips, "rows": rows}}


def _print(answer: Any, verbose: bool, layouts: bool) -> None:
    from .. import answer as say

    out, known = console(), say.extras(answer)
    moe, dense = say.sides(answer)
    out.print(say.headline(answer, known), style="bold")
    for text in (say.how_sure(answer, known), say.turns(answer, known), say.still_open(answer, known)):
        if text:
            out.print(text)
    out.print(table(["", say.short_name(answer.moe), say.short_name(answer.dense)], say.side_rows(answer)))
    parts = say.part_rows(answer)
    if parts:
        out.print(table(["time by part of a step", moe, "", dense, ""], parts))
    rows = say.ratio_rows(answer)
    if rows:
        columns = [f"R = {dense} / {moe} throughput", "R", f"batch {moe} / {dense}", f"tokens/s {moe} / {dense}"]
        out.print(table(columns, [r[:4] for r in rows]))
    for label, *_, reason in rows:
        if reason:
            out.print(f"No R {label}: {reason}.")
    if answer.reuse_penalty is not None:
        out.print(
            f"R = {answer.throughput_ratio:.2f} = {answer.reuse_penalty:.2f} reuse penalty x "
            f"{answer.headroom_gain:.2f} headroom gain (layouts as above).  "
            f"qs = {answer.q:.3g} x {answer.s:.4f} = {answer.qs:.3f}"
        )
    out.print(say.request_line(answer, known))
    out.print(
        table(["break-even", "of", "where the verdict turns", "layout"], say.break_even_rows(answer, known), left=4)
    )
    choices = say.choice_rows(answer, known)
    if choices:
        out.print(table(["choice", "changed alone", "R"], choices, left=3))
    elif not (answer.moe.fits and answer.dense.fits):
        out.print("No other memory basis, utilisation, layout, precision or tier alone changes what fits.")
    if layouts:
        _layouts(out, answer)
    _warnings(out, answer.warnings)
    _assumptions(out, say.assumptions(answer, known), verbose)


def _layouts(out: Any, answer: Any) -> None:
    from .. import answer as say
    from ..plan import compare_layouts

    found = compare_layouts(answer)
    columns = [f"{say.sides(answer)[0]} layout", "batches", "step", "tokens/s", "R", "R best", "verdict"]
    rows = say.layout_rows(answer, found)
    out.print(table(columns, rows))
    out.print(
        f"{found.sentence[:1].upper()}{found.sentence[1:]} ({len(rows)} fastest of {len(found.rows)} shown). "
        f"R: {say.sides(answer)[1]} in the same layout; R best: in its own best one."
    )


def _warnings(out: Any, warnings: Any) -> None:
    if warnings:
        out.print()
        for text in warnings:
            out.print(f"Warning: {text}.", style="yellow")


KEY = (
    "context", "q", "tier", "tier_error", "input", "output", "layout", "weights", "cache", "memory", "utilisation",
    "overhead", "routing", "dense",
)  # fmt: skip
"""Assumptions that are printed even when nobody set them."""


def _assumptions(out: Any, found: Any, verbose: bool) -> None:
    from ..units import show

    def text(a: Any) -> str:
        if a.value is None or isinstance(a.value, (str, bool)):
            return str(a.value)
        return show(a.value, a.unit) if a.unit not in ("", "-") else f"{a.value:.6g}"

    out.print()
    if verbose:
        rows = [(a.name, text(a), a.kind, a.source) for a in found]
        out.print(table(["assumption", "value", "kind", "source"], rows, left=4))
        return
    shown = [a for a in found if (a.name in KEY or not a.default) and "." not in a.name and a.value is not None]
    listed = ", ".join(f"{a.name} {text(a)}{' (default)' if a.default else ''}" for a in shown)
    out.print(f"Assumptions ({len(found)}, all with -v): {listed}.")


def _print_clusters(answers: list[Any], mixed: bool) -> None:
    from .. import answer as say
    from ..answer.rows import number, ratio_text

    out = console()
    ranked = [a for a in answers if a.throughput_ratio is not None]
    out.print(_across(answers, ranked, mixed), style="bold")
    rows = []
    for a in answers:
        points = [a.moe.point, a.dense.point]
        batches = " / ".join(
            number(p.batch) if p and s.fits else "-" for p, s in zip(points, (a.moe, a.dense), strict=True)
        )
        rates = " / ".join(
            f"{p.rate:,.0f}" if p and s.fits else "-" for p, s in zip(points, (a.moe, a.dense), strict=True)
        )
        ratios = [a.ratios[k].value if k in a.ratios else None for k in ("max_batch", "equal_batch", "tpot")]
        rows.append(
            (
                a.cluster.name,
                say.said(a, a.verdict),
                *map(ratio_text, ratios),
                batches,
                rates,
            )
        )
    moe, dense = say.sides(answers[0])
    columns = [
        "devices",
        "verdict",
        "R",
        "equal batch",
        "equal TPOT",
        f"batch {moe} / {dense}",
        f"tokens/s {moe} / {dense}",
    ]
    out.print(table(columns, rows, left=2))
    _warnings(out, dict.fromkeys(w for a in answers for w in a.warnings))
    shared = [a for a in say.assumptions(answers[0]) if not a.name.startswith(("device.", "moe.", "dense."))]
    _assumptions(out, shared, False)


def _across(answers: list[Any], ranked: list[Any], fell_back: bool) -> str:
    subject = answers[0].model.name
    why = ": not all have measured kernels" if fell_back else ""
    if not ranked:
        return f"No R on any of these clusters: {subject} and its opponent never both fit."
    best = max(answers, key=lambda a: a.moe.point.rate / a.cluster.count if a.moe.fits else -1.0)
    low, high = (f(a.throughput_ratio for a in ranked) for f in (min, max))
    span = f"R runs from {low:.2f} to {high:.2f}" if len(ranked) > 1 else f"R is {low:.2f}"
    return (
        f"{span} over these clusters (dense over MoE throughput at largest batches); {subject} serves most tokens/s "
        f"per device on {best.cluster.name} (tier {answers[0].ground.efficiency.name} for all{why})."
    )
