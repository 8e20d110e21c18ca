"""MoE decoders with ordinary attention: what differs is placement, shared experts, biases and names."""

from __future__ import annotations

import math
from dataclasses import replace

from ..arch import Stream, Weight
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
from .decoder import (
    EXPERTS,
    FULL,
    SLIDING,
    TOP_K,
    biases,
    every,
    final,
    mixers,
    plain,
    shared_width,
    sparse,
    sparse_layers,
    vocab,
    windows,
)
from .deepseek import with_mtp
from .plain import letters_to_types, uncounted_mtp, window_ignored
from .reader import Reader


def qwen2_moe(r: Reader) -> Draft:
    """Qwen1.5/2-MoE: q, k, v biases; one shared expert of a total width with a sigmoid gate."""
    return sparse(r, qkv_bias=True, out_bias=False, shared="total", window="flag")


def qwen3_moe(r: Reader) -> Draft:
    """Qwen3-MoE: per-head q and k norms, no shared expert (a shared width of 0 in some files)."""
    if r.integer("shared_expert_intermediate_size", default=None, low=0):
        raise r.refuse("shared_expert_intermediate_size", "must be absent or 0: Qwen3-MoE has no shared expert")
    if not r.flag("use_qk_norm", default=True):
        raise r.refuse("use_qk_norm", "must be true: Qwen3-MoE normalises q and k")
    return sparse(r, qk_norm="head", window="flag")


def mixtral(r: Reader) -> Draft:
    """Mixtral 8x7B, 8x22B: all layers MoE, experts of intermediate_size."""
    return sparse(r, window="on", prefix="block_sparse_moe.")


def olmoe(r: Reader) -> Draft:
    """OLMoE: norms over the whole q and k vectors."""
    return sparse(r, qk_norm="full")


def flex_olmo(r: Reader) -> Draft:
    """FlexOlmo: OLMo-2's norm order with experts of intermediate_size."""
    return sparse(r, qk_norm="full", pre=("post_attention_layernorm",), post=("post_feedforward_layernorm",), tie=False)


def glm4_moe(r: Reader) -> Draft:
    """GLM-4.5 to 4.7, INTELLECT-3: q, k, v biases by attention_bias, optional q and k norms, one MTP layer."""
    qk = r.flag("use_qk_norm", default=False)
    draft = sparse(r, qk_norm="head" if qk else None, out_bias=False, shared="count", group_limited=True)
    return with_mtp(r, draft, draft.layers[-1])


def dots1(r: Reader) -> Draft:
    """dots.llm1: DeepSeekMoE experts behind attention with per-head q and k norms."""
    return sparse(r, qk_norm="head", shared="count", group_limited=True, window="flag")


def solar_open(r: Reader) -> Draft:
    """Solar-Open: DeepSeekMoE experts, ordinary attention."""
    qk = r.flag("use_qk_norm", default=False)
    return sparse(r, qk_norm="head" if qk else None, shared="count", group_limited=True)


def hy3(r: Reader) -> Draft:
    """Hunyuan 3: per-head q and k norms, first layer dense."""
    if not r.has("mlp_layer_types") and not r.has("first_k_dense_replace"):
        r.defaults["first_k_dense_replace"] = 1
        r.config = dict(r.config) | {"first_k_dense_replace": 1}
    r.skip("enable_moe_fp32_combine", "moe_router_enable_expert_bias")
    draft = sparse(r, qk_norm="head", shared="count")
    uncounted_mtp(r, draft)
    return draft


def bailing(r: Reader) -> Draft:
    """Ling 1 (bailing_moe): grouped-query attention with use_qkv_bias and use_bias, DeepSeekMoE experts."""
    r.skip("norm_head")
    return sparse(r, out_bias=r.flag("use_bias", default=False), shared="count")


def bailing_v2(r: Reader) -> Draft:
    """Ling 2.0 (bailing_moe_v2): per-head q and k norms, group-limited routing, MTP layers."""
    qk = r.flag("use_qk_norm", default=True)
    r.skip("norm_head", "moe_router_enable_expert_bias", "moe_router_enable_shared_expert")
    total = r.integer("moe_shared_expert_intermediate_size", default=None)
    width = r.integer("moe_intermediate_size")
    count = r.integer("n_shared_experts", "num_shared_experts", default=0, low=0)
    if total is not None and count and total not in (width, count * width):
        raise r.refuse("moe_shared_expert_intermediate_size", f"does not fit {count} shared experts of {width}")
    draft = sparse(
        r,
        qk_norm="head" if qk else None,
        out_bias=r.flag("use_bias", default=False),
        shared="count",
        group_limited=True,
    )
    return with_mtp(r, draft, draft.layers[-1])


