"""MoE decoders whose layers attend differently: windows, chunks, sinks, their own heads per layer."""

from __future__ import annotations

import math

from ..arch import Weight
from ..errors import RoutelineError
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    expert_groups,
    groups_of,
    layer_count,
    moe,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import (
    EXPERTS,
    FULL,
    SLIDING,
    TOP_K,
    biases,
    dense_first,
    every,
    final,
    mixers,
    shared_width,
    sparse,
    sparse_layers,
    vocab,
    windows,
)
from .plain import letters_to_types, uncounted_mtp
from .reader import Reader


def gpt_oss(r: Reader) -> Draft:
    """gpt-oss: biases on attention, router and experts, attention sinks, every second layer windowed."""
    n = layer_count(r)
    on = r.flag("attention_bias", default=True)
    spans = windows(r, n, default=every(n, 2), active=True)
    hidden, heads, kv, mix = mixers(r, n, spans, bias=on, out_bias=on, sinks=True)
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    width = r.integer("intermediate_size")
    block = moe(r, hidden=hidden, experts=experts, top_k=top_k, width=width, router_bias=True, router="router").plus(
        Weight(name="mlp.experts.bias", part="routed", params=experts * (2 * width + hidden), matmul=False),
        *norms(hidden, *POST),
    )
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, [block] * n),
        tied=tied(r, False),
        extra=final(hidden),
    )


def llama4(r: Reader) -> Draft:
    """Llama 4: experts and a shared expert of intermediate_size, dense layers of intermediate_size_mlp;
    chunked attention in layers with rotary positions, full attention in every fourth."""
    n = layer_count(r)
    step = r.integer("interleave_moe_layer_step", default=1)
    listed = r.integers("moe_layers")
    places = [i in set(listed) for i in range(n)] if listed is not None else [(i + 1) % step == 0 for i in range(n)]
    chunk = r.integer("attention_chunk_size", default=8192)
    limit = r.integer("max_position_embeddings", default=None, high=10**9)
    kinds = r.words("layer_types", n, known=(FULL, "chunked_attention"))
    roped = r.integers("no_rope_layers", high=1)
    every_n = r.integer("no_rope_layer_interval", default=4)
    if kinds is not None:
        chunked = [k == "chunked_attention" for k in kinds]
    elif roped:
        if len(roped) != n:
            raise r.refuse("no_rope_layers", f"has {len(roped)} entries, but there are {n} layers")
        chunked = [bool(v) for v in roped]
    else:
        chunked = [(i + 1) % every_n != 0 for i in range(n)]
    active = limit is None or chunk < limit
    spans = [float(chunk) if c and active else math.inf for c in chunked]
    r.flag("use_qk_norm", default=True)
    qkv, out = biases(r, False, None)
    hidden, heads, kv, mix = mixers(r, n, spans, bias=qkv, out_bias=out)
    width = r.integer("intermediate_size")
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K, default=1),
        width=width,
        shared=width,
        shared_name="shared_expert.",
        prefix="feed_forward.",
        router="router",
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size_mlp", default=width), prefix="feed_forward.")
    ffn = ffn.plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
        prefix="language_model.model.",
    )


