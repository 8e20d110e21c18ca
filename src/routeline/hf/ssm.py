"""State-space and recurrent decoders without or beside attention: Mamba, Mamba-2, Falcon-Mamba, Falcon-H1, Zamba2,
RecurrentGemma. Shapes read off transformers 5.24's modules, which build the same parameters."""

from __future__ import annotations

import math
from dataclasses import replace

from ..arch import State
from ..errors import RoutelineError
from .blocks import (
    Block,
    Draft,
    attention,
    dense,
    groups_of,
    head_width,
    layer_count,
    matrix,
    norms,
    shape,
    stack,
    tied,
    vector,
)
from .decoder import vocab
from .hybrid import LINEAR
from .linear import PLAIN, mamba1, mamba2, state_width
from .reader import Reader


def time_rank(r: Reader, hidden: int) -> int:
    """time_step_rank: a number, or 'auto' for hidden/16 rounded up [-]."""
    value = r.config.get("time_step_rank")
    r.skip("time_step_rank")
    return math.ceil(hidden / 16) if value in ("auto", None) else r.whole("time_step_rank", value)


def skip_steps(r: Reader) -> None:
    """Keys of the discretisation and of kernels: no shapes."""
    r.skip("time_step_init_scheme", "time_step_scale", "use_mambapy", "use_falcon_mambapy", "use_associative_scan")
    r.skip("rms_norm", "fused_add_norm", "ssm_cfg", "pad_vocab_size_multiple", "chunk_size", "norm_before_gate")
    r.skip("residual_in_fp32", "mixer_rms_eps", "layer_types", "layers_block_type")


def mamba(r: Reader) -> Draft:
    """Mamba and Falcon-Mamba: a norm and a Mamba-1 mixer a layer; tied by default.

    An intermediate_size beside `expand` decides, as in the files of Falcon-Mamba-7B (expand 16 of 4096 is not
    its 8192).
    """
    hidden = r.integer("hidden_size", "d_model")
    n = layer_count(r, "num_hidden_layers", "n_layer")
    inner = r.integer("intermediate_size", "d_inner", default=None)
    expand = r.number("expand", default=2, high=1000.0)
    inner = max(1, int(expand * hidden)) if inner is None else inner
    skip_steps(r)
    mixer = mamba1(
        r,
        hidden=hidden,
        inner=inner,
        state=r.integer("state_size", default=16),
        kernel=r.integer("conv_kernel", default=4),
        rank=time_rank(r, hidden),
        conv_bias=r.flag("use_conv_bias", default=True),
        proj_bias=r.flag("use_bias", default=False),
        normed=False,
    ).plus(*norms(hidden, "norm"))
    return _mixers_alone(r, hidden, inner, mixer, n, tied(r, True))


def _mixers_alone(r: Reader, hidden: int, heads: int, mixer: Block, n: int, ties: bool) -> Draft:
    """`n` layers of one mixer and nothing else between embedding and head."""
    return Draft(
        hidden=hidden, vocab=vocab(r), heads=heads, kv_heads=1, layers=[(mixer,)] * n, tied=ties,
        extra=list(norms(hidden, "norm_f")), prefix="backbone.",
    )  # fmt: skip


def mamba2_lm(r: Reader) -> Draft:
    """Mamba-2 (Codestral Mamba): a norm and a Mamba-2 mixer a layer."""
    hidden = r.integer("hidden_size", "d_model")
    n = layer_count(r, "num_hidden_layers", "n_layer")
    heads, dim = r.integer("num_heads", default=128), r.integer("head_dim", default=64)
    expand = r.number("expand", default=2, high=1000.0)
    if int(expand * hidden) != heads * dim:
        raise RoutelineError(f"num_heads={heads} times head_dim={dim} is not expand*hidden_size={expand * hidden:g}")
    time_rank(r, hidden)
    skip_steps(r)
    r.skip("intermediate_size")
    mixer = mamba2(
        r,
        hidden=hidden,
        heads=heads,
        head_dim=dim,
        groups=r.integer("n_groups", default=8),
        state=r.integer("state_size", default=128),
        kernel=r.integer("conv_kernel", default=4),
        conv_bias=r.flag("use_conv_bias", default=True),
        proj_bias=r.flag("use_bias", default=False),
    ).plus(*norms(hidden, "norm"))
    return _mixers_alone(r, hidden, heads, mixer, n, tied(r, False))


