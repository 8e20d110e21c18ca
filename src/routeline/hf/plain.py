"""Dense decoders that differ from Llama in biases, norms, windows or names only."""

from __future__ import annotations

from .blocks import (
    Draft,
    layer_count,
    vector,
)
from .decoder import FULL, SLIDING, plain
from .reader import Reader


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
    four = r.architecture != "GlmForCausalLM"
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


def minicpm(r: Reader) -> Draft:
    """MiniCPM dense; the MoE variant adds num_experts experts of intermediate_size."""
    if r.integer("num_experts", default=0, low=0) > 1:
        from .decoder import sparse

        return sparse(r, tie=True)
    return plain(r, tie=True)
