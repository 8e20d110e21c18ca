"""Hybrids: some layers attend, the others carry constant state (delta nets, Mamba, lightning, convolutions)."""

from __future__ import annotations

import math

from ..errors import RoutelineError
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    expert_groups,
    head_width,
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
from .linear import gated_delta_net, lightning, mamba1, mamba2, short_conv
from .moes import shared_ffn
from .reader import Reader

LINEAR = "linear_attention"


def qwen_next(r: Reader) -> Draft:
    """Qwen3-Next, Qwen3.5: gated delta nets, gated full attention in every fourth layer, dense or MoE."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    period = r.integer("full_attention_interval", default=4)
    kinds = r.words("layer_types", n, known=(FULL, LINEAR))
    full = [k == FULL for k in kinds] if kinds else [(i + 1) % period == 0 for i in range(n)]
    bias = r.flag("attention_bias", default=False)
    r.flag("attn_output_gate", default=True)
    r.skip("output_gate_type", "head_dim", "mtp_use_dedicated_embeddings", "mlp_only_layers")
    attend = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=bias, out_bias=bias, qk_norm="head"
    )
    gated = tuple(
        matrix(w.name, hidden, 2 * heads * head_dim) if w.name.endswith("q_proj") else w for w in attend.weights
    )
    attend = Block(weights=(*gated, *norms(hidden, *PRE)), streams=attend.streams)
    split = r.architecture != "Qwen3NextForCausalLM"
    delta = gated_delta_net(
        r,
        hidden=hidden,
        key_heads=r.integer("linear_num_key_heads"),
        value_heads=r.integer("linear_num_value_heads"),
        key_dim=r.integer("linear_key_head_dim"),
        value_dim=r.integer("linear_value_head_dim"),
        kernel=r.integer("linear_conv_kernel_dim"),
        split=split,
    ).plus(*norms(hidden, *PRE))
    if r.has(*EXPERTS):
        places = sparse_layers(r, n)
        shared = r.integer("shared_expert_intermediate_size", default=0, low=0)
        routed = moe(
            r,
            hidden=hidden,
            experts=r.integer(*EXPERTS),
            top_k=r.integer(*TOP_K),
            width=r.integer("moe_intermediate_size"),
            shared=shared,
            shared_gate=shared > 0,
            shared_name="shared_expert.",
        ).plus(*norms(hidden, *POST))
    else:
        places, routed = [False] * n, None
    ffn = None
    if not all(places):
        ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    r.skip("intermediate_size", "decoder_sparse_step")
    ffns = [b for s in places if (b := routed if s else ffn) is not None]
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if f else delta for f in full], ffns),
        tied=tied(r, False),
        extra=final(hidden),
        prefix="model.language_model." if split else "model.",
    )
    count = r.integer("mtp_num_hidden_layers", "num_nextn_predict_layers", default=0, low=0, high=64)
    if count:
        joint = Block(
            weights=(
                matrix("fc", 2 * hidden, hidden),
                *norms(hidden, "pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"),
            )
        )
        draft.mtp = [(attend, routed or ffns[-1]) for _ in range(count)]
        draft.mtp[0] = (*draft.mtp[0], joint)
        draft.mtp_layers = count
    return draft


def nemotron_h(r: Reader) -> Draft:
    """Nemotron-H and Nemotron-3: one mixer a layer, M Mamba-2, * attention, - FFN, E experts (latent in some)."""
    hidden = r.integer("hidden_size")
    pattern = block_pattern(r)
    n = layer_count(r) if "num_hidden_layers" in r.config else len(pattern)
    if len(pattern) != n:
        raise r.refuse("hybrid_override_pattern", f"has {len(pattern)} letters, but there are {n} layers")
    r.skip(
        "num_hidden_layers", "intermediate_size", "expand", "chunk_size", "mamba_expand", "n_groups", "norm_topk_prob"
    )
    blocks = {letter: nemotron_block(r, hidden, letter) for letter in sorted(set(pattern))}
    heads = r.integer("num_attention_heads")
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=r.integer("num_key_value_heads", default=heads),
        layers=[(blocks[letter],) for letter in pattern],
        tied=tied(r, False),
        extra=list(norms(hidden, "norm_f")),
        prefix="backbone.",
    )
    count = r.integer("num_nextn_predict_layers", default=0, low=0, high=64)
    letters = mtp_pattern(r)
    if count and letters:
        for letter in sorted(set(letters) - set(blocks)):
            blocks[letter] = nemotron_block(r, hidden, letter)
        joint = Block(
            weights=(matrix("eh_proj", 2 * hidden, hidden), *norms(hidden, "enorm", "hnorm", "final_layernorm"))
        )
        draft.mtp = [(*(blocks[x] for x in letters), joint)] * count
    draft.mtp_layers = count
    r.skip("moe_latent_size", "moe_shared_expert_intermediate_size", "moe_intermediate_size", "sliding_window")
    r.skip("n_routed_experts", "n_shared_experts", "num_experts_per_tok", "n_group", "topk_group", "num_query_groups")
    return draft


NAMES = {"mamba": "M", LINEAR: "M", "attention": "*", FULL: "*", "mlp": "-", "moe": "E"}


def block_pattern(r: Reader) -> str:
    """Letters of hybrid_override_pattern, or those that layers_block_type's names stand for."""
    letters = r.text("hybrid_override_pattern", default=None)
    names = r.words("layers_block_type" if r.has("layers_block_type") else "layer_types", known=NAMES)
    r.skip("layers_block_type", "layer_types")
    listed = None if names is None else "".join(NAMES[x] for x in names)
    if letters is None and listed is None:
        raise RoutelineError("config has neither hybrid_override_pattern nor layers_block_type, which Nemotron-H needs")
    if letters is not None and listed is not None and letters != listed:
        raise r.refuse("hybrid_override_pattern", "contradicts layers_block_type")
    pattern = letters if letters is not None else listed or ""
    if not pattern or set(pattern) - set("M*-E") or len(pattern) > 2000:
        raise r.refuse("hybrid_override_pattern", "must be made of the letters M * - E")
    return pattern


