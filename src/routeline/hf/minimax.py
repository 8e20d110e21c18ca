"""MiniMax-M2 and M3: grouped-query attention with q and k norms, routed experts, M3 with block-sparse attention."""

from __future__ import annotations

import math
from dataclasses import replace

from ..arch import Stream
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    layer_count,
    matrix,
    moe,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import EXPERTS, FULL, TOP_K, final, sparse_layers, vocab
from .plain import uncounted_mtp
from .reader import Reader


def m2(r: Reader) -> Draft:
    """MiniMax-M2, M2.5, M2.7: all layers MoE, experts of intermediate_size, norms over whole q and k."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    qk = r.flag("use_qk_norm", default=True)
    kind = r.text("qk_norm_type", default="per_layer", known=("per_layer", "per_head"))
    full = [v == 1 for v in r.integers("attn_type_list", n, high=1) or [1] * n]
    if not all(full):
        raise r.refuse("attn_type_list", "names linear attention, which MiniMax-M2 does not have")
    r.skip("use_routing_bias", "use_mtp", "mtp_transformer_layers")
    mix = attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv,
        head_dim=head_dim,
        qk_norm=None if not qk else ("full" if kind == "per_layer" else "head"),
    ).plus(*norms(hidden, *PRE))
    shared = r.integer("shared_intermediate_size", default=0, low=0)
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K),
        width=r.integer("intermediate_size"),
        shared=shared,
        prefix="block_sparse_moe.",
    ).plus(*norms(hidden, *POST))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([mix] * n, [routed] * n),
        tied=tied(r, False),
        extra=final(hidden),
    )
    uncounted_mtp(r, draft, "num_mtp_modules", "num_nextn_predict_layers")
    return draft


def m3(r: Reader) -> Draft:
    """MiniMax-M3: dense layers first, shared expert, and attention over the best blocks of keys.

    Sparse layers score index keys (index heads x index dim) of every cached token and read
    topk_blocks*block_size tokens; they carry an index key beside K and V.
    """
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    qk = r.flag("use_qk_norm", default=True)
    kind = r.text("qk_norm_type", default="per_head", known=("per_layer", "per_head"))
    r.skip("use_routing_bias", "use_gemma_norm", "num_reward_heads", "attn_type_list")
    if r.flag("attention_output_gate", default=False):
        raise r.refuse("attention_output_gate", "must be false: MiniMax-M3 with an output gate is not understood")
    plain = attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv,
        head_dim=head_dim,
        qk_norm=None if not qk else ("full" if kind == "per_layer" else "head"),
    ).plus(*norms(hidden, *PRE))
    places = m3_sparse(r, n)
    indexed = indexed_block(r, plain, hidden) if any(places) else plain
    r.skip("index_n_heads", "index_head_dim", "index_topk_blocks", "index_block_size", "index_local_blocks")
    sizes = r.section("sparse_attention_config")
    if sizes is not None:
        sizes.skip(*(k for k in sizes.config if str(k).startswith(("sparse_", "use_sparse"))))
    moe_at = sparse_layers(r, n)
    width = r.integer("intermediate_size", "moe_intermediate_size")
    count = r.integer("n_shared_experts", default=1, low=0)
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K),
        width=width,
        shared=count * r.integer("shared_intermediate_size", default=width, low=0),
        prefix="block_sparse_moe.",
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("dense_intermediate_size", default=12288)).plus(*norms(hidden, *POST))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([indexed if s else plain for s in places], [routed if s else ffn for s in moe_at]),
        tied=tied(r, False),
        extra=final(hidden),
    )
    counts = [r.integer(k, default=None, low=0, high=64) for k in ("num_mtp_modules", "num_nextn_predict_layers")]
    draft.mtp_layers = max(c or 0 for c in counts)
    if draft.mtp_layers:
        r.warn(f"{draft.mtp_layers} multi-token-prediction module(s) are announced but not counted")
    return draft


def m3_sparse(r: Reader, n: int) -> list[bool]:
    """Layers with block-sparse attention."""
    kinds = r.words("layer_types", n, known=(FULL, "minimax_m3_sparse"))
    if kinds is not None:
        return [k != FULL for k in kinds]
    section = r.section("sparse_attention_config")
    if section is None:
        return [False] * n
    on = section.flag("use_sparse_attention", default=True)
    flags = section.integers("sparse_attention_freq", n, high=1) or [0] * n
    return [on and bool(v) for v in flags]


def indexed_block(r: Reader, plain: Block, hidden: int) -> Block:
    """Attention with an indexer that picks blocks of keys."""
    s = r.section("sparse_attention_config") or Reader({}, parent=r)

    def size(inner: str, outer: str, default: int) -> int:
        return r.integer(outer, default=default) if r.has(outer) else s.integer(inner, default=default)

    heads, dim = size("sparse_num_index_heads", "index_n_heads", 4), size("sparse_index_dim", "index_head_dim", 128)
    block, topk = (
        size("sparse_block_size", "index_block_size", 128),
        size("sparse_topk_blocks", "index_topk_blocks", 16),
    )
    flop = 2.0 * heads * dim
    read = float(block * topk)
    return Block(
        weights=(
            *plain.weights,
            matrix("self_attn.index_q_proj", hidden, heads * dim),
            matrix("self_attn.index_k_proj", hidden, dim),
            vector("self_attn.index_norms", 2 * dim),
        ),
        streams=(
            *(replace(x, read=min(x.read, read), window=math.inf) for x in plain.streams),
            Stream(name="index", elements=dim, flop=flop, flop_prefill=flop, scale_bits=32.0 / dim),
        ),
    )
