"""Gemma 3n and 4: two attention shapes, caches shared across layers, per-layer inputs, MLP beside experts."""

from __future__ import annotations

import math
from dataclasses import replace

from ..arch import Weight
from ..errors import RoutelineError
from .blocks import Block, Draft, attention, dense, groups_of, layer_count, matrix, moe, norms, tied, vector
from .decoder import FULL, SLIDING, every, final, vocab
from .gemma import FOUR_PRE
from .listed import SHARED_READS, reused
from .reader import Reader
from .step import per_layer_overrides


def cacheless(block: Block) -> Block:
    """A layer that reads another layer's cache: no K, V projections or K norm, no memory of its own."""
    kept = tuple(w for w in block.weights if not w.name.endswith(("k_proj", "v_proj", "k_norm")))
    return Block(weights=kept, streams=tuple(map(reused, block.streams)))


def kinds_of(r: Reader, n: int, period: int) -> list[str]:
    """layer_types, or `period`-1 windowed layers to one full."""
    kinds = r.words("layer_types", n, known=(FULL, SLIDING))
    if kinds is None:
        kinds = [SLIDING if s else FULL for s in every(n, period)]
        r.defaults["layer_types"] = f"every {period}th full"
    return kinds


def shared_from(r: Reader, n: int) -> int:
    """First layer that reuses an earlier layer's cache (n: none)."""
    shared = r.integer("num_kv_shared_layers", default=0, low=0)
    if shared >= n:
        raise r.refuse("num_kv_shared_layers", f"must be smaller than num_hidden_layers={n}")
    if shared:
        r.warn(SHARED_READS.format(shared))
    return n - shared


