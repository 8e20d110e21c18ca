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
    r"[-_](instruct|chat|it|hf|fp8|fp8-block|nvfp4|fp4|mxfp4|bf16|int4|awq|gptq|w4a16|w8a8|gguf|q4_k_m|q8_0|dynamic|\d{4}|thinking|base|kv)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=256)
def device(text: str) -> Device:
    """A catalogue device or a device file; an ambiguous short form takes the first listed.

    Raises:
        RoutelineError: unknown device.
    """
    from ..devices import load_device

    plain = text.strip()
    try:
        return load_device(plain)
    except RoutelineError as error:
        found = re.search(r" fits ([^,;]+),", str(error))
        if found:
            return load_device(found[1])
        raise


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
    name = out[-1]
    for extra in ("", "Meta-"):
        trial = name.removeprefix(extra)
        while trial:
            out.append(trial)
            cut = _TAIL.sub("", trial)
            if cut == trial:
                break
            trial = cut
    same = {"Llama-3.3-70B": "Llama-3.1-70B", "DeepSeek-R1-0528": "DeepSeek-R1", "DeepSeek-V3-0324": "DeepSeek-V3"}
    return out + [same[n] for n in out if n in same]


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
             "fp8_e5m2": 1.0, "int8": 1.0, "q8_0": 1.06, "q4_0": 0.56, "nvfp4": 0.5625, "fp4": 0.5625}  # fmt: skip
    if key not in known:
        raise RoutelineError(f"unknown cache format {text!r}; known: auto, {', '.join(known)}")
    return known[key]
