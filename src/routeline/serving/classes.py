"""Names that carry constants: serving engines as people type them, and classes of devices that share kernels."""

from __future__ import annotations

import re

from ..hardware import Device

_SPELLINGS = {
    "trtllm": "trtllm tensorrt-llm tensorrtllm trt-llm trt tensorrt_llm tensorrt nim nvidianim nvidia-nim "
    "dynamo-trt triton",
    "sglang": "sglang sgl dynamo-sglang atom",
    "vllm": "vllm rocmvllm rocm/vllm dynamo-vllm aphrodite llm-d",
    "llama.cpp": "llama.cpp llamacpp llama_cpp llama-cpp llama-bench llama-batched-bench ik_llama.cpp ik_llama ggml",
    "llama-server": "llama-server llamafile localscore ollama lmstudio lm-studio koboldcpp gpt4all jan",
    "mlx": "mlx mlx-lm mlx_lm mlxlm vllm-mlx",
    "transformers": "transformers huggingface hf hftransformers huggingfacetransformers pytorch torch accelerate",
    "tgi": "tgi text-generation-inference huggingfacetgi",
    "lmdeploy": "lmdeploy turbomind",
    "mlc": "mlc mlc-llm mlcllm",
    "exllama": "exllamav2 exllama exllamav3 tabbyapi",
    "deepspeed": "deepspeed deepspeed-mii mii",
    "optimum-habana": "optimum-habana optimum habana",
    "jetstream": "jetstream maxtext",
    "openvino": "openvino",
    "ktransformers": "ktransformers",
}  # fmt: skip
ENGINES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""Engine as people type it -> the engine whose constants it has, or its own name where it has none."""


def _flat(text: str) -> str:
    return re.sub(r"[-_.]", "", text)


_FLAT = {_flat(spelling): name for spelling, name in ENGINES.items()}
MEASURED_ENGINES = ("trtllm", "sglang", "vllm")
GGUF = ("llama.cpp", "llama-server")
"""Engines that run llama.cpp's kernels: its benchmarks, and servers that sample and answer over HTTP beside them."""


def engine(text: str | None) -> str:
    """Canonical engine name; '' where none is given; an unknown one is kept in lower case."""
    key = (text or "").strip().lower().replace(" ", "")
    bare = re.sub(r"[(:@=+,;].*$|[-_]?b\d{3,}.*$|[-_]?v?\d+(\.\d+)+.*$", "", key)  # "vLLM 0.9.1", "llama.cpp (CUDA)"
    for trial in (key, bare, _flat(bare)):
        if trial in ENGINES or trial in _FLAT:
            return ENGINES.get(trial) or _FLAT[trial]
    first = [name for name in ENGINES if len(name) > 2 and bare.startswith(name)]  # "vllm-rocm", "llama.cppvulkan"
    return ENGINES[max(first, key=len)] if first else bare or key


GENERATIONS = (
    ("hopper", ("h100", "h200", "h20", "h800", "gh200")),
    ("blackwell", ("b200", "b300", "gb200", "gb300")),
    ("rubin", ("rubin",)),
    ("blackwell-workstation", ("rtx 50", "rtx pro", "gb10", "jetson agx thor")),
    ("volta", ("v100", "jetson agx xavier")),
    ("turing", ("t4", "rtx 20", "titan rtx", "quadro rtx")),
    ("pascal", ("p40", "p100", "gtx 10")),
    ("ampere", ("a100", "a30", "a800")),
    ("ampere-gddr", ("a10", "a16", "a2", "a40", "rtx 30", "rtx a", "jetson")),
    ("apple", ("m1", "m2", "m3", "m4", "m5")),
    ("gaudi", ("gaudi",)),
    ("arc", ("arc", "max 1550")),
    ("ada", ("l40", "l20", "l4", "rtx 40")),
    ("cdna1", ("mi100", "mi50", "mi60", "radeon vii")),
    ("cdna2", ("mi210", "mi250")),
    ("cdna3", ("mi300", "mi325")),
    ("cdna4", ("mi350", "mi355", "mi455")),
    ("rdna", ("rx ", "radeon", "strix")),
    ("tpu", ("tpu",)),
    ("neuron", ("trainium", "inferentia")),
)


def generation(dev: Device) -> str:
    """Class of devices that share kernels: a measured one (hopper, blackwell), a class with priors, or 'other'."""
    name = dev.name.lower()
    if name.startswith("rtx") and name.removesuffix(" (modified)").endswith(" ada"):
        return "ada"
    for label, heads in GENERATIONS:
        if any(name.startswith(h) for h in heads):
            return label
    return "other"
