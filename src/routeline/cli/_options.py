"""The options that commands share. Every field of Scenario is a flag, defined once, there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click

from ..scenario import Scenario

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

MODEL = "MODEL is a catalogue name (`routeline models`), a path to a config.json or its folder, or a Hugging Face id."
CLUSTER = "8xH200, 2x8xH100 (two nodes of eight), 72xGB200, 8x./my-device.toml."

model_argument = click.argument("model", metavar="MODEL")
devices_option = click.option("-d", "--devices", required=True, metavar="CLUSTER", help=CLUSTER)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md) instead of tables.")
verbose_option = click.option(
    "-v", "--assumptions", "verbose", is_flag=True, help="List every assumption with unit, kind and source."
)

TYPED = {
    "context": "128k", "weights": "native|bf16|fp8|nvfp4|mxfp4|int4", "cache": "auto|bf16|fp8", "compute": "bf16|fp8",
    "utilisation": "0.95", "overhead": "2GB", "memory": "usable|marketed", "layout": "auto|tp8|dp8,ep8|pooled",
    "routing": "uniform|balanced|zipf:1.2|measured:FILE", "redundant": "32",
    "tier": "auto|bandwidth|ideal|calibrated", "engine": "vllm|sglang|trtllm", "q_law": "LAW",
    "convention": "equal-tokens|equal-flop|compute-optimal", "train_tokens": "14.8T", "q_pairs": "FILE.csv",
    "dense": "same-attention|standard|MODEL", "q": "2", "batch": "64", "tpot": "50ms", "draft": "3", "accept": "0.8",
    "input": "4k", "output": "1k", "prefix_hit": "0.5",
}  # fmt: skip
"""How a field is typed, shown in the help."""

MORE = {
    "layout": "Widths joined with commas: tp (tensor), dp (attention data), ep (expert), moe_tp (inside an expert), "
    "pp (pipeline), cp (context, a divisor of tp), replicas; tp8,pp2 or tp=4,dp=2,ep=8. devices = replicas*pp*tp*dp "
    "and tp*dp = moe_tp*ep; what is left out is completed.",
    "q_law": "One of clark-sbase, clark-rl, clark-hash, ludziejewski, ling, kimi-k2, sqrt, power, krajewski, abnar.",
    "train_tokens": "Decimal: 14.8T is 14.8e12 tokens.",
    "q_pairs": "CSV with columns model,active,total,q, or model,size,benchmark,score,family (an MoE's size as "
    "active/total: 37B/671B) to match scores by interpolation.",
    "engine": "Only tier calibrated knows engines.",
    "routing": "Tier calibrated reads uniform as the fitted skew of real routers; zipf:0 is uniform to the letter.",
}
"""What the help says beside a field's own description."""


def command(*, example: str, **more: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command whose help ends with an example that runs as it stands (tests run it)."""
    return click.command(epilog=f"\b\nExample:\n  {example}", **more)


def scenario_options(*without: str) -> Decorator:
    """Give a command one flag per Scenario field (except `without`); they arrive as its argument `given`.

    `given` maps field names to the text typed (True for a switch) and holds only what was typed: pass
    it on as `ask(model, devices, **given)` or `resolve.scenario(given)`, which check and parse it.
    """
    chosen = [f for f in fields(Scenario) if f.name not in without]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(**values: Any) -> Any:
            typed = {f.name: values.pop(f.name) for f in chosen}
            return function(**values, given={k: v for k, v in typed.items() if v not in (None, False)})

        out: Callable[..., Any] = run
        for field in reversed(chosen):
            out = _option(field)(out)
        return out

    return decorate


def _option(field: Any) -> Decorator:
    flag, text = "--" + field.name.replace("_", "-"), field.metadata["what"]
    text = (text if " | " in text else text[:1].upper() + text[1:]) + "."
    if isinstance(field.default, bool):
        return click.option(flag, field.name, is_flag=True, help=text)
    shown = "" if field.default in (None, "") else f" Default: {_shown(field)}."
    return click.option(
        flag,
        field.name,
        metavar=TYPED.get(field.name, "VALUE"),
        help=" ".join([text + shown, *([MORE[field.name]] if field.name in MORE else [])]),
    )


def _shown(field: Any) -> str:
    from ..units import show

    value, unit = field.default, field.metadata["unit"]
    if isinstance(value, str):
        return value
    if unit == "B" and value == 0:
        return "0 GB"
    return show(value, unit) if unit in ("tokens", "B", "s") else f"{value:g}"