def falcon_h1(r: Reader) -> Draft:
    """Falcon-H1: attention and Mamba-2 in parallel in every layer, then a gated FFN."""
    n = layer_count(r)
    hidden, heads, kv, head_dim = shape(r)
    m_heads = r.integer("mamba_n_heads", default=128)
    inner = r.integer("mamba_d_ssm", default=None)
    if inner is None:
        inner = r.integer("mamba_expand", default=2) * hidden
    r.skip("mamba_expand", "mamba_use_mlp", "mamba_norm_before_gate", "attn_layer_indices", "attention_in_multiplier")
    dim = r.config.get("mamba_d_head", "auto")
    r.skip("mamba_d_head", "mlp_expansion_factor", "projector_bias")
    dim = inner // m_heads if dim in ("auto", None) else r.whole("mamba_d_head", dim)
    if dim * m_heads != inner:
        raise RoutelineError(f"mamba_n_heads={m_heads} times mamba_d_head={dim} is not mamba_d_ssm={inner}")
    on = r.flag("attention_bias", default=False)
    attend = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, bias=on, out_bias=on)
    ssm = mamba2(
        r,
        hidden=hidden,
        heads=m_heads,
        head_dim=dim,
        groups=r.integer("mamba_n_groups", default=1),
        state=r.integer("mamba_d_state", default=256),
        kernel=r.integer("mamba_d_conv", default=4),
        conv_bias=r.flag("mamba_conv_bias", default=True),
        proj_bias=r.flag("mamba_proj_bias", default=False),
        out_bias=r.flag("projectors_bias", default=False),
        norm=r.flag("mamba_rms_norm", default=False),
        prefix="mamba.",
    ).plus(*norms(hidden, "input_layernorm"))
    ffn = dense(hidden, r.integer("intermediate_size"), bias=r.flag("mlp_bias", default=False), prefix="feed_forward.")
    layer = (attend, ssm, ffn.plus(*norms(hidden, "pre_ff_layernorm")))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=[layer] * n,
        tied=tied(r, False),
        extra=list(norms(hidden, "final_layernorm")),
    )


ZAMBA = ["M", *("MMMMMH" * 7), *"MMMMHMMMHMM"]
"""Zamba2's own placement (54 layers) where the config gives none."""


