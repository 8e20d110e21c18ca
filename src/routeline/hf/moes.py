"""MoE decoders with ordinary attention: what differs is placement, shared experts, biases and norms."""

from __future__ import annotations

from .blocks import (
    Draft,
)
from .decoder import dense_first, sparse
from .deepseek import with_mtp
from .plain import uncounted_mtp, window_ignored
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


def mellum(r: Reader) -> Draft:
    """Mellum 2: Qwen3-MoE's layers with windows where layer_types says so."""
    if r.has("mtp_layer_types", "mtp_mlp_layer_types"):
        raise r.refuse("mtp_layer_types", "must be absent: Mellum's prediction layers are not understood")
    draft = sparse(r, qk_norm="head", window="on" if r.has("layer_types") else "off")
    uncounted_mtp(r, draft)
    return draft


def aria(r: Reader) -> Draft:
    """Aria: experts of intermediate_size in every layer, moe_num_shared_experts beside them."""
    return sparse(r, shared="count", width=("intermediate_size",))


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
    """dots.llm1: DeepSeekMoE experts behind attention with per-head q and k norms; windows past max_window_layers."""
    if not r.has("max_window_layers"):
        r.defaults["max_window_layers"] = 62
        r.config = dict(r.config) | {"max_window_layers": 62}
    return sparse(r, qk_norm="head", shared="count", group_limited=True, window="past")


def solar_open(r: Reader) -> Draft:
    """Solar-Open: DeepSeekMoE experts, ordinary attention."""
    qk = r.flag("use_qk_norm", default=False)
    return sparse(r, qk_norm="head" if qk else None, shared="count", group_limited=True)


def hy3(r: Reader) -> Draft:
    """Hunyuan 3: per-head q and k norms, first layer dense, at least one shared expert."""
    r.integer("num_shared_experts", "n_shared_experts", "num_shared_expert", default=1)
    dense_first(r, 1)
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
    draft.head_bias = r.flag("lm_head_bias", default=False)
    return draft
