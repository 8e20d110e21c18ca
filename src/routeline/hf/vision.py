"""Vision towers: resident parameters that text decode never uses.

Each known tower is counted from its vision_config; an unknown one is left out with a warning.
"""

from __future__ import annotations

from collections.abc import Callable

from ..arch import Weight
from .reader import MOST_LAYERS, Reader


def towers(r: Reader, architecture: str) -> list[Weight]:
    """Weights of the towers beside the language model; a warning where one is not understood."""
    audio = r.config.get("audio_config")
    r.skip("audio_config", "vision_config", *OUTER)
    if audio is not None:
        r.warn(f"{architecture}: the audio tower is not counted")
    v = r.section("vision_config")
    if v is None and architecture in DEFAULTED:
        v = Reader({}, parent=r, path="vision_config.")
        r.warn(f"{architecture}: no vision_config, so the tower is counted in the class's default shape")
    if v is None:
        return []
    hidden = r.integer("hidden_size")
    count = TOWERS.get(architecture)
    if count is None or (architecture == "Gemma4ForConditionalGeneration" and v.config.get("use_clipped_linears")):
        r.warn(f"{architecture}: the vision tower is not counted; numbers are those of the language model alone")
        return []
    return [Weight(name="vision", part="vision", params=count(v, r, hidden), matmul=False)]


DEFAULTED = ("Llama4ForConditionalGeneration",)
"""Classes that build a vision tower even where the config leaves it out."""

_OUTER = (
    "vision_soft_tokens_per_image audio_soft_tokens_per_image image_seq_length image_grid_pinpoints "
    "multimodal_projector_bias process_image_mode projector_hidden_act projector_hidden_size "
    "img_token_compression_config out_hidden_size spatial_merge_size vision_feature_layer mm_tokens_per_image "
    "language_model_only mm_projector_type vision_start_token_id merged_hidden_size "
    "understand_projector_stride projector_bias image_token_len patch_token_len num_image_token "
)
OUTER = tuple(_OUTER.split())


def _layers(v: Reader, *names: str) -> int:
    return v.integer(*names, high=MOST_LAYERS)


def _norm_block(h: int, width: int) -> int:
    """A pre-norm transformer layer with biases: two LayerNorms, q, k, v, o, and a two-matrix MLP."""
    return 4 * h + 4 * (h * h + h) + 2 * h * width + width + h


def qwen_vl(v: Reader, r: Reader, hidden: int) -> int:
    """Qwen3-VL and Qwen3.5: patch convolution, learnt positions, 2x2 merger, deepstack mergers."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "depth")
    patch, temporal = v.integer("patch_size"), v.integer("temporal_patch_size", default=2)
    merge = v.integer("spatial_merge_size", default=2)
    out = v.integer("out_hidden_size", default=hidden)
    deep = len(v.integers("deepstack_visual_indexes") or ())
    wide = h * merge * merge
    embed = v.integer("in_channels", default=3) * temporal * patch * patch * h + h
    positions = v.integer("num_position_embeddings", default=2304) * h
    mixers = wide * wide + wide + wide * out + out
    return embed + positions + depth * _norm_block(h, width) + (mixers + 2 * h) + deep * (mixers + 2 * wide)


def qwen25_vl(v: Reader, r: Reader, hidden: int) -> int:
    """Qwen2.5-VL: gated MLP with biases, RMSNorm, window attention (no parameters of its own)."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "depth")
    patch, temporal = v.integer("patch_size"), v.integer("temporal_patch_size", default=2)
    wide = h * v.integer("spatial_merge_size", default=2) ** 2
    out = v.integer("out_hidden_size", default=hidden)
    layer = 2 * h + 4 * (h * h + h) + 3 * h * width + 2 * width + h
    return 3 * temporal * patch * patch * h + depth * layer + h + wide * wide + wide + wide * out + out


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
    return embed + depth * _norm_block(h, width) + adapter + vision_out * hidden


