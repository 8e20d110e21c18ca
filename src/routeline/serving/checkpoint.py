"""Which checkpoint a row means: model + weight label (labels.py) -> Model with the formats that are really stored.

A label names what vendors publish under it, not every parameter in one format: an NVFP4 checkpoint of an
MoE keeps attention in bf16, an int4 one quantises the experts only (hf_quant_config files of the
checkpoints; facts/silicon README). For every parameter in one format use arch.restore.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from ..arch import Model, Weight
from .classes import GGUF
from .labels import scheme


def dominant(model: Model) -> str:
    """The compute format that holds most of the weight bytes inside layers."""
    held: dict[str, float] = {}
    for group in model.layers:
        for w in group.weights:
            held[w.format] = held.get(w.format, 0.0) + group.count * w.params * w.bits
    return max(held, key=lambda k: held[k]) if held else "bf16"


def stored_bits(model: Model) -> float:
    """Bits a parameter of the routed experts (or FFN) as stored [-]."""
    best, bits = 0.0, 16.0
    for group in model.layers:
        for w in group.weights:
            if w.part in ("routed", "dense_ffn") and group.count * w.params > best:
                best, bits = group.count * w.params, w.bits
    return bits


def ffn_format(model: Model) -> str:
    """Compute format of the matrices that hold most of the FFN's parameters, '' without any."""
    held = {w.format: group.count * w.params for group in model.layers for w in group.weights
            if w.part in ("routed", "dense_ffn")}  # fmt: skip
    return max(held, key=lambda f: held[f]) if held else ""


@lru_cache(maxsize=512)
def checkpoint(model: Model, fmt: str, engine: str = "") -> Model:
    """The model as a checkpoint of that label stores it; 'native' is the model itself.

    A label that the checkpoint already satisfies (fp8 on DeepSeek-V3, int4 on Kimi-K2.5, 4-bit labels on
    an mxfp4 model) leaves it as it is; a wider one than the 4-bit experts of a model leaves those (`gpt-oss Q8_0`).
    """
    out = _stored(model, fmt)
    if engine not in GGUF or fmt in ("bf16", "fp16") or dominant(out) == "bf16":
        return out

    def narrow(w: Weight) -> Weight:
        """GGUF files of narrow checkpoints keep the other matrices at Q8_0; guess, as ggml-org publishes gpt-oss."""
        small = not w.matmul and w.part != "embedding"
        return w if small or w.part == "router" or w.bits < 16.0 else replace(w, bits=8.5, format="int8")

    return _cast(out, narrow)


def _cast(model: Model, cast: Callable[[Weight], Weight]) -> Model:
    return replace(
        model,
        layers=tuple(replace(g, weights=tuple(map(cast, g.weights))) for g in model.layers),
        embedding=cast(model.embedding), head=cast(model.head), extra=tuple(map(cast, model.extra)),
    )  # fmt: skip


BLOCK_SCALED = ("Qwen3", "DeepSeek", "GLM", "MiniMax", "Kimi", "Ling", "Ring", "MiMo", "ERNIE", "LongCat", "Step")
"""Model families whose published FP8 checkpoints carry a scale per 128 x 128 block (weight_block_size in their
config.json); others scale whole tensors or rows."""


def _stored(model: Model, fmt: str) -> Model:
    if fmt == "native":
        return model
    if fmt == "fp8" and model.name.startswith(BLOCK_SCALED):
        fmt = "fp8_block"
    bits, compute, scope = scheme(fmt)
    held = stored_bits(model)
    if fmt in ("fp8", "fp8_block") and dominant(model) == "fp8":
        return model
    if scope == "ffn" and held < 5.0 and (fmt != "nvfp4" or ffn_format(model) == compute):
        return model
    moe = any(g.experts > 1 for g in model.layers)
    latent = any(w.name.endswith("kv_a_proj_with_mqa") for g in model.layers for w in g.weights)

    def cast(w: Weight) -> Weight:
        if held < 5.0 and w.part in ("routed", "dense_ffn") and w.bits < bits:
            return w
        if scope == "every":
            return replace(w, bits=bits, format=compute) if w.matmul or w.part == "embedding" else w
        if scope == "all":
            return replace(w, bits=bits, format=compute)
        if not w.matmul or w.part in ("router", "embedding", "head", "norm", "vision"):
            return replace(w, bits=16.0, format="bf16") if w.bits < 16.0 and w.part != "vision" else w
        if scope == "ffn" and w.part == "attention" and moe:
            keep = not (latent and w.name.endswith("o_proj") and fmt in ("nvfp4", "fp4"))
            return replace(w, bits=16.0, format="bf16") if keep else replace(w, bits=bits, format=compute)
        return replace(w, bits=bits, format=compute)

    return _cast(model, cast)
