"""`routeline inspect`: what a model is, before any device."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, json_option, model_argument
from ._show import console, emit, table


@command(example="routeline inspect DeepSeek-V3 --cache bf16")
@model_argument
@click.option("--weights", default="native", metavar="native|bf16|fp8|...", help="Stored format. Default: native.")
@click.option(
    "--cache", default="auto", metavar="auto|bf16|fp8", help="Cache format. Default: the config's, else bf16."
)
@click.option("--mtp", is_flag=True, help="Count multi-token-prediction layers among the resident weights.")
@json_option
def inspect(model: str, weights: str, cache: str, mtp: bool, as_json: bool) -> None:
    """Parameters, sparsity, cache per token and stored bytes of MODEL, part by part.

    MODEL is a catalogue name (`routeline models`), a path to a config.json or its folder, or a Hugging Face id.
    """
    from .. import resolve
    from ..inspect import inspect as look

    found = look(resolve.model(model), weights=weights, cache=cache, with_mtp=mtp)
    if as_json:
        emit(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from ..units import show

    def count(n: float) -> str:
        return show(n, "count") or "0"

    out = console()
    out.print(_sentence(found), style="bold")
    kv, active = found["kv"], found["active"]
    limit = found["context_limit"]
    rows = [
        ("parameters", f"{found['total']:,}"),
        ("of the language model", f"{found['text_total']:,}" if found["text_total"] != found["total"] else ""),
        ("used per token", f"{active['all']:,}"),
        ("  without input embedding", f"{active['no_embedding']:,}"),
        ("  without embedding and head", f"{active['no_embedding_no_head']:,}"),
        ("sparsity s", f"{found['sparsity']:.4f}"),
        ("layers (with experts)", f"{found['layers']} ({found['moe_layers']})"),
        ("experts, chosen per token", f"{found['experts']}, {found['top_k']}" if found["moe_layers"] else ""),
        ("weights stored", show(found["weight_bytes"], "B")),
        (f"cache per token ({kv['format']})", show(kv["per_token"], "B")),
        *((f"  within a window of {w['window']:,} tokens", show(w["bytes_per_token"], "B")) for w in kv["windows"]),
        ("state per sequence", show(kv["state"], "B") if kv["state"] else ""),
        ("cache per input token", show(kv["per_input_token"], "B") if kv["per_input_token"] else ""),
        ("context limit", f"{limit:,} tokens" if limit else "none stated"),
    ]
    out.print(table(["", found["name"]], [r for r in rows if r[1]]))
    parts = [
        (
            name,
            count(p["params"]),
            count(p["active"]),
            show(p["bytes"], "B"),
            "" if p["bits"] is None else f"{p['bits']:.4g}",
        )
        for name, p in found["parts"].items()
    ]
    out.print(table(["part", "parameters", "used per token", "stored", "bits each"], parts))
    for text in found["warnings"]:
        out.print(f"Warning: {text}.", style="yellow")
    filled = [f"{a['name']} {a['value']} ({a['source']})" for a in found["assumptions"] if a["default"]]
    out.print(f"Assumed: {', '.join(filled) or 'nothing'}.")
    out.print(f"Source: {found['source']}.")


def _sentence(found: dict[str, Any]) -> str:
    from ..units import show

    total, active = (show(n, "count") for n in (found["total"], found["active"]["all"]))
    if not found["moe_layers"]:
        return f"{found['name']} is dense: {total} parameters, {active} of them used per token."
    return (
        f"{found['name']} is a mixture of experts: {total} parameters, {active} used per token (s = "
        f"{found['sparsity']:.4f}), {found['top_k']} of {found['experts']} experts in {found['moe_layers']} of "
        f"{found['layers']} layers."
    )
