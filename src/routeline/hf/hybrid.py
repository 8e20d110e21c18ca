"""Hybrids of attention and linear attention: Qwen3-Next/3.5, MiniMax-Text-01/M1, Ling-linear."""

from __future__ import annotations

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
from .decoder import EXPERTS, FULL, TOP_K, final, sparse_layers, vocab
from .linear import gated_delta_net, lightning
from .plain import uncounted_mtp
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
    gate_bias = (vector("self_attn.q_gate_bias", heads * head_dim, part="attention"),) if bias else ()
    attend = Block(weights=(*gated, *gate_bias, *norms(hidden, *PRE)), streams=attend.streams)
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
            shared_gate=True,
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


def olmo_hybrid(r: Reader) -> Draft:
    """OLMo hybrid: gated delta nets with norms before, full attention with norms after in every fourth layer."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    kinds = r.words("layer_types", n, known=(FULL, LINEAR))
    if kinds is None:
        kinds = [FULL if i % 4 == 3 or (n < 4 and i == n - 1) else LINEAR for i in range(n)]
        r.defaults["layer_types"] = "every 4th full"
    on = r.flag("attention_bias", default=False)
    attend = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=on, out_bias=on, qk_norm="full"
    ).plus(*norms(hidden, "post_attention_layernorm"))
    k_heads = r.integer("linear_num_key_heads", default=heads)
    k_dim = r.integer("linear_key_head_dim", default=max(1, int(0.75 * hidden / k_heads)))
    r.skip("linear_allow_neg_eigval", "linear_a_log_min", "linear_a_log_max", "linear_dt_min", "linear_dt_max")
    r.skip("linear_dt_init_floor", "linear_use_gate")
    delta = gated_delta_net(
        r,
        hidden=hidden,
        key_heads=k_heads,
        value_heads=r.integer("linear_num_value_heads", default=heads),
        key_dim=k_dim,
        value_dim=r.integer("linear_value_head_dim", default=2 * k_dim),
        kernel=r.integer("linear_conv_kernel_dim", default=4),
        split=True,
    ).plus(*norms(hidden, *PRE))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([attend if k == FULL else delta for k in kinds], [ffn] * n),
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
    uncounted_mtp(r, draft)
    return draft
