"""`routeline fit`: how large a batch, how long a context."""

from __future__ import annotations

from typing import Any

import click

from ._options import MODEL, command, devices_option, json_option, model_argument, scenario_options
from ._show import console, emit, table


@command(example="routeline fit DeepSeek-V3 --devices 8xH200 --weights fp8 --contexts 8k,128k")
@model_argument
@devices_option
@scenario_options("context", "batch", "dense", "q", "q_law", "convention", "train_tokens", "q_pairs")
@click.option("--contexts", default="4k,8k,16k,32k,64k,128k", show_default=True, metavar="LIST",
              help="Contexts to fill, comma-separated.")  # fmt: skip
@click.option("--batches", default="1,8,32,128", show_default=True, metavar="LIST", help="Batches to stretch.")
@click.option("--all", "every", is_flag=True, help="Print every layout, those that do not fit too.")
@json_option
def fit(
    model: str, devices: str, given: dict[str, Any], contexts: str, batches: str, every: bool, as_json: bool
) -> None:
    """Largest batch for each context, longest context for each batch, under every layout of the cluster."""
    from .. import plan, resolve

    place = resolve.cluster(devices)
    found = plan.fit(
        resolve.model(model), place, resolve.scenario(given), contexts=_list(contexts, "tokens", "contexts"),
        batches=_list(batches, "count", "batches"),
    )  # fmt: skip
    if as_json:
        emit(_payload(found))
    else:
        _print(found, every)


fit.help = f"{fit.help}\n\n{MODEL}"


def _list(text: str, dimension: str, what: str) -> tuple[float, ...]:
    from ..units import parse

    return tuple(parse(part.strip(), dimension, what) for part in text.split(",") if part.strip())


def _payload(found: Any) -> dict[str, Any]:
    from ..layouts import widths

    def row(r: Any) -> dict[str, Any]:
        return {
            "layout": str(r.layout), "layout_widths": widths(r.layout), "weight_bytes_per_device": r.weights,
            "free_bytes_per_device": r.free, "fits": r.fits,
            "largest_batch": [{"context": c, "batch": b} for c, b in r.batch.items()],
            "longest_context": [{"batch": b, "context": c} for b, c in r.context.items()],
        }  # fmt: skip

    return {
        "schema_version": 1, "model": found.model, "devices": found.devices,
        "capacity_bytes_per_device": found.capacity,
        "devices_needed": found.devices_needed, "context_limit": found.context_limit,
        "largest_batch": [{"context": c, "batch": b} for c, b in found.best_batch().items()],
        "longest_context": [{"batch": b, "context": c} for b, c in found.longest_context().items()],
        "layouts": [row(r) for r in found.rows],
    }  # fmt: skip


def _print(found: Any, every: bool) -> None:
    from ..units import show

    out = console()
    rows = [r for r in found.rows if every or r.fits]
    if not rows:
        need = f"{found.devices_needed:,} of these devices" if found.devices_needed else "more than any cluster tried"
        out.print(
            f"{found.model} does not fit on {found.devices} at any of these contexts: it needs {need}.", style="bold"
        )
        return
    most = ", ".join(f"{b:,.0f} at {show(c, 'tokens')}" for c, b in found.best_batch().items())
    out.print(f"{found.model} on {found.devices}: largest batch {most}.", style="bold")
    limit = found.context_limit

    past = False

    def length(tokens: float | None) -> str:
        nonlocal past
        if tokens is None:
            return "no limit"
        over = limit is not None and tokens > limit
        past = past or over
        return "-" if tokens < 1 else _short(tokens) + ("*" if over else "")

    groups: dict[tuple[str, ...], list[str]] = {}
    for r in rows:
        cells = (show(r.weights, "B"), *(_short(b) if b else "-" for b in r.batch.values()),
                 *(length(c) for c in r.context.values()))  # fmt: skip
        groups.setdefault(cells, []).append(str(r.layout))
    shown = list(groups.items())[: None if every else 12]
    heads = ["", "weights", *(f"B@{show(c, 'tokens')}" for c in found.contexts),
             *(f"L@{b:,.0f}" for b in found.batches)]  # fmt: skip
    out.print(table(heads, [(f"{i}", *cells) for i, (cells, _) in enumerate(shown, 1)]))
    out.print("B@L: largest batch at context L; L@B: longest context at batch B; weights: bytes on a device.")
    for i, (_, names) in enumerate(shown, 1):
        more = f" and {len(names) - MOST} alike" if len(names) > MOST and not every else ""
        out.print(f"{i}: {'; '.join(names if every else names[:MOST])}{more}")
    left = len(groups) - len(shown)
    if not every:
        out.print(f"{left} more groups with --all ({len(found.rows) - len(rows)} layouts do not fit).")
    if past and limit is not None:
        out.print(f"* past the model's own limit of {int(limit):,} tokens.")


MOST = 3
"""Layouts of a group that are named without --all."""


def _short(value: float) -> str:
    """5203 -> '5,203', 166509 -> '167k', 21313166 -> '21.3M' (decimal)."""
    for scale, unit in ((1e6, "M"), (1e5, "k")):
        if value >= scale:
            return f"{value / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:,.0f}"
