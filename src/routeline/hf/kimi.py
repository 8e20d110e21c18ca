"""Kimi Linear, Kimi-K3 and Ling 2.5/3 hybrids: Kimi delta attention with gated MLA every few layers."""

from __future__ import annotations

from ..errors import RoutelineError
from .blocks import POST, PRE, Block, Draft, dense, expert_groups, layer_count, matrix, moe, norms, stack, tied, vector
from .decoder import EXPERTS, FULL, TOP_K, dense_first, final, sparse_layers, vocab
from .deepseek import mla_block
from .linear import kimi_delta
from .plain import uncounted_mtp
from .reader import Reader

LINEAR = "linear_attention"


def full_layers(r: Reader, section: Reader | None, n: int) -> list[bool]:
    """Layers with full attention; linear_attn_config counts layers from 1."""
    kinds = r.words("layer_types", n, known=(FULL, LINEAR))
    named = None if kinds is None else [k == FULL for k in kinds]
    if named is not None and (section is None or not section.has("full_attn_layers", "kda_layers")):
        return named
    if section is None:
        raise RoutelineError("config has neither layer_types nor linear_attn_config, which Kimi Linear needs")
    full = section.integers("full_attn_layers", low=1, high=n) or []
    linear = section.integers("kda_layers", low=1, high=n) or []
    if sorted(full + linear) != list(range(1, n + 1)):
        raise RoutelineError(
            f"linear_attn_config names {len(full)} full and {len(linear)} linear layers (counted from 1); "
            f"together they must be each of the {n} layers once"
        )
    listed = [i + 1 in set(full) for i in range(n)]
    if named is not None and named != listed:
        raise r.refuse("layer_types", "contradicts linear_attn_config")
    return listed


def kimi_linear(r: Reader) -> Draft:
    """Kimi Linear 48B and Kimi-K3 (latent experts, full-rank gates, block-wise attention residuals)."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    section = r.section("linear_attn_config")
    full = full_layers(r, section, n)
    s = section if section is not None else r
    names = ("num_heads", "head_dim", "short_conv_kernel_size")
    if section is None:
        names = ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    dim = s.integer(names[1])
    full_rank = s.flag("use_full_rank_gate", default=False)
    delta = kimi_delta(
        r,
        hidden=hidden,
        heads=s.integer(names[0]),
        dim=dim,
        kernel=s.integer(names[2]),
        forget_rank=dim,
        gate_rank=None if full_rank else dim,
    ).plus(*norms(hidden, *PRE))
    if section is not None:
        section.skip("gate_lower_bound")
        section.finish("Kimi Linear")
    attend = mla_block(r, hidden=hidden, heads=heads).plus(*norms(hidden, *PRE))
    v_dim = r.integer("v_head_dim")
    if r.flag("mla_use_output_gate", default=False):
        attend = attend.plus(matrix("self_attn.g_proj", hidden, heads * v_dim))
    r.skip("mla_use_nope", "use_nope", "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim", "rope_head_dim")
    routed = kimi_experts(r, hidden)
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    dense_first(r, 1)
    places = sparse_layers(r, n)
    if r.integer("attn_res_block_size", default=0, low=0):
        # two norms and two h-wide scoring vectors a layer; verified names, small beside everything else
        extra = (*norms(hidden, "attn_res_norm", "mlp_res_norm"), vector("res_proj", 2 * hidden, part="other"))
        delta, attend = delta.plus(*extra), attend.plus(*extra)
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=stack([attend if f else delta for f in full], [routed if p else ffn for p in places]),
        tied=tied(r, False),
        extra=final(hidden),
        prefix="language_model.model.",
    )
    uncounted_mtp(r, draft)
    return draft


def kimi_experts(r: Reader, hidden: int) -> Block:
    """Routed experts, in a latent width where routed_expert_hidden_size says so, with shared experts at full width."""
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K)
    width = r.integer("moe_intermediate_size")
    latent = r.integer("routed_expert_hidden_size", "moe_latent_size", default=None)
    block = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        shared=r.integer("num_shared_experts", "n_shared_experts", default=0, low=0) * width,
        expert_hidden=latent,
        groups=expert_groups(r, experts, top_k),
        prefix="block_sparse_moe.",
    )
    if latent is not None:
        block = block.plus(
            matrix("block_sparse_moe.routed_expert_down_proj", hidden, latent, part="other"),
            matrix("block_sparse_moe.routed_expert_up_proj", latent, hidden, part="other"),
        )
        if r.flag("latent_moe_use_norm", default=False):
            block = block.plus(vector("block_sparse_moe.routed_expert_norm", latent))
    r.skip("latent_moe_use_norm")
    return block.plus(*norms(hidden, *POST))


def bailing_hybrid(r: Reader) -> Draft:
    """Ling 2.5/3 hybrids: Kimi delta attention with full-rank gates, gated MLA closing every group of layers."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    size = r.integer("layer_group_size", default=6)
    kinds = r.words("layer_types", n, known=(FULL, LINEAR))
    full = [k == FULL for k in kinds] if kinds else [(i + 1) % size == 0 for i in range(n)]
    dim = r.integer("linear_head_dim", default=None) or r.integer("head_dim", default=128)
    delta = kimi_delta(
        r,
        hidden=hidden,
        heads=r.integer("linear_num_heads", default=heads),
        dim=dim,
        kernel=r.integer("short_conv_kernel_size", "linear_conv_kernel_dim", default=4),
        forget_rank=None,
        gate_rank=None,
    ).plus(*norms(hidden, *PRE))
    attend = mla_block(r, hidden=hidden, heads=heads).plus(
        matrix("self_attn.g_proj", hidden, heads), *norms(hidden, *PRE)
    )
    r.skip("kda_safe_gate", "kda_lower_bound", "num_mtp_layers")
    routed = kimi_experts(r, hidden)
    ffn = dense(hidden, r.integer("intermediate_size")).plus(*norms(hidden, *POST))
    places = sparse_layers(r, n)
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=stack([attend if f else delta for f in full], [routed if p else ffn for p in places]),
        tied=tied(r, False),
        extra=final(hidden),
    )
    uncounted_mtp(r, draft, "num_nextn_predict_layers", "num_mtp_layers")
    return draft