def phimoe(r: Reader) -> Draft:
    """Phi-3.5-MoE, Phi-mini-MoE: LayerNorm with biases, a bias on the head; window counted as full."""
    window_ignored(r)
    draft = sparse(r, norm_bias=True, prefix="block_sparse_moe.")
    draft.head_bias = r.flag("lm_head_bias", default=True)
    return draft


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
    places = [i in set(listed) for i in range(n)] if listed else [(i + 1) % step == 0 for i in range(n)]
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


def grok(r: Reader) -> Draft:
    """Grok-1 and Grok-2: four norms a layer, GeGLU experts. residual_moe: a dense FFN of intermediate_size
    beside experts of moe_intermediate_size."""
    hpcai = r.architecture == "Grok1ModelForCausalLM"
    residual = r.flag("residual_moe", default=False)
    if not hpcai and not residual and not r.has("tie_word_embeddings"):
        r.warn("the config leaves tie_word_embeddings out and this class defaults to untied; xAI's Grok-1 ties them")
    draft = sparse(
        r,
        tie=hpcai,
        window="on",
        prefix="moe_block.",
        pre=("pre_attn_norm", "post_attn_norm"),
        post=("pre_moe_norm", "post_moe_norm"),
    )
    r.skip("global_attn_every_n", "attn_temperature_len", "sliding_window_size")
    if residual:
        own = shared_ffn(draft.hidden, r.integer("intermediate_size"), "mlp.")
        draft.layers = widened(draft.layers, own)
    return draft


def shared_ffn(hidden: int, width: int, prefix: str) -> tuple[Weight, ...]:
    """A gated FFN that every token takes beside the experts."""
    return tuple(
        Weight(name=f"{prefix}{m}", part="shared", params=hidden * width) for m in ("gate_proj", "up_proj", "down_proj")
    )


def widened(layers: list[tuple[Block, ...]], own: tuple[Weight, ...]) -> list[tuple[Block, ...]]:
    """The layers with more weights in their MoE blocks, equal blocks staying shared."""
    made = {id(b): (b.plus(*own) if b.experts > 1 else b) for layer in layers for b in layer}
    return [tuple(made[id(b)] for b in layer) for layer in layers]


def arctic(r: Reader) -> Draft:
    """Arctic: experts in every moe_layer_frequency-th layer, and beside them a dense FFN as wide as hidden."""
    n = layer_count(r)
    period = r.integer("moe_layer_frequency", default=2)
    places = [(i + 1) % period == 0 for i in range(n)]
    residual = r.flag("parallel_attn_mlp_res", default=False)
    r.skip("use_residual", "enable_expert_tensor_parallelism", "moe_train_capacity_factor", "moe_min_capacity")
    r.skip("moe_eval_capacity_factor", "moe_token_dropping", "enc_index")
    spans = windows(r, n)
    on = r.flag("attention_bias", default=False)
    hidden, heads, kv, mix = mixers(r, n, spans, bias=on, out_bias=on)
    width = r.integer("intermediate_size")
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K, default=1),
        width=width,
        prefix="block_sparse_moe.",
    ).plus(*norms(hidden, *POST))
    if residual:
        routed = routed.plus(*shared_ffn(hidden, hidden, "residual_mlp."), *norms(hidden, "residual_layernorm"))
    ffn = dense(hidden, width).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )


def dbrx(r: Reader) -> Draft:
    """DBRX: nested attn_config and ffn_config, LayerNorm without bias, all layers MoE."""
    hidden, heads = r.integer("d_model", "hidden_size"), r.integer("n_heads", "num_attention_heads")
    n = layer_count(r)
    a, f = r.section("attn_config"), r.section("ffn_config")
    if a is None or f is None:
        raise RoutelineError("config has no attn_config or no ffn_config, which DBRX needs")
    kv = groups_of(r, heads, a.integer("kv_n_heads", default=1), "attn_config.kv_n_heads")
    mix = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_width(r, hidden, heads))
    f.skip("ffn_act_fn")
    block = moe(
        r,
        hidden=hidden,
        experts=f.integer("moe_num_experts", default=4),
        top_k=f.integer("moe_top_k", default=1),
        width=f.integer("ffn_hidden_size", default=3584),
        prefix="ffn.",
    )
    a.finish("DBRX")
    f.finish("DBRX")
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([mix.plus(*norms(hidden, "norm_1"))] * n, [block.plus(*norms(hidden, "norm_2"))] * n),
        tied=tied(r, False),
        extra=final(hidden),
        prefix="transformer.blocks.",
    )


