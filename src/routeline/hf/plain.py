"""Dense decoders that differ from Llama in biases, norms, windows or names only."""

from __future__ import annotations

import math

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
from .decoder import FULL, SLIDING, final, plain, vocab
from .reader import Reader

FOUR_PRE = ("input_layernorm", "post_attention_layernorm")
FOUR_POST = ("pre_feedforward_layernorm", "post_feedforward_layernorm")


def llama(r: Reader) -> Draft:
    """Llama 1-3, Yi, CodeLlama and their kin: RMSNorm, gated FFN, no biases unless named."""
    return plain(r)


def mistral(r: Reader) -> Draft:
    """Mistral, Ministral, Mistral-Small: Llama with an optional window in all layers."""
    return plain(r, window="on")


def qwen2(r: Reader) -> Draft:
    """Qwen2/2.5 and MiMo-7B: q, k, v biases in code, not in the config; windows only with use_sliding_window."""
    draft = plain(r, qkv_bias=True, out_bias=False, window="flag")
    uncounted_mtp(r, draft)
    return draft


def uncounted_mtp(r: Reader, draft: Draft, *keys: str) -> None:
    """MTP layers whose shape the config does not give: their number is kept, their weights are not counted."""
    n = r.integer(*(keys or ("num_nextn_predict_layers",)), default=None, low=0, high=64)
    if n:
        draft.mtp_layers = n
        r.warn(
            f"{n} multi-token-prediction layer(s) are announced but not counted: the config does not give their shape"
        )


def qwen3(r: Reader) -> Draft:
    """Qwen3 dense: per-head q and k norms."""
    return plain(r, qk_norm="head", window="flag")


def smollm3(r: Reader) -> Draft:
    """SmolLM3: Llama with some layers without rotary positions; tied by default."""
    return plain(r, window="flag", tie=True)


def seed_oss(r: Reader) -> Draft:
    """Seed-OSS: q, k, v biases; attention_out_bias apart."""
    return plain(r, qkv_bias=True, out_bias=r.flag("attention_out_bias", default=False))


def internlm(r: Reader) -> Draft:
    """InternLM2/3: one `bias` flag for all attention projections (InternLM3: qkv_bias and bias)."""
    on = r.flag("bias", default=False)
    return plain(r, qkv_bias=on, out_bias=on)


def phi3(r: Reader) -> Draft:
    """Phi-3, Phi-4: fused qkv and gate_up matrices, window where below the context limit."""
    return plain(r, window="on", head_bias=True)


def granite(r: Reader) -> Draft:
    """Granite dense: Llama with scalar multipliers; tied in most files, default untied."""
    return plain(r)


def exaone(r: Reader) -> Draft:
    """EXAONE 3: Llama under other names."""
    return plain(r)


def exaone4(r: Reader) -> Draft:
    """EXAONE 4: norms after attention and FFN, per-head q and k norms, LLLG windows."""
    letters_to_types(r)
    return plain(
        r,
        qk_norm="head",
        window="on",
        pre=("post_attention_layernorm",),
        post=("post_feedforward_layernorm",),
        period=0 if r.has("layer_types") else 4,
    )


def letters_to_types(r: Reader) -> None:
    """sliding_window_pattern as letters ('LLLG') or null becomes layer_types, in a private copy of the config."""
    letters = r.config.get("sliding_window_pattern")
    n = layer_count(r)
    if isinstance(letters, str) and not r.has("layer_types"):
        if not letters or set(letters) - {"L", "G"}:
            raise r.refuse("sliding_window_pattern", "must be made of the letters L and G")
        kinds = [SLIDING if letters[i % len(letters)] == "L" else FULL for i in range(n)]
        kinds[-1] = FULL
        r.config = dict(r.config) | {"layer_types": kinds, "sliding_window_pattern": None}
    if r.has("layer_types"):
        r.skip("sliding_window_pattern")
    if not r.has("sliding_window"):
        r.skip("layer_types", "sliding_window_pattern")


def olmo(r: Reader) -> Draft:
    """OLMo 1: norms without parameters."""
    return plain(r, pre=(), post=(), no_norm=True)


