"""Vision towers: resident parameters that text decode never uses.

Each known tower is counted from its vision_config; an unknown one is left out with a warning.
"""

from __future__ import annotations

from collections.abc import Callable

from ..arch import Weight
from . import wrappers
from .encoders import depth_of, norm_block, siglip, whisper
from .reader import MOST_LAYERS, Reader


def towers(r: Reader, architecture: str, hidden: int) -> list[Weight]:
    """Weights of the towers beside a language model of width `hidden`; a warning where one is not understood."""
    r.skip("audio_config", "vision_config", *OUTER)
    found: list[int] = []
    a = r.section("audio_config") if r.has("audio_config") else None
    if a is not None and architecture in AUDIO:
        found.append(whisper(a, a.integer("output_dim", default=hidden), frames=AUDIO[architecture]))
    elif a is not None:
        r.warn(f"{architecture}: the audio tower is not counted")
    v = r.section("vision_config")
    if v is None and architecture in DEFAULTED:
        v = Reader({}, parent=r, path="vision_config.")
        r.warn(f"{architecture}: no vision_config, so the tower is counted in the class's default shape")
    if v is not None:
        count = TOWERS.get(architecture)
        clipped = architecture == "Gemma4ForConditionalGeneration" and v.config.get("use_clipped_linears")
        size = None if count is None or clipped else count(v, r, hidden)
        if size is None:
            r.warn(f"{architecture}: the vision tower is not counted; numbers are those of the language model alone")
        else:
            found.append(size)
    return [Weight(name="vision", part="vision", params=sum(found), matmul=False)] if found else []


DEFAULTED = ("Llama4ForConditionalGeneration",)
"""Classes that build a vision tower even where the config leaves it out."""

_OUTER = (
    "vision_soft_tokens_per_image audio_soft_tokens_per_image image_seq_length image_grid_pinpoints "
    "multimodal_projector_bias process_image_mode projector_hidden_act projector_hidden_size "
    "img_token_compression_config out_hidden_size spatial_merge_size vision_feature_layer mm_tokens_per_image "
    "language_model_only mm_projector_type vision_start_token_id merged_hidden_size "
    "understand_projector_stride projector_bias image_token_len patch_token_len num_image_token projection_dim "
    "projector_layernorm_eps scale_factor downsample_factor alignment_intermediate_size projector_use_layernorm "
    "downsample_ratio projection_hidden_size vision_feature_select_strategy use_image_newline_parameter "
    "spatial_pool_mode spatial_pool_stride spatial_pool_out_channels vision_aspect_ratio position_id_per_seconds "
    "seconds_per_chunk max_dynamic_patch min_dynamic_patch dynamic_image_size force_image_size select_layer "
    "use_thumbnail ps_version use_backbone_lora use_llm_lora pad2square template "
)
OUTER = tuple(_OUTER.split())


def qwen_vl(v: Reader, r: Reader, hidden: int) -> int:
    """Qwen3-VL and Qwen3.5: patch convolution, learnt positions, 2x2 merger, deepstack mergers."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), depth_of(v, "depth")
    patch, temporal = v.integer("patch_size"), v.integer("temporal_patch_size", default=2)
    merge = v.integer("spatial_merge_size", default=2)
    out = v.integer("out_hidden_size", default=hidden)
    deep = len(v.integers("deepstack_visual_indexes") or ())
    wide = h * merge * merge
    embed = v.integer("in_channels", default=3) * temporal * patch * patch * h + h
    positions = v.integer("num_position_embeddings", default=2304) * h
    mixers = wide * wide + wide + wide * out + out
    return embed + positions + depth * norm_block(h, width) + (mixers + 2 * h) + deep * (mixers + 2 * wide)


def qwen25_vl(v: Reader, r: Reader, hidden: int) -> int:
    """Qwen2.5-VL: gated MLP with biases, RMSNorm, windows (without parameters); EXAONE 4.5 groups its heads."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), depth_of(v, "depth")
    patch, temporal = v.integer("patch_size"), v.integer("temporal_patch_size", default=2)
    wide = h * v.integer("spatial_merge_size", default=2) ** 2
    out = v.integer("out_hidden_size", default=hidden)
    heads = v.integer("num_heads", default=16)
    kv = h // heads * v.integer("num_key_value_heads", default=heads) if v.has("num_key_value_heads") else h
    layer = 2 * h + 2 * (h * h + h) + 2 * (h * kv + kv) + 3 * h * width + 2 * width + h
    return 3 * temporal * patch * patch * h + depth * layer + h + wide * wide + wide + wide * out + out