def mtp_pattern(r: Reader) -> str:
    """Letters of the MTP layer."""
    letters = r.text("mtp_hybrid_override_pattern", default=None)
    names = r.words("mtp_layers_block_type", known=NAMES)
    found = letters if letters is not None else "".join(NAMES[x] for x in names or ())
    if set(found) - set("M*-E") or len(found) > 64:
        raise r.refuse("mtp_hybrid_override_pattern", "must be made of the letters M * - E")
    return found


def nemotron_block(r: Reader, hidden: int, letter: str) -> Block:
    """One layer of the kind a letter names, with its norm."""
    norm = norms(hidden, "norm")
    bias = r.flag("mlp_bias", default=False)
    if letter == "M":
        return mamba2(
            r,
            hidden=hidden,
            heads=r.integer("mamba_num_heads"),
            head_dim=r.integer("mamba_head_dim"),
            groups=r.integer("n_groups", default=8),
            state=r.integer("ssm_state_size"),
            kernel=r.integer("conv_kernel", default=4),
            conv_bias=r.flag("use_conv_bias", default=True),
            proj_bias=r.flag("use_bias", "mamba_proj_bias", default=False),
        ).plus(*norm)
    if letter == "*":
        heads = r.integer("num_attention_heads")
        kv = r.integer("num_key_value_heads", default=heads)
        if heads % kv:
            raise RoutelineError(
                f"num_attention_heads={heads} is not a multiple of num_key_value_heads={kv}; one is wrong"
            )
        on = r.flag("attention_bias", default=False)
        return attention(
            hidden=hidden,
            heads=heads,
            kv_heads=kv,
            head_dim=head_width(r, hidden, heads, "head_dim", "attention_head_dim"),
            bias=on,
            out_bias=on,
            prefix="mixer.",
        ).plus(*norm)
    if letter == "-":
        return dense(hidden, r.integer("intermediate_size"), matrices=2, bias=bias, prefix="mixer.").plus(*norm)
    experts, top_k = r.integer("n_routed_experts"), r.integer("num_experts_per_tok")
    latent = r.integer("moe_latent_size", default=None)
    width = r.integer("moe_intermediate_size")
    shared = r.integer("moe_shared_expert_intermediate_size", default=width)
    count = r.integer("n_shared_experts", default=1, low=0)
    block = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        matrices=2,
        shared=shared * count if count <= 1 else shared,
        expert_hidden=latent,
        groups=expert_groups(r, experts, top_k),
        prefix="mixer.",
    )
    if latent is not None:
        block = block.plus(
            matrix("mixer.fc1_latent_proj", hidden, latent, part="other"),
            matrix("mixer.fc2_latent_proj", latent, hidden, part="other"),
        )
    return block.plus(*norm)


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


