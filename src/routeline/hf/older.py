"""Decoders of 2018-2023 beside GPT-2: GPT-1, BLOOM, GPT-J, CodeGen, GPT-Neo, GPT-BigCode, MPT, Persimmon, XGLM,
BioGPT, GPT-NeoX Japanese.

Shapes read off transformers 5.24's modules, which build the same parameters.
"""

from __future__ import annotations

import math

from ..errors import RoutelineError
from .blocks import Block, Draft, attention, dense, even_width, groups_of, layer_count, norms, stack, tied, vector
from .decoder import vocab
from .reader import Reader


def bloom(r: Reader) -> Draft:
    """BLOOM: a LayerNorm after the embedding, biases everywhere, FFN of 4h, ALiBi; tied."""
    hidden = r.integer("hidden_size", "n_embed", "n_embd")
    heads = r.integer("n_head", "num_attention_heads")
    n = layer_count(r, "n_layer", "num_hidden_layers")
    r.skip("slow_but_exact", "seq_length", "offset_alibi", "masked_softmax_fusion", "skip_bias_add")
    r.skip("skip_bias_add_qkv")
    mix = attention(
        hidden=hidden, heads=heads, kv_heads=heads, head_dim=even_width(r, hidden, heads), bias=True, out_bias=True
    )
    ffn = dense(
        hidden, r.integer("n_inner", default=4 * hidden, low=4 * hidden, high=4 * hidden), matrices=2, bias=True
    )
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=with_norms(mix, ffn, hidden, n),
        tied=tied(r, True),
        extra=[*norms(hidden, "word_embeddings_layernorm", bias=True), *norms(hidden, "ln_f", bias=True)],
        prefix="transformer.",
    )


def with_norms(mix: Block, ffn: Block, hidden: int, n: int) -> list[tuple[Block, ...]]:
    """`n` equal layers with a biased LayerNorm before each half."""
    before = mix.plus(*norms(hidden, "ln_1", bias=True))
    return stack([before] * n, [ffn.plus(*norms(hidden, "ln_2", bias=True))] * n)


def gptj(r: Reader) -> Draft:
    """GPT-J and CodeGen: one LayerNorm a layer (parallel), no attention biases, biases on FFN and head; untied."""
    hidden, heads = r.integer("n_embd", "hidden_size"), r.integer("n_head", "num_attention_heads")
    n = layer_count(r, "n_layer", "num_hidden_layers")
    r.skip("n_ctx", "rotary")
    mix = attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=even_width(r, hidden, heads))
    ffn = dense(hidden, r.integer("n_inner", default=4 * hidden), matrices=2, bias=True)
    share = tied(r, False)
    if share:
        raise r.refuse("tie_word_embeddings", "must be false: GPT-J and CodeGen have a head with a bias")
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=stack([mix.plus(*norms(hidden, "ln_1", bias=True))] * n, [ffn] * n),
        tied=False,
        extra=list(norms(hidden, "ln_f", bias=True)),
        head_bias=True,
        prefix="transformer.",
    )


def gpt_neo(r: Reader) -> Draft:
    """GPT-Neo: learnt positions, local attention in every second layer, a bias on the attention's output only; tied."""
    hidden, heads = r.integer("hidden_size"), r.integer("num_heads", "num_attention_heads")
    n = layer_count(r, "num_layers", "num_hidden_layers")
    positions = r.integer("max_position_embeddings")
    width = r.integer("intermediate_size", default=4 * hidden)
    window = r.integer("window_size", default=256)
    span = float(window) if window < positions else math.inf
    head_dim = even_width(r, hidden, heads)
    wide, local = (
        attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=head_dim, out_bias=True, window=s).plus(
            *norms(hidden, "ln_1", bias=True)
        )
        for s in (math.inf, span)
    )
    ffn = dense(hidden, width, matrices=2, bias=True).plus(*norms(hidden, "ln_2", bias=True))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=[(local if kind == "local" else wide, ffn) for kind in neo_kinds(r, n)],
        tied=tied(r, True),
        extra=[vector("wpe", positions * hidden, part="other"), *norms(hidden, "ln_f", bias=True)],
        prefix="transformer.",
    )


