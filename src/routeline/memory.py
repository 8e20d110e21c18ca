"""What stays in memory: weights per device, cache per sequence, admissible batch. Knows no device."""

from __future__ import annotations

from typing import Any

from .counts import Counted, element_bytes, entries
from .numeric import floor, maximum, minimum
from .scenario import Layout, Workload


def weights_per_device(counted: Counted, layout: Layout, redundant: Any = 0.0) -> Any:
    """Resident weight bytes on the fullest kind of device [B]; arguments broadcast.

    Tensor-parallel weights are cut over tp (a KV projection at most kv_heads ways) and replicated over
    dp; experts over moe_tp * ep, `redundant` spare slots added; embedding and head over tp * dp;
    everything over pp stages. pooled: over all devices.
    """
    cut = {"expert": layout.moe_tp * layout.ep, "vocab": layout.tp * layout.dp}
    out: Any = 0.0
    for r in counted.residents:
        if r.rule == "tensor":
            ways = layout.tp if layout.pooled else minimum(layout.tp, r.ways)
            out = out + r.bytes / ways
        elif r.rule == "expert":
            out = out + r.bytes * (1.0 + redundant / r.experts) / cut["expert"]
        else:
            out = out + r.bytes / cut["vocab"]
    return out / layout.pp


def shards(limit: Any, layout: Layout) -> Any:
    """Over how many of the tp ranks one sequence's cache is split [-].

    Heads split it at most `limit` ways (latent caches: 1, replicated); context parallelism splits the
    rest by position. pooled: over all devices.
    """
    if layout.pooled:
        return layout.tp
    return minimum(layout.tp / layout.cp, limit) * layout.cp


def cache_per_device(counted: Counted, layout: Layout, workload: Workload) -> Any:
    """Cache bytes that one sequence puts on each device of its group [B]."""
    out: Any = 0.0
    for op in counted.operations:
        if op.stream is not None:
            tokens = workload.encoder_tokens if op.stream.per_input else workload.context
            kept = entries(op.stream, tokens) * op.stream.elements * element_bytes(op.stream, counted.cache)
            out = out + op.count * kept / shards(op.stream.shards, layout)
        elif op.state is not None:
            out = out + op.count * op.state.bytes / shards(op.state.shards, layout)
    return out / layout.pp


def admissible(capacity: Any, weights: Any, cache: Any, layout: Layout) -> Any:
    """B_max: sequences that fit over all devices [-], floored per attention rank; 0 does not fit.

    capacity, weights, cache: bytes per device (of one sequence for cache). Each of the
    replicas * dp attention ranks admits floor((C - W)/cache). pooled: one floor over the pool.
    """
    free = maximum(capacity - weights, 0.0)
    per_rank = floor(free / maximum(cache, 1e-300) * (1.0 + 1e-12))
    return per_rank * layout.dp * layout.replicas
