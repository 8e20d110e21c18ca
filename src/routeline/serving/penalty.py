"""The reuse-fragmentation penalty on silicon: MoE FFN time over a dense FFN of size q, from kernel tables.

Measured: grouped-expert time at a shape, one device, power-law 1.2 routing, routed experts only; dense: the gate+up
and down products of width q*top_k*inter, interpolated in the GEMM table of the same device, engine and format
(log-log in m, nearest tabulated n and k scaled by bytes). Predicted: the level-1 formulas with kernels.json, the
MoE in its refined form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import gemm_seconds
from . import constants, validate
from .level1 import moe
from .level1.tables import FORMATS, Table, machine, read, version_order
from .silicon import DEVICES

SHAPES = {
    "DeepSeek-V3": (7168, 2048, 256, 8),
    "Qwen3-235B": (4096, 1536, 128, 8),
    "Mixtral 8x7B": (4096, 14336, 8, 2),
    "MiniMax-M2.5": (3072, 1536, 256, 8),
}
"""hidden, expert width, experts, top-k."""
BATCHES = (1, 16, 64, 128, 512, 2048, 8192)
CASES = (("h100_sxm", "sglang", "fp8_block"), ("h200_sxm", "sglang", "fp8_block"), ("b200_sxm", "vllm", "nvfp4"))
ROUTING = "power_law_1.2"


def run(qs: tuple[float, ...] = (2.0, 4.0)) -> dict[str, Any]:
    """Tables of measured and predicted penalty by batch, and serving pairs.

    Raises:
        RoutelineError: aiconfigurator-core is not installed.
    """
    found = []
    for device, engine, dtype in CASES:
        gemm = next((t for t in read(device, "gemm", "gemm_perf.parquet") if t.engine == engine), None)
        kernels = [k for k in moe.kernels(device) if k.table.engine == engine and k.dtype == dtype]
        kernels.sort(key=lambda k: (version_order(k.table.version), len(k.rows["latency"])), reverse=True)
        if gemm is None:
            continue
        for name, shape in SHAPES.items():
            for q in qs:
                # the newest version that measured the shape, by its main kernel
                made = next((t for k in kernels if (t := _table(k, name, shape, q, gemm))), None)
                found += [made] if made else []
    return {
        "schema_version": 1,
        "what": "MoE FFN time over dense FFN time of size q*top_k*width; measured from kernel tables",
        "tables": found,
        "pairs": pairs(),
    }


def _table(kernel: moe.Kernel, name: str, shape: tuple[int, ...], q: float, gemm: Table) -> dict[str, Any] | None:
    h, i, e, k = (float(x) for x in shape)
    rows, dtype, device = kernel.rows, kernel.dtype, kernel.table.device
    wanted = {"hidden_size": h, "inter_size": i, "num_experts": e, "topk": k, "moe_tp_size": 1.0}
    hit = np.all([rows[c] == v for c, v in wanted.items()], axis=0) & (rows["distribution"].astype(str) == ROUTING)
    points = []
    for b in BATCHES:
        at = hit & (rows["num_tokens"] == b)
        if not at.any():
            continue
        measured = float(np.median(rows["latency"][at])) / 1e3
        width = q * k * i
        dense = sum(_gemm(gemm, dtype, b, n, kk) for n, kk in ((2 * width, h), (h, width)))
        points.append(
            {
                "batch": b,
                "moe_ms": measured * 1e3,
                "dense_ms": dense * 1e3,
                "measured": measured / dense,
                "predicted": _predicted(kernel, (h, i, e, k), q, b),
            }
        )
    if not points:
        return None
    top = max(points, key=lambda p: p["measured"])
    fades = next(
        (p["batch"] for p in points if p["batch"] > top["batch"] and p["measured"] < top["measured"] / 2), None
    )
    return {
        "shape": name,
        "device": DEVICES[device],
        "engine": kernel.table.engine,
        "dtype": dtype,
        "q": q,
        "points": points,
        "peak": top["measured"],
        "peak_batch": top["batch"],
        "fades_below_half_at": fades,
    }


def _gemm(table: Table, dtype: str, m: float, n: float, k: float) -> float:
    """Seconds of an m x n x k product: the nearest tabulated (n, k) in log distance, scaled by n*k."""
    mine = table["gemm_dtype"] == dtype
    tm, tn, tk, ms = (table[c][mine] for c in ("m", "n", "k", "latency"))
    big = tm.max() if m > tm.max() else m
    distance = np.abs(np.log(tn / n)) + np.abs(np.log(tk / k))
    near = distance <= distance.min() + 1e-9
    order = np.argsort(tm[near])
    x, y = tm[near][order], ms[near][order] / 1e3
    scale = (n * k) / (tn[near][0] * tk[near][0])
    return float(np.exp(np.interp(np.log(big), np.log(x), np.log(y)))) * scale * (m / big)


def _predicted(kernel: moe.Kernel, shape: tuple[float, float, float, float], q: float, batch: int) -> float | None:
    """The same ratio from kernels.json: the kernel's refined form over the engine's product of the same format."""
    known = constants.read("kernels.json")["tables"]
    mine = (kernel.table.device, kernel.table.engine, kernel.dtype)
    same = [t for t in known if (t["device"], t["engine"], t["dtype"]) == mine and "constants" in t]
    grouped = next(
        (t for t in same if (t.get("kernel"), t["version"]) == (kernel.source, kernel.table.version)), None
    )  # fmt: skip
    dense = next((t for t in same if t["operation"] == "gemm"), None)
    if grouped is None or dense is None:
        return None
    h, i, _, k = shape
    m = machine(kernel.table.device)
    weight, act, fmt = FORMATS[kernel.dtype]
    width, one = q * k * i, np.array([float(batch)])
    base = sum(
        gemm_seconds(one, n, depth, weight, act, m.peaks[fmt], m.bandwidth, dense["constants"])
        for n, depth in ((2.0 * width, h), (h, width))
    )
    return float((moe.predict(grouped, shape, one, ROUTING) / base)[0])


def pairs() -> list[dict[str, Any]]:
    """Serving pairs: Qwen3-235B over Qwen3-32B on the same device count, concurrency and lengths, TPOT ratio."""
    rows, clean = validate.data()
    c = validate.take(rows.columns, clean)
    seen: dict[tuple, dict[str, list[float]]] = {}
    for i, model in enumerate(c["model"]):
        if model in ("Qwen3-235B-A22B", "Qwen3-32B") and c["engine"][i] == "trtllm":
            key = (
                c["device"][i],
                c["engine"][i],
                c["devices"][i],
                c["concurrency"][i],
                c["input_len"][i],
                c["output_len"][i],
            )
            seen.setdefault(key, {}).setdefault(model, []).append(c["measured_tpot_ms"][i])
    ratio: dict[str, list[float]] = {}
    for key, found in seen.items():
        if len(found) == 2:
            ratio.setdefault(f"{key[0]} {key[1]}", []).append(
                np.median(found["Qwen3-235B-A22B"]) / np.median(found["Qwen3-32B"])
            )
    return [
        {
            "moe": "Qwen3-235B-A22B",
            "dense": "Qwen3-32B",
            "device": d,
            "points": len(r),
            "median_ratio": float(np.median(r)),
            "low": float(np.min(r)),
            "high": float(np.max(r)),
        }
        for d, r in ratio.items()
    ]
