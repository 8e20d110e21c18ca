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


@command(example="routeline predict --template")
@click.argument("rows", required=False, metavar="ROWS.CSV")
@click.option("-o", "--out", metavar="FILE", help="Write the rows with the added columns here.")
@click.option("--calibration", metavar="FILE", help="Corrections from `routeline calibrate --from`.")
@click.option("--template", is_flag=True, help="Print a small example file of rows.")
@json_option
def predict(rows: str | None, out: str | None, calibration: str | None, template: bool, as_json: bool) -> None:
    """Predict deployments: one row each, with an 80% interval, the tier that answered and a reason where none did.

    Columns: model, device, input_len, output_len are required; devices, engine, engine_version, weights, cache,
    tp, pp, ep, attention_dp, replicas, concurrency, memory_utilisation, max_batch, draft_tokens, accepted_tokens,
    prefix_hit may be blank. Without concurrency: the saturation throughput. Other columns pass through.
    """
    from ..errors import RoutelineError
    from ..serving.predict import OUT, predict_file, write_rows

    if template:
        click.echo(TEMPLATE, nl=False)
        return
    if rows is None:
        raise RoutelineError("no file of rows; give one, or print an example with `routeline predict --template`")
    answer = predict_file(rows, out, calibration)
    count = len(answer["model"])
    refused = [r for r in answer["reason"] if r]
    if as_json:
        emit({"schema_version": 1, "rows": [{k: _plain(answer[k][i]) for k in answer} for i in range(count)]})
        return
    for reason in refused[:20]:
        click.echo(reason, err=True)
    if len(refused) > 20:
        click.echo(f"... and {len(refused) - 20} more rows with a reason", err=True)
    if out is not None:
        click.echo(f"{count - len(refused)} of {count} rows answered; written to {out}")
        return
    if not sys.stdout.isatty() and count > 20:
        write_rows("/dev/stdout", answer)
        return
    _show(answer, OUT)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _show(answer: dict[str, list[Any]], _: Any) -> None:
    def number(value: Any, digits: int = 2) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    body = [
        (
            i + 1,
            answer["model"][i],
            answer["device"][i],
            number(answer["tpot_ms"][i]),
            "-" if answer["low"][i] is None else f"{answer['low'][i]:,.2f} to {answer['high'][i]:,.2f}",
            number(answer["ttft_ms"][i], 0),
            number(answer["output_tok_s"][i], 0),
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
