"""GQA decode ('gqa') and prefill ('gqa_prefill'), MLA decode ('mla') and prefill ('mla_prefill')."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from . import decode, prefill, robust
from .decode import Kind, Points
from .tables import Machine, Table, held_out, machine, read

XQA = 32.0
"""Query heads a KV head up to which TensorRT-LLM has a grouped decode kernel; beyond, and on Hopper for one query head
a KV head, it runs masked multi-head attention, a block for every query head."""
KNOTS = {"items": 10, "length": 10, "work": 14}
LEAST = 60, 10
"""Training and held-out points below which a table is not fitted."""


def basis(q: Points, kind: Kind, decoding: bool) -> np.ndarray:
    """Where a point stands on the two surfaces of `refined`: items by length, both by powers of four; their product by
    powers of four against the head dimension (MLA: the heads) by powers of two."""
    items = q["batch"] * (q["kv"] if decoding and not kind.masked else q["heads"])
    curve = lambda x, name: robust.hat(np.log2(np.maximum(x, 1.0)) / 2.0, KNOTS[name])  # noqa: E731
    wide = robust.hat(np.log2(q["heads"]), 8) if kind.mla else robust.hat(np.log2(q["head_dim"] / 64.0), 4)
    surfaces = [
        robust.grid(curve(items, "items"), curve(q["length"], "length")),
        robust.grid(curve(items * q["length"], "work"), wide),
    ]
    return np.concatenate(surfaces, axis=1)


def _parts(e: Mapping[str, Any]) -> tuple[ModuleType, Kind]:
    """(decode or prefill, kind) of an entry or its head."""
    mla, element = e["operation"].startswith("mla"), 1.0 if "fp8" in e["dtype"] else 2.0
    kind = Kind(mla, e["device"].startswith("h"), e["engine"], element, e["kernel"] == "mmha")
    return (prefill if e["operation"].endswith("prefill") else decode), kind


def predict(entry: Mapping[str, Any], q: Points, *, refined: bool = True) -> np.ndarray:
    """Seconds of one entry's kernel in the collector's setting: q has batch, heads, kv, head_dim (both 1 for MLA) and
    length (cached tokens, the new one among them, or tokens of a prompt)."""
    phase, kind = _parts(entry)
    m = machine(entry["device"])
    plain = phase.seconds(phase.work(q, kind, m), slice(None), entry["constants"], _peak(m, phase, kind), m)
    if not refined:
        return plain
    return plain * np.exp(basis(q, kind, phase is decode) @ (np.array(entry["refined"]["permille"]) / 1e3))


def _peak(m: Machine, phase: ModuleType, kind: Kind) -> float:
    """Decoding on an FP8 cache multiplies in FP8; prompts come in 16 bits."""
    return m.peaks["fp8" if phase is decode and kind.element == 1.0 else "bf16"]


def _fit(head: dict[str, Any], q: Points, m: Machine, hold: np.ndarray) -> dict[str, Any]:
    phase, kind = _parts(head)
    w, peak, measured = phase.work(q, kind, m), _peak(m, phase, kind), q["seconds"]
    if phase is decode:
        moved, priors = w.cached + w.io, decode.priors(kind)
    else:
        moved, priors = w.queries + w.keys, prefill.PRIORS
    fastest = np.maximum(moved / m.bandwidth, phase.flop(q, kind) / m.peaks["fp8" if kind.element == 1.0 else "bf16"])
    parts = robust.split(np.ones(len(measured), bool), measured <= robust.FASTER * fastest, hold)
    if not parts.enough(*LEAST):
        return robust.report(head, parts, None, {})

    def model(c: Mapping[str, float], at: Any) -> np.ndarray:
        return phase.seconds(w, at, c, peak, m)

    constants = robust.rounded(robust.solve(model, priors, measured, parts.train).constants)
    plain = model(constants, slice(None))
    place = basis(q, kind, phase is decode)
    values = robust.bend(np.log(measured[parts.train] / plain[parts.train]), place[parts.train])
    permille = [round(1e3 * float(v)) for v in values]
    curved = plain * np.exp(place @ (np.array(permille) / 1e3))
    refined = robust.errors(curved, measured, parts) | {"permille": permille}
    return robust.report(
        head, parts, robust.errors(plain, measured, parts), {"constants": constants, "refined": refined}
    )


def _columns(table: Table, use: np.ndarray, phase: str) -> Points:
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


def dispatched(q: Points, engine: str, hopper: bool) -> dict[str, np.ndarray]:
    """Masks of the kernels behind TensorRT-LLM's one name for decoding, by query heads a KV head."""
    group = q["heads"] / q["kv"]
    if engine != "trtllm":
        return {"": np.ones(len(group), bool)}
    grouped = (group <= XQA) & ((group > 1.0) | (not hopper))
    return {"xqa" if hopper else "trtllm_gen": grouped, "mmha": ~grouped}


def _gqa(table: Table, use: np.ndarray, phase: str) -> Iterator[tuple[str, Points, np.ndarray]]:
    """(kernel, points, held out) of the kernel with most rows, or of those that TensorRT-LLM chooses from."""
    source = table["kernel_source"].astype(str)
    kinds = {s: int((use & (source == s)).sum()) for s in sorted(set(source))}
    most = max(kinds, key=lambda s: kinds[s])
    q = _columns(table, use & (source == most), phase)
    kernels = dispatched(q, table.engine if phase == "generation" else "", table.device.startswith("h"))
    for name, mask in kernels.items():
        part = {n: v[mask] for n, v in q.items()}
        yield name or most, part, held_out(part["heads"], part["kv"], part["head_dim"])


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
                for cache in sorted(set(table["kv_cache_dtype"][same].astype(str))):
                    use = same & (table["kv_cache_dtype"] == cache)
                    if kind == "gqa":
                        found = _gqa(table, use, phase)
                    else:
                        q = _columns(table, use, phase)
                        source = str(table["kernel_source"][use][0])
                        found = iter([(source, q, held_out(q["heads"], q["batch"]))])
                    for name, q, hold in found:
                        head = {
                            "operation": kind + suffix, "device": device, "engine": table.engine,
                            "version": table.version, "kernel": name, "dtype": f"{cache} cache",
                        }  # fmt: skip
                        yield _fit(head, q, m, hold)
