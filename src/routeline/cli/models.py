"""`routeline models`: the catalogue."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, json_option
from ._show import console, emit, table


@command(example="routeline models qwen3 --moe")
@click.argument("filter_", metavar="[TEXT]", required=False)
@click.option("--moe", "kind", flag_value="moe", help="Only mixtures of experts.")
@click.option("--dense", "kind", flag_value="dense", help="Only dense models.")
@json_option
def models(filter_: str | None, kind: str | None, as_json: bool) -> None:
    """List the catalogue of models, or those whose name, id or architecture contains TEXT."""
    from ..errors import UnknownName
    from ..models import catalogue, load_model, model_names

    wanted = (filter_ or "").lower()
    chosen = [e for e in catalogue() if wanted in f"{e.name} {e.id} {e.architecture} {' '.join(e.aliases)}".lower()]
    if not chosen:
        raise UnknownName("model", filter_, model_names(), "`routeline models` lists all")
    rows = [_row(e, load_model(e.name)) for e in chosen]
    rows = [r for r in rows if kind is None or (kind == "moe") == (r["moe_layers"] > 0)]
    if as_json:
        emit({"schema_version": 1, "models": rows})
    else:
        _print(rows)


def _row(entry: Any, model: Any) -> dict[str, Any]:
    from ..inspect import inspect

    seen = inspect(model)
    keep = ("total", "sparsity", "layers", "moe_layers", "experts", "top_k", "weight_bytes", "context_limit")
    return {
        "name": entry.name,
        "id": entry.id,
        "aliases": list(entry.aliases),
        "architecture": entry.architecture,
        "active": seen["active"]["all"],
        **{k: seen[k] for k in keep},
        "kv_per_token": seen["kv"]["per_token"],
        "source": entry.source,
        "fidelity": entry.fidelity,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from ..units import show

    cells = [
        (
            r["name"], show(r["total"], "count", 3), show(r["active"], "count", 3), f"{r['sparsity']:.3f}",
            f"{r['top_k']} of {r['experts']}" if r["moe_layers"] else "dense", show(r["weight_bytes"], "B", 3),
            show(r["kv_per_token"], "B", 3), show(r["context_limit"], "tokens"),
        )
        for r in rows
    ]  # fmt: skip
    columns = ["model", "total", "active", "s", "experts", "stored", "cache/token", "context"]
    out = console()
    out.print(table(columns, cells))
    out.print(f"{len(rows)} models; `routeline inspect NAME` shows one with its source.")
