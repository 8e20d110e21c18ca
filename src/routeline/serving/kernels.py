"""Level 1: kernel constants per device, engine, format and operation from the measured tables, read in place.

The formulas are those of physics.py. Points faster than the roofline of their own bytes or FLOP are screened out
(never by a fitted value); a fifth of the shapes (by hash of the shape, whole shapes) is held out. Needs the extra.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import load_device
from . import physics
from .silicon import DEVICES, VERSION, root

MOST = 3000
"""Training points used per table (evenly thinned)."""
DTYPES: dict[str, tuple[float, float, str]] = {
    "bfloat16": (2.0, 2.0, "bf16"),
    "fp8": (1.0, 1.0, "fp8"),
    "fp8_block": (1.0, 1.0, "fp8"),
    "nvfp4": (0.5625, 0.5625, "fp4"),
    "int4_wo": (0.53, 2.0, "bf16"),
    "w4a16_mxfp4": (0.53125, 2.0, "bf16"),
    "w4a8_mxfp4_mxfp8": (0.53125, 1.0, "fp8"),
}
"""table's dtype -> (bytes a weight, bytes an activation, compute format)."""
FRACTIONS = ("eta", "f", "prefill", "fraction")
SCREEN = 0.05
"""A table passes while at most this share of its points is screened out ..."""
SPREAD = 0.25
"""... and its held-out median error stays below this (a table that no kernel physics describes is not used)."""


def _read(
    device: str, folder: str, name: str, *, every: bool = False
) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    """(engine, version, columns) of each table of a kind, the largest version of each engine only."""
    from pyarrow import parquet

    place = root() / "data" / device / folder
    if not place.is_dir():
        return
    for engine in sorted(place.iterdir(), key=lambda p: p.name):
        found = [v for v in engine.iterdir() if (v / name).is_file()]
        found = sorted(found, key=lambda p: -(p / name).stat().st_size)
        for version in found if every else found[:1]:
            table = parquet.read_table(str(version / name))
            yield engine.name, version.name, {c: np.asarray(table[c].to_pylist(), object) for c in table.column_names}


def _floats(table: dict[str, np.ndarray], *names: str) -> list[np.ndarray]:
    return [table[n].astype(float) for n in names]


def _hold(*columns: np.ndarray) -> np.ndarray:
    """A fifth of the shapes, chosen by their numbers alone."""
    mixed = np.zeros(len(columns[0]))
    for prime, c in zip((7.0, 13.0, 29.0, 31.0), columns, strict=False):
        mixed = mixed + prime * np.round(np.log2(np.maximum(c, 1.0)) * 8.0)
    return mixed % 5 == 0