def hunyuan(r: Reader) -> Draft:
    """Hunyuan-Large and A13B: per-layer lists, shared MLP, cross-layer attention (odd layers own no K, V)."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    r.skip("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "use_mla")
    if r.config.get("use_mla"):
        raise r.refuse("use_mla", "is not understood for Hunyuan")
    qk = r.flag("use_qk_norm", default=True)
    on = r.flag("attention_bias", default=False)
    own = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=on, out_bias=on, qk_norm="head" if qk else None
    ).plus(*norms(hidden, *PRE))
    cross = Block(
        weights=tuple(w for w in own.weights if not w.name.endswith(("k_proj", "v_proj"))),
        streams=tuple(reused(s) for s in own.streams),
    )
    factor = r.integer("cla_share_factor", default=1) if r.flag("use_cla", default=False) else 1
    r.skip("cla_share_factor", "use_mixed_mlp_moe", "moe_layer_num_skipped", "num_media_embeds", "pool_type")
    r.skip("org_vocab_size", "dense_list", "class_num", "add_classification_head", "position_embedding_xdrope")
    r.skip(*(k for k in r.config if str(k).startswith(("vit_", "anyres_", "video_", "im_", "xdrope_"))))
    r.text("norm_type", default="rms", known=("rms", "rms_norm", "hf_rms", "fused"))
    mixes = [own if i % factor == 0 else cross for i in range(n)]
    if factor > 1:
        r.warn(SHARED_READS.format(n - -(-n // factor)))
    experts = r.per_layer("num_experts", layers=n)
    top_k = r.per_layer("moe_topk", "num_experts_per_tok", layers=n, default=1)
    base = r.integer("intermediate_size")
    width = r.per_layer("moe_intermediate_size", layers=n, default=base)
    shared = r.per_layer("num_shared_expert", layers=n, default=1, low=0)
    skipped = r.integer("moe_layer_num_skipped", default=0, low=0)
    bias = r.flag("mlp_bias", default=False)
    made: dict[tuple, Block] = {}
    ffns = []
    for i in range(n):
        key = (experts[i], top_k[i], width[i], shared[i]) if i >= skipped and experts[i] > 1 else ()
        if key not in made:
            if key:
                made[key] = moe(
                    r,
                    hidden=hidden,
                    experts=key[0],
                    top_k=key[1],
                    width=key[2],
                    shared=key[3] * key[2],
                    shared_name="shared_mlp.",
                    router="gate.wg",
                )
            else:
                made[key] = dense(hidden, base, bias=bias)
            made[key] = made[key].plus(*norms(hidden, *POST))
        ffns.append(made[key])
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mixes, ffns),
        tied=tied(r, False),
        extra=final(hidden),
    )


SHARED_READS = (
    "{} layers attend over another layer's cache: it is stored once, and their reads of it are counted in FLOP but not "
    "in bytes, so step times at long contexts are a lower bound"
)


def reused(s: Stream) -> Stream:
    """A stream over another layer's cache: FLOP here, no memory of its own."""
    return replace(s, name="shared_kv", elements=0.0)


