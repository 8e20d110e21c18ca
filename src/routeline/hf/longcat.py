"""LongCat-Flash: two attentions and two dense FFNs a layer, and experts of which some compute nothing."""

from __future__ import annotations

from .blocks import Block, Draft, dense, layer_count, moe, norms, tied
from .decoder import final, vocab
from .deepseek import mla_block
from .reader import Reader


def longcat(r: Reader) -> Draft:
    """moe_topk experts are chosen among real and zero-computation ones, so a token uses fewer real ones.

    The mean under uniform routing, moe_topk * real/(real + zero), is taken as top_k: 8 of 12 for the
    published 512 + 256, which reproduces the published 27 B mean activation.
    """
    n = layer_count(r, "num_layers", "num_hidden_layers")
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    ffn_width = r.integer("ffn_hidden_size", "intermediate_size")
    width = r.integer("expert_ffn_hidden_size", "moe_intermediate_size")
    real = r.integer("n_routed_experts", "num_experts")
    zero = r.integer("zero_expert_num", default=0, low=0)
    top_k = r.integer("moe_topk", "num_experts_per_tok")
    r.skip(
        "zero_expert_type", "mla_scale_q_lora", "mla_scale_kv_lora", "attention_method", "router_bias", "qk_head_dim"
    )
    mean = top_k * real / (real + zero)
    if top_k > real + zero or not 1 <= mean <= real:
        raise r.refuse("moe_topk", f"cannot be chosen among {real} real and {zero} zero-computation experts")
    if zero:
        r.warn(
            f"{zero} of {real + zero} experts compute nothing: {top_k} are chosen, {mean:g} real ones on average under "
            "uniform routing; active parameters vary from token to token"
        )
    mix = mla_block(r, hidden=hidden, heads=heads)
    routed = moe(r, hidden=hidden, experts=real, top_k=1, width=width, router="router.classifier")
    router = tuple(w for w in routed.weights if w.part == "routed")
    gate = next(w for w in routed.weights if w.part == "router")
    grown = gate.__class__(name=gate.name, part="router", params=hidden * (real + zero))
    block = Block(weights=(*router, grown), experts=real, top_k=mean)
    attend = mix.plus(*norms(hidden, "input_layernorm"))
    ffn = dense(hidden, ffn_width, prefix="mlps.").plus(*norms(hidden, "post_attention_layernorm"))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=[(attend, attend, ffn, ffn, block)] * n,
        tied=tied(r, False),
        extra=final(hidden),
    )
    mtp = r.integer("num_nextn_predict_layers", default=None, low=0, high=64)
    if mtp:
        draft.mtp_layers = mtp
        r.warn(f"{mtp} multi-token-prediction layer(s) are announced but not counted")
    r.skip("num_key_value_heads", "head_dim", "mtp_num_layers", "mtp_disable_over_tokenizer", "ngram_vocab_size_ratio")
    return draft
