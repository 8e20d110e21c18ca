"""Which kernels a layer launches, with their shapes (n, k). Knows no device.

counts.operations merges weights by part, which is enough for bytes and FLOP; measured kernels also depend on the
shape of each product and on which are launched as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arch import Layers, Weight
from .numeric import minimum

GEMM_PARTS = ("attention", "router", "shared", "dense_ffn", "norm", "other")


def key_of(value: Any) -> Any:
    """A dictionary key for a number or an array: arrays by identity."""
    return value if np.ndim(value) == 0 else id(value)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One kernel launch of a layer: m x k times k x n, with the m of the step.

    cols: (n, ways) pieces fused into the launch, each cut over min(tp, ways) ranks; k_ways cuts k instead
    (row parallel). For routed experts: k is their input width, cols their own width, matrices how many each.
    """

    k: Any
    cols: tuple[tuple[Any, Any], ...]
    k_ways: Any = 1.0
    bits: Any = 16.0
    matrices: float = 1.0


NARROW = 32.0
"""Columns below which a product is no launch of its own (gates, small routers) [-]."""
ROW = ("o_proj", "out_proj", "down_proj", "wo", "dense_4h_to_h", "c_proj", "w2", ".o")
"""Name endings of matrices whose output is the hidden state: tensor parallelism cuts their inputs (k)."""
REPLICATED = ("q_a_proj", "kv_a_proj_with_mqa", "wk", "weights_proj", "wq_b", "shared_expert_gate")
"""Matrices that every tensor-parallel rank holds whole in today's engines: latent down-projections, indexers."""
FUSED = {
    "q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "g_proj": "qkv", "gate_proj": "up", "up_proj": "up",
    "q_a_proj": "qkv_a", "kv_a_proj_with_mqa": "qkv_a", "q": "qkv", "k": "qkv", "v": "qkv",
    "in_proj_qkv": "in", "in_proj_z": "in", "in_proj_a": "in", "in_proj_b": "in", "in_proj_qkvz": "in",
    "in_proj_ba": "in", "wk": "indexer", "weights_proj": "indexer",
}  # fmt: skip
"""Last word of a weight's name -> the launch it shares with its neighbours."""


MIXER, FFN, EXPERTS, SHARED, DELTA = 3.0, 2.0, 3.0, 2.0, 2.0
"""Small kernels beside the matrix products of a layer [launches]: norm, rotary with cache write, quantise; norm and
activation; norm, top-k, combine; activation and sum; short convolution and gates of a recurrent state."""


def inner_norms(group: Layers) -> list[Weight]:
    """Norms inside the mixer of a layer (queries, keys, latents): those with a module in their name."""
    return [w for w in group.weights if w.part == "norm" and "." in w.name and not w.name.endswith("bias")]


def small_launches(group: Layers) -> float:
    """Kernels of one layer that are neither matrix product, experts, attention core nor collective [-]."""
    parts = {w.part for w in group.weights}
    out = 0.0
    if group.streams or group.states or "attention" in parts:
        absorbed = any(w.name.endswith("kv_b_proj") for w in group.weights)  # two batched products, counted as one
        out += MIXER + len(inner_norms(group)) + DELTA * bool(group.states) + absorbed
    if "dense_ffn" in parts:
        out += FFN
    if "routed" in parts:
        out += EXPERTS + SHARED * ("shared" in parts)
    return out


def norms_over_heads(group: Layers) -> bool:
    """Query norms run over all heads at once (MiniMax-M2, OLMo-2): tensor parallelism reduces their sums."""
    head = min((s.elements / (2.0 * s.shards) for s in group.streams if np.ndim(s.elements) == 0), default=np.inf)
    return any(w.name.endswith("q_norm") and np.max(w.params) > head for w in inner_norms(group))


def launches(group: Layers, hidden: Any) -> dict[tuple, list[Launch]]:
    """Kernels of one layer by (part, format, ways) of the operation that carries them."""
    q_rank = next((w.params / hidden for w in group.weights if w.name.endswith("q_a_proj")), hidden)
    kv_rank = next((s.elements for s in group.streams if s.shards == 1.0 and s.name == "latent"), hidden)
    found: dict[tuple, dict[str, Any]] = {}
    routed = [w for w in group.weights if w.part == "routed" and w.matmul]
    for w in group.weights:
        if not w.matmul or w.part not in GEMM_PARTS:
            continue
        if np.max(w.params) < NARROW * np.max(hidden):
            continue  # a few columns ride with a neighbour's launch
        last = w.name.rsplit(".", 1)[-1]
        key = (w.part, w.name.rsplit(".", 1)[0], FUSED.get(last, last), w.format, key_of(w.bits))
        k, k_ways, ways = hidden, 1.0, w.ways
        if last.endswith(ROW) or last == "o":
            k, k_ways = w.params / hidden, np.inf
        elif last in ("q_b_proj", "wq_b"):
            k = q_rank
        elif last == "kv_b_proj":
            k = minimum(kv_rank, w.params)
        elif last == "ffn":  # the matched dense FFN, widened as one: gate and up of two thirds, down of the rest
            width = w.params / (3.0 * hidden)
            found[key] = {"k": hidden, "k_ways": 1.0, "cols": [(2.0 * width, w.ways)], "w": w}
            found[(*key, "down")] = {"k": width, "k_ways": np.inf, "cols": [(hidden, 1.0)], "w": w}
            continue
        if last in REPLICATED or w.part == "router":
            ways, k_ways = 1.0, 1.0
        slot = found.setdefault(key, {"k": k, "k_ways": k_ways, "cols": [], "w": w})
        slot["cols"].append((w.params / k, 1.0 if k_ways > 1 else ways))
    out: dict[tuple, list[Launch]] = {}
    for s in found.values():
        w = s["w"]
        launch = Launch(k=s["k"], cols=tuple(s["cols"]), k_ways=s["k_ways"], bits=w.bits)
        out.setdefault((w.part, w.format, key_of(w.ways)), []).append(launch)
    if routed:
        params = sum(w.params for w in routed)
        bits = sum(w.params * w.bits for w in routed) / params
        matrices = float(len(routed)) if len(routed) in (2, 3) else 3.0
        if len(routed) == 2 and np.any(np.asarray(routed[0].params != routed[1].params)):
            matrices = 3.0  # gate and up stored as one matrix
        width = params / (group.experts * hidden * matrices)
        key = ("routed", routed[0].format, key_of(routed[0].ways))
        out[key] = [Launch(k=hidden, cols=((width, np.inf),), bits=bits, matrices=matrices)]
    return out