def ernie(r: Reader) -> Draft:
    """ERNIE 4.5: use_bias on all linear layers, MoE placement by start, end and interval; tied by default."""
    n = layer_count(r)
    bias = r.flag("use_bias", default=False)
    if "moe_num_experts" not in r.config:
        return plain(r, qkv_bias=bias, out_bias=bias, ffn_bias=bias, tie=True)
    hidden, heads, kv, head_dim = shape(r)
    mix = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=bias, out_bias=bias)
    start = r.integer("moe_layer_start_index", default=1, low=0)
    end = r.integer("moe_layer_end_index", default=-1, low=-1)
    end = n - 1 if end == -1 else end
    period = r.integer("moe_layer_interval", default=1)
    places = [start <= i <= end and (i + 1) % period == 0 for i in range(n)]
    width = r.integer("moe_intermediate_size")
    r.skip("moe_use_aux_free", "moe_use_hard_gate", "moe_multimodal_dispatch_use_allgather", "moe_norm_min")
    r.skip("moe_gate", "compression_ratio", "moe_dense_experts_token_type_id", "moe_group")
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer("moe_num_experts"),
        top_k=r.integer("moe_k", default=6),
        width=width,
        shared=r.integer("moe_num_shared_experts", low=0) * width,
        router_bias=True,
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size"), bias=bias).plus(*norms(hidden, *POST))
    if bias:
        raise r.refuse("use_bias", "with experts is not understood for ERNIE 4.5")
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([mix.plus(*norms(hidden, *PRE))] * n, [routed if s else ffn for s in places]),
        tied=tied(r, True),
        extra=final(hidden),
    )
    uncounted_mtp(r, draft)
    return draft


def listed_layers(r: Reader, n: int, key: str = "moe_layers_enum") -> list[bool] | None:
    """MoE layers from a comma-separated string (or a list) of layer numbers."""
    value = r.config.get(key)
    r.skip(key)
    if value is None:
        return None
    if isinstance(value, list):
        numbers = [r.whole(key, v, 0, n + 64) for v in value]
    elif (
        isinstance(value, str)
        and len(value) < 20000
        and all(p.strip().isdigit() for p in value.split(",") if p.strip())
    ):
        numbers = [int(p.strip()[:9]) for p in value.split(",") if p.strip()]
    else:
        raise r.refuse(key, "must be layer numbers separated by commas")
    return [i in set(numbers) for i in range(n)]


def step3(r: Reader) -> Draft:
    """Step-3: multi-matrix factorised attention (shared low-rank q, one KV head), a shared expert."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    kv = groups_of(r, heads, r.integer("num_attention_groups", "num_key_value_heads"), "num_attention_groups")
    head_dim = head_width(r, hidden, heads)
    rank = r.integer("share_q_dim")
    base = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim)
    mix = Block(
        weights=(
            matrix("self_attn.q_proj", hidden, rank),
            vector("self_attn.inter_norm", rank),
            matrix("self_attn.wq", rank, heads * head_dim),
            *(w for w in base.weights if not w.name.endswith("q_proj")),
            *norms(hidden, *PRE),
        ),
        streams=base.streams,
    )
    places = listed_layers(r, n) or [i > 0 for i in range(n)]
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer("moe_num_experts", "n_routed_experts"),
        top_k=r.integer("moe_top_k", "num_experts_per_tok"),
        width=r.integer("moe_intermediate_size"),
        shared=r.integer("share_expert_dim"),
        shared_name="share_expert.",
        prefix="moe.",
    ).plus(*norms(hidden, *POST))
    r.skip("use_moe", "moe_dynamic_exp_p", "vision_select_layer", "use_im_start_end", "norm_expert_weight")
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([mix] * n, [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )


def step37(r: Reader) -> Draft:
    """Step-3.5/3.7 Flash: windowed layers may have more heads; head-wise output gate; a shared expert."""
    mtp = r.integer("num_nextn_predict_layers", default=0, low=0, high=64)
    n = layer_count(r)
    hidden, heads, kv, head_dim = step_shape(r)
    kinds = r.words("layer_types", n, known=(FULL, SLIDING), extra=mtp) or [FULL] * n
    other = r.section("attention_other_setting")
    swa_heads = r.integer("num_sliding_attention_heads", default=None)
    if other is not None:
        other.skip("attention_type", "true_head_dim")
        swa_heads = other.integer("num_attention_heads", default=swa_heads or heads)
        other.integer("num_attention_groups", default=kv, low=kv, high=kv)
        other.integer("head_dim", default=head_dim, low=head_dim, high=head_dim)
    swa_heads = swa_heads or heads
    overrides = per_layer_overrides(r, n, ("num_attention_heads",))
    for i, change in overrides.items():
        if kinds[i] != SLIDING or change["num_attention_heads"] != swa_heads:
            raise r.refuse("per_layer_config", f"differs from num_sliding_attention_heads={swa_heads} at layer {i}")
    size = r.integer("sliding_window", default=None)
    if SLIDING in kinds and size is None:
        raise RoutelineError("layer_types names sliding_attention layers but the config has no sliding_window")
    gate = r.flag("use_head_wise_attn_gate", default=True)
    made = {}
    for kind, h in ((FULL, heads), (SLIDING, swa_heads)):
        groups_of(r, h, kv)
        made[kind] = attention(
            hidden=hidden,
            heads=h,
            kv_heads=kv,
            head_dim=head_dim,
            window=float(size) if kind == SLIDING and size else math.inf,
            qk_norm="head",
            gate=h if gate else 0,
        ).plus(*norms(hidden, *PRE))
    places = listed_layers(r, n)
    if places is None:
        kinds_ffn = r.words("mlp_layer_types", n, known=("dense", "sparse"), extra=mtp)
        first = r.integer("first_k_dense_replace", default=3, low=0)
        places = [k == "sparse" for k in kinds_ffn] if kinds_ffn else [i >= first for i in range(n)]
    r.skip(
        "swiglu_limits", "swiglu_limits_shared", "n_shared_experts", "use_moe_router_bias", "use_moe", "yarn_only_types"
    )
    r.skip("use_qk_norm", "num_local_experts", "moe_router_activation", "norm_expert_weight", "need_fp32_gate", "sink")
    r.skip("partial_rotary_factors", "use_rope_layers", "mtp_layer_types", "mtp_mlp_layer_types", "moe_every_n_layer")
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer("moe_num_experts", "n_routed_experts", "num_experts"),
        top_k=r.integer("moe_top_k", "num_experts_per_tok", default=8),
        width=r.integer("moe_intermediate_size"),
        shared=r.integer("share_expert_dim", "share_expert_dims"),
    ).plus(*norms(hidden, *POST))
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([made[k] for k in kinds], [routed if s else ffn for s in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )
    uncounted_mtp(r, draft)
    return draft


def per_layer_overrides(r: Reader, n: int, known: tuple[str, ...]) -> dict[int, dict[str, int]]:
    """transformers 5's per_layer_config: layer number -> {key: value}, keys out of `known` only."""
    section = r.section("per_layer_config")
    out: dict[int, dict[str, int]] = {}
    if section is None:
        return out
    for key in section.config:
        if not str(key).isdigit() or int(str(key)[:9]) >= n:
            raise r.refuse("per_layer_config", f"names layer {str(key)[:20]!r}, but there are {n} layers")
        inner = section.section(key)
        if inner is not None:
            out[int(key)] = {k: inner.integer(k) for k in known if inner.has(k)}
            inner.finish("per_layer_config")
    return out


