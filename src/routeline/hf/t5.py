"""Encoder-decoders: Switch Transformers and T5. Decode runs decoder layers only, and reads two caches."""

from __future__ import annotations

import math

from ..arch import Stream
from ..errors import RoutelineError
from .blocks import Block, Draft, dense, matrix, moe, norms, tied, vector
from .reader import MOST_LAYERS, Reader

SWITCH_C = {"num_layers": 15, "num_decoder_layers": 12, "decoder_sparse_step": 0, "num_experts": 2048}
"""The published google/switch-c-2048 file: 12 decoder layers, none sparse, against 15 sparse ones in the paper
(Fedus, Zoph, Shazeer 2021, table 9: 15 layers, 2048 experts, expert frequency 1; 1,571 B parameters)."""


def heads_block(hidden: int, heads: int, d_kv: int, prefix: str, *, cached: bool, cross: bool = False) -> Block:
    """T5 attention: inner width heads*d_kv, no biases; a cache only in the decoder."""
    inner = heads * d_kv
    flop = 4.0 * inner
    stream = Stream(
        name="cross" if cross else "kv",
        elements=2 * inner,
        flop=flop,
        flop_prefill=flop,
        shards=heads,
        per_input=cross,
    )
    weights = tuple(matrix(f"{prefix}{m}", hidden, inner, ways=heads) for m in "qkv")
    return Block(weights=(*weights, matrix(f"{prefix}o", inner, hidden)), streams=(stream,) if cached else ())


def steps(r: Reader, layers: int, count_key: str, step_key: str) -> list[bool]:
    """Sparse layers: step 1 is all, step s every s-th from the second on, 0 none (as transformers builds them)."""
    count = r.integer(count_key, default=None, low=0, high=MOST_LAYERS)
    step = r.integer(step_key, default=None, low=0, high=MOST_LAYERS)
    if count is not None:
        derived = layers // count if count > 0 else layers
        if step is not None and step != derived:
            r.warn(
                f"{step_key}={step} does not follow from {count_key}={count} of {layers} layers; {step_key} was used"
            )
        step = derived if step is None else step
    if step is None:
        raise RoutelineError(f"config has neither {count_key} nor {step_key}, so the sparse layers are unknown")
    return [step == 1 or (step > 1 and i % step == 1) for i in range(layers)]


def switch(r: Reader) -> Draft:
    """Switch Transformers. The known-wrong Switch-C file is answered with the paper's shape, loudly."""
    hidden = r.integer("d_model")
    heads, d_kv = r.integer("num_heads"), r.integer("d_kv")
    enc = r.integer("num_layers", high=MOST_LAYERS)
    dec = r.integer("num_decoder_layers", default=enc, high=MOST_LAYERS)
    literal = r.flag("routeline_literal", default=False) if "routeline_literal" in r.config else False
    wrong = not literal and all(r.config.get(k) == v for k, v in SWITCH_C.items())
    if wrong:
        dec = enc
        r.skip("num_sparse_encoder_layers", "num_sparse_decoder_layers", "encoder_sparse_step", "decoder_sparse_step")
        sparse_enc, sparse_dec = [True] * enc, [True] * dec
        r.warn(
            "this config.json is known to be wrong (num_decoder_layers 12, decoder_sparse_step 0): answered with the "
            "paper's shape, 15 + 15 layers, all sparse, 1571.26 B parameters; read literally it gives 786.23 B "
            "(catalogue name Switch-C-config)"
        )
    else:
        sparse_enc = steps(r, enc, "num_sparse_encoder_layers", "encoder_sparse_step")
        sparse_dec = steps(r, dec, "num_sparse_decoder_layers", "decoder_sparse_step")
        if literal:
            r.warn("read literally: 12 decoder layers without experts, 786.23 B; the paper's Switch-C has 1571.26 B")
    matrices = 3 if r.text("feed_forward_proj", default="relu").startswith("gated-") else 2
    width = r.integer("d_ff")
    router_bias = r.flag("router_bias", default=False)
    r.skip("is_full_sparse", "relative_attention_max_distance", "is_gated_act")
    experts = r.integer("num_experts")
    top_k = r.integer("num_selected_experts", default=1)
    routed = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        matrices=matrices,
        router_bias=router_bias,
        router="router.classifier",
    ).plus(*norms(hidden, "ffn_norm"))
    ffn = dense(hidden, width, matrices=matrices).plus(*norms(hidden, "ffn_norm"))
    return encoder_decoder(
        r, hidden, heads, d_kv, [routed if s else ffn for s in sparse_enc], [routed if s else ffn for s in sparse_dec]
    )


def t5(r: Reader) -> Draft:
    """T5, T5 v1.1, Flan-T5, UL2: dense encoder-decoders (v1.1 and mT5: gated FFN, untied head)."""
    hidden = r.integer("d_model")
    heads, d_kv = r.integer("num_heads"), r.integer("d_kv")
    enc = r.integer("num_layers", high=MOST_LAYERS)
    dec = r.integer("num_decoder_layers", default=enc, high=MOST_LAYERS)
    kind = r.text("feed_forward_proj", default="relu" if r.architecture.startswith("T5") else "gated-gelu")
    r.skip("is_gated_act", "relative_attention_max_distance")
    ffn = dense(hidden, r.integer("d_ff"), matrices=3 if kind.startswith("gated-") else 2)
    ffn = ffn.plus(*norms(hidden, "ffn_norm"))
    every = enc + dec if r.architecture == "UMT5ForConditionalGeneration" else 2
    return encoder_decoder(r, hidden, heads, d_kv, [ffn] * enc, [ffn] * dec, tables=every)


def encoder_decoder(
    r: Reader, hidden: int, heads: int, d_kv: int, enc: list[Block], dec: list[Block], *, tables: int = 2
) -> Draft:
    """Both stacks; the relative-position tables (one a stack, UMT5: one a layer) count as attention."""
    first = heads_block(hidden, heads, d_kv, "encoder.self_attn.", cached=False).plus(*norms(hidden, "norm"))
    encoder = Block(weights=first.weights, encoder=True)
    self_block = heads_block(hidden, heads, d_kv, "self_attn.", cached=True).plus(*norms(hidden, "norm"))
    cross = heads_block(hidden, heads, d_kv, "cross_attn.", cached=True, cross=True).plus(*norms(hidden, "cross_norm"))
    buckets = r.integer("relative_attention_num_buckets", default=32)
    vocab = r.integer("vocab_size")
    if not math.isfinite(float(vocab)):
        raise RoutelineError("vocab_size must be finite")
    bias = vector("relative_attention_bias", tables * buckets * heads, part="attention")
    return Draft(
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        kv_heads=heads,
        layers=[(encoder, f) for f in enc] + [(self_block, cross, f) for f in dec],
        tied=tied(r, True),
        extra=[bias, *norms(hidden, "encoder.final_norm", "decoder.final_norm")],
        prefix="decoder.",
    )
