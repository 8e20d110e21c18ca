"""Names that carry constants: serving engines as people type them, and classes of devices that share kernels."""

from __future__ import annotations

import re

from ..hardware import Device

ENGINES = {
    "trtllm": "trtllm", "tensorrt-llm": "trtllm", "tensorrtllm": "trtllm", "trt-llm": "trtllm", "trt": "trtllm",
    "tensorrt_llm": "trtllm", "tensorrt": "trtllm", "nim": "trtllm", "nvidianim": "trtllm", "sglang": "sglang",
    "sgl": "sglang", "vllm": "vllm", "vllm-v1": "vllm", "vllm-rocm": "vllm", "rocmvllm": "vllm",
    "llama.cpp": "llama.cpp",
    "llamacpp": "llama.cpp", "llama_cpp": "llama.cpp", "llama-cpp": "llama.cpp", "llama-bench": "llama.cpp",
    "llama-server": "llama.cpp", "llama-cpp-python": "llama.cpp", "ollama": "llama.cpp", "lmstudio": "llama.cpp",
    "ik_llama.cpp": "llama.cpp", "koboldcpp": "llama.cpp", "ggml": "llama.cpp", "mlx": "mlx", "mlx-lm": "mlx",
    "mlx_lm": "mlx", "mlxlm": "mlx",
}  # fmt: skip
MEASURED_ENGINES = ("trtllm", "sglang", "vllm")


def engine(text: str | None) -> str:
    """Canonical engine name; '' where none is given; an unknown one is kept in lower case."""
    key = (text or "").strip().lower().replace(" ", "")
    if key in ENGINES:
        return ENGINES[key]
    bare = re.sub(r"[(:@=].*$|[-_]?b\d{3,}.*$|[-_]?v?\d+(\.\d+)+.*$", "", key)  # "vLLM 0.9.1", "llama.cpp (CUDA)"
    return ENGINES.get(bare, key)


GENERATIONS = (
    ("hopper", ("h100", "h200", "h20", "h800", "gh200")),
    ("blackwell", ("b200", "b300", "gb200", "gb300")),
    ("rubin", ("rubin",)),
    ("blackwell-workstation", ("rtx 50", "rtx pro", "gb10")),
    ("ampere", ("a100", "a30", "a800")),
    ("ampere-gddr", ("a10", "a40", "rtx 30", "rtx a")),
    ("apple", ("m1", "m2", "m3", "m4", "m5")),
    ("gaudi", ("gaudi",)),
    ("arc", ("arc",)),
    ("ada", ("l40", "l4", "rtx 40", "rtx 6000 ada")),
    ("cdna3", ("mi300", "mi325")),
    ("cdna4", ("mi350", "mi355", "mi455")),
    ("cdna2", ("mi210", "mi250")),
)


def generation(dev: Device) -> str:
    """Class of devices that share kernels: a measured one (hopper, blackwell), a class with priors, or 'other'."""
    name = dev.name.lower()
    for label, heads in GENERATIONS:
        if any(name.startswith(h) for h in heads):
            return label
    return "other"
