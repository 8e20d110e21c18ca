"""Published measurements on devices without kernel tables: rows, and how far predictions are from them.

`published.csv` holds facts in the predict schema with what was measured (blank where not stated), the source and
the half it belongs to: `tune`, which priors may look at, or `check`, which they may not. A source falls into
`tune` where the first byte of the SHA-256 of its name is even, so no row was placed by hand.
`python tests/serving/published.py` prints the tables of docs/accuracy.md.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from routeline.serving import names
from routeline.serving.predict import predict
from routeline.serving.score import measures

FILE = Path(__file__).with_name("published.csv")
TARGETS = {
    "tpot": ("measured_tpot_ms", "tpot_ms", "tpot_low_ms", "tpot_high_ms"),
    "ttft": ("measured_ttft_ms", "ttft_ms", "ttft_low_ms", "ttft_high_ms"),
    "throughput": ("measured_output_tok_s", "output_tok_s", "", ""),
}


def half(source: str) -> str:
    """The half a source belongs to, from its name alone."""
    return "check" if hashlib.sha256(source.encode()).digest()[0] % 2 else "tune"


def rows() -> list[dict[str, str]]:
    with FILE.open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def scored(table: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Each row with its prediction, device class and engine."""
    out = predict(table)
    return [{k: v[i] for k, v in out.items()} | _labels(r) for i, r in enumerate(table)]


def _labels(row: dict[str, str]) -> dict[str, str]:
    engine = names.engine(row["engine"])
    try:
        return {"class": names.generation(names.device(row["device"])), "engine_class": engine}
    except ValueError:
        return {"class": "refused", "engine_class": engine}


def error(found: list[dict[str, Any]], target: str) -> dict[str, Any]:
    """measures of one target over the rows that state it; throughput has no interval of its own."""
    measured, predicted, low, high = TARGETS[target]
    use = [r for r in found if r[measured]]
    values = [
        np.array([float(r[k]) if r.get(k) not in (None, "") else np.nan for r in use]) for k in (predicted, measured)
    ]
    if not low:
        return measures(*values)
    bounds = [np.array([float(r[k]) if r.get(k) is not None else np.nan for r in use]) for k in (low, high)]
    return measures(*values, *bounds)


def _print(found: list[dict[str, Any]], by: str) -> None:
    for value in sorted({r[by] for r in found}):
        part = [r for r in found if r[by] == value]
        cells = []
        for target in TARGETS:
            m = error(part, target)
            if not m["answered"]:
                cells.append(f"{m['n']:4d}    -     -      -    -  ")
                continue
            inside = m["interval80_coverage"]
            cells.append(
                f"{m['answered']:4d} {100 * m['mape']:5.1f} {100 * m['median']:5.1f} {100 * m['bias']:+6.1f} "
                + (f"{100 * inside:4.0f}" if inside is not None else "    ")
            )
        answered = sum(r["tpot_ms"] is not None for r in part)
        print(f"{value:26s} {answered:3d}/{len(part):3d} | " + " | ".join(cells))


def main(argv: list[str]) -> None:
    found = scored(rows())
    for part in argv or ("tune", "check"):
        use = [r for r in found if r["split"] == part]
        print(f"\n== {part}: rows answered | tpot n mape median bias inside | ttft | throughput n mape median bias")
        for by in ("split", "class", "engine_class", "source"):
            _print(use, by)


if __name__ == "__main__":
    main(sys.argv[1:])