def gemma3(v: Reader, r: Reader, hidden: int) -> int:
    """SigLIP tower of Gemma 3 with a single projection."""
    h, width = v.integer("hidden_size"), v.integer("intermediate_size")
    patch, image = v.integer("patch_size"), v.integer("image_size")
    embed = v.integer("num_channels", default=3) * patch * patch * h + h + (image // patch) ** 2 * h
    pooling = h + _norm_block(h, width) - 2 * h if v.flag("vision_use_head", default=True) else 0
    return embed + _layers(v, "num_hidden_layers") * _norm_block(h, width) + 2 * h + pooling + h * hidden + h


def gemma4(v: Reader, r: Reader, hidden: int) -> int:
    """Gemma 4 tower: gated MLP, four norms, q and k norms, two position tables."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "num_hidden_layers")
    heads, dim = v.integer("num_attention_heads"), v.integer("head_dim")
    kv = v.integer("num_key_value_heads", default=heads)
    patch = v.integer("patch_size")
    layer = 2 * h * heads * dim + 2 * h * kv * dim + 3 * h * width + 4 * h + 2 * dim
    return 2 * v.integer("position_embedding_size") * h + 3 * patch * patch * h + depth * layer + h * hidden


def muse_glimmer(v: Reader, r: Reader, hidden: int) -> int:
    """Muse Glimmer tower: 2-frame patches, learnt positions, two-matrix MLP, 2x2 merging adapter."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "num_hidden_layers")
    patch, frames = v.integer("patch_size"), v.integer("patch_temporal", default=2)
    merge = v.integer("merge_size", default=2)
    grid = v.integer("pos_emb_height", default=32) * v.integer("pos_emb_width", default=32)
    middle = r.integer("projector_hidden_size", default=4096)
    adapter = r.integer("out_hidden_size", default=h * merge * merge) * middle + middle * middle
    return 3 * frames * patch * patch * h + grid * h + depth * _norm_block(h, width) + 4 * h + adapter + middle * hidden


def minimax_m3(v: Reader, r: Reader, hidden: int) -> int:
    """MiniMax-M3 tower: two-frame patches, rotary positions, two projector stages with 2x2 merging."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "num_hidden_layers")
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
    return 3 * frames * patch * patch * h + 2 * h + depth * _norm_block(h, width) + stages + merged


def pixtral(v: Reader, r: Reader, hidden: int) -> int:
    """Pixtral tower of Mistral 3: gated MLP, rotary positions, no biases, patch merger and two projections."""
    h, width, depth = v.integer("hidden_size"), v.integer("intermediate_size"), _layers(v, "num_hidden_layers")
    patch, side = v.integer("patch_size"), r.integer("spatial_merge_size", default=2)
    inner = v.integer("num_attention_heads") * v.integer("head_dim", default=h // v.integer("num_attention_heads"))
    bias = 2 * hidden if r.flag("multimodal_projector_bias", default=False) else 0
    layer = 4 * h * inner + 3 * h * width + 2 * h
    return 3 * patch * patch * h + h + depth * layer + h + h * h * side**2 + h * hidden + hidden**2 + bias


def step37(v: Reader, r: Reader, hidden: int) -> int:
    """Step-3.5/3.7 tower: layer scales, two strided convolutions, one projection."""
    h, depth = v.integer("hidden_size", "width"), v.integer("num_hidden_layers", "layers", high=MOST_LAYERS)
    width = int(h * v.number("mlp_ratio", default=8960 / 1536, high=100.0))
    patch, image = v.integer("patch_size"), v.integer("image_size")
    embed = 3 * patch * patch * h + (image // patch) ** 2 * h + 2 * h
    down = 9 * h * 2 * h + 2 * h + 9 * 2 * h * 4 * h + 4 * h
    bias = hidden if r.flag("projector_bias", default=False) else 0
    return embed + depth * (_norm_block(h, width) + 2 * h) + down + 4 * h * hidden + bias


TOWERS: dict[str, Callable[[Reader, Reader, int], int]] = {
    "Qwen3VLForConditionalGeneration": qwen_vl,
    "Qwen3VLMoeForConditionalGeneration": qwen_vl,
    "Qwen3_5ForConditionalGeneration": qwen_vl,
    "Qwen3_5MoeForConditionalGeneration": qwen_vl,
    "Qwen2_5_VLForConditionalGeneration": qwen25_vl,
    "Llama4ForConditionalGeneration": llama4,
    "Gemma3ForConditionalGeneration": gemma3,
    "Gemma4ForConditionalGeneration": gemma4,
    "MuseGlimmerForConditionalGeneration": muse_glimmer,
    "MiniMaxM3SparseForConditionalGeneration": minimax_m3,
    "Mistral3ForConditionalGeneration": pixtral,
    "Step3p7ForConditionalGeneration": step37,
}
