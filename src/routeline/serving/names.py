"""Names in a row -> model, device, engine, cache format. Offline first; the hub is asked once per name at most."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib import resources

from ..arch import Model
from ..errors import RoutelineError
from ..hardware import Device
from .classes import ENGINES, MEASURED_ENGINES, engine, generation

__all__ = ["ENGINES", "MEASURED_ENGINES", "device", "engine", "find", "generation"]

_TAIL = re.compile(
    r"[-_.:@ ](instruct|chat|it|hf|fp8|fp8[-_]block|nvfp4|fp4|mxfp4|bf16|fp16|f16|int4|int8|awq|gptq|w4a16|w8a8|gguf|"
    r"mlx|bnb|(ud[-_])?i?q\d_[a-z0-9_]+|q\d|\d?-?bit|dynamic|static|quantized|\d{4}|thinking|base|kv|qat|turbo|marlin|latest|"
    r"safetensors|uncensored|abliterated|v0\.\d|g\d+|preview)$",
    re.IGNORECASE,
)
_VENDOR = re.compile(
    r"\b(nvidia|amd|instinct|intel|apple|google|aws|tesla|radeon|gpus?|accelerator|generation|oam|hbm\d?e?|sxm\d)\b",
    re.I,
)
SAME = {
    "Llama-3.3-70B": "Llama-3.1-70B", "Llama-3-70B": "Llama-3.1-70B", "Llama-3-8B": "Llama-3.1-8B",
    "Hermes-3-Llama-3.1-8B": "Llama-3.1-8B", "Llama-3.1-Nemotron-70B": "Llama-3.1-70B",
    "DeepSeek-R1-Distill-Llama-70B": "Llama-3.1-70B", "DeepSeek-R1-Distill-Llama-8B": "Llama-3.1-8B",
    "DeepSeek-R1-Distill-Qwen-7B": "Qwen2.5-7B", "DeepSeek-R1-Distill-Qwen-1.5B": "Qwen2.5-1.5B",
    "DeepSeek-R1-0528": "DeepSeek-R1", "DeepSeek-V3-0324": "DeepSeek-V3", "Qwen2.5-Coder-7B": "Qwen2.5-7B",
    "Qwen2.5-Coder-32B": "Qwen2.5-32B", "Qwen2.5-Coder-3B": "Qwen2.5-3B", "Qwen2.5-Coder-1.5B": "Qwen2.5-1.5B",
    "Qwen2.5-Math-7B": "Qwen2.5-7B", "Qwen2.5-Math-72B": "Qwen2.5-72B", "QwQ-32B": "Qwen2.5-32B",
    "Qwen2-7B": "Qwen2.5-7B", "Qwen2-72B": "Qwen2.5-72B", "Qwen3-Coder-30B-A3B": "Qwen3-30B-A3B",
    "Mistral-7B-v0.2": "Mistral-7B-v0.1", "Mistral-7B-v0.3": "Mistral-7B-v0.1",
    "Mistral-7B-Instruct-v0.1": "Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.2": "Mistral-7B-v0.1",
    "Mistral-7B-Instruct-v0.3": "Mistral-7B-v0.1", "Zephyr-7B-beta": "Mistral-7B-v0.1", "Vicuna-7B-v1.5": "Llama-2-7B",
    "Vicuna-13B-v1.5": "Llama-2-13B", "GLM-4.6": "GLM-4.7", "GLM-4.5": "GLM-4.7", "MiniMax-M2": "MiniMax-M2.5",
    "MiniMax-M2.1": "MiniMax-M2.5", "Kimi-K2-Thinking": "Kimi-K2.5", "Llama-4-Scout-17B": "Llama-4-Scout",
    "Llama-4-Maverick-17B": "Llama-4-Maverick",
}  # fmt: skip
"""Published name -> catalogue model of the same layers (tuned or renamed); guess where vocabularies differ a little."""
SAME_DEVICE = {"a10040gbpcie": "A100 40GB SXM", "a100pcie40gb": "A100 40GB SXM"}
"""Device -> catalogue device with the same memory and rates (only its link differs)."""


@lru_cache(maxsize=256)
def device(text: str) -> Device:
    """A catalogue device or a device file; an ambiguous short form takes the first listed.

    Raises:
        RoutelineError: unknown device.
    """
    from ..devices import load_device

    plain = text.strip()
    bare = " ".join(_VENDOR.sub(" ", re.sub(r"^\d+\s*[x×]\s*", "", plain).replace("-", " ").replace("_", " ")).split())
    first: RoutelineError | None = None
    for name in dict.fromkeys((plain, bare, SAME_DEVICE.get(_fold(bare), bare))):
        try:
            return load_device(name)
        except RoutelineError as error:
            found = re.search(r" fits ([^,;]+),", str(error))
            if found:
                return load_device(found[1])
            first = first or error
    assert first is not None
    raise first


@lru_cache(maxsize=512)
def find(text: str) -> Model:
    """The model a row names: the catalogue (also without organisation and tuning suffix), then a file, then the hub.

    Raises:
        RoutelineError: no such model.
    """
    from ..models import load_model, model_names

    plain = text.strip()
    if not plain:
        raise RoutelineError("model is blank; give a catalogue name, a config.json or a Hugging Face id")
    known = {_fold(n): n for n in model_names()}
    from ..models import FOLDER

    try:
        with open(f"{FOLDER}/_aliases.json", encoding="utf-8") as f:
            known |= {_fold(a): n for a, n in json.load(f).items() if _fold(a) not in known}
    except OSError:
        pass
    known |= {_fold(a): n for a, n in SAME.items() if _fold(a) not in known}
    for name in _shorter(plain):
        if _fold(name) in known:
            return load_model(known[_fold(name)])
    measured = _from_silicon(plain)
    if measured is not None:
        return measured
    return load_model(plain)


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _shorter(text: str) -> list[str]:
    """The name, without its organisation, then without tuning and precision suffixes."""
    out = [text, text.rsplit("/", 1)[-1]]
    name = re.sub(r"\.gguf$", "", out[-1], flags=re.IGNORECASE)
    for extra in ("", "Meta-"):
        trial = name.removeprefix(extra)
        while trial:
            out.append(trial)
            cut = _TAIL.sub("", trial)
            if cut == trial:
                break
            trial = cut
    return out


@lru_cache(maxsize=64)
def _from_silicon(text: str) -> Model | None:
    """A config of the optional package aiconfigurator-core, read in place, where the catalogue has none."""
    from ..hf import parse

    try:
        folder = resources.files("aiconfigurator_core") / "model_configs"
    except ModuleNotFoundError:
        return None
    last = text.rsplit("/", 1)[-1]
    for entry in folder.iterdir():
        name = entry.name
        if not name.endswith("_config.json") or name.endswith("hf_quant_config.json"):
            continue
        if _fold(name.removesuffix("_config.json").split("--", 1)[-1]) == _fold(last):
            try:
                return parse(json.loads(entry.read_text(encoding="utf-8")), name=last, source=name)
            except RoutelineError:
                return None
    return None


def cache_bytes(text: str | None, eng: str, weights: str, gen: str) -> float:
    """Bytes of a cached element [B]: as given, else what the engine does by default with such weights.

    TensorRT-LLM stores an FP8 cache for quantised checkpoints, vLLM on Blackwell too; SGLang and vLLM elsewhere
    stay at 16 bits (inferred from the measured dense rows, docs/accuracy.md).

    Raises:
        RoutelineError: an unknown format.
    """
    key = (text or "").strip().lower()
    if key in ("", "auto", "none", "nan", "default", "native"):
        narrow = weights not in ("bf16", "fp16")
        return 1.0 if narrow and (eng == "trtllm" or (eng == "vllm" and gen == "blackwell")) else 2.0
    known = {"bf16": 2.0, "fp16": 2.0, "f16": 2.0, "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_e4m3": 1.0,
             "fp8_e5m2": 1.0, "fp8_ds_mla": 1.0, "16bit": 2.0, "8bit": 1.0,
             "int8": 1.0, "q8_0": 1.06, "q4_0": 0.56, "nvfp4": 0.5625, "fp4": 0.5625}  # fmt: skip
    if key not in known:
        raise RoutelineError(f"unknown cache format {text!r}; known: auto, {', '.join(known)}")
    return known[key]
