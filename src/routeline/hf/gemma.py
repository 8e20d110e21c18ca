"""Gemma 1 to 3 and Muse Glimmer: four norms a layer, windowed layers between full ones, tied embeddings."""

from __future__ import annotations

from .blocks import (
    Draft,
)
from .decoder import plain
from .reader import Reader

FOUR_PRE = ("input_layernorm", "post_attention_layernorm")


FOUR_POST = ("pre_feedforward_layernorm", "post_feedforward_layernorm")


def gemma(r: Reader) -> Draft:
    """Gemma 1: heads of 256 unless named, tied."""
    r.skip("use_bidirectional_attention")
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