def qwen2_vl(v: Reader, r: Reader, hidden: int) -> int:
    """Qwen2-VL: patches without a bias, two-matrix MLP of mlp_ratio, a merger to hidden_size."""
    h, depth = v.integer("embed_dim", default=1280), depth_of(v, "depth", default=32)
    patch, temporal = v.integer("patch_size", default=14), v.integer("temporal_patch_size", default=2)
    wide = h * v.integer("spatial_merge_size", default=2) ** 2
    out = v.integer("hidden_size", default=hidden)
    width = int(h * v.number("mlp_ratio", default=4, high=100.0))
    embed = v.integer("in_channels", "in_chans", default=3) * temporal * patch * patch * h
    return embed + depth * norm_block(h, width) + 2 * h + wide * wide + wide + wide * out + out


def glm4v(v: Reader, r: Reader, hidden: int) -> int:
    """GLM-4.1V to 4.6V: learnt positions, RMSNorms, gated MLP of the output width, 2x2 downsampling, gated merger."""
    h, depth = v.integer("hidden_size", default=1536), depth_of(v, "depth", default=24)
    patch, temporal = v.integer("patch_size", default=14), v.integer("temporal_patch_size", default=2)
    out, width = v.integer("out_hidden_size", default=4096), v.integer("intermediate_size", default=13696)
    bias = 4 * h if v.flag("attention_bias", default=False) else 0
    embed = v.integer("in_channels", default=3) * temporal * patch * patch * h + h
    positions = (v.integer("image_size", default=336) // patch) ** 2 * h
    layer = 2 * h + 4 * h * h + bias + 3 * h * out
    down = h * out * v.integer("spatial_merge_size", default=2) ** 2 + out
    return embed + positions + depth * layer + 2 * h + down + out * out + 2 * out + 3 * out * width


def kimi_k25(v: Reader, r: Reader, hidden: int) -> int:
    """Kimi-K2.5 under transformers' names: patches, a grid of positions, 2x2 merging, two matrices."""
    h, width = v.integer("hidden_size", default=1152), v.integer("intermediate_size", default=4304)
    patch, depth = v.integer("patch_size", default=14), depth_of(v, default=27)
    grid = v.integer("pos_emb_height", default=64) * v.integer("pos_emb_width", default=64)
    merge = v.integers("merge_kernel_size") or [2, 2]
    wide = h
    for m in merge:
        wide *= m
    embed = 3 * patch * patch * h + h + grid * h
    return embed + depth * norm_block(h, width) + 2 * h + 2 * h + wide * wide + wide + wide * hidden + hidden


def llama4(v: Reader, r: Reader, hidden: int) -> int:
    """Llama 4: unfold convolution, class token, learnt positions, pixel-shuffle MLP, projector."""
    h, width = v.integer("hidden_size", default=768), v.integer("intermediate_size", default=5632)
    depth = v.integer("num_hidden_layers", default=34, high=MOST_LAYERS)
    patch, image = v.integer("patch_size", default=14), v.integer("image_size", default=448)
    into, out = v.integer("projector_input_dim", default=4096), v.integer("projector_output_dim", default=4096)
    vision_out = v.integer("vision_output_dim", default=7680)
    positions = ((image // patch) ** 2 + 1) * h
    embed = 3 * patch * patch * h + h + positions + 4 * h
    adapter = width * into + into * out
    return embed + depth * norm_block(h, width) + adapter + vision_out * hidden


def gemma3(v: Reader, r: Reader, hidden: int) -> int:
    """SigLIP tower of Gemma 3 with a norm and a single projection."""
    h = v.integer("hidden_size")
    return siglip(v) + h * hidden + h


def gemma4(v: Reader, r: Reader, hidden: int) -> int:
    """Gemma 4 tower: gated MLP, four norms, q and k norms, two position tables."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), depth_of(v, "num_hidden_layers")
    heads, dim = v.integer("num_attention_heads"), v.integer("head_dim")
    kv = v.integer("num_key_value_heads", default=heads)
    patch = v.integer("patch_size")
    layer = 2 * h * heads * dim + 2 * h * kv * dim + 3 * h * width + 4 * h + 2 * dim
    return 2 * v.integer("position_embedding_size") * h + 3 * patch * patch * h + depth * layer + h * hidden


def muse_glimmer(v: Reader, r: Reader, hidden: int) -> int:
    """Muse Glimmer tower: 2-frame patches, learnt positions, two-matrix MLP, 2x2 merging adapter."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), depth_of(v, "num_hidden_layers")
    patch, frames = v.integer("patch_size"), v.integer("patch_temporal", default=2)
    merge = v.integer("merge_size", default=2)
    grid = v.integer("pos_emb_height", default=32) * v.integer("pos_emb_width", default=32)
    middle = r.integer("projector_hidden_size", default=4096)
    adapter = r.integer("out_hidden_size", default=h * merge * merge) * middle + middle * middle
    return 3 * frames * patch * patch * h + grid * h + depth * norm_block(h, width) + 4 * h + adapter + middle * hidden


def minimax_m3(v: Reader, r: Reader, hidden: int) -> int:
    """MiniMax-M3 tower: two-frame patches, rotary positions, two projector stages with 2x2 merging."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), depth_of(v, "num_hidden_layers")
    patch = v.integer("patch_size")
    merge = v.section("img_token_compression_config")
    side, frames = 2, 2
    if merge is not None:
        side, frames = merge.integer("spatial_merge_size", default=2), merge.integer("temporal_patch_size", default=2)
    else:
        side, frames = v.integer("spatial_merge_size", default=2), v.integer("temporal_patch_size", default=2)
    middle = r.integer("projector_hidden_size", default=hidden)
    stages = h * middle + middle + middle * hidden + hidden
    merged = hidden * side * side * middle + middle + middle * hidden + hidden
    return 3 * frames * patch * patch * h + 2 * h + depth * norm_block(h, width) + stages + merged


def step37(v: Reader, r: Reader, hidden: int) -> int:
    """Step-3.5/3.7 tower: layer scales, two strided convolutions, one projection."""
    h, depth = v.integer("hidden_size", "width"), v.integer("num_hidden_layers", "layers", high=MOST_LAYERS)
    width = int(h * v.number("mlp_ratio", default=8960 / 1536, high=100.0))
    patch, image = v.integer("patch_size"), v.integer("image_size")
    embed = 3 * patch * patch * h + (image // patch) ** 2 * h + 2 * h
    down = 9 * h * 2 * h + 2 * h + 9 * 2 * h * 4 * h + 4 * h
    bias = hidden if r.flag("projector_bias", default=False) else 0
    return embed + depth * (norm_block(h, width) + 2 * h) + down + 4 * h * hidden + bias


TOWERS: dict[str, Callable[[Reader, Reader, int], int | None]] = {
    "Qwen3VLForConditionalGeneration": qwen_vl,
    "Qwen3VLMoeForConditionalGeneration": qwen_vl,
    "Qwen3_5ForConditionalGeneration": qwen_vl,
    "Qwen3_5MoeForConditionalGeneration": qwen_vl,
    "Qwen2_5_VLForConditionalGeneration": qwen25_vl,
    "Qwen2_5OmniThinkerForConditionalGeneration": qwen25_vl,
    "Exaone4_5_ForConditionalGeneration": qwen25_vl,
    "Qwen2VLForConditionalGeneration": qwen2_vl,
    "Qwen3OmniMoeThinkerForConditionalGeneration": qwen_vl,
    "Glm4vForConditionalGeneration": glm4v,
    "Glm46VForConditionalGeneration": glm4v,
    "Glm4vMoeForConditionalGeneration": glm4v,
    "Kimi_K25ForConditionalGeneration": kimi_k25,
    "Llama4ForConditionalGeneration": llama4,
    "Gemma3ForConditionalGeneration": gemma3,
    "Gemma4ForConditionalGeneration": gemma4,
    "MuseGlimmerForConditionalGeneration": muse_glimmer,
    "MiniMaxM3SparseForConditionalGeneration": minimax_m3,
    "Step3p7ForConditionalGeneration": step37,
}
TOWERS |= wrappers.TOWERS
AUDIO = {"Qwen2_5OmniThinkerForConditionalGeneration": "1d", "Qwen3OmniMoeThinkerForConditionalGeneration": "2d"}
"""Classes whose audio encoder is counted -> over how many axes it convolves."""
