"""Weight formats as people write them -> one label, and what each label stores.

Known spellings are looked up; others are searched for a format they contain ("Q4_K - Medium", "4.65 bpw").
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import RoutelineError
from .classes import GGUF

LABELS: dict[str, tuple[float, str, str]] = {
    "bf16": (16.0, "bf16", "all"),
    "fp16": (16.0, "bf16", "all"),
    "fp32": (32.0, "bf16", "all"),
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
    **{f"q{b}f16": (b + 0.5, "bf16", "every") for b in (3, 4, 8)},
    **{
        name: (bits, "int8", "every")
        for name, bits in {
            "q8_k_xl": 9.5, "q8_0": 8.5, "q6_k_xl": 7.0, "q6_k": 6.56, "q5_k_m": 5.7, "q5_k_s": 5.52, "q5_1": 6.0,
            "q5_0": 5.54, "q4_k_m": 4.85, "q4_k_s": 4.58, "q4_1": 5.0, "q4_0": 4.55, "iq4_nl": 4.54, "iq4_xs": 4.3,
            "q3_k_l": 4.21, "q3_k_m": 3.89, "q3_k_s": 3.51, "iq3_m": 3.62, "iq3_s": 3.51, "iq3_xs": 3.32,
            "iq3_xxs": 3.12, "q2_k": 2.99, "q2_k_s": 2.78, "iq2_m": 2.74, "iq2_s": 2.52, "iq2_xs": 2.4,
            "iq2_xxs": 2.17, "iq1_m": 1.9, "iq1_s": 1.74,
        }.items()
    },
}  # fmt: skip
"""label -> (bits a parameter with scales, compute format, what is quantised): `linear` all matrices inside
layers but routers; `ffn` experts and FFN, attention only where the model has no experts; `every` also
embedding and head (GGUF, MLX, MLC); `all` everything. GGUF bits: published file sizes of Llama-3-70B over its
parameters (llama.cpp PR 6745), of Qwen3-30B-A3B for the _xl mixes; MLX: groups of 64 with a 16-bit scale and bias."""

ALIASES = {
    "float16": "fp16", "bfloat16": "bf16", "half": "fp16", "16": "bf16", "fp8_e4m3": "fp8", "w8a8": "fp8",
    "fp8-block": "fp8_block", "float8": "fp8", "8bit": "int8", "w8a8_int8": "int8", "int4_wo": "int4",
    "int8_wo": "int8", "4bit": "int4", "w4a16_mxfp4": "mxfp4", "q8": "q8_0", "q6": "q6_k", "q5": "q5_k_m",
    "q4": "q4_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "gguf": "q4_k_m", "awq-int4": "awq", "gptq-int4": "gptq",
    "awq_marlin": "awq", "gptq_marlin": "gptq", "f16": "fp16", "f32": "fp32", "float32": "fp32", "fp4_e2m1": "fp4",
    "fp8_e5m2": "fp8", "fp8-dynamic": "fp8", "fp8-static": "fp8", "fp8_per_tensor": "fp8", "fp8-kv": "fp8",
    "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "w8a8_fp8": "fp8", "fp8_w8a8": "fp8", "w8a8-int8": "int8",
    "int8_w8a8": "int8", "smoothquant": "int8", "int8-weight-only": "w8a16", "gptq-int8": "w8a16",
    "gptq-8bit": "w8a16", "int8_weight_only": "w8a16", "int4_weight_only": "w4a16", "int4-w4a16": "w4a16",
    "nvfp4_awq": "nvfp4", "w4a4_nvfp4": "nvfp4", "modelopt_fp4": "nvfp4", "modelopt": "fp8", "w4a8_awq": "w4a8",
    "qoq": "w4a8", "q3": "q3_k_m", "q3_k": "q3_k_m", "q2": "q2_k", "iq4": "iq4_xs", "iq3": "iq3_m", "iq2": "iq2_m",
    "iq1": "iq1_m", "mlx": "mlx-4bit", "q0f16": "fp16", "q5_k_xl": "q5_k_m", "q4_k_xl": "q4_k_m",
    "q3_k_xl": "q3_k_m", "q2_k_xl": "q2_k", "q4_k_l": "q4_k_m", "q5_k_l": "q5_k_m", "q6_k_l": "q6_k",
    "q2_k_l": "q2_k", "tq1_0": "iq1_s", "tq2_0": "iq2_xxs", "hqq": "w4a16", "marlin": "gptq",
}  # fmt: skip

SEARCH = (
    (r"mlx.*?(\d)_?bit|(\d)_?bit.*mlx", r"mlx-\1\2bit"),
    (r"(?<![a-z])(i?q\d_k)_(?:small|s)", r"\1_s"),
    (r"(?<![a-z])(i?q\d_k)_(?:medium|m)", r"\1_m"),
    (r"(?<![a-z])(i?q\d_k)_(?:large|l)(?![a-z])", r"\1_l"),
    (r"(?<![a-z])(i?q\d_k_xl|i?q\d_[01]|iq\d_(?:xxs|xs|nl|m|s)|tq\d_0|q\d_k)(?![a-z])", r"\1"),
    (r"(?<![a-z])q(\d)_?f16", r"q\1f16"),
    (r"(?<![a-z])iq(\d)", r"iq\1"),
    (r"(\d+(?:\.\d+)?)_?bpw", r"\1bpw"),
    (r"nvfp4|w4a4", "nvfp4"),
    (r"mxfp4", "mxfp4"),
    (r"mxfp6|fp6", "fp6"),
    (r"mxfp8", "mxfp8"),
    (r"(?:awq|gptq|bnb|bitsandbytes|hqq|quanto|weight_only|wo).*(?:int8|8_?bit|w8)|(?:int8|8_?bit).*"
     r"(?:gptq|bnb|bitsandbytes|hqq|quanto|weight_only|wo)|w8a16|llm.int8", "w8a16"),
    (r"awq", "awq"),
    (r"gptq|marlin", "gptq"),
    (r"nf4|bnb|bitsandbytes|qlora", "nf4"),
    (r"w4a8", "w4a8"),
    (r"w4a16|weight_only.*(?:int4|4_?bit)|(?:int4|4_?bit).*weight_only|hqq", "w4a16"),
    (r"(?:fp8|float8).*block|block.*fp8", "fp8_block"),
    (r"fp8|float8|e4m3|e5m2", "fp8"),
    (r"int8|i8(?!\d)|smoothquant|(?<!\d)8_?bits?(?![a-z0-9])", "int8"),
    (r"w8a8|a8w8", "fp8"),
    (r"(?<![a-z])fp4", "fp4"),
    (r"int4(?!\d)|uint4|(?<!\d)4_?bits?(?![a-z0-9])", "int4"),
    (r"(?<!\d)([2-7])_?bits?(?![a-z0-9])", r"\1bpw"),
    (r"(?<![a-z])q(\d)(?![a-z0-9])", r"q\1"),
    (r"bf16|bfloat16", "bf16"),
    (r"fp16|(?<![a-z])f16|float16|(?<![a-z])half|(?<!\d)16_?bits?(?![a-z0-9])", "fp16"),
    (r"fp32|(?<![a-z])f32|float32|(?<!\d)32_?bits?(?![a-z0-9])", "fp32"),
    (r"gguf", "q4_k_m"),
)  # fmt: skip
"""(what a text contains, the label it means), tried in order on text with `_` for every separator."""

BPW = re.compile(r"(\d+(?:\.\d+)?)bpw")


def label(text: str | None) -> str:
    """Canonical weight label; '' and 'auto' become 'native'.

    Raises:
        RoutelineError: a label that is not known.
    """
    return read(text)[0]


@lru_cache(maxsize=512)
def read(text: str | None) -> tuple[str, bool]:
    """(canonical label, whether it was searched for in a longer text).

    Raises:
        RoutelineError: no format in the text.
    """
    key = (text or "").strip().lower().replace(" ", "")
    if key in ("", "auto", "native", "default", "none", "nan", "original"):
        return "native", False
    key = re.sub(r"^(ud|gguf)[-_]", "", key).replace("-k-", "_k_").removesuffix("-gguf")
    for trial in (key, key.replace("-", "_"), key.replace("_", "-")):
        if ALIASES.get(trial, trial) in LABELS:
            return ALIASES.get(trial, trial), False
    flat = re.sub(r"[\s\-()\[\]/+,:_@]+", "_", (text or "").strip().lower())
    for pattern, meant in SEARCH:
        found = re.search(pattern, flat)
        if found:
            named = found.expand(meant)
            named = ALIASES.get(named, named)
            if named in LABELS or (BPW.fullmatch(named) and 1.0 <= float(named[:-3]) <= 16.0):
                return named, True
    raise RoutelineError(f"unknown weight format {text!r}; known: {', '.join(['native', *LABELS])}")


def scheme(fmt: str) -> tuple[float, str, str]:
    """What a label stores, as LABELS; `4.65bpw` is that many bits in every matrix, computed at 16 bits."""
    found = BPW.fullmatch(fmt)
    return (float(found[1]), "bf16", "every") if found else LABELS[fmt]


IN_NAME = re.compile(
    r"(?<![a-z0-9])(mlx[-_]\dbit|nvfp4|mxfp4|fp8|fp4|awq|gptq|int4|int8|w4a16|w8a8|w8a16|bnb-4bit|\d-?bit|\d(?:\.\d+)?bpw|"
    r"iq\d_[a-z]+|q\d_k_[sml]|q\d_k_xl|q\d_k|q\d_[01])(?![a-z0-9])"
)
"""A format that a model's name carries (…-FP8, …-Q8_0-GGUF, …-4bit)."""


