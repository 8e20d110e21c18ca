"""Hybrids of attention with Mamba or short convolutions: Jamba, Granite 4, Bamba, LFM2."""

from __future__ import annotations

import math

from ..errors import RoutelineError
from .beside import shared_ffn
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    layer_count,
    moe,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import EXPERTS, FULL, TOP_K, final, vocab
from .hybrid import LINEAR
from .linear import mamba1, mamba2, short_conv
from .reader import Reader


def jamba(r: Reader) -> Draft:
    """Jamba: Mamba-1 layers with attention every attn_layer_period, experts every expert_layer_period."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    period, offset = r.integer("attn_layer_period", default=8), r.integer("attn_layer_offset", default=4, low=0)
    e_period = r.integer("expert_layer_period", default=2)
    e_offset = r.integer("expert_layer_offset", default=1, low=0)
    for name, p, o in (("attn_layer", period, offset), ("expert_layer", e_period, e_offset)):
        if o >= p:
            raise RoutelineError(f"{name}_offset={o} must be smaller than {name}_period={p}")
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim).plus(*norms(hidden, *PRE))
    rank = r.config.get("mamba_dt_rank", "auto")
    r.skip("mamba_dt_rank", "use_mamba_kernels")
    ssm = mamba1(
        r,
        hidden=hidden,
        inner=r.integer("mamba_expand", default=2) * hidden,
        state=r.integer("mamba_d_state", default=16),
        kernel=r.integer("mamba_d_conv", default=4),
        rank=math.ceil(hidden / 16) if rank in ("auto", None) else r.whole("mamba_dt_rank", rank),
        conv_bias=r.flag("mamba_conv_bias", default=True),
        proj_bias=r.flag("mamba_proj_bias", default=False),
    ).plus(*norms(hidden, *PRE))
    if not r.flag("mamba_inner_layernorms", default=True):
        raise r.refuse("mamba_inner_layernorms", "must be true: Jamba without inner norms is not understood")
    width = r.integer("intermediate_size")
    experts = r.integer("num_experts", default=16)
    ffn = dense(hidden, width, prefix="feed_forward.").plus(*norms(hidden, "pre_ff_layernorm"))
    routed = ffn
    if experts > 1:
        top_k = r.integer("num_experts_per_tok", default=2)
        routed = moe(
            r, hidden=hidden, experts=experts, top_k=top_k, width=width, prefix="feed_forward.", router="router"
        )
        routed = routed.plus(*norms(hidden, "pre_ff_layernorm"))
    r.skip("num_experts_per_tok")
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(
            [attend if i % period == offset else ssm for i in range(n)],
            [routed if i % e_period == e_offset else ffn for i in range(n)],
        ),
        tied=tied(r, False),
        extra=final(hidden),
    )


def granite_hybrid(r: Reader) -> Draft:
    """Granite 4: Mamba-2 and attention layers, experts and a shared MLP (the MLP alone without experts)."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    kinds = r.words("layer_types", n, known=("mamba", "attention", LINEAR, FULL)) or ["mamba"] * n
    on = r.flag("attention_bias", default=False)
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=on, out_bias=on)
    attend = attend.plus(*norms(hidden, *PRE))
    ssm = granite_mamba(r, hidden).plus(*norms(hidden, *PRE)) if {"mamba", LINEAR} & set(kinds) else attend
    skip_mamba(r)
    width = r.integer("intermediate_size")
    shared = r.integer("shared_intermediate_size", default=1024)
    experts = r.integer("num_local_experts", default=0, low=0)
    if experts > 0:
        top_k = r.integer("num_experts_per_tok")
        ffn = moe(
            r, hidden=hidden, experts=experts, top_k=top_k, width=width, prefix="block_sparse_moe.", router="router"
        )
        ffn = ffn.plus(*shared_ffn(hidden, shared, "shared_mlp."))
    else:
        ffn = dense(hidden, shared, prefix="shared_mlp.")
    r.skip("num_experts_per_tok", "position_embedding_type")
    ffn = ffn.plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if k in ("attention", FULL) else ssm for k in kinds], [ffn] * n),
        tied=tied(r, False),
        extra=final(hidden),
    )


