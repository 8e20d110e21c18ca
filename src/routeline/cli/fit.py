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

    def length(tokens: float | None) -> str:
        if tokens is None:
            return "no limit"
        return "-" if tokens < 1 else f"{tokens:,.0f}" + (" *" if limit is not None and tokens > limit else "")

    cells = [
        (str(r.layout), show(r.weights, "B"), *(f"{b:,.0f}" if b else "-" for b in r.batch.values()),
         *(length(c) for c in r.context.values()))
        for r in (rows if every else rows[:12])
    ]  # fmt: skip
    heads = ["layout", "weights/device", *(f"B at {show(c, 'tokens')}" for c in found.contexts),
             *(f"L at B={b:,.0f}" for b in found.batches)]  # fmt: skip
    out.print(table(heads, cells))
    if not every and len(found.rows) > len(cells):
        out.print(f"{len(found.rows) - len(cells)} more layouts with --all ({len(found.rows) - len(rows)} do not fit).")
    if limit is not None:
        out.print(f"* past the model's own limit of {int(limit):,} tokens.")
