"""`routeline reproduce`: the abstract's claims, with our numbers, commands and assumptions."""

from __future__ import annotations

from typing import Any

import click

from ._options import command, json_option
from ._plots import draw, plot_option, wanted
from ._show import console, emit, table


@command(example="routeline reproduce --claim a")
@click.option("--claim", "claims", multiple=True, metavar="a|b|c|d", help="Only this claim; repeat for several.")
@plot_option("a claim (a, b, c or d; default: the first asked)")
@json_option
def reproduce(claims: tuple[str, ...], plots: tuple[str, ...], as_json: bool) -> None:
    """Recompute the four claims of arXiv:2603.08960's abstract: our number, the command, the assumptions.

    The paper's settings are unknown; every derivation is Routeline's own. a: 4.5x for DeepSeek-V3 at 128k, as a map
    with its contour; b: four models over contexts; c: Switch-C against its match over clusters; d: distillation.
    """
    from .. import reproduce as again

    chosen = wanted(plots)
    asked = claims or tuple(again.CLAIMS)
    found = again.reproduce(asked)
    if chosen:
        from ..errors import UnknownName
        from ..plots.claims import claim

        computed = {c["id"]: c for c in found["claims"]}
        for name, _ in chosen:
            if name and name not in computed:
                raise UnknownName("claim", name, computed, f"computed here: {', '.join(computed)}")
        draw(chosen, lambda name: claim(computed[name or next(iter(computed))]))
    if as_json:
        emit(found)
        return
    out = console()
    out.print(found["statement"])
    for claim in found["claims"]:
        out.print()
        out.print(f"({claim['id']}) Claim: {claim['claim']}.", style="bold")
        out.print(f"Ours: {claim['answer']}.")
        out.print(f"$ {claim['command']}")
        for text in claim["assumptions"]:
            out.print(f"  assumes: {text}")
        _TABLES[claim["id"]](out, claim)
        if claim["id"] != "a":
            out.print("--json has the command of every cell and the layouts that auto chose for it.")


def _r(value: float | None) -> str:
    from ..answer.rows import ratio_text

    return ratio_text(value)


def _a(out: Any, claim: dict[str, Any]) -> None:
    rows = [(r["label"], _r(r["ratio"])) for r in claim["headline"]]
    out.print(table(["R of this point", "R"], rows))
    rows = [(w["choice"], w["instead"], _r(w["ratio"]), w["verdict"]) for w in claim["without"]]
    out.print(table(["with one choice changed", "instead", "R", "verdict"], rows, left=2))
    grid: dict[tuple[str, str, str], dict[float, str]] = {}
    for strip in claim["map"]:
        where = (strip["devices"], strip["weights"], strip["memory"])
        reached = ", ".join(f"{u:.3f}" for u in strip["reached_at"])
        if not reached and strip["peak"] is not None:
            reached = f"({strip['peak']['ratio']:.2g})"
        grid.setdefault(where, {})[strip["q"]] = reached or "-"
    sizes = sorted({s["q"] for s in claim["map"]})
    heads = ["devices", "weights", "memory", *(f"q={q:g}" for q in sizes)]
    cells = [(*where, *(row[q] for q in sizes)) for where, row in grid.items()]
    out.print(table(heads, cells, left=3, title=f"Memory utilisation at which R = {claim['claimed']} (0.70 to 1)"))
    out.print("In brackets: not crossed in the range, the largest R there; -: nothing fits.")


def _b(out: Any, claim: dict[str, Any]) -> None:
    rows = [
        (r["model"], r["setting"], f"{r['context'] / 1024:.0f}k{' *' if r['past_limit'] else ''}",
         f"{r['q']:.2f}", *(_r(r["ratios"].get(k)) for k in ("max_batch", "equal_batch", "tpot", "request")),
         r["verdict"])
        for r in claim["rows"]
    ]  # fmt: skip
    heads = ["model", "setting", "context", "q", "R", "=batch", "=TPOT", "request", "verdict"]
    out.print(table(heads, rows, left=2))
    places = dict.fromkeys(f"{r['model']} on {r['devices']}" for r in claim["rows"])
    out.print(f"R: largest batches; =batch, =TPOT: equal batch, equal time per token. {', '.join(places)}.")
    out.print("tie: R is within 2% of 1; there R has three digits.")
    out.print("* past the model's own limit: quality there is unknown.")


def _c(out: Any, claim: dict[str, Any]) -> None:
    def fits(x: dict[str, Any]) -> str:
        if x["ratio"] is not None:
            return f"{x['ratio']:.2f}"
        return {(False, True): "dense", (True, False): "MoE"}.get((x["moe_fits"], x["dense_fits"]), "none")

    sizes = list(dict.fromkeys(x["size"] for x in claim["cells"]))
    grid: dict[tuple[str, str], dict[str, str]] = {}
    for x in claim["cells"]:
        grid.setdefault((x["device"], x["weights"]), {})[x["size"]] = fits(x)
    rows = [(*where, *(row[s] for s in sizes)) for where, row in grid.items()]
    out.print(
        table(["device", "weights", *sizes], rows, left=2, title="Which fits on how many devices; R where both do")
    )


def _d(out: Any, claim: dict[str, Any]) -> None:
    from ..units import show

    rows = [
        (r["model"], r["devices"], f"{r['q']:.2f}", show(r["dense_parameters"], "count"), _r(r["ratio"]),
         _r(r["ratio_request"]), r["none"] or f"{r['break_even_q']:.2f}",
         "-" if r["break_even_parameters"] is None else show(r["break_even_parameters"], "count"))
        for r in claim["rows"]
    ]  # fmt: skip
    heads = ["model", "devices", "q", "dense model", "R", "request", "break-even q", "break-even size"]
    out.print(table(heads, rows, left=2))
    for text in claim["computed"]:
        out.print(f"  computed: {text}")
    for text in claim["not_computed"]:
        out.print(f"  not computed: {text}")


_TABLES = {"a": _a, "b": _b, "c": _c, "d": _d}
