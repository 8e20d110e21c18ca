"""Which checkpoint a row means: model name + weight label -> Model with the formats that are really stored.

A label names what vendors publish under it, not every parameter in one format: an NVFP4 checkpoint of an
MoE keeps attention in bf16, an int4 one quantises the experts only (hf_quant_config files of the
checkpoints; facts/silicon README). For every parameter in one format use arch.restore.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ..arch import Model, Weight
from ..errors import RoutelineError

LABELS: dict[str, tuple[float, str, str]] = {
    "bf16": (16.0, "bf16", "all"),
    "fp16": (16.0, "bf16", "all"),
    "fp8": (8.0, "fp8", "linear"),
    "fp8_block": (8.03, "fp8", "linear"),
    "int8": (8.0, "int8", "linear"),
    "nvfp4": (4.5, "fp4", "ffn"),
    "fp4": (4.5, "fp4", "ffn"),
    "mxfp4": (4.25, "fp4", "ffn"),
    "int4": (4.25, "bf16", "ffn"),
    "awq": (4.25, "bf16", "linear"),
    "gptq": (4.25, "bf16", "linear"),
    "w4a16": (4.25, "bf16", "linear"),
    "q8_0": (8.5, "int8", "every"),
    "q6_k": (6.56, "int8", "every"),
    "q5_k_m": (5.7, "int8", "every"),
    "q4_k_m": (4.85, "int8", "every"),
    "q4_0": (4.55, "int8", "every"),
    "iq4_xs": (4.3, "int8", "every"),
}
"""label -> (bits a parameter with scales, compute format, what is quantised): `linear` all matrices inside
layers but routers; `ffn` experts and FFN, attention only where the model has no experts; `every` also
embedding and head (GGUF); `all` everything."""

ALIASES = {
    "float16": "fp16", "bfloat16": "bf16", "half": "fp16", "16": "bf16", "fp8_e4m3": "fp8", "w8a8": "fp8",
    "fp8-block": "fp8_block", "float8": "fp8", "8bit": "int8", "w8a8_int8": "int8", "int4_wo": "int4",
    "int8_wo": "int8", "4bit": "int4", "w4a16_mxfp4": "mxfp4", "q8": "q8_0", "q6": "q6_k", "q5": "q5_k_m",
    "q4": "q4_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "ud-q4_k_xl": "q4_k_m", "q4_k_xl": "q4_k_m",
    "gguf": "q4_k_m", "awq-int4": "awq", "gptq-int4": "gptq",
}  # fmt: skip

DENSE_FAMILIES = ("bf16", "fp16")


def label(text: str | None) -> str:
    """Canonical weight label; '' and 'auto' become 'native'.

    Raises:
        RoutelineError: a label that is not known.
    """
    key = (text or "").strip().lower().replace(" ", "")
    if key in ("", "auto", "native", "default", "none", "nan"):
        return "native"
    key = ALIASES.get(key, key)
    if key not in LABELS:
        known = ", ".join(["native", *LABELS])
        raise RoutelineError(f"unknown weight format {text!r}; known: {known}")
    return key


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


@lru_cache(maxsize=512)
def checkpoint(model: Model, fmt: str) -> Model:
    """The model as a checkpoint of that label stores it; 'native' is the model itself.

    A label that the checkpoint already satisfies (fp8 on DeepSeek-V3, int4 on Kimi-K2.5, 4-bit labels on
    an mxfp4 model) leaves it as it is.
    """
    if fmt == "native":
        return model
    bits, compute, scope = LABELS[fmt]
    held = stored_bits(model)
    if fmt in ("fp8", "fp8_block") and dominant(model) == "fp8":
        return model
    if scope == "ffn" and held < 5.0:
        return model
    moe = any(g.experts > 1 for g in model.layers)
    latent = any(w.name.endswith("kv_a_proj_with_mqa") for g in model.layers for w in g.weights)

    def cast(w: Weight) -> Weight:
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

    return replace(
        model,
        layers=tuple(replace(g, weights=tuple(map(cast, g.weights))) for g in model.layers),
        embedding=cast(model.embedding), head=cast(model.head), extra=tuple(map(cast, model.extra)),
    )  # fmt: skip
