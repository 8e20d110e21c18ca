"""Level 1: fit every measured kernel table and write kernels.json. Needs the extra; the operations are in level1."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .level1 import attention, collectives, exchange, gemm, moe, served
from .level1.robust import SCREEN, SPREAD
from .silicon import VERSION

MEASURED = ("h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300")
"""Devices whose tables are fitted."""
TARGETS = {"gemm": 0.08, "moe": 0.05, "gqa": 0.05, "mla": 0.05, "gqa_prefill": 0.05, "mla_prefill": 0.05}
"""Median held-out error that an operation's passing tables should reach; none was set for collectives."""


def device_tables(device: str) -> list[dict[str, Any]]:
    """Entries of one device, in a fixed order."""
    out = list(gemm.gemm(device)) + served.mark(list(moe.moe(device)))
    out += list(attention.attention(device)) + list(collectives.collectives(device))
    return out + list(exchange.exchange(device))


def medians(tables: list[dict[str, Any]], *, refined: bool = True) -> dict[str, float]:
    """Operation -> median over its passing tables of the held-out median, in the refined form where there is one."""
    out: dict[str, list[float]] = {}
    for t in tables:
        if t["passes"]:
            form = t.get("refined", t) if refined else t
            out.setdefault(t["operation"], []).append(form["held_out_median"])
    return {op: round(float(np.median(found)), 4) for op, found in out.items()}


def calibrate(folder: Path, devices: tuple[str, ...] = MEASURED, workers: int = 2) -> dict[str, Any]:
    """Fit every table, write kernels.json and return it."""
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            made = list(pool.map(device_tables, devices))
    else:
        made = [device_tables(device) for device in devices]
    tables = [entry for device in made for entry in device]
    out = {
        "schema_version": 2,
        "kind": "fitted",
        "passed": sum(t["passes"] for t in tables),
        "medians": medians(tables),
        "medians_plain": medians(tables, refined=False),
        "targets": TARGETS,
        "source": f"kernel tables of aiconfigurator-core {VERSION}; robust fits",
        "rule": f"passes: at most {SCREEN:.0%} of points above their own roofline, held-out median below {SPREAD:.0%}",
        "tables": tables,
    }
    text = json.dumps(out, separators=(",", ":")).replace('{"operation"', '\n{"operation"') + "\n"
    (folder / "kernels.json").write_text(text, encoding="utf-8")
    return out
