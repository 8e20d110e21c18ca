"""DBRX, Hunyuan and ERNIE: nested sections, per-layer lists, placement by start and end, shared caches."""

from __future__ import annotations

from dataclasses import replace

from ..arch import Stream
from ..errors import RoutelineError
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    groups_of,
    head_width,
    layer_count,
    moe,
    norms,
    shape,
    stack,
    tied,
)
from .decoder import (
    final,
    plain,
    vocab,
)
from .plain import uncounted_mtp
from .reader import Reader


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
