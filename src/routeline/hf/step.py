"""Step-3 and Step-3.5/3.7: attention groups, factorised queries, MoE layers as a comma string."""

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
    groups_of,
    head_width,
    layer_count,
    matrix,
    moe,
    norms,
    stack,
    tied,
    vector,
)
from .decoder import (
    FULL,
    SLIDING,
    final,
    vocab,
)
from .plain import uncounted_mtp
from .reader import Reader


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