def zamba2(r: Reader) -> Draft:
    """Zamba2: Mamba-2 layers, some with a transformer block in front that num_mem_blocks copies share.

    The shared block sees 2h inputs (the stream and the embedding) and is read at every use, held once per copy;
    every use has its own low-rank adapters and its own cache.
    """
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    n = layer_count(r)
    if not tied(r, True):
        raise r.refuse("tie_word_embeddings", "must be true: Zamba2 with a head of its own is not understood")
    kinds = r.words("layers_block_type", n, known=("mamba", LINEAR, "hybrid"))
    at = r.integers("hybrid_layer_ids")
    if kinds is None and at is None and n != len(ZAMBA):
        raise RoutelineError(f"config has no layers_block_type, and Zamba2's own placement has 54 layers, not {n}")
    listed = None if at is None else [i in set(at) for i in range(n)]
    hybrid = [k == "hybrid" for k in kinds] if kinds else listed or [letter == "H" for letter in ZAMBA]
    if listed is not None and listed != hybrid:
        raise r.refuse("hybrid_layer_ids", "contradicts layers_block_type")
    kv = groups_of(r, heads, r.integer("num_key_value_heads", default=heads))
    wide, dim = 2 * hidden, 2 * hidden // heads
    for key, value in (("attention_hidden_size", wide), ("attention_head_dim", dim)):
        r.integer(key, default=value, low=value, high=value)
    width = r.integer("intermediate_size", "ffn_hidden_size", default=4 * hidden)
    rank, copies = r.integer("adapter_rank", default=128), r.integer("num_mem_blocks", default=1)
    bias = r.flag("add_bias_linear", default=False)
    r.skip("kv_channels", "num_query_groups", "use_mem_rope", "use_long_context", "use_shared_mlp_adapter")
    r.skip(
        "use_mem_eff_path", "num_logits_to_keep", "use_mamba_kernels", "mamba_headdim", "use_conv_bias", "vocab_file"
    )
    skip_steps(r)
    m_heads = r.integer("n_mamba_heads", default=8)
    inner = r.integer("mamba_expand", default=2) * hidden
    if inner % m_heads:
        raise RoutelineError(f"n_mamba_heads={m_heads} does not divide mamba_expand*hidden_size={inner}")
    ssm = mamba2(
        r,
        hidden=hidden,
        heads=m_heads,
        head_dim=inner // m_heads,
        groups=r.integer("mamba_ngroups", default=1),
        state=r.integer("mamba_d_state", default=64),
        kernel=r.integer("mamba_d_conv", default=4),
        conv_bias=True,
        proj_bias=bias,
        prefix="mamba.",
    ).plus(*norms(hidden, "input_layernorm"))
    attend = attention(hidden=wide, heads=heads, kv_heads=kv, head_dim=dim, prefix="shared.self_attn.")
    own = tuple(replace(w, params=heads * dim * hidden) if w.name.endswith("o_proj") else w for w in attend.weights)
    ffn = dense(hidden, width, prefix="shared.feed_forward.")
    both = (2 * width + hidden,) if bias else ()
    block = Block(
        weights=(
            *own,
            *ffn.weights,
            *(vector("shared.feed_forward.bias", b, part="dense_ffn") for b in both),
            *norms(wide, "shared.input_layernorm"),
            *norms(hidden, "shared.pre_ff_layernorm"),
        )
    )
    adapters = [
        matrix("linear", hidden, hidden),
        matrix("adapter_a", hidden, rank, part="dense_ffn"),
        matrix("adapter_b", rank, 2 * width, part="dense_ffn"),
    ]
    if r.flag("use_shared_attention_adapter", default=False):
        adapters += [matrix(f"{m}_adapter", wide, 2 * rank) for m in "qkv"]
    use = Block(weights=tuple(adapters), streams=attend.streams)
    again = replace(block, weights=tuple(replace(w, again=True) for w in block.weights))
    order = iter([block] * copies + [again] * n)
    layers = [(next(order), use, ssm) if h else (ssm,) for h in hybrid]
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=layers,
        tied=True,
        extra=list(norms(hidden, "final_layernorm")),
    )


def recurrent_gemma(r: Reader) -> Draft:
    """RecurrentGemma (Griffin): gated linear recurrences, every third layer local attention; tied."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    kv = groups_of(r, heads, r.integer("num_key_value_heads", default=heads))
    head_dim = head_width(r, hidden, heads)
    kinds = r.list_of("block_types") or ["recurrent", "recurrent", "attention"]
    if any(k not in ("recurrent", "attention") for k in kinds):
        raise r.refuse("block_types", "must be made of recurrent and attention")
    width, lru = r.integer("intermediate_size"), r.integer("lru_width", default=hidden)
    kernel, window = r.integer("conv1d_width", default=4), r.integer("attention_window_size", default=2048)
    r.skip("w_init_variance_scale", "final_w_init_variance_scale", "_block_types", "layers_block_type")
    r.skip("embeddings_scale_by_sqrt_dim")
    if lru % heads:
        raise r.refuse("lru_width", f"must be divisible by num_attention_heads={heads}")
    on = r.flag("attention_bias", default=False)
    attend = attention(
        hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, window=window, bias=on, out_bias=True
    ).plus(*norms(hidden, "temporal_pre_norm"))
    gates = 2 * (lru * (lru // heads) + lru)
    recur = Block(
        weights=(
            *(matrix(f"linear_{m}", hidden, lru) for m in ("x", "y", "out")),
            vector("linear_bias", 2 * lru + hidden, part="attention"),
            vector("conv_1d", lru * (kernel + 1), part="attention"),
            vector("rg_lru", lru + gates, part="attention"),
            *norms(hidden, "temporal_pre_norm"),
        ),
        states=(
            State(
                name="lru",
                bytes=lru * state_width(r) + lru * (kernel - 1) * 2.0,
                flop=PLAIN * lru + 2.0 * lru * kernel,
                shards=float(lru),
            ),
        ),
    )
    ffn = dense(hidden, max(1, width // 2), bias=True).plus(*norms(hidden, "channel_pre_norm"))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack([recur if kinds[i % len(kinds)] == "recurrent" else attend for i in range(n)], [ffn] * n),
        tied=tied(r, True),
        extra=list(norms(hidden, "final_norm")),
    )