def step_shape(r: Reader) -> tuple[int, int, int, int]:
    """(hidden, heads, kv_heads, head_dim); num_attention_groups is Step's name for KV heads."""
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    kv = r.integer("num_attention_groups", "num_key_value_heads")
    return hidden, heads, groups_of(r, heads, kv), head_width(r, hidden, heads)


def mimo_v2(r: Reader) -> Draft:
    """MiMo-V2: hybrid_layer_pattern (1 = windowed) with its own swa_* shapes; v_head_dim != head_dim; sinks."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    v_dim = r.integer("v_head_dim", default=head_dim)
    flags = r.integers("hybrid_layer_pattern", n, high=1)
    kinds = r.words("layer_types", n, known=(FULL, SLIDING))
    slides = [k == SLIDING for k in kinds] if kinds else [bool(v) for v in flags or [0] * n]
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
    if not r.has("mlp_layer_types") and not r.has("first_k_dense_replace"):
        r.defaults["first_k_dense_replace"] = 1
        r.config = dict(r.config) | {"first_k_dense_replace": 1}
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


def granite_moe(r: Reader) -> Draft:
    """Granite MoE: experts of intermediate_size in all layers, optionally a shared MLP."""
    draft = sparse(r, prefix="block_sparse_moe.", width=("intermediate_size",))
    shared = r.integer("shared_intermediate_size", default=0, low=0)
    if shared:
        draft.layers = widened(draft.layers, shared_ffn(draft.hidden, shared, "shared_mlp."))
    return draft


def cohere2_moe(r: Reader) -> Draft:
    """Cohere 2 MoE is known by name only: its shared experts and placement were not checked."""
    raise RoutelineError(
        "Cohere2MoeForCausalLM is not understood; the nearest known architecture is Cohere2ForCausalLM"
    )
