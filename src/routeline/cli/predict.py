"""`routeline predict`: a CSV of deployments -> time per output token, time to first token, throughput."""

from __future__ import annotations

import sys
from typing import Any

import click

from ._options import command, json_option
from ._show import console, emit, table

TEMPLATE = """model,device,devices,engine,weights,tp,ep,input_len,output_len,concurrency
Llama-3.1-70B,H100,4,vllm,fp8,4,1,1024,1024,64
DeepSeek-V3,H200,8,sglang,fp8,8,1,8192,1024,32
Qwen3-32B,MI300X,1,vllm,bf16,1,1,1024,1024,16
"""
BRIEF = 10
"""Most rows shown beside a written file."""


@command(example="routeline predict --template")
@click.argument("rows", required=False, metavar="ROWS.CSV")
@click.option("-o", "--out", metavar="FILE", help="Write the rows with the added columns here; not the file read.")
@click.option("--calibration", metavar="FILE", help="Corrections from `routeline calibrate --from`.")
@click.option("--template", is_flag=True, help="Print a small example file of rows.")
@json_option
def predict(rows: str | None, out: str | None, calibration: str | None, template: bool, as_json: bool) -> None:
    """Predict deployments: one row each, with an 80% interval, the tier that answered and a reason where none did.

    Columns: model, device, input_len, output_len are required; devices, engine, engine_version, weights, cache,
    routing, tp, pp, ep, attention_dp, replicas, concurrency, memory_utilisation, max_batch, draft_tokens,
    accepted_tokens, prefix_hit may be blank. Without concurrency: the saturation throughput. Names match without
    case (Input Len is input_len); 4k is 4,096 tokens. Other columns pass through; one named as an output comes back as
    input_NAME. A terminal gets a table, a pipe CSV.

    A row fits where the weights and the cache of one sequence (input_len + output_len) fit in usable memory times
    memory_utilisation, less a reserve of 1.5 GB (6% of small devices). A blank memory_utilisation is 0.9 for vllm,
    sglang, trtllm, tgi, lmdeploy and no engine, 0.98 for the others; where 0.9 holds no sequence, 0.98 is tried, and
    the note says so.
    """
    from ..errors import RoutelineError
    from ..serving import personal
    from ..serving.predict import keep, read_rows, remarks, write_rows
    from ..serving.predict import predict as answer_rows

    if template:
        click.echo(TEMPLATE, nl=False)
        return
    if rows is None:
        raise RoutelineError("no file of rows; give one, or print an example with `routeline predict --template`")
    for read in (rows, calibration):
        keep(read, out)
    given = read_rows(rows)
    answer = answer_rows(given, calibration=personal.load(calibration) if calibration else None)
    for line in remarks(given):
        click.echo(f"routeline: {line}", err=True)
    if out is not None:
        write_rows(out, answer)
    count = len(answer["model"])
    refused = [r for r in answer["reason"] if r]
    if as_json:
        emit({"schema_version": 1, "rows": [{k: _plain(answer[k][i]) for k in answer} for i in range(count)]})
        return
    for reason in refused[:20]:
        click.echo(f"routeline: {reason}", err=True)
    if len(refused) > 20:
        click.echo(f"routeline: ... and {len(refused) - 20} more rows with a reason", err=True)
    if out is not None:
        _brief(answer)
        more = f"; the first {BRIEF} are above" if count > BRIEF else ""
        click.echo(f"{count - len(refused)} of {count} rows answered; written to {out}{more}")
    elif sys.stdout.isatty():
        _show(answer)
    else:
        write_rows(sys.stdout, answer)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _interval(answer: dict[str, list[Any]], i: int) -> str:
    return "-" if answer["low"][i] is None else f"{answer['low'][i]:,.2f} to {answer['high'][i]:,.2f}"


def _brief(answer: dict[str, list[Any]]) -> None:
    """The first rows: what was predicted, or in a few words why not."""
    from ..errors import shorten

    def fits(i: int) -> str:
        why = str(answer["reason"][i] or "").partition(": ")[2]
        return shorten(why.partition(";")[0].partition(": ")[0], 40) if why else "yes"

    body = [
        (i + 1, shorten(answer["model"][i], 30), shorten(answer["device"][i], 20), _number(answer["tpot_ms"][i]),
         _interval(answer, i), _number(answer["output_tok_s"][i], 0), fits(i))
        for i in range(min(len(answer["model"]), BRIEF))
    ]  # fmt: skip
    console().print(table(["row", "model", "device", "TPOT ms", "80% interval", "tokens/s", "fits"], body, left=3))


def _show(answer: dict[str, list[Any]]) -> None:
    body = [
        (
            i + 1,
            answer["model"][i],
            answer["device"][i],
            _number(answer["tpot_ms"][i]),
            _interval(answer, i),
            _number(answer["ttft_ms"][i], 0),
            _number(answer["output_tok_s"][i], 0),
            answer["max_concurrency"][i],
            answer["tier"][i],
        )
        for i in range(len(answer["model"]))
    ]
    columns = ["row", "model", "device", "TPOT ms", "80% interval", "TTFT ms", "tokens/s", "most at once", "tier"]
    out = console()
    out.print(table(columns, body, left=3))
    for i, note in enumerate(answer["note"]):
        if note:
            out.print(f"row {i + 1}: {note}.")