def from_name(name: str) -> str:
    """The weight label that a published model name carries, or ''."""
    lower = name.lower()
    if re.search(r"quantized[._-]w8a8", lower):
        return "int8"
    found = IN_NAME.findall(lower)
    if not found:
        return ""
    if "gptq" in found and re.search(r"int8|8-?bit", lower):
        return "w8a16"
    better = [f for f in found if f in ("awq", "gptq", "nvfp4", "mxfp4")]
    return label((better or found)[-1])


def for_engine(fmt: str, engine: str) -> str:
    """A label as an engine means it: MLX's 4-bit quantises every matrix in groups of 64."""
    if engine == "mlx":
        return {"int4": "mlx-4bit", "q4_k_m": "mlx-4bit", "int8": "mlx-8bit", "q8_0": "mlx-8bit", "q6_k": "mlx-6bit",
                "w4a16": "mlx-4bit", "q4_0": "mlx-4bit"}.get(fmt, fmt)  # fmt: skip
    if engine in GGUF:
        return {"int4": "q4_k_m", "int8": "q8_0", "w4a16": "q4_k_m", "fp8": "q8_0"}.get(fmt, fmt)
    if engine == "mlc":
        return {"int4": "q4f16", "w4a16": "q4f16", "int8": "q8f16"}.get(fmt, fmt)
    return fmt