def neo_kinds(r: Reader, n: int) -> list[str]:
    """'global' or 'local' for every layer: attention_types [[[kinds], times], ...], else attention_layers."""
    kinds = ("global", "local")
    listed = r.words("attention_layers", n, known=kinds)
    spans = r.list_of("attention_types")
    if spans is None:
        if listed is None:
            raise RoutelineError("config has neither attention_types nor attention_layers, which GPT-Neo needs")
        return listed
    found: list[str] = []
    for span in spans:
        good = isinstance(span, list) and len(span) == 2 and isinstance(span[0], list)
        if not good or any(k not in kinds for k in span[0]):
            raise r.refuse("attention_types", "must hold pairs of a list of global and local and a count")
        found += span[0] * min(r.whole("attention_types", span[1], 0, 2000), n)
        if len(found) > n:
            break
    if len(found) != n or (listed is not None and listed != found):
        raise r.refuse("attention_types", f"does not describe each of {n} layers once")
    return found


def bigcode(r: Reader) -> Draft:
    """GPT-BigCode (SantaCoder, StarCoder): GPT-2 with one KV head under multi_query; tied."""
    hidden, heads = r.integer("n_embd", "hidden_size"), r.integer("n_head", "num_attention_heads")
    n = layer_count(r, "n_layer", "num_hidden_layers")
    kv = 1 if r.flag("multi_query", default=True) else heads
    if r.integer("num_key_value_heads", default=kv) != kv:
        raise r.refuse("num_key_value_heads", f"contradicts multi_query, which means {kv}")
    r.skip(
        "attention_softmax_in_fp32",
        "inference_runner",
        "max_sequence_length",
        "pad_key_length",
        "pre_allocate_kv_cache",
    )
    r.skip("validate_runner_input", "max_batch_size")
    positions = r.integer("n_positions", "max_position_embeddings", default=1024)
    mix = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=even_width(r, hidden, heads), bias=True, out_bias=True
    )
    ffn = dense(hidden, r.integer("n_inner", default=4 * hidden), matrices=2, bias=True)
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=with_norms(mix, ffn, hidden, n),
        tied=tied(r, True),
        extra=[vector("wpe", positions * hidden, part="other"), *norms(hidden, "ln_f", bias=True)],
        prefix="transformer.",
    )


def mpt(r: Reader) -> Draft:
    """MPT with ALiBi: no biases anywhere, LayerNorm without bias, FFN of 4h; tied. Other variants are refused."""
    hidden, heads = r.integer("d_model", "hidden_size"), r.integer("n_heads", "num_attention_heads")
    n = layer_count(r, "n_layers", "num_hidden_layers")
    if not r.flag("no_bias", default=True):
        raise r.refuse("no_bias", "must be true: MPT with biases is not understood")
    if r.number("expansion_ratio", default=4) != 4:
        raise r.refuse("expansion_ratio", "must be 4: MPT with another FFN width is not understood")
    a = r.section("attn_config")
    if a is not None:
        a.text("attn_type", default="multihead_attention", known=("multihead_attention",))
        if not a.flag("alibi", default=True) or a.flag("qk_ln", default=False):
            raise r.refuse("attn_config", "must have alibi true and qk_ln false: other MPT variants are not understood")
    r.skip("learned_pos_emb", "norm_type", "embedding_fraction", "init_device", "init_config", "ffn_config", "verbose")
    r.skip("fc_type", "attn_type", "n_layer")
    mix = attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=even_width(r, hidden, heads), prefix="attn.")
    ffn = dense(hidden, 4 * hidden, matrices=2, prefix="ffn.")
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=stack([mix.plus(*norms(hidden, "norm_1"))] * n, [ffn.plus(*norms(hidden, "norm_2"))] * n),
        tied=tied(r, True),
        extra=list(norms(hidden, "norm_f")),
        prefix="transformer.",
    )


