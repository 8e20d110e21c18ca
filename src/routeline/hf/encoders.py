"""Image and audio encoders by their own model_type, and the projectors that wrapper classes put behind them.

Sizes that a vision_config leaves out are those of the encoder's class in transformers 5.24.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .reader import MOST_LAYERS, Reader


def norm_block(h: int, width: int) -> int:
    """A pre-norm transformer layer with biases: two LayerNorms, q, k, v, o, and a two-matrix MLP."""
    return 4 * h + 4 * (h * h + h) + 2 * h * width + width + h


def depth_of(v: Reader, *names: str, default: int | None = None) -> int:
    """Layers of a tower [-]."""
    names = names or ("num_hidden_layers",)
    return v.integer(*names, high=MOST_LAYERS) if default is None else v.integer(*names, default=default, high=2000)


def side(v: Reader, name: str, default: int) -> int:
    """A square side, given as a number or as two equal ones [pixels]."""
    value = v.config.get(name)
    if isinstance(value, list):
        v.skip(name)
        if len(value) != 2 or value[0] != value[1]:
            raise v.refuse(name, "must be one number or two equal ones")
        return v.whole(name, value[0])
    return v.integer(name, default=default)


def patches(v: Reader, h: int, patch: int) -> int:
    """A patch convolution with a bias [parameters]."""
    return v.integer("num_channels", default=3) * patch * patch * h + h


def clip(v: Reader) -> int:
    """CLIP: class token, learnt positions, LayerNorms before and after."""
    h, width = v.integer("hidden_size", default=768), v.integer("intermediate_size", default=3072)
    patch = v.integer("patch_size", default=32)
    positions = (v.integer("image_size", default=224) // patch) ** 2 + 1
    return patches(v, h, patch) + positions * h + depth_of(v, default=12) * norm_block(h, width) + 4 * h


def siglip(v: Reader) -> int:
    """SigLIP: learnt positions, a LayerNorm after, an attention-pooling head unless vision_use_head is off."""
    return _siglip(v, lambda patch: (v.integer("image_size", default=224) // patch) ** 2)


def siglip2(v: Reader) -> int:
    """SigLIP 2 with patches of any number: num_patches positions."""
    return _siglip(v, lambda patch: v.integer("num_patches", default=256))


def _siglip(v: Reader, positions: Callable[[int], int]) -> int:
    h, width = v.integer("hidden_size", default=768), v.integer("intermediate_size", default=3072)
    patch = v.integer("patch_size", default=16)
    pooling = norm_block(h, width) - h if v.flag("vision_use_head", default=True) else 0
    layers = depth_of(v, default=12) * norm_block(h, width)
    return patches(v, h, patch) + positions(patch) * h + layers + 2 * h + pooling


def idefics(v: Reader) -> int:
    """The SigLIP of Idefics 3 and SmolVLM: no head, other defaults."""
    h, width = v.integer("hidden_size", default=1152), v.integer("intermediate_size", default=3072)
    patch = v.integer("patch_size", default=32)
    positions = (v.integer("image_size", default=224) // patch) ** 2
    return patches(v, h, patch) + positions * h + depth_of(v, default=12) * norm_block(h, width) + 2 * h


def pixtral(v: Reader) -> int:
    """Pixtral: gated MLP, rotary positions, RMSNorms, no biases."""
    h, width = v.integer("hidden_size", default=1024), v.integer("intermediate_size", default=4096)
    heads = v.integer("num_attention_heads", default=16)
    inner = heads * v.integer("head_dim", default=h // heads)
    patch = v.integer("patch_size", default=16)
    layer = 4 * h * inner + 3 * h * width + 2 * h
    return v.integer("num_channels", default=3) * patch * patch * h + h + depth_of(v, default=24) * layer


def internvit(v: Reader) -> int:
    """InternViT: class token, learnt positions, two layer scales, no final norm under mean pooling."""
    h, width = v.integer("hidden_size", default=1024), v.integer("intermediate_size", default=4096)
    patch, image = side(v, "patch_size", 14), side(v, "image_size", 448)
    bias = 3 * h if v.flag("attention_bias", default=False) else 0
    normed = 2 * h if v.flag("use_qk_norm", default=False) else 0
    scale = 2 if v.text("norm_type", default="layer_norm", known=("layer_norm", "rms_norm")) == "layer_norm" else 1
    layer = 2 * h + 2 * scale * h + 4 * h * h + h + bias + normed + 2 * h * width + width + h
    positions = ((image // patch) ** 2 + 1) * h if v.flag("use_absolute_position_embeddings", default=True) else 0
    final = 0 if v.flag("use_mean_pooling", default=True) else 2 * h
    return patches(v, h, patch) + h + positions + depth_of(v, default=24) * layer + final


ENCODERS: dict[str, Callable[[Reader], int]] = {
    "clip_vision_model": clip,
    "siglip_vision_model": siglip,
    "siglip2_vision_model": siglip2,
    "idefics3": idefics,
    "idefics3_vision": idefics,
    "smolvlm": idefics,
    "smolvlm_vision": idefics,
    "pixtral": pixtral,
    "internvl_vision": internvit,
}
"""model_type of a vision_config -> parameters of the encoder."""


def whisper(a: Reader, out: int, *, frames: str) -> int:
    """The audio encoder of Qwen-Omni: convolutions over mel bins, Whisper's layers, a projection to `out`."""
    d, width = a.integer("d_model"), a.integer("encoder_ffn_dim")
    n, mel = depth_of(a, "encoder_layers"), a.integer("num_mel_bins", default=128)
    if frames == "1d":  # keys without a bias, as in Whisper; two learnt marks
        return (3 * mel * d + d) + (3 * d * d + d) + n * (norm_block(d, width) - d) + 2 * d + d * out + out + 2 * out
    c = a.integer("downsample_hidden_size", default=480)
    rows = math.ceil(math.ceil(math.ceil(mel / 2) / 2) / 2)
    convolutions = 9 * c + c + 2 * (9 * c * c + c) + c * rows * d
    return convolutions + n * norm_block(d, width) + 2 * d + d * d + d + d * out + out
