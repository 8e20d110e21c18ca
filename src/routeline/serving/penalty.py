"""The reuse-fragmentation penalty on silicon: MoE FFN time over a dense FFN of size q, from kernel tables.

Measured: grouped-expert time at a shape, one device, power-law 1.2 routing, routed experts only; dense: the gate+up
and down products of width q*top_k*inter, interpolated in the GEMM table of the same device, engine and format
(log-log in m, nearest tabulated n and k scaled by bytes). Predicted: the level-1 formulas with kernels.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..devices import load_device
from . import constants, kernels, physics, validate
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
    tables = []
    for device, engine, dtype in CASES:
        gemm = next((t for e, _, t in kernels._read(device, "gemm", "gemm_perf.parquet") if e == engine), None)
        if gemm is None:
            continue
        done: set[tuple[str, float]] = set()
        for found, _, moe in kernels._read(device, "moe", "moe_perf.parquet", every=True):
            if found != engine:
                continue
            for name, shape in SHAPES.items():
                for q in qs:
                    entry = None if (name, q) in done else _table(device, engine, dtype, name, shape, q, moe, gemm)
                    if entry:
                        done.add((name, q))
                        tables.append(entry)
    return {
        "schema_version": 1,
        "what": "MoE FFN time over dense FFN time of size q*top_k*width; measured from kernel tables",
        "tables": tables,
        "pairs": pairs(),
    }


def _table(
    device: str, engine: str, dtype: str, name: str, shape: tuple[int, ...], q: float, moe: Any, gemm: Any
) -> dict[str, Any] | None:
    h, i, e, k = shape
    num = {
        c: moe[c].astype(float)
        for c in (
            "hidden_size",
            "inter_size",
            "num_experts",
            "topk",
            "moe_tp_size",
            "moe_ep_size",
            "num_tokens",
            "latency",
        )
    }
    hit = (
        (moe["moe_dtype"] == dtype)
        & (moe["distribution"] == ROUTING)
        & (num["hidden_size"] == h)
        & (num["inter_size"] == i)
        & (num["num_experts"] == e)
        & (num["topk"] == k)
        & (num["moe_tp_size"] == 1)
        & (num["moe_ep_size"] == 1)
    )
    if not hit.any():
        return None
    points = []
    for b in BATCHES:
        at = hit & (num["num_tokens"] == b)
        if not at.any():
            continue
        measured = float(np.median(num["latency"][at])) / 1e3
        width = q * k * i
        dense = sum(_gemm(gemm, dtype, b, n, kk) for n, kk in ((2 * width, h), (h, width)))
        points.append(
            {
                "batch": b,
                "moe_ms": measured * 1e3,
                "dense_ms": dense * 1e3,
                "measured": measured / dense,
                "predicted": _predicted(device, engine, dtype, shape, q, b),
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
        "engine": engine,
        "dtype": dtype,
        "q": q,
        "points": points,
        "peak": top["measured"],
        "peak_batch": top["batch"],
        "fades_below_half_at": fades,
    }


def _gemm(table: Any, dtype: str, m: float, n: float, k: float) -> float:
    """Seconds of an m x n x k product: the nearest tabulated (n, k) in log distance, scaled by n*k."""
    mine = table["gemm_dtype"] == dtype
    tm, tn, tk, ms = (table[c][mine].astype(float) for c in ("m", "n", "k", "latency"))
    big = tm.max() if m > tm.max() else m
    distance = np.abs(np.log(tn / n)) + np.abs(np.log(tk / k))
    near = distance <= distance.min() + 1e-9
    order = np.argsort(tm[near])
    x, y = tm[near][order], ms[near][order] / 1e3
    scale = (n * k) / (tn[near][0] * tk[near][0])
    return float(np.exp(np.interp(np.log(big), np.log(x), np.log(y)))) * scale * (m / big)


def _predicted(device: str, engine: str, dtype: str, shape: tuple[int, ...], q: float, batch: int) -> float | None:
    known = {
        t["operation"]: t["constants"]
        for t in constants.read("kernels.json")["tables"]
        if (t["device"], t["engine"], t["dtype"]) == (device, engine, dtype)
    }
    moe, gemm = known.get("moe"), known.get("gemm")
    if moe is None or gemm is None:
        return None
    h, i, e, k = shape
    dev = load_device(DEVICES[device])
    w, a, fmt = kernels.DTYPES[dtype]
    peak, bw = float(dev.peaks[fmt]), float(dev.bandwidth)
    one = np.array([float(batch)])
    load = kernels.loads(np.array([float(e)]), one, np.array([float(k)]), ROUTING)
    touched = np.maximum((load > 0).mean(1) * e, min(k, batch * k))
    pairs_ = np.maximum((np.ceil(load / 16.0) * 16.0).mean(1) * e, batch * k)
    top = physics.moe_seconds(pairs_, touched, float(h), float(i), 3.0, w, peak, bw, moe)
    width = q * k * i
    base = sum(
        physics.gemm_seconds(one, n, kk, w, a, peak, bw, gemm) for n, kk in ((2.0 * width, float(h)), (float(h), width))
    )
    return float(np.asarray(top / base)[0])


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
