"""Nemotron-NAS (DeciLM): every layer its own attention and FFN, some of them absent."""

from __future__ import annotations

import math

from ..errors import RoutelineError
from .blocks import (
    Block,
    Draft,
    attention,
    dense,
    head_width,
    layer_count,
    matrix,
    norms,
    tied,
)
from .decoder import final, vocab
from .reader import Reader


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
