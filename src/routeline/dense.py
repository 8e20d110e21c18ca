"""The matched dense model: q times the MoE's active parameters, in a stated shape (docs/physics.md section 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import arch, counts
from .arch import Layers, Model, Weight
from .errors import RoutelineError

SHAPES = ("same-attention", "standard")


def matched(moe: Model, q: Any, shape: str = "same-attention") -> Model:
    """The dense model of q * N_a parameters that matches the MoE's quality; q may be an array.

    same-attention: depth, width, attention and cache of the MoE; every FFN (and router, shared and
    routed experts) replaced by one gated FFN per layer, widened to fit: isolates routing.
    standard: Llama-like GQA scaled to q * N_a with the MoE's vocabulary.
    Precision part by part from the MoE, the FFN that of its experts.

    Raises:
        RoutelineError: q not positive, an unknown shape, or q too small for the fixed parts.
    """
    if np.any(~(np.asarray(q, float) > 0)):
        raise RoutelineError(f"q must be positive, not {q!r}")
    if shape == "same-attention":
        return _same_attention(moe, q)
    if shape == "standard":
        return _standard(moe, q)
    raise RoutelineError(f"unknown dense shape {shape!r}; known: {', '.join(SHAPES)}, or name a model")


FFN_PARTS = ("routed", "router", "shared", "dense_ffn")


def _expert_storage(moe: Model) -> tuple[float, str, int]:
    """(bits, compute format, matrices) of the FFN to widen: the routed experts', else the dense FFN's."""
    for part in ("routed", "dense_ffn", "shared"):
        found = [w for g in moe.layers for w in g.weights if w.part == part and w.matmul]
        if found:
            bits = sum(float(np.max(w.bits)) * float(np.max(w.params)) for w in found)
            return bits / sum(float(np.max(w.params)) for w in found), found[0].format, 3
    raise RoutelineError(f"{moe.name} has no FFN to widen; name a dense model with --dense")


def smallest_q(moe: Model, shape: str = "same-attention") -> Any:
    """The q below which no dense model of this shape exists [-]; an array where the numbers of the model are arrays.

    same-attention: attention, embedding and head alone; standard: one layer of the narrowest width beside its tables.
    """
    active = counts.active(moe).all
    if shape == "same-attention":
        return _fixed(moe) / active
    return _standard_size(_NARROWEST, 1.0, _vocabulary(moe)) / active


def _fixed(moe: Model) -> Any:
    """Parameters that the same-attention shape keeps: everything used but the FFN [-]."""
    out: Any = moe.embedding.params + moe.head.params
    out = out + sum(w.params for w in moe.extra if w.part not in counts.INACTIVE)
    for g in moe.layers:
        out = out + g.count * sum(w.params for w in g.weights if w.part not in FFN_PARTS)
    return out


def _same_attention(moe: Model, q: Any) -> Model:
    blocks: Any = 0.0
    for g in moe.layers:
        if any(w.part in FFN_PARTS for w in g.weights):
            blocks = blocks + g.count
    if not np.any(blocks):
        raise RoutelineError(f"{moe.name} has no feed-forward layers to resize; name another model with --dense MODEL")
    per_layer = (q * counts.active(moe).all - _fixed(moe)) / blocks
    if np.any(per_layer <= 0):
        raise RoutelineError(
            f"q = {float(np.min(q)):g} is too small for the same-attention shape of {moe.name}: its attention, "
            f"embedding and head alone need q > {float(np.max(smallest_q(moe))):.3g}; raise q or use --dense standard"
        )
    bits, fmt, matrices = _expert_storage(moe)
    wide = Weight(name="mlp.ffn", part="dense_ffn", params=per_layer, bits=bits, format=fmt)
    layers = []
    for g in moe.layers:
        has_ffn = any(w.part in FFN_PARTS for w in g.weights)
        kept = tuple(w for w in g.weights if w.part not in FFN_PARTS)
        layers.append(
            replace(
                g,
                weights=(*kept, wide) if has_ffn else kept,
                experts=1.0,
                top_k=1.0,
                expert_groups=1.0,
                groups_kept=1.0,
            )
        )
    merged = arch.merge(layers) if np.ndim(per_layer) == 0 else tuple(layers)
    width = per_layer / (matrices * moe.hidden)
    return replace(
        moe,
        name=f"dense match of {moe.name} (same attention)",
        architecture="matched dense",
        layers=merged,
        extra=tuple(w for w in moe.extra if w.part not in counts.INACTIVE),
        mtp_layers=0,
        config=(("ffn_width", width), ("shape", "same-attention")),
        warnings=(),
        defaults=(),
    )


_STANDARD_HEAD_DIM = 128.0
_STANDARD_KV_HEADS = 8.0
_STANDARD_ASPECT = 102.4
"""hidden / layers of Llama-3.1-70B (8192 / 80); Llama-like shapes lie between 102 and 130."""
_STANDARD_FFN = 3.5
"""FFN width / hidden of Llama-3.1-70B and 8B (28672 / 8192)."""


_NARROWEST = 8 * _STANDARD_HEAD_DIM
"""Hidden widths are multiples of eight heads, so that tensor parallelism over a node divides them [-]."""


def _vocabulary(moe: Model) -> Any:
    return moe.vocab or moe.embedding.params / moe.hidden


def _standard_layer(hidden: Any) -> Any:
    """Parameters of one layer of the standard shape [-]."""
    kv = _STANDARD_KV_HEADS * _STANDARD_HEAD_DIM
    return 2.0 * hidden * hidden + 2.0 * hidden * kv + 3.0 * _STANDARD_FFN * hidden * hidden + 2.0 * hidden


def _standard_size(hidden: Any, layers: Any, vocab: Any) -> Any:
    """Parameters of the standard shape: input and output tables, layers, last norm [-]."""
    return 2.0 * vocab * hidden + layers * _standard_layer(hidden) + hidden


def _standard(moe: Model, q: Any) -> Model:
    """Llama-like: hidden = 102.4 * layers, FFN 3.5 * hidden, 8 KV heads of 128, untied vocabulary.

    Solved for a real-valued hidden width by bisection on the parameter count, then depth carries the
    remainder, so that the size is q * N_a exactly.
    """
    target, vocab = np.asarray(q * counts.active(moe).all, float), _vocabulary(moe)
    low, high = np.full_like(target, 64.0), np.full_like(target, 2.0**20)
    for _ in range(60):
        mid = 0.5 * (low + high)
        small = _standard_size(mid, mid / _STANDARD_ASPECT, vocab) < target
        low, high = np.where(small, mid, low), np.where(small, high, mid)
    head_dim = _STANDARD_HEAD_DIM
    hidden = np.maximum(np.round(low / _NARROWEST), 1.0) * _NARROWEST
    depth = (target - _standard_size(hidden, 0.0, vocab)) / _standard_layer(hidden)
    if np.any(depth < 1):
        raise RoutelineError(
            f"q = {float(np.min(q)):g} gives {float(np.min(target)) / 1e9:.3g} B parameters, too few for a standard "
            f"shape with a vocabulary of {int(vocab):,}; raise q"
        )
    if np.ndim(q) == 0:
        hidden, depth = float(hidden), float(depth)
    heads = hidden / head_dim
    weights, streams = arch.gqa(hidden=hidden, heads=heads, kv_heads=_STANDARD_KV_HEADS, head_dim=head_dim)
    bits, fmt, _ = _expert_storage(moe)
    attention = next((w for g in moe.layers for w in g.weights if w.part == "attention" and w.matmul), None)
    a_bits, a_fmt = (attention.bits, attention.format) if attention is not None else (16.0, "bf16")
    weights = tuple(replace(w, bits=a_bits, format=a_fmt) for w in weights)
    mlp = tuple(replace(w, bits=bits, format=fmt) for w in arch.ffn(hidden=hidden, width=_STANDARD_FFN * hidden))
    layer = Layers(count=depth, weights=(*weights, *mlp, arch.norm("norms", 2.0 * hidden)), streams=streams)
    head = moe.head if not moe.tied else moe.embedding
    return Model(
        name=f"dense match of {moe.name} (standard)",
        architecture="matched dense",
        hidden=hidden,
        layers=(layer,),
        embedding=replace(moe.embedding, params=vocab * hidden),
        head=replace(head, name="lm_head", part="head", params=vocab * hidden, matmul=True),
        extra=(arch.norm("norm", hidden),),
        heads=heads,
        kv_heads=_STANDARD_KV_HEADS,
        vocab=vocab,
        context_limit=moe.context_limit,
        cache_format=moe.cache_format,
        config=(("hidden", hidden), ("layers", depth), ("shape", "standard")),
    )
