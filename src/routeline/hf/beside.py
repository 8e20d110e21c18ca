"""MoE decoders with a dense path beside the experts: Grok-2, Arctic, Granite MoE."""

from __future__ import annotations

from ..arch import Weight
from .blocks import (
    POST,
    Block,
    Draft,
    dense,
    layer_count,
    moe,
    norms,
    stack,
    tied,
)
from .decoder import (
    EXPERTS,
    TOP_K,
    final,
    mixers,
    sparse,
    vocab,
    windows,
)
from .reader import Reader
from .variants import full_first, with_sinks


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


def granite_moe(r: Reader) -> Draft:
    """Granite MoE: experts of intermediate_size in all layers, optionally a shared MLP, or windows and sinks."""
    slides = r.architecture == "GraniteMoeSWAForCausalLM"
    if slides:
        full_first(r, 4)
    draft = sparse(r, prefix="block_sparse_moe.", width=("intermediate_size",), window="on" if slides else "off")
    if slides:
        draft = with_sinks(draft)
    shared = r.integer("shared_intermediate_size", default=0, low=0)
    if shared:
        draft.layers = widened(draft.layers, shared_ffn(draft.hidden, shared, "shared_mlp."))
    return draft
