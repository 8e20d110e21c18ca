"""Dense decoders one step from Llama: other norms, FFN matrices, windows or small extra vectors.

Shapes read off transformers 5.24's modules, which build the same parameters.
"""

from __future__ import annotations

from .blocks import POST, Draft, even_width, head_width, layer_count, norms, vector
from .decoder import FULL, SLIDING, plain
from .gemma import gemma_heads
from .reader import Reader


def stablelm(r: Reader) -> Draft:
    """StableLM 2 and 3B: LayerNorm, gated FFN; parallel residual drops a norm, qk_layernorm adds one a head."""
    even_width(r, r.integer("hidden_size"), r.integer("num_attention_heads"))
    parallel = r.flag("use_parallel_residual", default=False)
    per_head = r.flag("qk_layernorm", default=False)
    r.skip("rotary_scaling_factor", "norm_eps", "rope_pct")
    draft = plain(r, qkv_bias=False, out_bias=False, ffn_bias=False, norm_bias=True, post=() if parallel else POST)
    if per_head:
        dim = head_width(r, draft.hidden, draft.heads)
        own = (
            vector("self_attn.q_layernorm", draft.heads * dim),
            vector("self_attn.k_layernorm", draft.kv_heads * dim),
        )
        mix, ffn = draft.layers[0]
        draft.layers = [(mix.plus(*own), ffn)] * len(draft.layers)
    return draft


def nemotron(r: Reader) -> Draft:
    """Nemotron-3/4, Minitron: LayerNorm, two-matrix ReLU^2 FFN."""
    return plain(r, matrices=2, norm_bias=True)


def helium(r: Reader) -> Draft:
    """Helium: Llama without an output bias."""
    even_width(r, r.integer("hidden_size"), r.integer("num_attention_heads"))
    return plain(r, out_bias=False)


def jais2(r: Reader) -> Draft:
    """Jais 2: LayerNorm, two-matrix ReLU^2 FFN, biases everywhere by default."""
    bias = r.flag("mlp_bias", default=True)
    return plain(r, qkv_bias=True, ffn_bias=bias, matrices=2, norm_bias=True)


def hyperclovax(r: Reader) -> Draft:
    """HyperCLOVA X SEED: Llama with two more norms under use_post_norm."""
    four = r.flag("use_post_norm", default=True)
    r.skip("attention_multiplier")
    return plain(
        r,
        pre=("input_layernorm", *(("post_norm1",) if four else ())),
        post=("post_attention_layernorm", *(("post_norm2",) if four else ())),
    )


def diffllama(r: Reader) -> Draft:
    """DiffLlama: differential attention, four learnt vectors of head_dim a layer."""
    r.skip("lambda_std_dev")
    draft = plain(r, ffn_bias=False)
    own = vector("self_attn.lambda", 4 * head_width(r, draft.hidden, draft.heads), part="attention")
    draft.layers = [(mix.plus(own), ffn) for mix, ffn in draft.layers[:1]] * len(draft.layers)
    return draft


def bitnet(r: Reader) -> Draft:
    """BitNet b1.58: norms before the output projections of attention and FFN."""
    width = r.integer("intermediate_size")
    draft = plain(r, ffn_bias=False)
    mix, ffn = draft.layers[0]
    layer = (
        mix.plus(*norms(draft.hidden, "self_attn.attn_sub_norm")),
        ffn.plus(*norms(width, "mlp.ffn_sub_norm")),
    )
    draft.layers = [layer] * len(draft.layers)
    return draft


def vaultgemma(r: Reader) -> Draft:
    """VaultGemma: Gemma 2 with a norm before each half only."""
    period = 0 if r.has("layer_types") else 2
    return plain(
        gemma_heads(r), tie=True, window="on", period=period, ffn_bias=False, post=("pre_feedforward_layernorm",)
    )


def nanochat(r: Reader) -> Draft:
    """nanochat: norms without parameters, two-matrix ReLU^2 FFN."""
    return plain(r, matrices=2, ffn_bias=False, pre=(), post=(), no_norm=True)


def full_first(r: Reader, period: int) -> None:
    """Without layer_types every `period`-th layer is full, the first included; the others are windowed."""
    if not r.has("layer_types") and (r.has("sliding_window") or r.filled("sliding_window") is not None):
        n = layer_count(r)
        r.defaults["layer_types"] = f"every {period}th full, from the first"
        r.config = dict(r.config) | {"layer_types": [FULL if i % period == 0 else SLIDING for i in range(n)]}


def cwm(r: Reader) -> Draft:
    """Code World Model: Llama 3 with three windowed layers after each full one."""
    full_first(r, 4)
    return plain(r, window="on", qkv_bias=False, out_bias=False)


def granite_swa(r: Reader) -> Draft:
    """Granite with windows and attention sinks: three windowed layers after each full one; tied by default."""
    full_first(r, 4)
    draft = plain(r, window="on", tie=True)
    return with_sinks(draft)


def with_sinks(draft: Draft) -> Draft:
    """One learnt sink a query head in every attention."""
    own = vector("self_attn.sinks", draft.heads, part="attention")
    made = {id(mix): mix.plus(own) for mix, _ in draft.layers}
    draft.layers = [(made[id(mix)], ffn) for mix, ffn in draft.layers]
    return draft
