"""The tables of docs/accuracy.md, from real runs: `make tables` writes them between markers.

A block `<!-- table: NAME -->` ... `<!-- end -->` holds what TABLES[NAME] returns; the tests compare its numbers with a
fresh run. Blocks of MEASURED need the extra routeline[silicon]; the others need nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*\.?\d*")
PENALTIES = (
    ("DeepSeek-V3", "H100 SXM", "sglang"), ("Qwen3-235B", "H100 SXM", "sglang"), ("DeepSeek-V3", "B200 SXM", "vllm"),
    ("Mixtral 8x7B", "H100 SXM", "sglang"),
)  # fmt: skip


def grid(head: Iterable[str], body: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    rows = [list(map(str, head)), *(list(map(str, row)) for row in body)]
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def pct(value: float | None, digits: int = 1, sign: bool = False) -> str:
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.{digits}f}"


@cache
def served() -> dict[str, Any]:
    from routeline.serving import validate

    return validate.run()


@cache
def published() -> list[dict[str, Any]]:
    sys.path.insert(0, str(ROOT / "tests" / "serving"))
    import published as rows

    return rows.scored(rows.rows())


def _scores(target: str) -> str:
    r = served()
    bold = target == "tpot"

    def row(what: str, who: str, m: dict[str, Any]) -> list[str]:
        mean, mid = (
            f"**{x}%**" if bold and who == "Routeline" else f"{x}%" for x in (pct(m["mape"]), pct(m["median"]))
        )
        inside = m["interval80_coverage"]
        return [what, who, f"{m['answered']:,}", mean, mid, f"{pct(m['within20'], 0)}%", pct(m["bias"], 1, True),
                "-" if inside is None else f"{pct(inside, 0)}%"]  # fmt: skip

    mine, theirs = r[target], r["peer"][target]
    return grid(
        ["rows", "who", "answered", "MAPE", "median", "within 20%", "bias %", "in the 80% interval"],
        [
            row(f"{r['peer_rows']:,} that AIConfigurator answers", "Routeline", mine["peer_rows"]),
            row("the same", "AIConfigurator 0.12.0", theirs["peer_rows"]),
            row(f"all {r['clean_rows']:,} clean rows", "Routeline", mine["all_rows"]),
        ],
    )


def _families() -> str:
    r = served()
    theirs = r["peer"]["tpot"]["by"]["family"]
    body = sorted(r["tpot"]["by"]["family"].items(), key=lambda x: x[1]["mape"])
    return grid(
        ["family left out", "rows", "MAPE", "median", "bias", "AIConfigurator MAPE (rows it answers)"],
        [
            [name, m["n"], pct(m["mape"]), pct(m["median"]), pct(m["bias"], 1, True),
             f"{pct(theirs[name]['mape'])} ({theirs[name]['answered']})" if name in theirs else "does not answer"]
            for name, m in body
        ],
    )  # fmt: skip


def _by(key: str) -> str:
    found = served()["tpot"]["by"][key].items()
    return grid([key, "rows", "MAPE", "median", "bias"],
                [[k, m["n"], pct(m["mape"]), pct(m["median"]), pct(m["bias"], 1, True)] for k, m in found])  # fmt: skip


def _one_point() -> str:
    o = served()["one_point"]
    names = {"before": "Routeline, no calibration", "peer_rows": "Routeline, one measured row a group",
             "peer": "AIConfigurator, the same help"}  # fmt: skip
    return grid(["the other rows of each group", "rows", "MAPE", "median"],
                [[v, f"{o[k]['n']:,}", pct(o[k]["mape"]), pct(o[k]["median"])] for k, v in names.items()])  # fmt: skip


def _traps() -> str:
    return grid(
        ["flag", "rows", "answered", "MAPE of these rows", "clean rows with these in", "rule"],
        [
            [t["flag"], t["rows"], t["tpot"]["answered"], pct(t["tpot"]["mape"]), pct(t["with_them_in"]["mape"]),
             t["rule"]]
            for t in served()["traps"]
        ],
    )  # fmt: skip


def _penalty() -> str:
    from routeline.serving import penalty

    tables = penalty.run()["tables"]
    batches = sorted({p["batch"] for t in tables for p in t["points"]})
    body = []
    for shape, device, engine in PENALTIES:
        t = next(t for t in tables if (t["shape"], t["device"], t["engine"], t["q"]) == (shape, device, engine, 2.0))
        at = {p["batch"]: p for p in t["points"]}
        cells = [f"{at[b]['measured']:.2f}/{at[b]['predicted']:.2f}" if b in at else "-" for b in batches]
        body.append([f"{shape}, {device}, {engine} {t['dtype']}", *cells, f"{t['peak']:.1f} at {t['peak_batch']}"])
    return grid(["shape, device, kernel", *(f"B={b}" for b in batches), "peak"], body)


def _kernels() -> str:
    from routeline.serving import constants

    r = constants.read("kernels.json")
    body = []
    for name, value in r["medians"].items():
        of = [t for t in r["tables"] if t["operation"] == name]
        goal = r["targets"].get(name)
        verdict = "" if goal is None else "met" if value <= goal else "missed"
        body.append([name, len(of), sum(bool(t["passes"]) for t in of), pct(r["medians_plain"][name]), pct(value),
                     pct(goal), verdict])  # fmt: skip
    return grid(["operation", "tables", "pass the screen", "plain constants", "refined", "target", ""], body)


def _published(by: str) -> str:
    import numpy as np

    found = published()
    import published as rows  # on the path by now

    body = []
    for value in sorted({r[by] for r in found}):
        part = [r for r in found if r[by] == value and (by == "split" or r["split"] == "check")]
        cells = []
        for target in rows.TARGETS:
            m = rows.error(part, target)
            cells += [m["answered"], f"{pct(m['mape'])} / {pct(m['median'])}"] if m["answered"] else [0, "-"]
        inside = rows.error(part, "tpot").get("interval80_coverage") if cells[0] else None
        answered = int(np.sum([r["tpot_ms"] is not None for r in part]))
        if part:
            body.append([value, f"{answered} of {len(part)}", *cells, pct(inside, 0)])
    first = {"split": "half", "class": "device class", "engine_class": "engine"}[by]
    head = [first, "answered", *(x for t in ("TPOT", "TTFT", "throughput") for x in (f"{t} rows", "MAPE / median"))]
    head.append("TPOT in 80%")
    return grid(head, body)


MEASURED: dict[str, Callable[[], str]] = {
    "tpot": lambda: _scores("tpot"),
    "ttft": lambda: _scores("ttft"),
    "throughput": lambda: _scores("throughput"),
    "one-point": _one_point,
    "families": _families,
    "engines": lambda: _by("engine"),
    "devices": lambda: _by("device"),
    "concurrency": lambda: _by("concurrency"),
    "traps": _traps,
    "penalty": _penalty,
}
PLAIN: dict[str, Callable[[], str]] = {
    "kernels": _kernels,
    "published": lambda: _published("split"),
    "published-classes": lambda: _published("class"),
    "published-engines": lambda: _published("engine_class"),
}
TABLES = MEASURED | PLAIN


def differences(names: Iterable[str], slack: float = 0.15, share: float = 0.02) -> list[str]:
    """Blocks whose words differ from a fresh run, or whose numbers do by more than `slack` and `share` of them."""
    blocks = {m[2]: m[3] for m in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}
    out = []
    for name in names:
        shown, fresh = blocks[name], TABLES[name]()
        if NUMBER.sub("#", shown) != NUMBER.sub("#", fresh):
            out.append(f"{name}: other words or rows; `make tables` writes them")
            continue
        for a, b in zip(NUMBER.findall(shown), NUMBER.findall(fresh), strict=True):
            x, y = float(a.replace(",", "")), float(b.replace(",", ""))
            if abs(x - y) > max(slack, share * abs(y)):
                out.append(f"{name}: {a} is {b} now; `make tables` writes it")
    return out


def main() -> None:
    old = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda m: m[1] + TABLES[m[2]]() + m[4], old), encoding="utf-8")


if __name__ == "__main__":
    main()
