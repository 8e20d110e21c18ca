"""From a config to a Model: pick the family, read, refuse what is not understood, assemble."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..arch import Model
from ..errors import RoutelineError, UnknownName, shorten
from .assemble import build
from .defaults import class_defaults
from .quant import quantizer
from .reader import Reader
from .registry import BY_TYPE, FAMILIES, SPEAKERS, WRAPPERS
from .wrappers import language_model, thinker

MOST_KEYS = 5000
ALWAYS_SEES = ("Llama4ForConditionalGeneration",)


def known_architectures() -> list[str]:
    """Class names that can be parsed, sorted."""
    return sorted([*FAMILIES, *WRAPPERS, *SPEAKERS])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def architecture(config: Mapping[str, Any]) -> str:
    """The architecture's class name: architectures[0] where known, else what model_type stands for.

    Raises:
        UnknownName: neither is known.
    """
    listed = config.get("architectures")
    names = [n for n in listed if isinstance(n, str)] if isinstance(listed, list) else []
    for n in names:
        if n in FAMILIES or n in WRAPPERS or n in SPEAKERS:
            return n
    kind = _text(config.get("model_type"))
    if not names and kind is not None and kind in BY_TYPE:
        return BY_TYPE[kind]
    shown = names[0] if names else kind
    if shown is None:
        raise RoutelineError(
            "config has neither architectures nor a known model_type, so its keys have no meaning here"
        )
    raise UnknownName(
        "architecture", shown, [*FAMILIES, *WRAPPERS, *BY_TYPE], "no answer is given for shapes not understood"
    )


def merged(config: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """(text keys with the outer ones below them, the outer config)."""
    for key in ("text_config", "llm_config", "language_config"):
        inner = config.get(key)
        if inner is None:
            continue
        if not isinstance(inner, Mapping):
            raise RoutelineError(f"config key {key}={shorten(inner, 40)} must be an object")
        outer = {k: v for k, v in config.items() if k != key}
        text = dict(outer) | {k: v for k, v in inner.items() if v is not None or k not in outer}
        text["architectures"] = config.get("architectures")
        inside, above = inner.get("tie_word_embeddings"), outer.get("tie_word_embeddings")
        if inside is not None and above is not None and str(config.get("transformers_version", "")).startswith("5"):
            text["tie_word_embeddings"] = above  # transformers 5 reads the outer flag, 4 the text config's
        return text, outer
    return dict(config), config


PRECISION = re.compile(r"nvfp4|mxfp4|fp8|int4|int8|gptq|awq|w4a16|w8a8|4bit|8bit|bnb", re.I)


def parse(config: Mapping[str, Any], *, name: str, source: str, quant: Mapping[str, Any] | None = None) -> Model:
    """The Model that a Hugging Face config.json describes.

    Args:
        config: the file's content.
        name: what to call the model.
        source: where it came from, for display.
        quant: content of a hf_quant_config.json beside it, if any.

    Raises:
        RoutelineError: an unknown architecture, a key that may change the counts and is not understood,
            or a value that cannot be; one sentence naming key, value and limit.
    """
    if not isinstance(config, Mapping):
        raise RoutelineError(f"a config must be a JSON object, not {shorten(type(config).__name__)}")
    if len(config) > MOST_KEYS:
        raise RoutelineError(f"config has {len(config)} keys; at most {MOST_KEYS} are read")
    kind = architecture(config)
    speaks = kind in SPEAKERS
    if speaks:
        config, kind = thinker(kind, config), SPEAKERS[kind]
    text, outer = merged(config)
    r = Reader(text)
    if speaks:
        r.warn("the parts that speak (talker, code to wave) are not counted; numbers are those of the thinker alone")
    r.architecture = language_model(kind, config)
    r.class_defaults = class_defaults(r.architecture)
    r.nested = outer is not config
    module, function = FAMILIES[r.architecture].split(":")
    draft = getattr(importlib.import_module(f".{module}", __package__), function)(r)
    if any(outer.get(k) is not None for k in ("vision_config", "audio_config")) or kind in ALWAYS_SEES:
        from .vision import towers

        draft.extra += towers(r, kind, draft.hidden)
    q = _quantization(r, text, outer)
    expert_dtype = r.text("expert_dtype", default=None)
    casts = quantizer(r, q, quant, prefix=draft.prefix, expert_dtype=expert_dtype)
    if not casts.rules and PRECISION.search(name):
        r.warn(
            f"the name {shorten(name)} promises a quantized checkpoint, but none is described here: counted in 16 bits"
        )
    model = build(r, draft, casts, name=name, source=source, architecture=kind)
    r.skip("quantization_config", "text_config", "vision_config", "audio_config")
    r.finish(kind)
    shown = tuple((k, text[k]) for k in sorted(r.used) if k in text and isinstance(text[k], str | int | float | bool))
    return replace(model, defaults=tuple(r.defaults.items()), warnings=tuple(r.warnings), config=shown)


def _quantization(r: Reader, text: Mapping[str, Any], outer: Mapping[str, Any]) -> Any:
    """quantization_config from the text config or the outer one (either may hold it)."""
    inner, above = text.get("quantization_config"), outer.get("quantization_config")
    if isinstance(above, Mapping) and above:
        return above
    return inner
