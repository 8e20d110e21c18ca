"""`routeline explain`: one number of a comparison, traced to its formula."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from ._options import MODEL, command, devices_option, json_option, scenario_options
from ._show import console, emit, table


@command(example="routeline explain moe.step_time_s DeepSeek-V3 --devices 8xH200 --tier ideal")
@click.argument("key", metavar="KEY", required=False)
@click.argument("model", metavar="MODEL", required=False)
@devices_option
@scenario_options()
@click.option(
    "--depth", type=click.IntRange(0, 20), default=None, help="Levels of inputs to print. Default: 1, 2 of a part."
)
@click.option("--deep", is_flag=True, help="Print every level, with the values put into every formula.")
@click.option("--keys", "listed", is_flag=True, help="List the keys of this comparison (KEY may be left out).")
@json_option
def explain(
    key: str | None, model: str | None, devices: str, given: dict[str, Any], depth: int | None, deep: bool,
    listed: bool, as_json: bool,
) -> None:  # fmt: skip
    """Trace one number of a comparison to its formula, with the values put in, their units, kinds and sources.

    KEY is e.g. moe.step_time_s, dense.max_batch, moe.parts.routed, ratios.max_batch or qs; `--keys` lists them all.
    Formulas are evaluated again from named inputs; a trace that disagrees with the answer is not shown.
    """
    from .. import explain as why
    from ..resolve import ask

    if listed and model is None:
        key, model = None, key
    if model is None or (key is None and not listed):
        raise click.UsageError("give a KEY and a MODEL, or --keys and a MODEL", click.get_current_context())
    answer = ask(model, devices, **given)
    if listed:
        names = why.keys(answer)
        emit({"schema_version": 1, "keys": names}) if as_json else console().print("\n".join(names))
        return
    trace = why.explain(answer, str(key))
    if as_json:
        emit({"schema_version": 1, "model": answer.model.name, "devices": answer.cluster.name, **trace.payload()})
        return
    _print(console(), trace, 20 if deep else depth if depth is not None else 2 if ".parts." in str(key) else 1, deep)


explain.help = f"{explain.help}\n\n{MODEL}"


SHORT = 28
"""Rows of inputs printed without --deep."""


def _print(out: Any, trace: Any, depth: int, deep: bool) -> None:
    from ..formulas import number

    out.print(f"{trace.key} = {number(trace)} {_unit(trace)}".rstrip(), style="bold")
    if trace.formula:
        out.print(f"  = {trace.symbols}")
        out.print(f"  = {trace.filled}")
    out.print(f"  {trace.kind}: {trace.source}")
    rows = _once(_rows(trace, depth, "", deep))
    shown = rows if deep else rows[:SHORT]
    if shown:
        out.print(table(["input", "value", "kind", "formula or source"], shown, left=4))
    if len(rows) > len(shown):
        out.print(f"{len(rows) - len(shown)} more inputs with --deep.")
    elif not deep and any(one.inputs for one in trace.inputs.values()):
        out.print("Inputs of these with --depth 2 or --deep; one part alone with its own key (--keys lists them).")


LINE = 50
"""A source longer than this is printed once; then its row is referred to."""


def _once(rows: Iterable[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Rows with a long source that came before replaced by 'as bandwidth', the first input that has it."""
    first: dict[str, str] = {}
    out = []
    for name, value, kind, said in rows:
        out.append((name, value, kind, f"as {first[said]}" if said in first else said))
        if len(said) > LINE:
            first.setdefault(said, name.strip())
    return out


def _unit(trace: Any) -> str:
    return "" if trace.unit in ("", "-", "B", "B/s", "FLOP", "FLOP/s", "s") else trace.unit


def _rows(trace: Any, depth: int, indent: str, deep: bool) -> Any:
    from ..formulas import number

    if depth < 1:
        return
    for name, one in trace.inputs.items():
        said = f"{one.symbols} = {one.filled}" if one.formula and deep else one.source
        yield (f"{indent}{name.rstrip('_')}", f"{number(one)} {_unit(one)}".rstrip(), one.kind, said)
        yield from _rows(one, depth - 1, indent + "  ", deep)