def robust(
    seconds: Callable[[dict[str, float]], np.ndarray], start: dict[str, float], measured: np.ndarray, train: np.ndarray
) -> dict[str, float]:
    """Constants that fit log(seconds) robustly; log-normal pull of one e-fold towards `start`, fractions below 1."""
    from scipy.optimize import least_squares

    names = list(start)
    x0 = np.log([max(start[n], 1e-14) for n in names])
    top = np.array(
        [0.0 if n in FRACTIONS else np.log(6.0) if n == "p" else x + 5.0 for n, x in zip(names, x0, strict=True)]
    )
    low = np.array([np.log(1.0) if n == "p" else x - 5.0 for n, x in zip(names, x0, strict=True)])
    pick = np.flatnonzero(train)
    pick = pick[:: max(1, len(pick) // MOST)]

    def cost(x: np.ndarray) -> np.ndarray:
        value = seconds(dict(zip(names, np.exp(x), strict=True)))
        return np.concatenate([np.log(value / measured)[pick], 0.05 * np.sqrt(len(pick)) / 30.0 * (x - x0)])

    x0 = np.clip(x0, low + 1e-6, top - 1e-6)
    found = least_squares(cost, x0, bounds=(low, top), loss="soft_l1", f_scale=0.06, max_nfev=60)
    return dict(zip(names, np.exp(found.x), strict=True))


def _entry(
    operation: str,
    device: str,
    engine: str,
    version: str,
    dtype: str,
    fun: Any,
    start: dict[str, float],
    measured: np.ndarray,
    bound: np.ndarray,
    hold: np.ndarray,
) -> dict[str, Any] | None:
    ok = measured > 0.97 * bound
    train, test = ok & ~hold, ok & hold
    if train.sum() < 20 or test.sum() < 5:
        return None
    constants = robust(fun, start, measured, train)
    error = np.abs(fun(constants) / measured - 1.0)
    screened, median = float(1.0 - ok.mean()), float(np.median(error[test]))
    why = "" if screened <= SCREEN else "too many points above the roofline"
    why = why or ("" if median <= SPREAD else "no kernel physics describes it")
    return {
        "operation": operation,
        "device": device,
        "engine": engine,
        "version": version,
        "dtype": dtype,
        "shapes": len(measured),
        "screened": round(screened, 4),
        "held_out_median": round(median, 4),
        "passes": not why,
        "why": why,
        "constants": {k: float(f"{v:.4g}") for k, v in constants.items()},
    }


def gemm(device: str) -> Iterator[dict[str, Any]]:
    dev = load_device(DEVICES[device])
    for engine, version, t in _read(device, "gemm", "gemm_perf.parquet"):
        m, n, k, ms = _floats(t, "m", "n", "k", "latency")
        for dtype in sorted(set(t["gemm_dtype"])):
            if dtype not in DTYPES or DTYPES[dtype][2] not in dev.peaks:
                continue
            w, a, fmt = DTYPES[dtype]
            use = (t["gemm_dtype"] == dtype) & (n >= 512) & (k >= 512) & (m <= 8192) & (n <= 32768) & (k <= 32768)
            mm, nn, kk, sec = m[use], n[use], k[use], ms[use] / 1e3
            peak, bw = float(dev.peaks[fmt]), float(dev.bandwidth)
            start = {"t0": 5e-6, "eta": 0.8, "f": 0.65, "p": 2.2, "serial": 7e-10, "quant": 1.0, "narrow": 200.0}
            if dtype == "bfloat16":
                start["quant"] = 1e-3
            bound = np.maximum((mm * kk * a + nn * kk * w + 2 * mm * nn) / bw, 2 * mm * nn * kk / peak)
            fun = lambda c, v=(mm, nn, kk, w, a, peak, bw): physics.gemm_seconds(*v, c=c)  # noqa: E731
            made = _entry("gemm", device, engine, version, dtype, fun, start, sec, bound, _hold(nn, kk))
            if made:
                yield made


def loads(
    experts: np.ndarray, tokens: np.ndarray, top_k: np.ndarray, distribution: str, quantiles: int = 64
) -> np.ndarray:
    """Tokens per expert at quantiles of the experts, shape (points, quantiles).

    `balanced` deals pairs evenly. `power_law_a` draws loads from a bounded power law on [1, 0.8 T] (or [0.01, 2]
    while T*k <= E), scales them to T*k pairs and rounds: the collector's convention as the tables show it (its
    touched experts reproduce the measured bytes), not verified in its source.
    """
    u = (np.arange(quantiles) + 0.5) / quantiles
    pairs = tokens * top_k
    if distribution == "balanced":
        touched = np.minimum(experts, pairs)
        return np.where(u[None, :] < (touched / experts)[:, None], (pairs / touched)[:, None], 0.0)
    b = 1.0 - float(distribution.rsplit("_", 1)[-1])
    many = pairs > experts
    low, high = np.where(many, 1.0, 0.01), np.where(many, np.maximum(0.8 * tokens, 1.0001), 2.0)
    v = (low[:, None] ** b + u[None, :] * (high**b - low**b)[:, None]) ** (1.0 / b)
    v = v / v.mean(1, keepdims=True) * (pairs / experts)[:, None]
    return np.minimum(np.round(v), tokens[:, None])


def moe_points(t: dict[str, np.ndarray], use: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of an MoE table as floats, with the touched experts of each point's own routing."""
    names = ("hidden_size", "inter_size", "num_experts", "topk", "num_tokens", "moe_tp_size", "latency")
    h, i, e, k, tok, tp, ms = (c[use] for c in _floats(t, *names))
    dist = t["distribution"][use]
    n = np.zeros((len(h), 64))
    for d in set(dist):
        hit = dist == d
        n[hit] = loads(e[hit], tok[hit], k[hit], str(d))
    touched = np.maximum((n > 0).mean(1) * e, np.minimum(k, tok * k))
    return {
        "hidden": h,
        "inter": i / tp,
        "experts": e,
        "top_k": k,
        "tokens": tok,
        "touched": touched,
        "loads": n,
        "seconds": ms / 1e3,
        "balanced": dist == "balanced",
    }


def moe(device: str) -> Iterator[dict[str, Any]]:
    """Every engine and format, from the version that measured most points of it."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in _moe(device):
        key = (entry["engine"], entry["dtype"])
        if key not in best or entry["shapes"] > best[key]["shapes"]:
            best[key] = entry
    yield from best.values()


def _moe(device: str) -> Iterator[dict[str, Any]]:
    dev = load_device(DEVICES[device])
    for engine, version, t in _read(device, "moe", "moe_perf.parquet", every=True):
        ep = t["moe_ep_size"].astype(float)
        source = t["kernel_source"].astype(str)
        plain = ~np.char.find(source.astype("U80"), "nongated").astype(bool) | (
            np.char.find(source.astype("U80"), "nongated") < 0
        )
        for dtype in sorted(set(t["moe_dtype"])):
            if dtype not in DTYPES or DTYPES[dtype][2] not in dev.peaks:
                continue
            kinds = [s for s in sorted(set(source)) if "nongated" not in s and "min_latency" not in s]
            counts = {s: int(((t["moe_dtype"] == dtype) & (source == s)).sum()) for s in kinds}
            if not counts or max(counts.values()) == 0:
                continue
            main = max(counts, key=lambda s: counts[s])
            use = (t["moe_dtype"] == dtype) & (source == main) & (ep == 1.0) & plain
            if use.sum() < 100:
                continue
            q = moe_points(t, use)
            w, _, fmt = DTYPES[dtype]
            peak, bw = float(dev.peaks[fmt]), float(dev.bandwidth)
            weight = q["touched"] * 3 * q["hidden"] * q["inter"] * w / bw
            balanced = q["balanced"]
            keep = np.ones(len(balanced), bool)
            if balanced.any() and np.mean(q["seconds"][balanced] < 0.97 * weight[balanced]) > SCREEN:
                keep = ~balanced  # touches fewer experts than its name says
            q = {k: v[keep] for k, v in q.items()}
            small = (q["inter"] >= 64) & (q["tokens"] <= 8192)
            q = {k: v[small] for k, v in q.items()}
            pairs = q["tokens"] * q["top_k"]
            padded = np.maximum((np.ceil(q["loads"] / 16.0) * 16.0).mean(1) * q["experts"], pairs)
            bound = np.maximum(
                q["touched"] * 3 * q["hidden"] * q["inter"] * w / bw, 6 * q["hidden"] * q["inter"] * pairs / peak
            )
            start = {"t0": 25e-6, "eta": 0.9, "f": 0.45, "p": 2.0, "per_expert": 5e-8, "shuffle": 2.0, "narrow": 60.0}

            def fun(
                c: dict[str, float], q: Any = q, padded: Any = padded, w: float = w, v: Any = (peak, bw)
            ) -> np.ndarray:
                return physics.moe_seconds(padded, q["touched"], q["hidden"], q["inter"], 3.0, w, v[0], v[1], c)

            hold = _hold(q["hidden"], q["inter"], q["experts"])
            made = _entry("moe", device, engine, version, dtype, fun, start, q["seconds"], bound, hold)
            if made:
                yield made | {"kernel": main}


def attention(device: str) -> Iterator[dict[str, Any]]:
    """GQA decode ('gqa') and prefill ('gqa_prefill'), MLA decode ('mla') and prefill ('mla_prefill')."""
    dev = load_device(DEVICES[device])
    bw, peak = float(dev.bandwidth), float(dev.peaks["bf16"])
    for phase in ("generation", "context"):
        for engine, version, t in _read(device, "attention", f"{phase}_attention_perf.parquet"):
            b, h, kv, d, isl, step, ms = _floats(
                t, "batch_size", "num_heads", "num_key_value_heads", "head_dim", "isl", "step", "latency"
            )
            window = t["window_size"].astype(float)
            source = t["kernel_source"].astype(str)
            for cache in sorted(set(t["kv_cache_dtype"])):
                same = (t["kv_cache_dtype"] == cache) & (t["attn_dtype"] == "bfloat16") & (window <= 0) & (kv > 0)
                kinds = {s: int((same & (source == s)).sum()) for s in set(source)}
                main = max(kinds, key=lambda s: kinds[s])
                use = same & (source == main)
                made = _attention(
                    phase,
                    "gqa",
                    b[use],
                    h[use],
                    kv[use],
                    d[use],
                    isl[use],
                    step[use],
                    ms[use] / 1e3,
                    1.0 if cache == "fp8" else 2.0,
                    bw,
                    peak,
                )
                yield from _attend(made, phase, "gqa", device, engine, version, f"{cache} cache")
        for engine, version, t in _read(device, "mla", f"{phase}_mla_perf.parquet"):
            b, h, isl, step, ms = _floats(t, "batch_size", "num_heads", "isl", "step", "latency")
            for cache in sorted(set(t["kv_cache_dtype"])):
                use = (t["kv_cache_dtype"] == cache) & (t["mla_dtype"] == "bfloat16")
                one = np.ones(int(use.sum()))
                made = _attention(
                    phase,
                    "mla",
                    b[use],
                    h[use],
                    one,
                    one,
                    isl[use],
                    step[use],
                    ms[use] / 1e3,
                    1.0 if cache == "fp8" else 2.0,
                    bw,
                    peak,
                )
                yield from _attend(made, phase, "mla", device, engine, version, f"{cache} cache")


def _attention(
    phase: str,
    kind: str,
    b: Any,
    h: Any,
    kv: Any,
    d: Any,
    isl: Any,
    step: Any,
    sec: Any,
    e: float,
    bw: float,
    peak: float,
) -> tuple[Any, ...]:
    """(function, start, seconds, bound, held out) of one attention table."""
    length = isl if phase == "context" else isl + step
    if kind == "gqa":
        flop = 4.0 * b * h * d * length * (length / 2.0 if phase == "context" else 1.0)
        moved = b * length * 2.0 * kv * d * e + (4.0 * b * h * d * (length if phase == "context" else 1.0))
    else:
        flop = b * h * length * (2.0 * 320.0 * length / 2.0 if phase == "context" else 2.0 * 1088.0)
        moved = b * length * 576.0 * e + b * h * (640.0 * length if phase == "context" else 1088.0) * 2.0
    bound = np.maximum(moved / bw, flop / peak)
    start = {"t0": 9e-6, "eta": 0.8, "f": 0.5, "p": 2.0, "item": 2e-8, "half": 60.0}
    if phase == "context":
        start = {"t0": 12e-6, "eta": 0.4, "f": 0.55, "p": 1.3, "item": 1e-7, "half": 1.0, "serial": 8e-9}

    def fun(c: dict[str, float]) -> np.ndarray:
        base = physics.attention_seconds(moved, flop, b * kv, length, peak, bw, c)
        return base + c.get("serial", 0.0) * length

    return fun, start, sec, bound, _hold(h, kv, d) if kind == "gqa" else _hold(h, b)


def _attend(
    made: Any, phase: str, kind: str, device: str, engine: str, version: str, dtype: str
) -> Iterator[dict[str, Any]]:
    fun, start, sec, bound, hold = made
    name = kind if phase == "generation" else f"{kind}_prefill"
    entry = _entry(name, device, engine, version, dtype, fun, start, sec, bound, hold)
    if entry:
        yield entry


def collectives(device: str) -> Iterator[dict[str, Any]]:
    """All-reduce as launched inside a captured graph; held out every fourth message size.

    message_size counts 16-bit elements: the library's table times the same count of bytes half as long.
    """
    dev = load_device(DEVICES[device])
    link = float(dev.link or 1.0)
    for engine, version, t in _read(device, "comm", "custom_allreduce_perf.parquet"):
        elements, ranks, ms = _floats(t, "message_size", "num_gpus", "latency")
        eager = np.array(["eager" in str(s) for s in t["kernel_source"]])
        use = ~eager & (elements >= 2048) & (ranks <= 8)
        s, g, sec = 2.0 * elements[use], ranks[use], ms[use] / 1e3
        start = {
            "ar_start": 4e-6, "ar_fraction": 0.6, "two_start": 1e-5, "two_fraction": 0.6, "nccl_start": 2.5e-5,
            "nccl_growth": 8e-6, "nccl_fraction": 0.9, "nccl_ranks": 0.2, "barrier": 1e-7,
        }  # fmt: skip
        fun = lambda c, v=(s, g, link): physics.all_reduce_seconds(*v, c=c)  # noqa: E731
        # the switch reduces: a device sends and receives its share once, less than a ring's volume
        bound = s * (g - 1) / g / link
        made = _entry(
            "all_reduce", device, engine, version, "bfloat16", fun, start, sec, bound, np.log2(s) % 4 == 0
        )  # fmt: skip
        if made:
            yield made


def calibrate(
    folder: Path, devices: tuple[str, ...] = ("h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200")
) -> dict[str, Any]:
    """Fit every table, write kernels.json and return it."""
    tables: list[dict[str, Any]] = []
    for device in devices:
        for make in (gemm, moe, attention, collectives):
            tables += list(make(device))
    medians = {}
    for op in dict.fromkeys(t["operation"] for t in tables):
        kept = [t["held_out_median"] for t in tables if t["operation"] == op and t["passes"]]
        medians[op] = round(float(np.median(kept)), 4) if kept else None
    out = {
        "schema_version": 1,
        "kind": "fitted",
        "passed": sum(t["passes"] for t in tables),
        "medians": medians,
        "source": f"kernel tables of aiconfigurator-core {VERSION}, largest per engine; robust fits",
        "rule": f"passes: at most {SCREEN:.0%} of points above their own roofline, held-out median below {SPREAD:.0%}",
        "tables": tables,
    }
    (folder / "kernels.json").write_text(
        json.dumps(out, separators=(",", ":")).replace('{"operation"', '\n{"operation"') + "\n", encoding="utf-8"
    )
    return out
