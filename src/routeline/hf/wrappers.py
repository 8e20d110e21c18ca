"""Classes that put an encoder and a projector in front of another class's language model: LLaVA and its like.

`text_config.model_type` names the language model, `vision_config.model_type` the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RoutelineError, shorten
from .encoders import ENCODERS, internvit, pixtral, siglip, siglip2
from .reader import Reader
from .registry import BY_TYPE, SPEAKERS, WRAPPERS


def language_model(kind: str, config: Mapping[str, Any]) -> str:
    """The class whose language model a class holds: itself, but for wrappers.

    Raises:
        RoutelineError: a wrapper around a language model that is not known.
    """
    if kind not in WRAPPERS:
        return kind
    found = [v for k in ("text_config", "llm_config", "language_config") if isinstance(v := config.get(k), Mapping)]
    named = found[0].get("model_type") if found else None
    named = WRAPPERS[kind] if named is None else named
    if not isinstance(named, str) or named not in BY_TYPE:
        raise RoutelineError(f"{kind}: text_config.model_type={shorten(named, 40)} is not a language model known here")
    return BY_TYPE[named]


def thinker(kind: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The thinker's own config out of a file that also describes what speaks.

    Raises:
        RoutelineError: no thinker_config.
    """
    inner = config.get("thinker_config")
    if not isinstance(inner, Mapping):
        raise RoutelineError(f"config key thinker_config={shorten(inner, 40)} must be an object for {kind}")
    shared = {k: config[k] for k in ("torch_dtype", "dtype", "quantization_config") if k in config}
    return {**shared, **inner, "architectures": [SPEAKERS[kind]]}


def two_layers(v: Reader, r: Reader, hidden: int, *, newline: bool = False) -> int | None:
    """LLaVA: the encoder of vision_config.model_type and two matrices; `newline`: a learnt row separator."""
    name = v.text("model_type", default="clip_vision_model")
    if name not in ENCODERS:
        return None
    size = ENCODERS[name](v)
    bias = 2 * hidden if r.flag("multimodal_projector_bias", default=True) else 0
    layer = r.config.get("vision_feature_layer")
    wide = v.integer("hidden_size") * (len(layer) if isinstance(layer, list) else 1)
    return size + wide * hidden + hidden * hidden + bias + (hidden if newline else 0)


def rows(v: Reader, r: Reader, hidden: int) -> int | None:
    """LLaVA-NeXT and LLaVA-OneVision."""
    return two_layers(v, r, hidden, newline=True)


def vip(v: Reader, r: Reader, hidden: int) -> int | None:
    """ViP-LLaVA: features of several layers, with a LayerNorm in front of the projector."""
    layers = r.config.get("vision_feature_layer")
    count = len(layers) if isinstance(layers, list) else 1 if isinstance(layers, int) else 5
    r.config = dict(r.config) | {"vision_feature_layer": [0] * count, "multimodal_projector_bias": True}
    size = two_layers(v, r, hidden)
    return None if size is None else size + 2 * count * v.integer("hidden_size")


def paligemma(v: Reader, r: Reader, hidden: int) -> int:
    """PaliGemma: SigLIP and one matrix."""
    out = v.integer("projection_dim", default=hidden)
    return siglip(v) + v.integer("hidden_size") * out + out


def shuffled(v: Reader, r: Reader, hidden: int) -> int | None:
    """Idefics 3 and SmolVLM: pixel shuffle into one matrix without a bias."""
    name = v.text("model_type", default="idefics3_vision")
    if name not in ENCODERS:
        return None
    scale = r.integer("scale_factor", default=2)
    return ENCODERS[name](v) + v.integer("hidden_size", default=1152) * scale**2 * hidden


def lfm2(v: Reader, r: Reader, hidden: int) -> int:
    """LFM2-VL: SigLIP 2, pixel unshuffle, a LayerNorm unless switched off, two matrices."""
    wide = v.integer("hidden_size", default=768) * r.integer("downsample_factor", default=2) ** 2
    middle = r.integer("projector_hidden_size", default=2560)
    bias = middle + hidden if r.flag("projector_bias", default=True) else 0
    norm = 2 * wide if r.flag("projector_use_layernorm", default=True) else 0
    return siglip2(v) + norm + wide * middle + middle * hidden + bias


def cohere(v: Reader, r: Reader, hidden: int) -> int:
    """Command A Vision: SigLIP, pixel shuffle, a gated projector."""
    wide = v.integer("hidden_size", default=1152) * r.integer("downsample_factor", default=2) ** 2
    middle = r.integer("alignment_intermediate_size", default=36864)
    return siglip(v) + wide * middle + middle + middle // 2 * hidden + hidden


def aya(v: Reader, r: Reader, hidden: int) -> int:
    """Aya Vision: Command A Vision's projector with a LayerNorm in front; its width defaults to the text's."""
    middle = r.integer("alignment_intermediate_size", default=hidden)
    r.config = dict(r.config) | {"alignment_intermediate_size": middle}
    return cohere(v, r, hidden) + 2 * v.integer("hidden_size") * r.integer("downsample_factor", default=2) ** 2


def internvl(v: Reader, r: Reader, hidden: int) -> int:
    """InternVL: InternViT, pixel shuffle by downsample_ratio, a LayerNorm and two matrices."""
    ratio = r.number("downsample_ratio", default=0.5, low=0.01, high=1.0)
    wide = int(v.integer("hidden_size", default=1024) * int(1 / ratio) ** 2)
    return internvit(v) + 2 * wide + wide * hidden + hidden + hidden * hidden + hidden


def merged_pixtral(v: Reader, r: Reader, hidden: int) -> int:
    """Mistral 3: Pixtral, a norm, a patch merger and two matrices."""
    bias = 2 * hidden if r.flag("multimodal_projector_bias", default=False) else 0
    h = v.integer("hidden_size", default=1024)
    return pixtral(v) + h + h * h * r.integer("spatial_merge_size", default=2) ** 2 + h * hidden + hidden**2 + bias


TOWERS: dict[str, Callable[[Reader, Reader, int], int | None]] = {
    "LlavaForConditionalGeneration": two_layers,
    "LlavaNextForConditionalGeneration": rows,
    "LlavaNextVideoForConditionalGeneration": rows,
    "LlavaOnevisionForConditionalGeneration": rows,
    "VipLlavaForConditionalGeneration": vip,
    "PaliGemmaForConditionalGeneration": paligemma,
    "Idefics3ForConditionalGeneration": shuffled,
    "SmolVLMForConditionalGeneration": shuffled,
    "Lfm2VlForConditionalGeneration": lfm2,
    "Cohere2VisionForConditionalGeneration": cohere,
    "AyaVisionForConditionalGeneration": aya,
    "InternVLForConditionalGeneration": internvl,
    "Mistral3ForConditionalGeneration": merged_pixtral,
    "LightOnOcrForConditionalGeneration": merged_pixtral,
}
