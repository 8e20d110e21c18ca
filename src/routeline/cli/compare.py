"""`routeline compare`: MoE or dense, on these devices?"""

from __future__ import annotations

from typing import Any

from ._options import command, devices_option, json_option, model_argument, scenario_options, verbose_option
from ._show import console, emit, table


@command(example="routeline compare DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8")
@model_argument
@devices_option
@scenario_options()
@json_option
@verbose_option
def compare(model: str, devices: str, given: dict[str, Any], as_json: bool, verbose: bool) -> None:
    """Does MODEL or its quality-matched dense model serve more tokens on the same devices?

    MODEL is a catalogue name (`routeline models`), a path to a config.json or its folder, or a Hugging Face id.
    Several clusters, comma-separated, give a table of devices. The derivations are Routeline's own: the settings of
    the paper that posed the question (arXiv:2603.08960) are unknown.
    """
    from .. import answer as say
    from ..resolve import ask

    clusters = [part.strip() for part in devices.split(",") if part.strip()] or [devices]
    answers = [ask(model, one, **given) for one in clusters]
    if as_json:
        many = {"schema_version": say.SCHEMA_VERSION, "comparisons": [say.payload(a) for a in answers]}
        emit(say.payload(answers[0]) if len(answers) == 1 else many)
    elif len(answers) == 1:
        _print(answers[0], verbose)
    else:
        _print_clusters(answers)


def _print(answer: Any, verbose: bool) -> None:
    from .. import answer as say

    out, known = console(), say.extras(answer)
    out.print(say.verdict(answer, known), style="bold")
    out.print(table(["", say.short_name(answer.moe), say.short_name(answer.dense)], say.side_rows(answer)))
    parts = say.part_rows(answer)
    if parts:
        out.print(table(["time by part of a step", "MoE", "", "dense", ""], parts))
    rows = say.ratio_rows(answer)
    if rows:
        columns = ["R = dense / MoE throughput", "R", "batch MoE / dense", "tokens/s MoE / dense"]
        out.print(table(columns, [r[:4] for r in rows]))
    for label, *_, reason in rows:
        if reason:
            out.print(f"No R {label}: {reason}.")
    if answer.reuse_penalty is not None:
        out.print(
            f"R = {answer.throughput_ratio:.2f} = {answer.reuse_penalty:.2f} reuse penalty x "
            f"{answer.headroom_gain:.2f} headroom gain.  qs = {answer.q:.3g} x {answer.s:.4f} = {answer.qs:.3f}"
        )
    out.print(say.request_line(known))
    out.print(
        table(["break-even", "of", "where the verdict turns", "layout"], say.break_even_rows(answer, known), left=4)
    )
    _warnings(out, answer.warnings)
    _assumptions(out, answer.assumptions, verbose)


def _warnings(out: Any, warnings: Any) -> None:
    if warnings:
        out.print()
        for text in warnings:
            out.print(f"Warning: {text}.", style="yellow")


KEY = ("context", "q", "tier", "layout", "weights", "cache", "memory", "utilisation", "overhead", "routing", "dense")
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
    shown = [a for a in found if (a.name in KEY or not a.default) and "." not in a.name]
    listed = ", ".join(f"{a.name} {text(a)}{' (default)' if a.default else ''}" for a in shown)
    out.print(f"Assumptions ({len(found)}, all with -v): {listed}.")


def _print_clusters(answers: list[Any]) -> None:
    from ..answer.rows import number

    out = console()
    ranked = [a for a in answers if a.throughput_ratio is not None]
    out.print(_across(answers, ranked), style="bold")
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
        rows.append((a.cluster.name, a.verdict, *("-" if r is None else f"{r:.2f}" for r in ratios), batches, rates))
    columns = ["devices", "verdict", "R", "equal batch", "equal TPOT", "batch MoE / dense", "tokens/s MoE / dense"]
    out.print(table(columns, rows, left=2))
    _warnings(out, dict.fromkeys(w for a in answers for w in a.warnings))
    shared = [a for a in answers[0].assumptions if not a.name.startswith(("device.", "moe.", "dense."))]
    _assumptions(out, shared, False)


def _across(answers: list[Any], ranked: list[Any]) -> str:
    subject = answers[0].model.name
    if not ranked:
        return f"No R on any of these clusters: {subject} and its opponent never both fit."
    best = max(answers, key=lambda a: a.moe.point.rate / a.cluster.count if a.moe.fits else -1.0)
    low, high = (f(a.throughput_ratio for a in ranked) for f in (min, max))
    span = f"R runs from {low:.2f} to {high:.2f}" if len(ranked) > 1 else f"R is {low:.2f}"
    return (
        f"{span} over these clusters (dense over MoE throughput at largest batches); {subject} serves most tokens/s "
        f"per device on {best.cluster.name}."
    )