def persimmon(r: Reader) -> Draft:
    """Persimmon: biases everywhere, LayerNorm, two-matrix ReLU^2 FFN, norms with biases on q and k; untied."""
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    n = layer_count(r)
    if r.integer("num_key_value_heads", default=heads) != heads:
        raise r.refuse("num_key_value_heads", "must equal num_attention_heads: Persimmon has no grouped queries")
    head_dim = even_width(r, hidden, heads)
    mix = attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=head_dim, bias=True, out_bias=True)
    if r.flag("qk_layernorm", default=True):
        mix = mix.plus(*norms(head_dim, "self_attn.q_layernorm", "self_attn.k_layernorm", bias=True))
    ffn = dense(hidden, r.integer("intermediate_size"), matrices=2, bias=True)
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=with_norms(mix, ffn, hidden, n),
        tied=tied(r, False),
        extra=list(norms(hidden, "final_layernorm", bias=True)),
    )


def xglm(r: Reader) -> Draft:
    """XGLM (sinusoidal positions) and BioGPT (learnt ones, two more rows): biases everywhere, LayerNorm; tied."""
    hidden, heads = r.integer("d_model", "hidden_size"), r.integer("attention_heads", "num_attention_heads")
    positions = 0 if r.architecture == "XGLMForCausalLM" else r.integer("max_position_embeddings") + 2
    n = layer_count(r, "num_layers", "num_hidden_layers")
    r.skip("layerdrop", "scale_embedding", "activation_dropout", "attention_dropout", "dropout")
    mix = attention(
        hidden=hidden,
        heads=heads,
        kv_heads=groups_of(r, heads, heads),
        head_dim=even_width(r, hidden, heads),
        bias=True,
        out_bias=True,
    )
    ffn = dense(hidden, r.integer("ffn_dim", "intermediate_size"), matrices=2, bias=True)
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=with_norms(mix, ffn, hidden, n),
        tied=tied(r, True),
        extra=[
            *norms(hidden, "layer_norm", bias=True),
            *((vector("embed_positions", positions * hidden, part="other"),) if positions else ()),
        ],
    )


def gpt(r: Reader) -> Draft:
    """GPT-1: learnt positions, biases everywhere, norms after each half and none at the end; tied."""
    hidden, heads = r.integer("n_embd", "hidden_size"), r.integer("n_head", "num_attention_heads")
    n = layer_count(r, "n_layer", "num_hidden_layers")
    r.skip("afn")
    mix = attention(
        hidden=hidden, heads=heads, kv_heads=heads, head_dim=even_width(r, hidden, heads), bias=True, out_bias=True
    )
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=with_norms(mix, dense(hidden, 4 * hidden, matrices=2, bias=True), hidden, n),
        tied=tied(r, True),
        extra=[vector("wpe", r.integer("n_positions", default=512) * hidden, part="other")],
        prefix="transformer.",
    )


def gpt_neox_japanese(r: Reader) -> Draft:
    """GPT-NeoX Japanese: biases in the norms and once, in the last layer's attention output."""
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    n = layer_count(r)
    mix = attention(hidden=hidden, heads=heads, kv_heads=heads, head_dim=even_width(r, hidden, heads))
    width = r.integer("intermediate_multiple_size", default=4) * hidden
    layers = with_norms(mix, dense(hidden, width, matrices=2), hidden, n)
    last = (layers[-1][0].plus(vector("attention.dense_bias", hidden, part="attention")), layers[-1][1])
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=[*layers[:-1], last],
        tied=tied(r, True),
        extra=list(norms(hidden, "final_layer_norm", bias=True)),
    )