def granite_mamba(r: Reader, hidden: int) -> Block:
    """Mamba-2 under the mamba_* names of Granite and Bamba."""
    heads = r.integer("mamba_n_heads", default=128)
    inner = r.integer("mamba_expand", default=2) * hidden
    head_dim = r.config.get("mamba_d_head", "auto")
    r.skip("mamba_d_head")
    if head_dim in ("auto", None):
        if inner % heads:
            raise RoutelineError(f"mamba_n_heads={heads} does not divide mamba_expand*hidden_size={inner}")
        head_dim = inner // heads
    return mamba2(
        r,
        hidden=hidden,
        heads=heads,
        head_dim=r.whole("mamba_d_head", head_dim),
        groups=r.integer("mamba_n_groups", default=1),
        state=r.integer("mamba_d_state", default=256),
        kernel=r.integer("mamba_d_conv", default=4),
        conv_bias=r.flag("mamba_conv_bias", default=True),
        proj_bias=r.flag("mamba_proj_bias", default=False),
        prefix="mamba.",
    )


def skip_mamba(r: Reader) -> None:
    """Mamba keys without effect where no layer is Mamba."""
    r.skip(
        *(
            f"mamba_{k}"
            for k in ("n_heads", "expand", "d_head", "n_groups", "d_state", "d_conv", "conv_bias", "proj_bias")
        )
    )
    r.skip("mamba_chunk_size", "time_step_limit", "time_step_min", "time_step_max", "time_step_floor")


def bamba(r: Reader) -> Draft:
    """Bamba: Mamba-2 layers with attention at attn_layer_indices."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    at = set(r.integers("attn_layer_indices") or ())
    on = r.flag("attention_bias", default=False)
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=on, out_bias=on)
    attend, ssm = attend.plus(*norms(hidden, *PRE)), granite_mamba(r, hidden).plus(*norms(hidden, *PRE))
    skip_mamba(r)
    r.skip("attn_rotary_emb", "use_mamba_kernels")
    ffn = dense(hidden, r.integer("intermediate_size"), prefix="feed_forward.", bias=r.flag("mlp_bias", default=False))
    ffn = ffn.plus(*norms(hidden, "pre_ff_layernorm"))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if i in at else ssm for i in range(n)], [ffn] * n),
        tied=tied(r, False),
        extra=final(hidden),
    )


def lfm2(r: Reader) -> Draft:
    """LFM2 and LFM2-MoE: gated short convolutions with some attention layers; tied by default."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    kinds = r.words("layer_types", n, known=(FULL, "conv"))
    at = r.integers("full_attn_idxs")
    full = [k == FULL for k in kinds] if kinds else [at is None or i in set(at) for i in range(n)]
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, qk_norm="head")
    attend = attend.plus(*norms(hidden, "operator_norm"))
    conv = short_conv(
        hidden=hidden, kernel=r.integer("conv_L_cache", default=3), bias=r.flag("conv_bias", default=False)
    ).plus(*norms(hidden, "operator_norm"))
    width = r.integer("block_ff_dim", "intermediate_size")
    adjust = r.architecture != "Lfm2MoeForCausalLM"
    if adjust and r.flag("block_auto_adjust_ff_dim", default=True):
        width = int(2 * width / 3)
        factor = r.number("block_ffn_dim_multiplier", default=1.0, high=100.0)
        of = r.integer("block_multiple_of", default=256)
        width = -(-int(factor * width) // of) * of
    r.skip(
        "block_ffn_dim_multiplier", "block_multiple_of", "block_dim", "conv_dim", "conv_dim_out", "block_mlp_init_scale"
    )
    r.skip(
        "block_norm_eps", "block_out_init_scale", "block_use_swiglu", "block_use_xavier_init", "conv_use_xavier_init"
    )
    r.skip("use_pos_enc", "num_heads", "use_expert_bias", "block_auto_adjust_ff_dim")
    ffn = dense(hidden, max(1, width), prefix="feed_forward.").plus(*norms(hidden, "ffn_norm"))
    ffns = [ffn] * n
    if r.has(*EXPERTS):
        first = r.integer("num_dense_layers", default=2, low=0)
        experts = r.integer(*EXPERTS)
        routed = moe(
            r,
            hidden=hidden,
            experts=experts,
            top_k=r.integer(*TOP_K),
            width=r.integer("moe_intermediate_size"),
            prefix="feed_forward.",
        ).plus(*norms(hidden, "ffn_norm"))
        ffns = [routed if i >= first else ffn for i in range(n)]
    share = (
        r.flag("tie_embedding", default=True) if r.has("tie_embedding") and not r.has("tie_word_embeddings") else None
    )
    r.skip("tie_embedding")
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if f else conv for f in full], ffns),
        tied=tied(r, True) if share is None else share,
        extra=[vector("embedding_norm", hidden)],
    )
