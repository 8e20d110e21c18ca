"""Dense products: constants of every engine's matrix product by format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...kernels import gemm_seconds
from . import robust
from .robust import Prior
from .tables import FORMATS, Machine, Table, held_out, machine, read

PRIORS: dict[str, Prior] = {
    "t0": Prior(5e-6, 0.7),
    "eta": Prior(0.8, 0.1, 0.05, 1.0),
    "f": Prior(0.65, 0.4, 0.02, 1.0),
    "p": Prior(2.2, 0.4, 1.0, 6.0),
    "serial": Prior(7e-10, 1.0),
    "quant": Prior(1.0, 1.0),
    "narrow": Prior(200.0, 1.0),
}
SMALLEST, LARGEST, TALLEST = 512.0, 32768.0, 8192.0
"""Widths and depths from and up to which, and rows up to which, a table counts: what models and engines use."""


def fit(table: Table, dtype: str, m: Machine) -> dict[str, Any]:
    weight, act, fmt = FORMATS[dtype]
    head = {
        "operation": "gemm", "device": table.device, "engine": table.engine, "version": table.version, "dtype": dtype,
    }  # fmt: skip
    mine = table["gemm_dtype"] == dtype
    rows, n, k, measured = (table[c][mine] for c in ("m", "n", "k", "latency"))
    measured = measured / 1e3
    keep = (n >= SMALLEST) & (k >= SMALLEST) & (rows <= TALLEST) & (n <= LARGEST) & (k <= LARGEST)
    peak = m.peaks[fmt]
    fastest = np.maximum((rows * k * act + n * k * weight + 2.0 * rows * n) / m.bandwidth, 2.0 * rows * n * k / peak)
    parts = robust.split(keep, measured <= robust.FASTER * fastest, held_out(n, k))
    if not parts.enough(20, 5):
        return robust.report(head, parts, None, {})

    def model(c: Mapping[str, float], at: np.ndarray) -> np.ndarray:
        return gemm_seconds(rows[at], n[at], k[at], weight, act, peak, m.bandwidth, c)

    priors = PRIORS | ({"quant": Prior(1e-3, 1.0)} if dtype == "bfloat16" else {})
    found = robust.solve(model, priors, measured, parts.train)
    constants = robust.rounded(found.constants)
    error = robust.errors(model(constants, np.arange(len(measured))), measured, parts)
    return robust.report(head, parts, error, {"constants": constants})


def gemm(device: str) -> Iterator[dict[str, Any]]:
    m = machine(device)
    for table in read(device, "gemm", "gemm_perf.parquet"):
        for dtype in sorted(set(table["gemm_dtype"].astype(str))):
            if dtype in FORMATS and FORMATS[dtype][2] in m.peaks:
                yield fit(table, dtype, m)
