"""GPT-2, GPT-NeoX, OPT, Phi-1/2 and Falcon: LayerNorm, two-matrix FFNs, biases, learnt positions."""

from __future__ import annotations

from .blocks import (
    Draft,
    attention,
    dense,
    groups_of,
    head_width,
    layer_count,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import plain, vocab
from .reader import Reader


def gpt2(r: Reader) -> Draft:
    """GPT-2: learnt positions, biases everywhere, LayerNorm, two-matrix FFN of 4h unless n_inner; tied."""
    hidden, heads, kv_heads, head_dim = shape(r)
    n = layer_count(r)
    width = r.integer("n_inner", default=4 * hidden)
    positions = r.integer("n_positions", "max_position_embeddings", default=1024)
    mix = attention(hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=head_dim, bias=True, out_bias=True)
    ffn = dense(hidden, width, matrices=2, bias=True)
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv_heads,
        layers=stack(
            [mix.plus(*norms(hidden, "ln_1", bias=True))] * n, [ffn.plus(*norms(hidden, "ln_2", bias=True))] * n
        ),
        tied=tied(r, True),
        extra=[vector("wpe", positions * hidden, part="other"), *norms(hidden, "ln_f", bias=True)],
        prefix="transformer.",
    )


def gpt_neox(r: Reader) -> Draft:
    """GPT-NeoX, Pythia: biases everywhere, LayerNorm, two-matrix FFN, untied."""
    on = r.flag("attention_bias", default=True)
    r.skip("use_parallel_residual")
    return plain(r, qkv_bias=on, out_bias=on, ffn_bias=True, matrices=2, norm_bias=True)


def opt(r: Reader) -> Draft:
    """OPT: learnt positions (two more rows), biases everywhere, two-matrix FFN; tied."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    if r.integer("word_embed_proj_dim", default=hidden) != hidden:
        raise r.refuse("word_embed_proj_dim", "differs from hidden_size, which is not understood")
    bias = r.flag("enable_bias", default=True)
    affine = r.flag("layer_norm_elementwise_affine", default=True)
    before = r.flag("do_layer_norm_before", default=True)
    late = r.flag("_remove_final_layer_norm", default=False)
    mix = attention(
        hidden=hidden, heads=heads, kv_heads=heads, head_dim=head_width(r, hidden, heads), bias=bias, out_bias=bias
    )
    ffn = dense(hidden, r.integer("ffn_dim"), matrices=2, bias=bias)
    names = ("self_attn_layer_norm",) if affine else ()
    last = ("final_layer_norm",) if affine else ()
    positions = (r.integer("max_position_embeddings") + 2) * hidden
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=heads,
        layers=stack(
            [mix.plus(*norms(hidden, *names, bias=True))] * n, [ffn.plus(*norms(hidden, *last, bias=True))] * n
        ),
        tied=tied(r, True),
        extra=[
            vector("embed_positions", positions, part="other"),
            *(norms(hidden, "final_layer_norm", bias=True) if before and affine and not late else ()),
        ],
        prefix="model.decoder.",
    )


def phi(r: Reader) -> Draft:
    """Phi-1, Phi-2: one LayerNorm a layer (parallel), biases everywhere, also on the head; untied."""
    if r.flag("qk_layernorm", default=False):
        raise r.refuse("qk_layernorm", "is not understood for Phi")
    draft = plain(r, qkv_bias=True, out_bias=True, ffn_bias=True, matrices=2, norm_bias=True, post=())
    draft.head_bias = True
    return draft


def falcon(r: Reader) -> Draft:
    """Falcon 7B/40B/180B/11B: KV heads by new_decoder_architecture and multi_query; tied by default."""
    hidden = r.integer("hidden_size")
    heads = r.integer("num_attention_heads", "n_head")
    n = layer_count(r)
    new = r.flag("new_decoder_architecture", default=False)
    multi = r.flag("multi_query", default=True)
    if new:
        kv_heads = groups_of(r, heads, r.integer("num_kv_heads", default=heads), "num_kv_heads")
    else:
        kv_heads = 1 if multi else heads
        r.skip("num_kv_heads")
    parallel = r.flag("parallel_attn", default=True)
    bias = r.flag("bias", default=False)
    r.skip("alibi")
    count = r.integer("num_ln_in_parallel_attn", default=2 if new else 1, high=2)
    head_dim = head_width(r, hidden, heads)
    mix = attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        bias=bias,
        out_bias=bias,
        prefix="self_attention.",
    )
    ffn = dense(hidden, r.integer("ffn_hidden_size", default=4 * hidden), matrices=2, bias=bias)
    second = count == 2 or not parallel
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv_heads,
        layers=stack(
            [mix.plus(*norms(hidden, "ln_attn", bias=True))] * n,
            [ffn.plus(*(norms(hidden, "ln_mlp", bias=True) if second else ()))] * n,
        ),
        tied=tied(r, True),
        extra=list(norms(hidden, "ln_f", bias=True)),
        prefix="transformer.",
    )
