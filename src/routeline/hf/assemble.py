"""A family's draft becomes a Model: equal layers grouped, stored bits applied, everything checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .. import arch
from ..arch import Layers, Model, Stream, Weight
from ..errors import RoutelineError
from .blocks import Block, Draft, vector
from .quant import Quantizer
from .reader import ABSENT, Reader

MOST_PARAMETERS = 1e15
"""Largest parameter count accepted: some 500 times the largest published model [-]."""


def _stream(s: Stream) -> Stream:
    """A stream with its numbers as floats."""
    return replace(
        s,
        elements=float(s.elements),
        stride=float(s.stride),
        window=float(s.window),
        read=float(s.read),
        flop=float(s.flop),
        flop_prefill=float(s.flop_prefill),
        shards=float(s.shards),
    )


def group(blocks: Sequence[Block], quantizer: Quantizer, layer: int, encoder: bool) -> Layers:
    """One layer from its blocks, weights cast to what the checkpoint stores."""
    routed = next((b for b in blocks if b.experts > 1), None)
    return Layers(
        count=1.0,
        weights=tuple(quantizer.cast(w, layer) for b in blocks for w in b.weights),
        streams=tuple(_stream(s) for b in blocks for s in b.streams),
        states=tuple(s for b in blocks for s in b.states),
        experts=float(routed.experts) if routed else 1.0,
        top_k=float(routed.top_k) if routed else 1.0,
        expert_groups=float(routed.groups) if routed else 1.0,
        groups_kept=float(routed.kept) if routed else 1.0,
        encoder=encoder,
    )


def grouped(layers: Sequence[tuple[Block, ...]], quantizer: Quantizer) -> tuple[Layers, ...]:
    """Layers built of the same blocks and quantized alike are built once and counted."""
    made: dict[tuple, Layers] = {}
    counts: dict[tuple, float] = {}
    for i, blocks in enumerate(layers):
        key = (tuple(map(id, blocks)), quantizer.signature(i))
        if key not in made:
            made[key] = group(blocks, quantizer, i, any(b.encoder for b in blocks))
        counts[key] = counts.get(key, 0.0) + 1.0
    return arch.merge(replace(made[k], count=n) for k, n in counts.items())


def mtp(draft: Draft, quantizer: Quantizer) -> list[Weight]:
    """Multi-token-prediction layers as weights of part 'mtp': resident, used only when drafting."""
    out = []
    for j, blocks in enumerate(draft.mtp):
        for b in blocks:
            for w in b.weights:
                cast = quantizer.cast(w, len(draft.layers) + j, mtp=True)
                out.append(replace(cast, name=f"mtp.{j}.{w.name}", part="mtp"))
    return out


def build(r: Reader, draft: Draft, quantizer: Quantizer, *, name: str, source: str, architecture: str) -> Model:
    """The Model of a draft.

    Raises:
        RoutelineError: no layers, or more parameters than any model could have.
    """
    if not draft.layers:
        raise RoutelineError(f"{architecture}: the config describes no layers")
    table = draft.embedding or Weight(
        name="model.embed_tokens", part="embedding", params=draft.vocab * draft.hidden, matmul=False
    )
    table = quantizer.cast(table, None)
    head_params = 0 if draft.tied else draft.vocab * draft.hidden
    head = quantizer.cast(Weight(name="lm_head", part="head", params=head_params), None)
    extra = [quantizer.cast(w, None) for w in draft.extra]
    if draft.head_bias:
        extra.append(quantizer.cast(vector("lm_head_bias", draft.vocab, part="head"), None))
    extra += mtp(draft, quantizer)
    layers = grouped(draft.layers, quantizer)
    size = sum(g.count * sum(w.params for w in g.weights) for g in layers) + table.params + head.params
    if not math.isfinite(size) or size > MOST_PARAMETERS:
        raise RoutelineError(f"{architecture}: {size:.3g} parameters is beyond {MOST_PARAMETERS:.0e}; check the widths")
    limits = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "model_max_length")
    named = next((k for k in limits if r.has(k)), limits[0])
    limit = r.integer(named, default=ABSENT, high=10**9)
    r.skip(*limits)
    return Model(
        name=name,
        architecture=architecture,
        hidden=float(draft.hidden),
        layers=layers,
        embedding=table,
        head=head,
        tied=draft.tied,
        extra=tuple(extra),
        heads=float(draft.heads),
        kv_heads=float(draft.kv_heads),
        vocab=float(draft.vocab),
        context_limit=None if limit is None else float(limit),
        cache_format=quantizer.cache_format,
        mtp_layers=draft.mtp_layers,
        source=source,
    )