def olmo2(r: Reader) -> Draft:
    """OLMo 2 and 3: norms after attention and FFN, norms over whole q and k; OLMo 3 has windows."""
    return plain(
        r,
        qk_norm="full",
        window="on" if r.has("layer_types") or r.architecture == "Olmo3ForCausalLM" else "off",
        pre=("post_attention_layernorm",),
        post=("post_feedforward_layernorm",),
        period=4 if r.architecture == "Olmo3ForCausalLM" else 0,
    )


def arcee(r: Reader) -> Draft:
    """Arcee AFM: two-matrix ReLU^2 FFN."""
    return plain(r, matrices=2)


def apertus(r: Reader) -> Draft:
    """Apertus: two-matrix xIELU FFN with two learnt scalars, per-head q and k norms."""
    draft = plain(r, matrices=2, qk_norm="head", pre=("attention_layernorm",), post=("feedforward_layernorm",))
    mix, ffn = draft.layers[0]
    own = ffn.plus(vector("mlp.act_fn", 2, part="dense_ffn"))
    r.flag("qk_norm", default=True)
    r.flag("post_norm", default=False)
    draft.layers = [(mix, own)] * len(draft.layers)
    return draft


def glm(r: Reader) -> Draft:
    """GLM-4 9B/32B: q, k, v biases by default; GLM-4-0414 has two more norms."""
    four = r.architecture == "Glm4ForCausalLM"
    extra = ("post_self_attn_layernorm",) if four else ()
    return plain(
        r,
        qkv_bias=True,
        out_bias=False,
        pre=("input_layernorm", *extra),
        post=("post_attention_layernorm", *(("post_mlp_layernorm",) if four else ())),
    )


def cohere(r: Reader) -> Draft:
    """Command-R, Aya: one norm a layer for attention and FFN in parallel; tied by default."""
    qk = r.flag("use_qk_norm", default=False)
    r.flag("use_parallel_block", default=True)
    r.flag("use_gated_activation", default=True)
    return plain(r, tie=True, post=(), qk_norm="full" if qk else None)


def cohere2(r: Reader) -> Draft:
    """Command-R7B, Command-A: three windowed layers to one full; tied by default."""
    r.flag("use_parallel_block", default=True)
    r.flag("use_gated_activation", default=True)
    r.flag("use_qk_norm", default=False)
    r.skip("order_of_interleaved_layers", "use_parallel_embedding", "use_embedding_sharing", "layer_switch")
    return plain(r, tie=True, post=(), window="on", period=0 if r.has("layer_types") else 4)


def starcoder2(r: Reader) -> Draft:
    """StarCoder2: biases everywhere, LayerNorm, two-matrix FFN; tied by default.

    Its sliding_window is counted as full attention, as the reference cache table does: an upper bound.
    """
    on = r.flag("use_bias", default=True)
    window_ignored(r)
    norm_bias = r.text("norm_type", default="layer_norm", known=("layer_norm", "rms_norm")) == "layer_norm"
    r.skip("mlp_type")
    return plain(r, qkv_bias=on, out_bias=on, ffn_bias=on, matrices=2, tie=True, norm_bias=norm_bias)


def window_ignored(r: Reader) -> None:
    """Warn that a window below the context limit is counted as full attention."""
    window = r.integer("sliding_window", default=None)
    limit = r.integer("max_position_embeddings", default=None, high=10**9)
    if window is not None and limit is not None and window < limit:
        r.warn(
            f"sliding_window={window} is counted as full attention (an upper bound on the cache): served with a "
            f"window, a sequence keeps at most {window} of its up to {limit} tokens"
        )


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


def gemma(r: Reader) -> Draft:
    """Gemma 1: heads of 256 unless named, tied."""
    return plain(gemma_heads(r), tie=True)


def gemma_heads(r: Reader) -> Reader:
    """head_dim defaults to 256 in Gemma classes, whatever hidden/heads is."""
    if not r.has("head_dim"):
        r.defaults["head_dim"] = 256
        r.config = dict(r.config) | {"head_dim": 256}
    return r


def gemma2(r: Reader) -> Draft:
    """Gemma 2: four norms a layer, every second layer windowed; tied."""
    period = 0 if r.has("layer_types") else 2
    return plain(gemma_heads(r), tie=True, window="on", period=period, pre=FOUR_PRE, post=FOUR_POST)