def mimo_v2(r: Reader) -> Draft:
    """MiMo-V2: hybrid_layer_pattern (1 = windowed) with its own swa_* shapes; v_head_dim != head_dim; sinks."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    v_dim = r.integer("v_head_dim", default=head_dim)
    flags = r.integers("hybrid_layer_pattern", n, high=1)
    kinds = r.words("layer_types", n, known=(FULL, SLIDING))
    if kinds is None and flags is None:  # the first and every sixth layer full, as transformers' class has it
        kinds = [FULL if i == 0 or (i + 1) % 6 == 0 else SLIDING for i in range(n)]
        r.defaults["layer_types"] = "the first and every 6th full"
    slides = [k == SLIDING for k in kinds] if kinds else [bool(v) for v in flags or ()]
    r.skip(
        "hybrid_layer_pattern",
        "attention_chunk_size",
        "hybrid_block_size",
        "sliding_window_size",
        "add_swa_attention_sink_bias",
    )
    size = r.integer("sliding_window", "sliding_window_size", default=None)
    if any(slides) and size is None:
        raise RoutelineError("hybrid_layer_pattern names windowed layers but the config has no sliding_window")
    sinks_full = r.flag("add_full_attention_sink_bias", default=False)
    sinks_swa = r.flag("add_swa_attention_sink_bias", default=True)
    bias = r.flag("attention_bias", default=False)
    full = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, v_head_dim=v_dim, bias=bias, sinks=sinks_full
    )
    swa_heads = r.integer("swa_num_attention_heads", default=heads)
    # without swa_* keys (transformers' own files) its code doubles the KV heads of windowed layers
    swa_kv = r.integer("swa_num_key_value_heads", default=2 * kv)
    swa = attention(
        hidden=hidden,
        heads=swa_heads,
        kv_heads=groups_of(r, swa_heads, swa_kv, "swa_num_key_value_heads"),
        head_dim=r.integer("swa_head_dim", default=head_dim),
        v_head_dim=r.integer("swa_v_head_dim", default=v_dim),
        window=float(size) if size else math.inf,
        bias=bias,
        sinks=sinks_swa,
    )
    full, swa = full.plus(*norms(hidden, *PRE)), swa.plus(*norms(hidden, *PRE))
    dense_first(r, 1)
    places = sparse_layers(r, n)
    width = r.integer("moe_intermediate_size")
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    routed = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        shared=shared_width(r, "count", width),
        groups=expert_groups(r, experts, top_k),
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([swa if s else full for s in slides], [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )
    uncounted_mtp(r, draft)
    return draft


def laguna(r: Reader) -> Draft:
    """Laguna: query heads per layer, output gate per head or element, one shared expert."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    per = r.per_layer("num_attention_heads_per_layer", layers=n, default=heads)
    spans = windows(r, n, default=[False] * n)
    gating = r.config.get("gating", True)
    r.skip(
        "gating",
        "moe_router_logit_softcapping",
        "moe_routed_scaling_factor",
        "swa_attention_sink_enabled",
        "qk_norm_type",
    )
    if gating not in (True, False, "per-head", "per-element"):
        raise r.refuse("gating", "is not understood; known: true, false, per-head, per-element")
    bias = r.flag("attention_bias", default=False)
    made: dict[tuple, Block] = {}
    mixes = []
    for h, span in zip(per, spans, strict=True):
        if (h, span) not in made:
            made[h, span] = attention(
                hidden=hidden,
                heads=h,
                kv_heads=groups_of(r, h, kv),
                head_dim=head_dim,
                window=span,
                bias=bias,
                out_bias=bias,
                qk_norm="head",
                gate=0 if gating is False else h * (head_dim if gating == "per-element" else 1),
            ).plus(*norms(hidden, *PRE))
        mixes.append(made[h, span])
    kinds = r.words("mlp_layer_types", n, known=("dense", "sparse"))
    only = r.integers("mlp_only_layers")
    r.skip("decoder_sparse_step", "moe_router_use_sigmoid")
    dense_at = set(only) if only else {0}
    places = [k == "sparse" for k in kinds] if kinds else [i not in dense_at for i in range(n)]
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K),
        width=r.integer("moe_intermediate_size"),
        shared=r.integer("shared_expert_intermediate_size", default=0, low=0),
        router_bias=True,
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=max(per),
        kv_heads=kv,
        layers=stack(mixes, [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )


def exaone_moe(r: Reader) -> Draft:
    """K-EXAONE: per-head q and k norms, LLLG windows, DeepSeekMoE experts."""
    letters_to_types(r)
    n = layer_count(r)
    if not r.has("layer_types"):
        period = r.integer("sliding_window_pattern", default=4)
        r.config = dict(r.config) | {"layer_types": [SLIDING if s else FULL for s in every(n, period)]}
        if not r.has("sliding_window"):
            r.config = dict(r.config) | {"layer_types": None}
    listed = r.list_of("is_moe_layer", n, extra=8)
    if listed is not None and not r.has("mlp_layer_types"):
        r.config = dict(r.config) | {"mlp_layer_types": ["sparse" if v else "dense" for v in listed]}
    dense_first(r, 1)
    r.skip("sliding_window_pattern", "first_last_k_dense_replace")
    draft = sparse(r, qk_norm="head", shared="count", group_limited=True, window="on")
    uncounted_mtp(r, draft)
    return draft


def afmoe(r: Reader) -> Draft:
    """AFMoE (Trinity): gated attention, four norms, three windowed layers to one full."""
    n = layer_count(r)
    period = r.integer("global_attn_every_n_layers", default=4)
    spans = windows(r, n, default=every(n, period))
    on = r.flag("attention_bias", default=False)
    hidden, heads, kv, mix = mixers(
        r,
        n,
        spans,
        qk_norm="head",
        bias=on,
        out_bias=on,
        pre=("input_layernorm", "post_attention_layernorm"),
        gated=True,
    )
    first = r.integer("num_dense_layers", "first_k_dense_replace", default=1, low=0)
    width = r.integer("moe_intermediate_size")
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    r.skip("mup_enabled", "route_scale", "route_norm", "use_grouped_mm", "num_expert_groups", "num_limited_groups")
    names = ("pre_mlp_layernorm", "post_mlp_layernorm")
    routed = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        shared=shared_width(r, "count", width),
        groups=expert_groups(r, experts, top_k),
        router="router.gate",
    ).plus(vector("mlp.expert_bias", experts, part="router"), *norms(hidden, *names))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *names))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, [routed if i >= first else ffn for i in range(n)]),
        tied=tied(r, False),
        extra=final(hidden),
    )