def minimax(r: Reader) -> Draft:
    """MiniMax-Text-01 and M1: lightning attention, softmax attention where attn_type_list says 1."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    kinds = r.words("layer_types", n, known=(FULL, LINEAR))
    flags = r.integers("attn_type_list", n, high=1)
    if kinds is None and flags is None:
        full = [i % 2 == 0 for i in range(n)]
        r.defaults["layer_types"] = "full attention in even layers"
    else:
        full = [k == FULL for k in kinds] if kinds is not None else [v == 1 for v in flags or ()]
    r.skip(
        "layernorm_mlp_alpha",
        "postnorm",
        "attention_type",
        "block_size",
        "shared_moe_mode",
        "rotary_dim",
        "sliding_window",
    )
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim).plus(*norms(hidden, *PRE))
    light = lightning(r, hidden=hidden, heads=heads, dim=head_dim).plus(*norms(hidden, *PRE))
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K, default=1)
    shared = r.integer("shared_intermediate_size", default=0, low=0)
    routed = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=r.integer("intermediate_size"),
        shared=shared,
        shared_name="shared_mlp.",
        prefix="block_sparse_moe.",
    ).plus(*norms(hidden, *POST))
    for key in [k for k in r.config if str(k).startswith(("layernorm_", "full_attn_", "linear_attn_", "mlp_"))]:
        if str(key).endswith(("_alpha", "_beta", "_alpha_factor", "_beta_factor")):
            r.skip(key)
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if f else light for f in full], [routed] * n),
        tied=tied(r, False),
        extra=final(hidden),
    )


def bailing_linear(r: Reader) -> Draft:
    """Ling/Ring-linear 2.0: lightning attention, softmax attention closing every layer_group_size layers."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    size = r.integer("layer_group_size")
    full = [(i + 1) % size == 0 or i >= n // size * size for i in range(n)]
    qk = r.flag("use_qk_norm", default=True)
    bias = r.flag("use_qkv_bias", default=False)
    out = r.flag("use_bias", default=False)
    r.skip(
        "norm_head", "moe_router_enable_expert_bias", "group_norm_size", "linear_silu", "use_linear_silu", "linear_rope"
    )
    r.skip("moe_shared_expert_intermediate_size", "use_linear_gqa")
    attend = attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv,
        head_dim=head_dim,
        bias=bias,
        out_bias=out,
        qk_norm="head" if qk else None,
    ).plus(*norms(hidden, *PRE))
    light = lightning(
        r,
        hidden=hidden,
        heads=heads,
        dim=head_dim,
        qk_norm=qk,
        fused="query_key_value",
        gate="g_proj",
        prefix="attention.",
    ).plus(*norms(hidden, *PRE))
    places = sparse_layers(r, n)
    width = r.integer("moe_intermediate_size")
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    count = r.integer("num_shared_experts", "n_shared_experts", default=0, low=0)
    routed = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        shared=count * width,
        groups=expert_groups(r, experts, top_k),
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if f else light for f in full], [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )
    from .plain import uncounted_mtp

    uncounted_mtp(r, draft)
    return draft


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
