"""The options that commands share. Every field of Scenario is a flag, defined once, there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any

import typer

from ..scenario import Scenario

MODEL_HELP = "Catalogue name (`routeline models`), path to a config.json or its folder, or a Hugging Face id."
DEVICES_HELP = "Cluster: 8xH200, 2x8xH100 (two nodes of eight), 72xGB200, 8x./my-device.toml."

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
DevicesOption = Annotated[str, typer.Option("--devices", "-d", metavar="CLUSTER", help=DEVICES_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md) instead of tables.")]
VerboseOption = Annotated[
    bool, typer.Option("--assumptions", "-v", help="List every assumption, with unit, kind and source.")
]

EXAMPLES = {
    "context": "128k", "weights": "native|bf16|fp8|nvfp4|mxfp4|int4", "cache": "auto|bf16|fp8", "compute": "bf16|fp8",
    "utilisation": "0.95", "overhead": "2GB", "memory": "usable|marketed", "layout": "auto|tp8|dp8,ep8|pooled",
    "routing": "uniform|balanced|zipf:1.2|measured:FILE", "redundant": "32", "tier": "bandwidth|ideal|calibrated",
    "dense": "same-attention|standard|MODEL", "q": "2", "batch": "64", "tpot": "50ms", "draft": "3", "accept": "0.8",
    "input": "4k", "output": "1k", "prefix_hit": "0.5",
}  # fmt: skip
"""How a field is typed, shown in the help."""


def scenario_options(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command one flag per Scenario field (except `without`); they arrive as its argument `given`.

    `given` maps field names to the text typed (True for a switch) and holds only what was typed: pass
    it on as `ask(model, devices, **given)` or `resolve.scenario(given)`, which check and parse it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
        shared = [_parameter(f) for f in fields(Scenario) if f.name not in without]
        names = [p.name for p in shared]

        @wraps(command)
        def run(**values: Any) -> Any:
            typed = {name: values.pop(name) for name in names}
            return command(**values, given={k: v for k, v in typed.items() if v not in (None, False)})

        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        return run

    return decorate


def _parameter(field: Any) -> inspect.Parameter:
    flag = "--" + field.name.replace("_", "-")
    text = field.metadata["what"]
    if isinstance(field.default, bool):
        kind: Any = Annotated[bool, typer.Option(flag, help=text[:1].upper() + text[1:] + ".")]
        default: Any = False
    else:
        shown = "" if field.default is None else f" Default: {_shown(field)}."
        option = typer.Option(
            flag, metavar=EXAMPLES.get(field.name, "VALUE"), help=text[:1].upper() + text[1:] + "." + shown
        )
        kind, default = Annotated[str | None, option], None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _shown(field: Any) -> str:
    from ..units import show

    value, unit = field.default, field.metadata["unit"]
    if isinstance(value, str):
        return value
    if unit == "B" and value == 0:
        return "0 GB"
    return show(value, unit) if unit in ("tokens", "B", "s") else f"{value:g}"
