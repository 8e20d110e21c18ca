"""A model as groups of equal layers: weights, cache streams and constant state. No hardware.

Everything downstream (counts, memory, time) reads only these types, so a new architecture is new
data, not a new formula. Numbers may be floats or arrays that broadcast (synthetic architectures in
sweeps); names and tuples are never arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import RoutelineError

Numeric = Any
"""A float, or an array that broadcasts."""

PARTS = (
    "embedding",  # input table: a lookup, never read as a matrix; holds the matrix of a tied head
    "head",  # output matrix; 0 parameters of its own when tied
    "attention",  # projections, indexers, linear/SSM mixers
    "router",
    "routed",  # routed experts
    "shared",  # experts or dense paths that every token takes inside an MoE layer
    "dense_ffn",  # FFN of layers without experts
    "norm",
    "other",
    "vision",  # resident, not used by text decode
    "mtp",  # multi-token-prediction layers: resident and used only when drafting
)

FORMATS = {
    "fp32": (32.0, "bf16"),
    "bf16": (16.0, "bf16"),
    "fp16": (16.0, "bf16"),
    "fp8": (8.0, "fp8"),
    "int8": (8.0, "int8"),
    "nvfp4": (4.5, "fp4"),
    "mxfp4": (4.25, "fp4"),
    "fp4": (4.0, "fp4"),
    "int4": (4.0, "int4"),
}
"""Storage format -> (bits a parameter without extra scales beyond the format's own, compute format).
nvfp4: 4 bits + one FP8 scale per 16 values; mxfp4: 4 bits + one E8M0 scale per 32."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One named matrix (or vector) of a layer.

    `params` counts all copies in the layer (all experts for a routed matrix). `bits` is what the
    checkpoint stores per parameter, scales included; `format` the compute format that implies.
    `matmul`: takes part in a matrix product (2 FLOP a parameter and token). `ways`: over how many
    tensor-parallel ranks it can be cut before it is replicated (KV projections: kv_heads). `again`: the
    parameters of another layer, read and multiplied here once more but held there.
    """

    name: str
    part: str
    params: Numeric
    matmul: bool = True
    bits: Numeric = 16.0
    format: str = "bf16"
    ways: Numeric = math.inf
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one layer keeps per token of a sequence, and what a query reads of it.

    elements: numbers per entry; stride: tokens per entry (compressed attention: > 1);
    window: at most this many tokens are kept; read: at most this many entries are read per query
    (sparse attention); flop / flop_prefill: FLOP per query token and entry read (decode in absorbed
    form / prefill); shards: ranks over which entries can be split by head (1: latent, replicated);
    per_input: one entry per encoder token (cross-attention); scale_bits: extra bits an element when
    the cache is stored in FP8 (indexer keys carry an fp32 scale per 128 values).
    """

    name: str
    elements: Numeric
    stride: Numeric = 1.0
    window: Numeric = math.inf
    read: Numeric = math.inf
    flop: Numeric = 0.0
    flop_prefill: Numeric = 0.0
    shards: Numeric = 1.0
    per_input: bool = False
    scale_bits: Numeric = 0.0


@dataclass(frozen=True, kw_only=True)
class State:
    """Constant memory of a linear-attention or SSM layer, per sequence [B]; read and written each step.

    flop: FLOP per token to update and read it. shards: ranks over which it splits (heads).
    """

    name: str
    bytes: Numeric
    flop: Numeric = 0.0
    shards: Numeric = 1.0


@dataclass(frozen=True, kw_only=True)
class Layers:
    """`count` equal layers. A layer without experts has experts = top_k = 1 (dense is MoE with one)."""

    count: Numeric
    weights: tuple[Weight, ...]
    streams: tuple[Stream, ...] = ()
    states: tuple[State, ...] = ()
    experts: Numeric = 1.0
    top_k: Numeric = 1.0
    expert_groups: Numeric = 1.0
    """Router groups; with groups_kept < expert_groups a token may only use experts of the best groups."""
    groups_kept: Numeric = 1.0
    encoder: bool = False
    """Encoder layers run once per input, not per generated token."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model ready for counting.

    hidden: model width; heads: query heads (limits tensor parallelism), kv_heads likewise;
    embedding: the input table (params > 0); head: output matrix, params 0 when `tied` (the embedding
    is then read as the head). extra: weights outside the layers (final norm, vision tower, MTP).
    context_limit: tokens, None where the config names none. cache_format: what the checkpoint asks for
    (None: bf16). defaults: config keys that were absent and filled, with the value used.
    warnings: what the reader should know. source: where the config came from.
    """

    name: str
    architecture: str
    hidden: Numeric
    layers: tuple[Layers, ...]
    embedding: Weight
    head: Weight
    tied: bool = False
    extra: tuple[Weight, ...] = ()
    heads: Numeric = 1.0
    kv_heads: Numeric = 1.0
    vocab: Numeric = 0.0
    context_limit: float | None = None
    cache_format: str | None = None
    mtp_layers: int = 0
    source: str = ""
    defaults: tuple[tuple[str, object], ...] = ()
    warnings: tuple[str, ...] = ()
    config: tuple[tuple[str, object], ...] = field(default=(), repr=False)
    """Load-bearing keys as read, for display."""

    def but(self, **change: object) -> Model:
        """Copy that cannot pass for the catalogue's model."""
        return replace(self, **({"name": f"{self.name} (modified)"} | change))  # type: ignore[arg-type]


def merge(layers: Iterable[Layers]) -> tuple[Layers, ...]:
    """Equal layers become one group with the summed count, in order of first appearance."""
    counts: dict[Layers, float] = {}
    for layer in layers:
        key = replace(layer, count=0.0)
        counts[key] = counts.get(key, 0.0) + layer.count
    return tuple(replace(key, count=n) for key, n in counts.items())


# --- builders: the shapes that configs and synthetic architectures share ---------------------------


def gqa(
    *,
    hidden: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    head_dim: Numeric,
    v_head_dim: Numeric | None = None,
    window: Numeric = math.inf,
    bias: bool = False,
    out_bias: bool = False,
    prefix: str = "self_attn.",
) -> tuple[tuple[Weight, ...], tuple[Stream, ...]]:
    """Grouped-query attention (MHA: kv_heads = heads; MQA: 1). Returns (weights, streams) of a layer.

    Scores and values cost 2*heads*(d_qk + d_v) FLOP per query and cached token.
    """
    v_dim = head_dim if v_head_dim is None else v_head_dim
    weights = [
        Weight(name=f"{prefix}q_proj", part="attention", params=hidden * heads * head_dim),
        Weight(name=f"{prefix}k_proj", part="attention", params=hidden * kv_heads * head_dim, ways=kv_heads),
        Weight(name=f"{prefix}v_proj", part="attention", params=hidden * kv_heads * v_dim, ways=kv_heads),
        Weight(name=f"{prefix}o_proj", part="attention", params=heads * v_dim * hidden),
    ]
    if bias:
        extra = heads * head_dim + kv_heads * (head_dim + v_dim)
        weights.append(Weight(name=f"{prefix}qkv_bias", part="attention", params=extra, matmul=False))
    if out_bias:
        weights.append(Weight(name=f"{prefix}o_bias", part="attention", params=hidden, matmul=False))
    flop = 2.0 * heads * (head_dim + v_dim)
    stream = Stream(
        name="kv", elements=kv_heads * (head_dim + v_dim), window=window, flop=flop, flop_prefill=flop, shards=kv_heads
    )
    return tuple(weights), (stream,)


def mla(
    *,
    hidden: Numeric,
    heads: Numeric,
    kv_lora_rank: Numeric,
    qk_nope_head_dim: Numeric,
    qk_rope_head_dim: Numeric,
    v_head_dim: Numeric,
    q_lora_rank: Numeric | None = None,
    read: Numeric = math.inf,
    prefix: str = "self_attn.",
) -> tuple[tuple[Weight, ...], tuple[Stream, ...]]:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434). Returns (weights, streams).

    The cache is one latent of kv_lora_rank + qk_rope_head_dim per token, the same for every head, so
    tensor parallelism replicates it. Absorbed decode scores against the latent: 2*heads*(r + rope + r)
    FLOP per query and cached token (DeepSeek-V3: 278,528); prefill uses the expanded heads.
    """
    qk = qk_nope_head_dim + qk_rope_head_dim
    latent = kv_lora_rank + qk_rope_head_dim
    w = []
    if q_lora_rank is None:
        w.append(Weight(name=f"{prefix}q_proj", part="attention", params=hidden * heads * qk))
    else:
        w.append(Weight(name=f"{prefix}q_a_proj", part="attention", params=hidden * q_lora_rank))
        w.append(Weight(name=f"{prefix}q_b_proj", part="attention", params=q_lora_rank * heads * qk))
        w.append(Weight(name=f"{prefix}q_a_layernorm", part="norm", params=q_lora_rank, matmul=False))
    w += [
        Weight(name=f"{prefix}kv_a_proj_with_mqa", part="attention", params=hidden * latent),
        Weight(name=f"{prefix}kv_a_layernorm", part="norm", params=kv_lora_rank, matmul=False),
        Weight(
            name=f"{prefix}kv_b_proj", part="attention", params=kv_lora_rank * heads * (qk_nope_head_dim + v_head_dim)
        ),
        Weight(name=f"{prefix}o_proj", part="attention", params=heads * v_head_dim * hidden),
    ]
    stream = Stream(
        name="latent",
        elements=latent,
        read=read,
        flop=2.0 * heads * (latent + kv_lora_rank),
        flop_prefill=2.0 * heads * (qk + v_head_dim),
        shards=1.0,
    )
    return tuple(w), (stream,)


def ffn(
    *, hidden: Numeric, width: Numeric, matrices: int = 3, part: str = "dense_ffn", prefix: str = "mlp."
) -> tuple[Weight, ...]:
    """A dense FFN: gate, up, down (matrices = 3, gated) or up, down (2)."""
    names = {3: ("gate_proj", "up_proj", "down_proj"), 2: ("up_proj", "down_proj")}[matrices]
    return tuple(Weight(name=f"{prefix}{n}", part=part, params=hidden * width) for n in names)


def experts(
    *,
    hidden: Numeric,
    width: Numeric,
    count: Numeric,
    matrices: int = 3,
    router: bool = True,
    router_bias: bool = False,
    prefix: str = "mlp.",
) -> tuple[Weight, ...]:
    """`count` routed experts of `width` and their router (hidden x count). hidden may be a latent width."""
    names = {3: ("gate_proj", "up_proj", "down_proj"), 2: ("up_proj", "down_proj")}[matrices]
    weights = [Weight(name=f"{prefix}experts.{n}", part="routed", params=count * hidden * width) for n in names]
    if router:
        weights.append(Weight(name=f"{prefix}gate", part="router", params=hidden * count))
    if router_bias:
        weights.append(Weight(name=f"{prefix}gate_bias", part="router", params=count, matmul=False))
    return tuple(weights)


def norm(name: str, width: Numeric) -> Weight:
    """A normalisation vector."""
    return Weight(name=name, part="norm", params=width, matmul=False)


def restore(model: Model, fmt: str) -> Model:
    """The model with every parameter stored in one format (`--weights fp8`: one byte each).

    Raises:
        RoutelineError: unknown format.
    """
    if fmt not in FORMATS:
        raise RoutelineError(f"unknown weight format {fmt!r}; known: native, {', '.join(FORMATS)}")
    bits, compute = FORMATS[fmt]

    def cast(w: Weight) -> Weight:
        return replace(w, bits=bits, format=compute)

    return replace(
        model,
        layers=tuple(replace(g, weights=tuple(map(cast, g.weights))) for g in model.layers),
        embedding=cast(model.embedding),
        head=cast(model.head),
        extra=tuple(map(cast, model.extra)),
    )
