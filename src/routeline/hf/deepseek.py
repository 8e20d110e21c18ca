"""DeepSeek V1-V3.2, Kimi-K2, GLM-5: shared experts beside routed ones, MLA, DSA indexers, MTP layers."""

from __future__ import annotations

import math

from .. import arch
from ..arch import Stream
from ..errors import RoutelineError
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    expert_groups,
    layer_count,
    matrix,
    moe,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import EXPERTS, TOP_K, dense_first, final, shared_width, sparse_layers, vocab
from .reader import Reader


def mla_block(r: Reader, *, hidden: int, heads: int, read: float = math.inf, prefix: str = "self_attn.") -> Block:
    """Multi-head latent attention; num_key_value_heads and head_dim mean nothing to its cache."""
    r.skip("num_key_value_heads", "head_dim", "qk_head_dim")
    q_rank = r.integer("q_lora_rank", default=None)
    bias = r.flag("attention_bias", default=False)
    rank = r.integer("kv_lora_rank")
    rope = r.integer("qk_rope_head_dim")
    w, s = arch.mla(
        hidden=hidden,
        heads=heads,
        kv_lora_rank=rank,
        qk_nope_head_dim=r.integer("qk_nope_head_dim"),
        qk_rope_head_dim=rope,
        v_head_dim=r.integer("v_head_dim"),
        q_lora_rank=q_rank,
        read=read,
        prefix=prefix,
    )
    if bias:
        w += (vector(f"{prefix}bias", (q_rank or 0) + rank + rope + hidden, part="attention"),)
    return Block(weights=w, streams=s)


def indexer(r: Reader, *, hidden: int, q_rank: int, prefix: str = "self_attn.indexer.") -> Block:
    """Lightning indexer of DeepSeek sparse attention: its own small key per token, scored by index heads.

    Every query scores all cached index keys (2*heads*dim FLOP each), then reads index_topk latents.
    """
    heads, dim = r.integer("index_n_heads"), r.integer("index_head_dim")
    flop = 2.0 * heads * dim
    return Block(
        weights=(
            matrix(f"{prefix}wq_b", q_rank, heads * dim),
            matrix(f"{prefix}wk", hidden, dim),
            vector(f"{prefix}k_norm", 2 * dim),
            matrix(f"{prefix}weights_proj", hidden, heads),
        ),
        streams=(Stream(name="index", elements=dim, flop=flop, flop_prefill=flop, scale_bits=32.0 / dim),),
    )


def experts_block(r: Reader, hidden: int, *, prefix: str = "mlp.") -> Block:
    """Routed experts of moe_intermediate_size with n_shared_experts beside them."""
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    width = r.integer("moe_intermediate_size")
    limited = r.text("topk_method", default=None) in ("group_limited_greedy", "noaux_tc", None)
    return moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        shared=shared_width(r, "count", width),
        groups=expert_groups(r, experts, top_k, active=limited),
        prefix=prefix,
    ).plus(*norms(hidden, *POST))


def indexed_layers(r: Reader, n: int) -> list[bool]:
    """Layers that run their own indexer; the others reuse the selection of the last one that did.

    indexer_types, else index_topk_pattern (letters F and S), else every index_topk_freq-th layer after
    index_skip_topk_offset.
    """
    kinds = r.words("indexer_types", n, known=("full", "shared"), extra=8)
    letters = r.text("index_topk_pattern", default=None)
    freq = r.integer("index_topk_freq", default=1)
    offset = r.integer("index_skip_topk_offset", default=2, low=0)
    r.skip("index_share_for_mtp_iteration", "layer_types")
    if kinds is not None:
        return [k == "full" for k in kinds]
    if letters is not None:
        if len(letters) < n or set(letters) - {"F", "S"}:
            raise r.refuse("index_topk_pattern", f"must hold a letter F or S for each of {n} layers")
        return [c == "F" for c in letters[:n]]
    return [max(i - offset + 1, 0) % freq == 0 for i in range(n)]


def deepseek(r: Reader) -> Draft:
    """DeepSeek-V2, V3, R1, V3.1, Kimi-K2 (and V3.2, GLM-5 with an indexer)."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    topk = r.integer("index_topk", default=None)
    base = mla_block(r, hidden=hidden, heads=heads, read=math.inf if topk is None else float(topk))
    base = base.plus(*norms(hidden, *PRE))
    mixes = [base] * n
    own = base
    if topk is not None:
        q_rank = r.integer("q_lora_rank", default=None)
        if q_rank is None:
            raise RoutelineError("index_topk asks for a sparse-attention indexer, which needs q_lora_rank")
        index = indexer(r, hidden=hidden, q_rank=q_rank)
        own = Block(weights=base.weights + index.weights, streams=base.streams + index.streams)
        mixes = [own if f else base for f in indexed_layers(r, n)]
    if r.architecture in ("Glm4MoeLiteForCausalLM", "AXK1ForCausalLM"):
        dense_first(r, 1)
    places = sparse_layers(r, n)
    routed = experts_block(r, hidden)
    if r.architecture == "AXK1ForCausalLM":
        routed = routed.plus(*norms(hidden, "mlp.post_mlp_layernorm"))
    ffns = [routed] * n
    if not all(places):
        ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
        ffns = [routed if s else ffn for s in places]
    r.skip("intermediate_size")
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=stack(mixes, ffns),
        tied=tied(r, False),
        extra=final(hidden),
    )
    return with_mtp(r, draft, (own, routed))


def with_mtp(r: Reader, draft: Draft, layer: tuple[Block, ...], *keys: str) -> Draft:
    """Add MTP layers: a full layer, a 2h x h projection and three norms each; embedding and head are shared."""
    count = r.integer(*(keys or ("num_nextn_predict_layers",)), default=0, low=0, high=64)
    h = draft.hidden
    joint = Block(weights=(matrix("eh_proj", 2 * h, h), *norms(h, "enorm", "hnorm", "shared_head.norm")))
    draft.mtp = [(*layer, joint)] * count
    draft.mtp_layers = count
    return draft


def dense_mla(r: Reader) -> Draft:
    """MiniCPM3, Youtu: MLA with a dense FFN, tied by default."""
    r.skip("embedding_initializer_range")
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    if not r.has("v_head_dim") and r.filled("v_head_dim") is None:
        r.config = dict(r.config) | {"v_head_dim": hidden // heads}
    mix = mla_block(r, hidden=hidden, heads=heads).plus(*norms(hidden, *PRE))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=stack([mix] * n, [ffn] * n),
        tied=tied(r, True),
        extra=final(hidden),
    )


def deepseek_moe(r: Reader) -> Draft:
    """DeepSeek-MoE 16B and GigaChat: ordinary attention, DeepSeekMoE experts."""
    n = layer_count(r)
    hidden, heads, kv_heads, head_dim = shape(r)
    bias = r.flag("attention_bias", default=False)
    mix = attention(hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=head_dim, bias=bias, out_bias=bias)
    mix = mix.plus(*norms(hidden, *PRE))
    places = sparse_layers(r, n)
    routed = experts_block(r, hidden)
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv_heads,
        layers=stack([mix] * n, [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )
