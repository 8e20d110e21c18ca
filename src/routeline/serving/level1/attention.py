"""GQA decode ('gqa') and prefill ('gqa_prefill'), MLA decode ('mla') and prefill ('mla_prefill')."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...kernels import attention_seconds
from . import robust
from .robust import Prior
from .tables import Machine, Table, held_out, machine, read

DECODE: dict[str, Prior] = {
    "t0": Prior(9e-6, 0.7),
    "eta": Prior(0.8, 0.1, 0.02, 1.0),
    "f": Prior(0.5, 0.5, 0.01, 1.0),
    "p": Prior(2.0, 0.4, 1.0, 6.0),
    "item": Prior(2e-8, 1.0),
    "half": Prior(60.0, 1.0),
}
PREFILL: dict[str, Prior] = {
    "t0": Prior(12e-6, 0.7),
    "eta": Prior(0.4, 0.5, 0.02, 1.0),
    "f": Prior(0.55, 0.3, 0.01, 1.0),
    "p": Prior(1.3, 0.4, 1.0, 6.0),
    "item": Prior(1e-7, 1.0),
    "half": Prior(1.0, 1.0),
    "serial": Prior(8e-9, 1.0),
}


def _fit(head: dict[str, Any], q: dict[str, Any], m: Machine, hold: np.ndarray) -> dict[str, Any]:
    prefill = head["operation"].endswith("prefill")
    b, h, kv, d, length = (q[n] for n in ("batch", "heads", "kv", "head_dim", "length"))
    e = 1.0 if "fp8" in head["dtype"] else 2.0
    if head["operation"].startswith("gqa"):
        flop = 4.0 * b * h * d * length * (length / 2.0 if prefill else 1.0)
        moved = b * length * 2.0 * kv * d * e + (4.0 * b * h * d * (length if prefill else 1.0))
    else:
        flop = b * h * length * (2.0 * 320.0 * length / 2.0 if prefill else 2.0 * 1088.0)
        moved = b * length * 576.0 * e + b * h * (640.0 * length if prefill else 1088.0) * 2.0
    peak, measured = m.peaks["bf16"], q["seconds"]
    fast = measured <= robust.FASTER * np.maximum(moved / m.bandwidth, flop / peak)
    parts = robust.split(np.ones(len(measured), bool), fast, hold)
    if not parts.enough(20, 5):
        return robust.report(head, parts, None, {})

    def model(c: Mapping[str, float], at: np.ndarray) -> np.ndarray:
        base = attention_seconds(moved[at], flop[at], (b * kv)[at], length[at], peak, m.bandwidth, c)
        return base + c.get("serial", 0.0) * length[at]

    found = robust.solve(model, PREFILL if prefill else DECODE, measured, parts.train)
    constants = robust.rounded(found.constants)
    error = robust.errors(model(constants, np.arange(len(measured))), measured, parts)
    return robust.report(head, parts, error, {"constants": constants})


def _columns(table: Table, use: np.ndarray, phase: str) -> dict[str, Any]:
    rows = table.where(use)
    one = np.ones(int(use.sum()))
    return {
        "batch": rows["batch_size"],
        "heads": rows["num_heads"],
        "kv": rows.get("num_key_value_heads", one),
        "head_dim": rows.get("head_dim", one),
        "length": rows["isl"] if phase == "context" else rows["isl"] + rows["step"],
        "seconds": rows["latency"] / 1e3,
    }


def attention(device: str) -> Iterator[dict[str, Any]]:
    m = machine(device)
    for phase, suffix in (("generation", ""), ("context", "_prefill")):
        for kind in ("gqa", "mla"):
            folder, stem = ("attention", "attention") if kind == "gqa" else ("mla", "mla")
            for table in read(device, folder, f"{phase}_{stem}_perf.parquet"):
                form = table["attn_dtype"] if kind == "gqa" else table["mla_dtype"]
                same = form == "bfloat16"
                if kind == "gqa":
                    same &= (table["window_size"] <= 0) & (table["num_key_value_heads"] > 0)
                source = table["kernel_source"].astype(str)
                for cache in sorted(set(table["kv_cache_dtype"][same].astype(str))):
                    use = same & (table["kv_cache_dtype"] == cache)
                    kinds = {s: int((use & (source == s)).sum()) for s in sorted(set(source))}
                    if kind == "gqa":
                        use &= source == max(kinds, key=lambda s: kinds[s])
                    q = _columns(table, use, phase)
                    hold = (
                        held_out(q["heads"], q["kv"], q["head_dim"])
                        if kind == "gqa"
                        else held_out(q["heads"], q["batch"])
                    )
                    head = {
                        "operation": kind + suffix, "device": device, "engine": table.engine,
                        "version": table.version, "dtype": f"{cache} cache",
                    }  # fmt: skip
                    yield _fit(head, q, m, hold)
