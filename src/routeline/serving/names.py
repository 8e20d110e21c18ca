"""Names in a row -> model, device, engine, cache format. Offline first; the hub is asked once per name at most."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

from ..arch import Model
from ..errors import RoutelineError
from ..hardware import Device
from . import device_text, model_text
from .classes import ENGINES, MEASURED_ENGINES, engine, generation

__all__ = ["ENGINES", "MEASURED_ENGINES", "device", "device_noted", "engine", "find", "generation"]


@lru_cache(maxsize=512)
def device(text: str) -> Device:
    """A catalogue device or a device file; an ambiguous short form takes the first listed.

    Raises:
        RoutelineError: unknown device, or one that is listed for reference only.
    """
    return device_noted(text)[0]


@lru_cache(maxsize=512)
def device_noted(text: str) -> tuple[Device, str]:
    """`device`, with what was read into the text ('' where nothing was).

    Raises:
        RoutelineError: as `device`.
    """
    found, note = device_text.read(text)
    if found.footnote:
        raise RoutelineError(f"{found.name} is listed for reference only: a per-device roofline does not describe it")
    return found, note


@lru_cache(maxsize=1)
def _known() -> dict[str, str]:
    """Folded names, aliases and names of the same layers -> catalogue name, in this order."""
    from ..models import FOLDER, model_names

    key = model_text.key
    known = {key(n): n for n in model_names()}
    try:
        with open(f"{FOLDER}/_aliases.json", encoding="utf-8") as f:
            known = {key(a): n for a, n in json.load(f).items()} | known
    except OSError:
        pass
    return {key(a): n for a, n in model_text.same().items()} | known


@lru_cache(maxsize=512)
def find(text: str) -> Model:
    """The model a row names: the catalogue (also without organisation and tuning suffix), then a file, then the hub.

    Raises:
        RoutelineError: no such model.
    """
    from ..counts import total
    from ..models import load_model

    plain = text.strip()
    if not plain:
        raise RoutelineError("model is blank; give a catalogue name, a config.json or a Hugging Face id")
    known = _known()
    for name in model_text.shorter(plain):
        if model_text.key(name) in known:
            model = load_model(known[model_text.key(name)])
            if _fold(name) == _fold(plain) or model_text.size_fits(plain, name, float(total(model))):
                return model
    measured = _from_silicon(plain)
    if measured is not None:
        return measured
    return load_model(plain)


_fold = model_text.fold


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
    stay at 16 bits (inferred from the measured dense rows, docs/accuracy.md). Intel's FP8 recipe for Gaudi
    quantises the cache as well (published).

    Raises:
        RoutelineError: an unknown format.
    """
    key = (text or "").strip().lower()
    if key in ("", "auto", "none", "nan", "default", "native"):
        narrow = weights not in ("bf16", "fp16")
        return (
            1.0 if narrow and (eng in ("trtllm", "optimum-habana") or (eng == "vllm" and gen == "blackwell")) else 2.0
        )
    known = {"bf16": 2.0, "fp16": 2.0, "f16": 2.0, "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_e4m3": 1.0,
             "fp8_e5m2": 1.0, "fp8_ds_mla": 1.0, "16bit": 2.0, "8bit": 1.0,
             "int8": 1.0, "q8_0": 1.06, "q4_0": 0.56, "nvfp4": 0.5625, "fp4": 0.5625}  # fmt: skip
    if key not in known:
        raise RoutelineError(f"unknown cache format {text!r}; known: auto, {', '.join(known)}")
    return known[key]
