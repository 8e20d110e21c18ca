"""Model -> the matrix products, grouped experts, cache streams and states of one layer class each.

counts.operations merges weights by part, which is enough for bytes and FLOP; kernel time also needs the
shape (n, k) of each product and which are launched as one. Knows no device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..arch import Layers, Model, State, Stream, Weight

ROW = ("o_proj", "out_proj", "down_proj", "wo", "dense_4h_to_h", "c_proj", "w2", ".o")
"""Name endings of matrices whose output is the hidden state: tensor parallelism cuts their inputs (k)."""
REPLICATED = ("q_a_proj", "kv_a_proj_with_mqa", "wk", "weights_proj", "wq_b", "shared_expert_gate")
"""Matrices that every tensor-parallel rank holds whole: latent down-projections and indexers."""
FUSED = {
    "q_proj": "qkv",
    "k_proj": "qkv",
    "v_proj": "qkv",
    "g_proj": "qkv",
    "gate_proj": "up",
    "up_proj": "up",
    "q_a_proj": "qkv_a",
    "kv_a_proj_with_mqa": "qkv_a",
    "q": "qkv",
    "k": "qkv",
    "v": "qkv",
    "in_proj_qkv": "in",
    "in_proj_z": "in",
    "in_proj_a": "in",
    "in_proj_b": "in",
    "in_proj_qkvz": "in",
    "in_proj_ba": "in",
    "wk": "indexer",
    "weights_proj": "indexer",
}
"""Last word of a weight's name -> the launch it shares with its neighbours."""


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """One launch m x k times k x n per layer. cols: (n, ways) pieces cut over min(tp, ways) ranks; k_ways
    cuts k instead (row parallel); 1 replicates. bits stored per parameter; fmt the compute format."""

    part: str
    count: float
    k: float
    cols: tuple[tuple[float, float], ...]
    k_ways: float = 1.0
    bits: float = 16.0
    fmt: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class Moe:
    """Routed experts of `count` layers: E experts of matrices x hidden x inter parameters, top-k of them."""

    count: float
    hidden: float
    inter: float
    matrices: float
    experts: float
    top_k: float
    bits: float
    fmt: str
    groups: float = 1.0
    kept: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything a step launches, by class of equal launches."""

    model: Model
    hidden: float
    gemms: tuple[Gemm, ...]
    moes: tuple[Moe, ...]
    streams: tuple[tuple[float, Stream], ...]
    states: tuple[tuple[float, State], ...]
    head: Gemm
    mixers: float
    ffns: float
    moe_layers: float
    latent: bool


def _gather(group: Layers, hidden: float) -> list[Gemm]:
    q_rank = next((w.params / hidden for w in group.weights if w.name.endswith("q_a_proj")), hidden)
    kv_rank = next((s.elements for s in group.streams if s.shards == 1.0 and s.name == "latent"), hidden)
    found: dict[tuple, dict[str, Any]] = {}
    for w in group.weights:
        if not w.matmul or w.part in ("routed", "norm", "embedding", "head", "vision", "mtp"):
            continue
        if w.params < 32 * hidden:
            continue  # a few columns ride with a neighbour's launch
        last = w.name.rsplit(".", 1)[-1]
        key = (w.part, w.name.rsplit(".", 1)[0], FUSED.get(last, last), w.format, w.bits)
        k, k_ways, ways = hidden, 1.0, w.ways
        if last.endswith(ROW) or last == "o":
            k, k_ways = w.params / hidden, float("inf")
        elif last in ("q_b_proj", "wq_b"):
            k = q_rank
        elif last == "kv_b_proj":
            k = min(kv_rank, w.params)
        if last in REPLICATED or w.part == "router":
            ways, k_ways = 1.0, 1.0
        slot = found.setdefault(key, {"k": k, "k_ways": k_ways, "cols": []})
        slot["cols"].append((w.params / k, 1.0 if k_ways > 1 else ways))
    return [
        Gemm(
            part=key[0], count=group.count, k=s["k"], cols=tuple(s["cols"]), k_ways=s["k_ways"], bits=key[4], fmt=key[3]
        )
        for key, s in found.items()
    ]


def _moe(group: Layers, hidden: float) -> Moe | None:
    routed: list[Weight] = [w for w in group.weights if w.part == "routed" and w.matmul]
    if not routed:
        return None
    params = sum(w.params for w in routed)
    bits = sum(w.params * w.bits for w in routed) / params
    matrices = float(len(routed)) if len(routed) in (2, 3) else 3.0
    if len(routed) == 2 and routed[0].params != routed[1].params:
        matrices = 3.0  # gate and up stored as one matrix
    inter = params / (group.experts * hidden * matrices)
    return Moe(
        count=group.count,
        hidden=hidden,
        inter=inter,
        matrices=matrices,
        experts=group.experts,
        top_k=group.top_k,
        bits=bits,
        fmt=routed[0].format,
        groups=group.expert_groups,
        kept=group.groups_kept,
    )


@lru_cache(maxsize=512)
def shape(model: Model) -> Shape:
    """Work out the launches of one decoder step of a model."""
    h = float(model.hidden)
    gemms: list[Gemm] = []
    moes: list[Moe] = []
    streams: dict[Stream, float] = {}
    states: dict[State, float] = {}
    mixers = ffns = moe_layers = 0.0
    for g in model.layers:
        if g.encoder:
            continue
        gemms += _gather(g, h)
        m = _moe(g, h)
        parts = {w.part for w in g.weights}
        if m is not None:
            moes.append(m)
            moe_layers += g.count
        elif "dense_ffn" in parts:
            ffns += g.count
        if g.streams or g.states or "attention" in parts:
            mixers += g.count
        for s in g.streams:
            streams[s] = streams.get(s, 0.0) + g.count
        for s in g.states:
            states[s] = states.get(s, 0.0) + g.count
    table = model.embedding if model.tied else model.head
    head = Gemm(
        part="head", count=1.0, k=h, cols=((table.params / h, float("inf")),), bits=table.bits, fmt=table.format
    )
    merged: dict[Gemm, float] = {}
    for gemm in gemms:
        merged[replace(gemm, count=0.0)] = merged.get(replace(gemm, count=0.0), 0.0) + gemm.count
    gemms = [replace(gemm, count=n) for gemm, n in merged.items()]
    return Shape(
        model=model,
        hidden=h,
        gemms=tuple(gemms),
        moes=tuple(moes),
        head=head,
        mixers=mixers,
        ffns=ffns,
        moe_layers=moe_layers,
        streams=tuple((n, s) for s, n in streams.items()),
        states=tuple((n, s) for s, n in states.items()),
        latent=any(s.name == "latent" for s in streams),
    )