def gemma4(r: Reader) -> Draft:
    """Gemma 4 dense and MoE."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    local_dim, global_dim = r.integer("head_dim", default=256), r.integer("global_head_dim", default=512)
    local_kv = groups_of(r, heads, r.integer("num_key_value_heads"))
    same = r.flag("attention_k_eq_v", default=False)
    wide_kv = r.integer("num_global_key_value_heads", default=None)
    global_kv = groups_of(r, heads, wide_kv, "num_global_key_value_heads") if same and wide_kv else local_kv
    if r.flag("attention_bias", default=False):
        raise r.refuse("attention_bias", "must be false: Gemma 4 has no attention biases")
    window = float(r.integer("sliding_window", default=512))
    kinds = kinds_of(r, n, 6)
    overrides = per_layer_overrides(r, n, ("head_dim", "num_key_value_heads"))
    if overrides:
        at = sorted(i for i, k in enumerate(kinds) if k == FULL)
        first_change = next(iter(overrides.values()))
        if sorted(overrides) != at or any(c != first_change for c in overrides.values()):
            raise r.refuse("per_layer_config", "must hold the same override for each full-attention layer")
        global_dim = int(first_change.get("head_dim") or local_dim)
        global_kv = groups_of(r, heads, int(first_change.get("num_key_value_heads") or local_kv))
    if kinds[-1] != FULL:
        kinds[-1] = FULL
        r.warn("the last layer is taken as full attention, as Gemma 4's own code forces it to be")
    r.skip(
        "use_bidirectional_attention",
        "vocab_size_per_layer_input",
        "hidden_size_per_layer_input",
        "num_global_key_value_heads",
    )
    local = attention(hidden=hidden, heads=heads, kv_heads=local_kv, head_dim=local_dim, window=window, qk_norm="head")
    wide = attention(hidden=hidden, heads=heads, kv_heads=global_kv, head_dim=global_dim, qk_norm="head")
    if same:
        wide = Block(weights=tuple(w for w in wide.weights if not w.name.endswith("v_proj")), streams=wide.streams)
    first = shared_from(r, n)
    double = r.flag("use_double_wide_mlp", default=False)
    width = r.integer("intermediate_size")
    experts_on = r.flag("enable_moe_block", default=False)
    per_layer = r.integer("hidden_size_per_layer_input", default=256, low=0)
    extra_norms = () if not experts_on else ("post_ffn_1", "post_ffn_2", "pre_ffn_2")
    side: tuple[Weight, ...] = (
        *norms(hidden, "pre_feedforward_layernorm", "post_feedforward_layernorm", *extra_norms),
    )
    if per_layer:
        side += (
            matrix("per_layer_input_gate", hidden, per_layer, part="other"),
            matrix("per_layer_projection", per_layer, hidden, part="other"),
            vector("post_per_layer_input_norm", hidden),
        )
    made: dict[tuple, Block] = {}

    def mixer(kind: str, reuse: bool) -> Block:
        key = (kind, reuse)
        if key not in made:
            block = (wide if kind == FULL else local).plus(*norms(hidden, *FOUR_PRE))
            made[key] = cacheless(block) if reuse else block
        return made[key]

    def ffn(reuse: bool) -> tuple[Block, ...]:
        wide_mlp = 2 if double and reuse else 1
        key = ("ffn", wide_mlp)
        if key not in made:
            w = width * wide_mlp
            if experts_on:
                routed = moe(
                    r,
                    hidden=hidden,
                    experts=r.integer("num_experts"),
                    top_k=r.integer("top_k_experts", "num_experts_per_tok"),
                    width=r.integer("moe_intermediate_size"),
                    prefix="",
                    router="router.proj",
                )
                beside = tuple(replace(x, part="shared") for x in dense(hidden, w).weights)
                scales = (
                    vector("router.scale", hidden, part="router"),
                    vector("router.per_expert_scale", routed.experts, part="router"),
                )
                made[key] = routed.plus(*beside, *scales, *side)
            else:
                made[key] = dense(hidden, w).plus(*side)
        return (made[key],)

    r.skip("num_experts", "top_k_experts", "moe_intermediate_size")
    layers = [(mixer(k, i >= first), *ffn(i >= first)) for i, k in enumerate(kinds)]
    vocabulary = vocab(r)
    extra = final(hidden)
    if per_layer:
        rows = r.integer("vocab_size_per_layer_input", default=vocabulary)
        extra += [
            Weight(name="embed_tokens_per_layer", part="embedding", params=rows * n * per_layer, matmul=False),
            matrix("per_layer_model_projection", hidden, n * per_layer, part="other"),
            vector("per_layer_projection_norm", per_layer),
        ]
        r.warn("per-layer input embeddings are counted as part of the embedding: a lookup, not read as a matrix")
    return Draft(
        hidden=hidden,
        vocab=vocabulary,
        heads=heads,
        kv_heads=min(local_kv, global_kv),
        layers=layers,
        tied=tied(r, True),
        extra=extra,
        prefix="model.language_model.",
    )


def gemma3n(r: Reader) -> Draft:
    """Gemma 3n: alternating updates, learnt augmented residuals, per-layer inputs, caches shared by the last layers."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads", default=8)
    kv = groups_of(r, heads, r.integer("num_key_value_heads", default=2))
    dim = r.integer("head_dim", default=256)
    window = float(r.integer("sliding_window", default=512))
    if r.flag("attention_bias", default=False):
        raise r.refuse("attention_bias", "must be false: Gemma 3n has no attention biases")
    kinds = kinds_of(r, n, 5)
    first = shared_from(r, n)
    rank, alt = r.integer("laurel_rank", default=64), r.integer("altup_num_inputs", default=4)
    per_layer = r.integer("hidden_size_per_layer_input", default=256)
    rows = r.integer("vocab_size_per_layer_input", default=262144)
    r.skip(
        "activation_sparsity_pattern",
        "altup_active_idx",
        "altup_correct_scale",
        "altup_coef_clip",
        "altup_lr_multiplier",
    )
    widths = r.per_layer("intermediate_size", layers=n, default=16384)
    side = (
        matrix("laurel.linear_left", hidden, rank, part="other"),
        matrix("laurel.linear_right", rank, hidden, part="other"),
        matrix("altup.modality_router", hidden, alt, part="other"),
        vector("altup.coefs", alt * alt + alt**3 + hidden, part="other"),
        matrix("per_layer_input_gate", hidden, per_layer, part="other"),
        matrix("per_layer_projection", per_layer, hidden, part="other"),
        *norms(
            hidden,
            "laurel.post_laurel_norm",
            "altup.router_norm",
            "post_per_layer_input_norm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
    )
    made: dict[tuple, Block] = {}
    layers = []
    for i, kind in enumerate(kinds):
        key = (kind, i >= first)
        if key not in made:
            span = window if kind == SLIDING else math.inf
            block = attention(hidden=hidden, heads=heads, kv_heads=kv, head_dim=dim, window=span, qk_norm="head")
            block = block.plus(*norms(hidden, *FOUR_PRE))
            made[key] = cacheless(block) if i >= first else block
        width = ("ffn", widths[i])
        if width not in made:
            made[width] = dense(hidden, widths[i]).plus(*side)
        layers.append((made[key], made[width]))
    vocabulary = vocab(r)
    if rows > vocabulary:
        raise RoutelineError(f"vocab_size_per_layer_input={rows} exceeds vocab_size={vocabulary}")
    r.warn("Gemma 3n: per-layer embeddings count as embedding (a lookup); its vision and audio towers are not counted")
    return Draft(
        hidden=hidden,
        vocab=vocabulary,
        heads=heads,
        kv_heads=kv,
        layers=layers,
        tied=tied(r, True),
        extra=[
            *final(hidden),
            Weight(name="embed_tokens_per_layer", part="embedding", params=rows * n * per_layer, matmul=False),
            matrix("per_layer_model_projection", hidden, n * per_layer, part="other"),
            vector("per_layer_projection_norm", per_layer),
            matrix("altup_projections", hidden, 2 * (alt - 1) * hidden, part="other"),
        ],
        prefix="model.language_model.",
    )
