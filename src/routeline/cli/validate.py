"""`routeline validate`: errors on measured serving points, each model family left out of the fit in turn."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, json_option
from ._plots import draw, plot_option, wanted
from ._show import console, emit, table, working


@command(example="routeline validate --rules")
@click.argument("what", type=click.Choice(["serving", "penalty", "kernels"]), default="serving")
@click.option("--rules", is_flag=True, help="Print the written rules that exclude rows.")
@plot_option("predictions against measurements (tpot or ttft), or the penalty,")
@json_option
def validate(what: str, rules: bool, plots: tuple[str, ...], as_json: bool) -> None:
    """Score predictions on measured rows beside AIConfigurator (serving), or measure the penalty (penalty).

    Needs the optional extra: pip install 'routeline[silicon]'. Constants are fitted without the row's own model
    family. `kernels` shows the held-out-shape error of every kernel table.
    """
    if rules:
        from ..serving.silicon import RULES

        emit(RULES) if as_json else [click.echo(f"{k}: {v}") for k, v in RULES.items()]
        return
    chosen = wanted(plots)
    if what == "penalty":
        from ..serving import penalty

        with working("measuring the penalty"):
            result = penalty.run()
        if chosen:
            from ..plots.accuracy import penalty as picture

            draw(chosen, lambda name: picture(result))
        emit(result) if as_json else _penalty(result)
        return
    if what == "kernels":
        from ..serving import constants

        shipped = constants.read("kernels.json")
        emit(shipped) if as_json else _kernels(shipped)
        return
    from ..serving import validate as work

    with working("predicting every measured row, each model family left out of the fit in turn: about a minute"):
        result = work.run()
    if chosen:
        from ..plots.accuracy import predicted

        draw(chosen, lambda name: predicted(result, name or "tpot"))
    result.pop("rows_detail")
    emit(result) if as_json else _serving(result)


def _cells(m: dict[str, Any]) -> tuple[str, ...]:
    def pct(v: Any) -> str:
        return "-" if v is None else f"{100 * v:.1f}"

    rank = "-" if m["spearman"] is None else f"{m['spearman']:.3f}"
    return (str(m["n"]), str(m["answered"]), pct(m["mape"]), pct(m["median"]), pct(m["within20"]), pct(m["bias"]), rank,
            pct(m.get("interval80_coverage")))  # fmt: skip


HEAD = ["", "rows", "answered", "MAPE %", "median %", "within 20 %", "bias %", "Spearman", "covered %"]
"""covered: the share of measured values inside the 80% interval."""


def _serving(r: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"{r['clean_rows']} clean of {r['rows']} rows; {r['peer_rows']} answered by AIConfigurator. {r['method']}. "
        "covered: inside the 80% interval."
    )
    for target in ("tpot", "ttft", "throughput"):
        body = [("Routeline", *_cells(r[target]["peer_rows"])),
                ("AIConfigurator", *_cells(r["peer"][target]["peer_rows"])),
                ("Routeline, all", *_cells(r[target]["all_rows"]))]  # fmt: skip
        out.print(table(HEAD, body, title=target.upper()))
    for name, groups in r["tpot"]["by"].items():
        out.print(table(HEAD, [(k, *_cells(m)) for k, m in groups.items()], title=f"TPOT by {name}"))
    body = [
        (t["flag"], t["rows"], *_cells(t["tpot"])[1:3], _cells(t["with_them_in"])[2], t["rule"]) for t in r["traps"]
    ]
    out.print(table(["flag", "rows", "answered", "MAPE %", "clean + these %", "rule"], body, title="Excluded rows"))
    f = r["floor"]
    where = f"; {f['groups']}" if f["groups"] else ""
    out.print(f"Faster than the ideal decode step: {f['violations']} of {f['rows']} rows{where}")
    if "one_point" in r:
        o = r["one_point"]
        body = [("before", *_cells(o["before"])), ("one row each", *_cells(o["peer_rows"])),
                ("AIC, same help", *_cells(o["peer"]))]  # fmt: skip
        out.print(table(HEAD, body, title="One calibration point"))


def _penalty(r: dict[str, Any]) -> None:
    out = console()
    out.print(r["what"])
    for t in r["tables"]:
        body = [
            (p["batch"], f"{p['measured']:.2f}", "-" if p["predicted"] is None else f"{p['predicted']:.2f}")
            for p in t["points"]
        ]
        title = f"{t['shape']}, {t['device']} {t['engine']} {t['dtype']}, q={t['q']:g}"
        title += f": peak {t['peak']:.1f} at batch {t['peak_batch']}"
        out.print(table(["batch", "measured", "predicted"], body, title=title))
    for pair in r["pairs"]:
        out.print(
            f"{pair['moe']} over {pair['dense']} on {pair['device']}: {pair['median_ratio']:.2f}x, n={pair['points']}"
        )


REASONS = {
    "too many points above the roofline": "roof",
    "no kernel physics describes it": "model",
    "too few points": "few",
}
FORMATS = {"bfloat16": "bf16", "w4a16_mxfp4": "w4a16", "w4a8_mxfp4_mxfp8": "w4a8"}


def _format(dtype: str) -> str:
    """Format of weights, or of the cache."""
    name = dtype.removesuffix(" cache")
    return FORMATS.get(name, name)


def _short(t: dict[str, Any], most: int) -> str:
    """A kernel's name without its engine, its middle left out where it is long; * marks the one that is served."""
    name = t.get("kernel", "").removeprefix("moe_torch_flow_").removeprefix(t["engine"] + "_")
    most -= 2 * bool(t.get("serves"))
    if len(name) > most:
        name = f"{name[: most // 2 - 1]}..{name[1 - most + most // 2 :]}"
    return f"{name} *" if t.get("serves") else name


