"""Which checkpoint a row means: model name + weight label -> Model with the formats that are really stored.

A label names what vendors publish under it, not every parameter in one format: an NVFP4 checkpoint of an
MoE keeps attention in bf16, an int4 one quantises the experts only (hf_quant_config files of the
checkpoints; facts/silicon README). For every parameter in one format use arch.restore.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    "w4a8": (4.25, "int8", "linear"),
    "w8a16": (8.1, "bf16", "linear"),
    "nf4": (4.5, "bf16", "linear"),
    "mxfp8": (8.25, "fp8", "linear"),
    "fp6": (6.25, "bf16", "linear"),
    **{f"mlx-{b}bit": (b + 0.5, "bf16", "every") for b in (2, 3, 4, 5, 6, 8)},
    **{
        name: (bits, "int8", "every")
        for name, bits in {
            "q8_0": 8.5, "q6_k": 6.56, "q5_k_m": 5.7, "q5_k_s": 5.52, "q5_1": 6.0, "q5_0": 5.54, "q4_k_m": 4.85,
            "q4_k_s": 4.58, "q4_1": 5.0, "q4_0": 4.55, "iq4_nl": 4.54, "iq4_xs": 4.3, "q3_k_l": 4.21, "q3_k_m": 3.89,
            "q3_k_s": 3.51, "iq3_m": 3.62, "iq3_s": 3.51, "iq3_xs": 3.32, "iq3_xxs": 3.12, "q2_k": 2.99, "q2_k_s": 2.78,
            "iq2_m": 2.74, "iq2_s": 2.52, "iq2_xs": 2.4, "iq2_xxs": 2.17, "iq1_m": 1.9, "iq1_s": 1.74,
        }.items()
    },
}  # fmt: skip
"""label -> (bits a parameter with scales, compute format, what is quantised): `linear` all matrices inside
layers but routers; `ffn` experts and FFN, attention only where the model has no experts; `every` also
embedding and head (GGUF, MLX); `all` everything. GGUF bits: published file sizes of Llama-3-70B over its parameters
(llama.cpp PR 6745); MLX: groups of 64 with a 16-bit scale and bias."""

ALIASES = {
    "float16": "fp16", "bfloat16": "bf16", "half": "fp16", "16": "bf16", "fp8_e4m3": "fp8", "w8a8": "fp8",
    "fp8-block": "fp8_block", "float8": "fp8", "8bit": "int8", "w8a8_int8": "int8", "int4_wo": "int4",
    "int8_wo": "int8", "4bit": "int4", "w4a16_mxfp4": "mxfp4", "q8": "q8_0", "q6": "q6_k", "q5": "q5_k_m",
    "q4": "q4_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "ud-q4_k_xl": "q4_k_m", "q4_k_xl": "q4_k_m",
    "gguf": "q4_k_m", "awq-int4": "awq", "gptq-int4": "gptq", "awq-4bit": "awq", "gptq-4bit": "gptq",
    "awq_marlin": "awq",
    "gptq_marlin": "gptq", "f16": "fp16", "fp4_e2m1": "fp4", "fp8_e5m2": "fp8", "fp8-dynamic": "fp8",
    "fp8_dynamic": "fp8",
    "fp8-static": "fp8", "fp8_per_tensor": "fp8", "fp8-kv": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8",
    "w8a8_fp8": "fp8",
    "fp8_w8a8": "fp8", "w8a8-fp8": "fp8", "w8a8-int8": "int8", "int8_w8a8": "int8", "smoothquant": "int8",
    "int8-weight-only": "w8a16", "gptq-int8": "w8a16", "gptq-8bit": "w8a16", "int8_weight_only": "w8a16",
    "int4-awq": "awq", "int4_awq": "awq", "int4-gptq": "gptq", "int4_weight_only": "w4a16", "int4-w4a16": "w4a16",
    "nvfp4_awq": "nvfp4", "w4a4_nvfp4": "nvfp4", "modelopt_fp4": "nvfp4", "modelopt": "fp8", "mxfp4_moe": "mxfp4",
    "bnb-4bit": "nf4", "bnb-nf4": "nf4", "bitsandbytes": "nf4", "bnb": "nf4", "w4a8_awq": "w4a8", "qoq": "w4a8",
    "q3": "q3_k_m", "q3_k": "q3_k_m", "q2": "q2_k", "iq4": "iq4_xs", "iq3": "iq3_m", "iq2": "iq2_m", "mlx": "mlx-4bit",
    "qat-q4_0": "q4_0", "q4_0-qat": "q4_0",
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
    key = re.sub(r"^(ud|gguf)[-_]", "", key).replace("-k-", "_k_").removesuffix("_xl").removesuffix("-gguf")
    for trial in (key, key.replace("-", "_"), key.replace("_", "-")):
        if ALIASES.get(trial, trial) in LABELS:
            return ALIASES.get(trial, trial)
    if key not in LABELS:
        known = ", ".join(["native", *LABELS])
        raise RoutelineError(f"unknown weight format {text!r}; known: {known}")
    return key


IN_NAME = re.compile(
    r"(?<![a-z0-9])(mlx[-_]\dbit|nvfp4|mxfp4|fp8|fp4|awq|gptq|int4|int8|w4a16|w8a8|bnb-4bit|\dbit|"
    r"iq\d_[a-z]+|q\d_k_[sml]|q\d_k|q\d_[01])(?![a-z0-9])"
)
"""A format that a model's name carries (…-FP8, …-Q8_0-GGUF, …-4bit)."""


def from_name(name: str) -> str:
    """The weight label that a published model name carries, or ''."""
    found = IN_NAME.findall(name.lower())
    return label(found[-1]) if found else ""


def for_engine(fmt: str, engine: str) -> str:
    """A label as an engine means it: MLX's 4-bit quantises every matrix in groups of 64."""
    if engine == "mlx":
        return {"int4": "mlx-4bit", "q4_k_m": "mlx-4bit", "int8": "mlx-8bit", "q8_0": "mlx-8bit", "q6_k": "mlx-6bit",
                "w4a16": "mlx-4bit"}.get(fmt, fmt)  # fmt: skip
    if engine == "llama.cpp":
        return {"int4": "q4_k_m", "int8": "q8_0", "w4a16": "q4_k_m"}.get(fmt, fmt)
    return fmt


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
    an mxfp4 model) leaves it as it is.
    """
    out = _stored(model, fmt)
    if engine != "llama.cpp" or fmt in ("bf16", "fp16") or dominant(out) == "bf16":
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
    bits, compute, scope = LABELS[fmt]
    held = stored_bits(model)
    if fmt in ("fp8", "fp8_block") and dominant(model) == "fp8":
        return model
    if scope == "ffn" and held < 5.0 and (fmt != "nvfp4" or ffn_format(model) == compute):
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

    return _cast(model, cast)
