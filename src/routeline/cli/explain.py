"""`routeline explain`: one number of a comparison, traced to its formula."""

from __future__ import annotations

from typing import Any

import click

from ._options import MODEL, command, devices_option, json_option, scenario_options
from ._show import console, emit, table


@command(example="routeline explain moe.step_time_s DeepSeek-V3 --devices 8xH200 --tier ideal")
@click.argument("key", metavar="KEY")
@click.argument("model", metavar="MODEL")
@devices_option
@scenario_options()
@click.option("--depth", type=click.IntRange(0, 20), default=2, show_default=True, help="Levels of inputs to print.")
@click.option("--keys", "listed", is_flag=True, help="List the keys of this comparison (KEY may then be anything).")
@json_option
def explain(key: str, model: str, devices: str, given: dict[str, Any], depth: int, listed: bool, as_json: bool) -> None:
    """Trace one number of a comparison to its formula, with the values put in, their units, kinds and sources.

    KEY is e.g. moe.step_time_s, dense.max_batch, moe.parts.routed, ratios.max_batch or qs; `--keys` lists them all.
    Formulas are evaluated again from named inputs; a trace that disagrees with the answer is not shown.
    """
    from .. import explain as why
    from ..resolve import ask

    answer = ask(model, devices, **given)
    if listed:
        names = why.keys(answer)
        emit({"schema_version": 1, "keys": names}) if as_json else console().print("\n".join(names))
        return
    trace = why.explain(answer, key)
    if as_json:
        emit({"schema_version": 1, "model": answer.model.name, "devices": answer.cluster.name, **trace.payload()})
        return
    _print(console(), trace, depth)


explain.help = f"{explain.help}\n\n{MODEL}"


def _print(out: Any, trace: Any, depth: int) -> None:
    from ..formulas import number

    out.print(f"{trace.key} = {number(trace)} {_unit(trace)}".rstrip(), style="bold")
    if trace.formula:
        out.print(f"  = {trace.symbols}")
        out.print(f"  = {trace.filled}")
    out.print(f"  {trace.kind}: {trace.source}")
    rows = list(_rows(trace, depth, ""))
    if rows:
        out.print(table(["input", "value", "kind", "formula or source"], rows, left=4))


def _unit(trace: Any) -> str:
    return "" if trace.unit in ("", "-", "B", "B/s", "FLOP", "FLOP/s", "s") else trace.unit


def _rows(trace: Any, depth: int, indent: str) -> Any:
    from ..formulas import number

    for name, one in trace.inputs.items():
        said = f"{one.symbols} = {one.filled}" if one.formula else one.source
        yield (f"{indent}{name.rstrip('_')}", f"{number(one)} {_unit(one)}".rstrip(), one.kind, said)
        if depth > 1:
            yield from _rows(one, depth - 1, indent + "  ")
