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


def _kernels(r: dict[str, Any]) -> None:
    def pct(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    body = [
        (
            t["operation"], t["device"], t["engine"], t["version"], t["dtype"],
            t.get("kernel", "") + (" *" if t.get("serves") else ""),
            t["points"], t["used"], pct(t["screened"]), pct(t["held_out_median"]),
            pct(t.get("refined", {}).get("held_out_median")), pct(t["held_out_all"]), t.get("why", "yes"),
        )
        for t in r["tables"]
    ]  # fmt: skip
    head = ["operation", "device", "engine", "version", "format", "kernel (* serves)", "rows", "used",
            "above roofline %", "held-out median %", "refined %", "all rows %", "passes"]  # fmt: skip
    out = console()
    out.print(table(head, body, left=6))
    shown = (f"{op} {pct(v)} (plain {pct(r['medians_plain'][op])})" for op, v in r["medians"].items())
    out.print("median held-out error of the tables that pass, in %: " + ", ".join(shown))
