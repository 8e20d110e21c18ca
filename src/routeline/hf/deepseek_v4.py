"""DeepSeek-V4: one shared K=V head, compressed caches at two rates, hyper-connections, grouped output.

Every layer keeps a raw window; compressed layers add one entry per `ratio` tokens (ratio 4: CSA with an
indexer that picks index_topk entries; larger: HCA, all entries read). Source of the shapes: the
reference modelling code (transformers 5.23, deepseek_v4).
"""

from __future__ import annotations

import math

from ..arch import Stream
from ..errors import RoutelineError
from .blocks import POST, PRE, Block, Draft, layer_count, matrix, moe, norms, stack, tied, vector
from .decoder import EXPERTS, TOP_K, final, shared_width, vocab
from .reader import Reader

CSA = 4
KINDS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def ratios_of(r: Reader, n: int) -> list[int]:
    """Compression ratio of every layer: 0 (window only), 4 (CSA) or more (HCA)."""
    listed = r.integers("compress_ratios", n, extra=8)
    kinds = r.words("layer_types", n, known=KINDS, extra=8)
    rates = r.section("compress_rates")
    table = dict(KINDS)
    if rates is not None:
        for name in ("compressed_sparse_attention", "heavily_compressed_attention"):
            table[name] = rates.integer(name, default=KINDS[name])
        if table["compressed_sparse_attention"] != CSA or table["heavily_compressed_attention"] == CSA:
            raise r.refuse("compress_rates", f"must give {CSA} to compressed_sparse_attention and to no other kind")
    named = None if kinds is None else [table[k] for k in kinds]
    if listed is not None and named is not None and listed != named:
        raise r.refuse("compress_ratios", "contradicts layer_types")
    ratios = listed if listed is not None else named
    if ratios is None:
        raise RoutelineError("config has neither compress_ratios nor layer_types, which DeepSeek-V4 needs")
    return ratios


def attention_block(r: Reader, hidden: int, heads: int, ratio: int) -> Block:
    """Low-rank q, one K=V projection, grouped low-rank output, sinks; compressor and indexer by ratio."""
    dim = r.integer("head_dim")
    q_rank, o_rank, groups = r.integer("q_lora_rank"), r.integer("o_lora_rank"), r.integer("o_groups")
    window = r.integer("sliding_window")
    topk = r.integer("index_topk")
    i_heads, i_dim = r.integer("index_n_heads"), r.integer("index_head_dim")
    if heads * dim % groups:
        raise r.refuse("o_groups", f"must divide num_attention_heads*head_dim={heads * dim}")
    flop = 4.0 * heads * dim
    p = "attn."
    weights = [
        matrix(f"{p}wq_a", hidden, q_rank),
        vector(f"{p}q_norm", q_rank),
        matrix(f"{p}wq_b", q_rank, heads * dim, ways=heads),
        matrix(f"{p}wkv", hidden, dim, ways=1),
        vector(f"{p}kv_norm", dim),
        matrix(f"{p}wo_a", heads * dim // groups, groups * o_rank),
        matrix(f"{p}wo_b", groups * o_rank, hidden),
        vector(f"{p}attn_sink", heads, part="attention"),
    ]
    streams = [Stream(name="window", elements=dim, window=window, flop=flop, flop_prefill=flop)]
    if ratio:
        wide = 2 * dim if ratio == CSA else dim
        weights += [
            matrix(f"{p}compressor.wkv", hidden, wide),
            matrix(f"{p}compressor.wgate", hidden, wide),
            vector(f"{p}compressor.ape", ratio * wide, part="attention"),
            vector(f"{p}compressor.norm", dim),
        ]
        read = float(topk) if ratio == CSA else math.inf
        streams.append(Stream(name="compressed", elements=dim, stride=ratio, flop=flop, flop_prefill=flop, read=read))
    if ratio == CSA:
        score = 2.0 * i_heads * i_dim
        weights += [
            matrix(f"{p}indexer.wq_b", q_rank, i_heads * i_dim),
            matrix(f"{p}indexer.weights_proj", hidden, i_heads),
            matrix(f"{p}indexer.compressor.wkv", hidden, 2 * i_dim),
            matrix(f"{p}indexer.compressor.wgate", hidden, 2 * i_dim),
            vector(f"{p}indexer.compressor.ape", ratio * 2 * i_dim, part="attention"),
            vector(f"{p}indexer.compressor.norm", i_dim),
        ]
        streams.append(
            Stream(name="index", elements=i_dim, stride=ratio, flop=score, flop_prefill=score, scale_bits=32.0 / i_dim)
        )
    return Block(weights=(*weights, *norms(hidden, *PRE)), streams=tuple(streams))


def hyper(hidden: int, mult: int, name: str) -> tuple:
    """Hyper-connection of one half layer: (mult^2 + 2 mult) mixing rows over mult streams, base and scales."""
    rows = mult * mult + 2 * mult
    return (
        matrix(f"{name}.fn", rows, mult * hidden, part="other"),
        vector(f"{name}.base", rows + 3, part="other"),
    )


def v4(r: Reader) -> Draft:
    """DeepSeek-V4 Flash and Pro."""
    n = layer_count(r)
    hidden, heads = r.integer("hidden_size"), r.integer("num_attention_heads")
    r.integer("num_key_value_heads", default=1, high=1)
    r.skip("qk_rope_head_dim", "num_hash_layers", "mlp_layer_types", "qk_nope_head_dim", "v_head_dim", "kv_lora_rank")
    r.skip("first_k_dense_replace", "n_group", "topk_group", "intermediate_size")
    if r.flag("attention_bias", default=False):
        raise r.refuse("attention_bias", "must be false: DeepSeek-V4 has no attention biases")
    if r.integer("n_shared_experts", default=1, low=0) != 1:
        raise r.refuse("n_shared_experts", "must be 1: DeepSeek-V4 has one shared expert")
    mult = r.integer("hc_mult", default=4)
    mtp = r.integer("num_nextn_predict_layers", default=0, low=0, high=64)
    ratios = ratios_of(r, n)
    blocks = {ratio: attention_block(r, hidden, heads, ratio) for ratio in sorted(set(ratios) | {0})}
    blocks = {k: b.plus(*hyper(hidden, mult, "hc_attn")) for k, b in blocks.items()}
    width = r.integer("moe_intermediate_size")
    routed = moe(
        r,
        hidden=hidden,
        experts=r.integer(*EXPERTS),
        top_k=r.integer(*TOP_K),
        width=width,
        shared=shared_width(r, "count", width),
        prefix="ffn.",
    ).plus(*norms(hidden, *POST), *hyper(hidden, mult, "hc_ffn"))
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        layers=stack([blocks[x] for x in ratios], [routed] * n),
        tied=tied(r, False),
        extra=[
            *final(hidden),
            matrix("hc_head.fn", mult, mult * hidden, part="other"),
            vector("hc_head.base", mult + 1, part="other"),
        ],
        prefix="",
    )
    joint = Block(
        weights=(
            matrix("e_proj", hidden, hidden),
            matrix("h_proj", hidden, hidden),
            *norms(hidden, "enorm", "hnorm", "norm"),
            matrix("hc_head.fn", mult, mult * hidden, part="other"),
            vector("hc_head.base", mult + 1, part="other"),
        )
    )
    draft.mtp = [(blocks[0], routed, joint)] * mtp
    draft.mtp_layers = mtp
    return draft