def _kernels(r: dict[str, Any]) -> None:
    def pct(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    out = console()
    body = []
    for op, error in r["medians"].items():
        mine, target = [t for t in r["tables"] if t["operation"] == op], r["targets"].get(op)
        met = "-" if target is None else "yes" if error <= target else "no"
        passing = sum(t["passes"] for t in mine)
        body.append((op, len(mine), passing, pct(r["medians_plain"][op]), pct(error), pct(target), met))
    head = ["operation", "tables", "passing", "plain %", "refined %", "target %", "met"]
    caption = "Median over the passing tables of the median error on held-out shapes; refined where a table has it."
    out.print(table(head, body, title="Kernel tables", caption=caption))
    for op in r["medians"]:
        mine = [t for t in r["tables"] if t["operation"] == op]
        room = 17 if any("refined" in t for t in mine) else 26  # of 100 columns; --json has the whole name
        head = ["device", "engine", "format", "kernel", "rows", "fast %", "plain %", "refined %", "passes"]
        rows = [
            (
                t["device"].removesuffix("_sxm"), f"{t['engine']} {t['version']}",
                _format(t["dtype"]), _short(t, room), t["used"],
                pct(t["screened"]), pct(t["held_out_median"]), pct(t.get("refined", {}).get("held_out_median")),
                REASONS.get(t.get("why", ""), "yes"),
            )
            for t in mine
        ]  # fmt: skip
        known = [i for i in range(len(head)) if {row[i] for row in rows} not in ({""}, {"-"})]
        kept = [[row[i] for i in known] for row in rows]
        out.print(table([head[i].replace(" ", "\n") for i in known], kept, title=op, left=3 + (3 in known)))
    out.print(
        "kernel *: served. rows: fitted or held out. fast: share of rows faster than their own roofline. "
        "passes: yes, or why not: roof (too many such rows), model (no formula describes it), few (rows). "
        "--json: full names, constants, and the error on all held-out rows, screened ones too."
    )
