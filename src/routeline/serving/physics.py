"""Launches + constants -> seconds, row by row: kernels, collectives, the step of a continuous batch.

The kernel formulas stand in routeline.kernels, where the tier `calibrated` of every answer uses them too: change
them there, and routeline.measured (the same launches of one model, broadcast) follows. `Constants` holds one
value per row and name; formats index the second axis where a constant depends on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import (
    SPAN,
    WIDE_NORM,
    Constants,
    all_reduce_seconds,
    attention_seconds,
    gemm_seconds,
    moe_seconds,
)
from ..kernels import joined as _norm
from ..routing import expected_max_normal, experts_touched, touched_uniform
from .table import Table


def _sum(row: np.ndarray, seconds: np.ndarray, rows: int) -> np.ndarray:
    return np.bincount(row, weights=seconds, minlength=rows)


def pick(constants: Constants, prefix: str, row: np.ndarray, code: np.ndarray | None = None) -> dict[str, Any]:
    """Constants 'prefix.name' gathered for entries: [row] or, with a format axis, [row, code]."""
    out: dict[str, Any] = {}
    for name, value in constants.items():
        if name.startswith(prefix + "."):
            v = np.asarray(value)
            short = name[len(prefix) + 1 :]
            if v.ndim == 0:
                out[short] = v
            elif v.ndim == 1:
                out[short] = v[row]
            else:
                out[short] = v[row, code]
    return out


def step_seconds(
    table: Table,
    k: Constants,
    *,
    decode: Any,
    context: Any,
    prompt: Any,
    prompt_context: Any,
    prompts: Any,
    verified: Any = 1.0,
) -> dict[str, np.ndarray]:
    """Seconds of one step per row by part [s].

    decode: sequences decoding per attention rank, each verifying `verified` tokens against `context` cached
    ones; prompt: prompt tokens computed in the step per rank, against `prompt_context` tokens on average,
    of `prompts` requests that finish their prompt. Either may be 0.
    """
    n = table.rows
    full = lambda x: np.broadcast_to(np.asarray(x, float), (n,))  # noqa: E731
    decode, prompt, prompts, verified = full(decode), full(prompt), full(prompts), full(verified)
    context, prompt_context = full(context), full(prompt_context)
    tokens = decode * verified + prompt
    out: dict[str, np.ndarray] = {}
    g = table.gemms
    c = pick(k, "gemm", g.row, g.code)
    m = np.where(g.part == 4, (decode * verified + prompts)[g.row], tokens[g.row])
    seconds = g.count * gemm_seconds(np.maximum(m, 1e-9), g.n, g.k, g.weight, g.act, g.peak, table.bandwidth[g.row], c)
    for i, part in enumerate(("attention", "router", "shared", "dense_ffn", "head", "other")):
        hit = g.part == i
        out[part] = _sum(g.row[hit], seconds[hit], n)
    out["routed"] = _routed(table, k, tokens)
    out["cache"], out["prefill_attention"] = _attention(table, k, decode, verified, context, prompt, prompt_context)
    out["state"] = _state(table, k, decode * verified, prompt)
    out["communication"] = _communication(table, k, tokens)
    blocks = table.mixers + table.ffns + table.moe_layers
    passes = k["small.passes"] * blocks * tokens * table.hidden * 2.0 / table.bandwidth
    out["small"] = passes + k["small.launch"] * table.small
    return out


def _routed(table: Table, k: Constants, tokens: np.ndarray) -> np.ndarray:
    e, w = table.moes, table.widths
    if not len(e.row):
        return np.zeros(table.rows)
    c = pick(k, "moe", e.row, e.code)
    everyone = np.maximum(tokens * w.dp, 1e-9)[e.row]
    ranks = w.ep[e.row]
    draws = c["spread"] * everyone ** c["skew"]
    draws = np.minimum(np.maximum(draws, np.minimum(everyone, 1.0)), everyone)
    union = touched_uniform(e.experts, e.top_k, draws)
    for rows, routing in table.routings:
        for at in np.flatnonzero(np.isin(e.row, rows)):
            union[at] = experts_touched(routing, float(e.experts[at]), float(e.top_k[at]), everyone[at])
    mean, share = union / ranks, np.clip(union / e.experts, 0.0, 1.0)
    held = e.experts / ranks
    sigma = np.sqrt(np.maximum(held * share * (1.0 - share), 1e-12))
    hot = np.minimum(mean + expected_max_normal(ranks) * sigma, np.maximum(np.minimum(held, everyone * e.top_k), mean))
    pairs = everyone * e.top_k / ranks
    load = 1.0 + c["imbalance"] * expected_max_normal(ranks)
    t = moe_seconds(pairs * load, hot, e.hidden, e.inter, e.matrices, e.weight, e.peak, table.bandwidth[e.row], c)
    return _sum(e.row, e.count * t, table.rows)


def _attention(
    table: Table, k: Constants, decode: Any, verified: Any, context: Any, prompt: Any, mean: Any
) -> tuple[Any, Any]:
    s = table.streams
    if not len(s.row):
        return np.zeros(table.rows), np.zeros(table.rows)
    r = s.row
    gqa, mla = pick(k, "gqa", r), pick(k, "mla", r)
    lat = s.latent > 0
    c = {name: np.where(lat, mla[name], gqa[name]) for name in gqa}
    c["t0"] = c["t0"] + np.where(np.isfinite(s.read), c["sparse"], 0.0)
    kept = np.minimum(context[r], s.window) / s.stride
    seen = np.minimum(kept, s.read)
    moved = decode[r] * np.minimum(kept, s.read * verified[r]) * s.elements * s.bytes
    flop = decode[r] * verified[r] * seen * s.flop
    busy = attention_seconds(moved, flop, decode[r] * s.heads, seen, s.peak, table.bandwidth[r], c)
    dec = _sum(r, np.where(decode[r] > 0, s.count * busy, 0.0), table.rows)
    around = np.minimum(np.minimum(mean[r], s.window) / s.stride, s.read)
    work = prompt[r] * around * s.flop_prefill / (s.peak * c["prefill"])
    pre = _sum(r, np.where(prompt[r] > 0, s.count * (c["t0"] + work), 0.0), table.rows)
    return dec, pre


def _state(table: Table, k: Constants, decode: Any, prompt: Any) -> np.ndarray:
    s = table.states
    if not len(s.row):
        return np.zeros(table.rows)
    c = pick(k, "state", s.row)
    bw = table.bandwidth[s.row]
    dec = 2.0 * s.bytes * decode[s.row] / (bw * c["eta"])
    pre = prompt[s.row] * s.flop / (s.peak * c["prefill"])
    return _sum(s.row, s.count * (c["t0"] + dec + pre), table.rows)


def _communication(table: Table, k: Constants, tokens: Any) -> np.ndarray:
    """Two all-reduces a layer over tp; with attention data parallelism dispatch and combine instead."""
    w = table.widths
    size = tokens * table.hidden * 2.0
    c = {name[5:]: v for name, v in k.items() if name.startswith("comm.")}
    reduce = all_reduce_seconds(size, w.tp, c["link"], c)
    plain = (table.mixers + table.ffns + table.moe_layers) * reduce
    sent = size / w.tp * (w.dp * w.tp - 1.0) / np.maximum(w.dp * w.tp, 1.0)
    spread = c["a2a_start"] + np.minimum(w.ep, 8.0) / 2.0 * sent / (c["link"] * c["a2a_fraction"])
    wide = (table.mixers + table.ffns) * reduce + table.moe_layers * np.where(w.dp * w.tp > 1.0, spread, 0.0)
    norms = table.wide_norms * all_reduce_seconds(tokens * WIDE_NORM, w.tp, c["link"], c)
    stage = (w.pp - 1.0) * (c["ar_start"] + size / c["link"])
    return np.where(w.dp > 1.0, wide, plain) + norms + stage


__all__ = [
    "SPAN", "_norm", "all_reduce_seconds", "attention_seconds", "gemm_seconds", "moe_seconds", "pick", "step_seconds",
]  # fmt: skip