def gemma3(r: Reader) -> Draft:
    """Gemma 3: four norms, per-head q and k norms, five windowed layers to one full; tied."""
    for key, value in (("num_attention_heads", 8), ("num_key_value_heads", 4), ("vocab_size", 262208)):
        if not r.has(key):
            r.defaults[key] = value
            r.config = dict(r.config) | {key: value}
    period = 0 if r.has("layer_types") else 6
    r.skip("_sliding_window_pattern", "sliding_window_pattern", "use_bidirectional_attention")
    return plain(gemma_heads(r), tie=True, window="on", period=period, qk_norm="head", pre=FOUR_PRE, post=FOUR_POST)


def muse_glimmer(r: Reader) -> Draft:
    """Muse Glimmer: output gate of the query width, four norms, parameter-free q and k norms."""
    draft = plain(r, window="on", pre=FOUR_PRE, post=FOUR_POST, gated=True)
    draft.prefix = "model.language_model."
    return draft


def minicpm(r: Reader) -> Draft:
    """MiniCPM dense; the MoE variant adds num_experts experts of intermediate_size."""
    if r.integer("num_experts", default=0, low=0) > 1:
        from .decoder import sparse

        return sparse(r, tie=True)
    return plain(r, tie=True)


def nas(r: Reader) -> Draft:
    """Nemotron-NAS (DeciLM): per-layer KV groups, FFN widths, no-ops and linear replacements in block_configs."""
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    r.skip("num_key_value_heads", "intermediate_size")
    head_dim = head_width(r, hidden, heads)
    n = layer_count(r)
    specs = r.list_of("block_configs", n)
    if specs is None:
        raise RoutelineError("config has no key block_configs, which Nemotron-NAS needs")
    bias = r.flag("attention_bias", default=False)
    ffn_bias = r.flag("mlp_bias", default=False)
    made: dict[str, Block] = {}
    layers, kv_most = [], 1
    for i, spec in enumerate(specs):
        if not isinstance(spec, dict):
            raise RoutelineError(f"config key block_configs[{i}] must be an object")
        inner = Reader(spec, parent=r, path=f"block_configs[{i}].")
        a, f = inner.section("attention"), inner.section("ffn")
        if a is None or f is None:
            raise RoutelineError(f"config key block_configs[{i}] needs both attention and ffn")
        key = f"a {a.config}"
        if key not in made:
            made[key], kv = nas_attention(a, hidden, heads, head_dim, bias)
            kv_most = max(kv_most, kv)
        key_f = f"f {f.config}"
        if key_f not in made:
            made[key_f] = nas_ffn(f, hidden, ffn_bias)
        layers.append((made[key], made[key_f]))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv_most,
        layers=layers,
        tied=tied(r, False),
        extra=final(hidden),
    )


def nas_attention(a: Reader, hidden: int, heads: int, head_dim: int, bias: bool) -> tuple[Block, int]:
    """(block, KV heads) of one layer's attention: none, a single matrix, or grouped-query attention."""
    if a.flag("no_op", default=False):
        return Block(), 1
    if a.flag("replace_with_linear", default=False):
        return Block(weights=(matrix("self_attn.linear_attn", hidden, hidden), *norms(hidden, "input_layernorm"))), 1
    for key in ("sparsify", "num_sink_tokens"):
        a.skip(key)
    window = a.integer("window_length", default=None)
    group = a.integer("n_heads_in_group")
    if heads % group:
        raise a.refuse("n_heads_in_group", f"must divide num_attention_heads={heads}")
    kv = heads // group
    span = math.inf if window is None else float(window)
    block = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=head_dim, window=span, bias=bias, out_bias=bias)
    return block.plus(*norms(hidden, "input_layernorm")), kv


def nas_ffn(f: Reader, hidden: int, bias: bool) -> Block:
    """One layer's FFN: none, a single matrix, or gated with width 2/3*ffn_mult*hidden rounded up to 256."""
    if f.flag("no_op", default=False):
        return Block()
    if f.flag("replace_with_linear", default=False):
        linear = matrix("mlp.linear_mlp", hidden, hidden, part="dense_ffn")
        return Block(weights=(linear, *norms(hidden, "post_attention_layernorm")))
    width = f.integer("intermediate_size", default=None)
    if width is None:
        width = int(2 * f.number("ffn_mult", high=1000.0) * hidden / 3)
        width = max(256, -(-width // 256) * 256)
    return dense(hidden, width, bias=bias).plus(*norms(hidden, "post_attention_layernorm"))
