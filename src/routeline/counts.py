"""Parameters, bytes and FLOP of a model, before any device is named. Knows no hardware.

`parameters`, `active`, `stored` answer what a model is; `operations` lists what a decode step does,
layer class by layer class, so that the roofline can be applied per operation and summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arch import PARTS, Layers, Model, State, Stream, Weight
from .errors import RoutelineError
from .launches import GEMM_PARTS, Launch, key_of, launches, norms_over_heads, small_launches
from .numeric import minimum
from .scenario import CACHE_BITS

INACTIVE = ("vision", "mtp")


def weights(model: Model) -> Iterator[tuple[Weight, float, Layers | None]]:
    """Every weight held, with the number of layers that hold it and its layer group (None: outside layers)."""
    yield model.embedding, 1.0, None
    yield model.head, 1.0, None
    for w in model.extra:
        yield w, 1.0, None
    for group in model.layers:
        for w in group.weights:
            if not w.again:
                yield w, group.count, group


def _share(weight: Weight, group: Layers | None) -> Any:
    """Fraction of a weight that one token uses: top_k/experts for routed experts, else 1 [-]."""
    return group.top_k / group.experts if group is not None and weight.part == "routed" else 1.0


def parameters(model: Model) -> dict[str, Any]:
    """Parameters by part [-]; multi-token-prediction layers apart (part 'mtp'), tied heads once."""
    out: dict[str, Any] = dict.fromkeys(PARTS, 0.0)
    for w, count, _ in weights(model):
        out[w.part] = out[w.part] + count * w.params
    return out


def total(model: Model) -> Any:
    """N: all parameters, vision tower included, MTP layers left out (as model cards count) [-]."""
    parts = parameters(model)
    return sum(v for k, v in parts.items() if k != "mtp")


def text_total(model: Model) -> Any:
    """Parameters of the language model alone [-]."""
    return total(model) - parameters(model)["vision"]


@dataclass(frozen=True, kw_only=True)
class Active:
    """Parameters used per token [-] under three conventions; `all` is the published style."""

    all: Any
    no_embedding: Any
    no_embedding_no_head: Any


def active(model: Model) -> Active:
    """N_a under the three conventions. A tied table is the head, so `no_embedding` keeps it."""
    every = 0.0
    for w, count, group in weights(model):
        if w.part not in INACTIVE:
            every = every + count * w.params * _share(w, group)
    table = model.embedding.params
    head = table if model.tied else model.head.params
    no_embedding = every if model.tied else every - table
    return Active(all=every, no_embedding=no_embedding, no_embedding_no_head=no_embedding - head)


def sparsity(model: Model) -> Any:
    """s = N_a / N [-]; 1 for a dense text model."""
    return active(model).all / total(model)


def stored(model: Model, *, with_mtp: bool = False) -> dict[str, Any]:
    """Bytes by part as the precision stores them, scales included [B]."""
    out: dict[str, Any] = dict.fromkeys(PARTS, 0.0)
    for w, count, _ in weights(model):
        if w.part != "mtp" or with_mtp:
            out[w.part] = out[w.part] + count * w.params * w.bits / 8.0
    return out


# --- cache -----------------------------------------------------------------------------------------


def entries(stream: Stream, tokens: Any) -> Any:
    """Cache entries of one sequence of `tokens` tokens in one layer [-]: windows cap, strides divide."""
    return minimum(tokens, stream.window) / stream.stride


def element_bytes(stream: Stream, cache: str) -> float:
    """Bytes per cached element [B]; an FP8 indexer key carries its scales.

    Raises:
        RoutelineError: unknown cache format.
    """
    if cache not in CACHE_BITS:
        raise RoutelineError(f"unknown cache format {cache!r}; known: auto, {', '.join(CACHE_BITS)}")
    return (CACHE_BITS[cache] + (stream.scale_bits if CACHE_BITS[cache] < 16 else 0.0)) / 8.0


def cache_bytes(model: Model, cache: str, context: Any, inputs: Any = 0.0) -> Any:
    """cache(L): bytes one sequence of `context` tokens keeps over all layers [B].

    Full-attention layers per token, window layers capped, compressed entries by stride, constant
    state once, cross-attention per encoder token (`inputs`).
    """
    out: Any = 0.0
    for group in model.layers:
        for stream in group.streams:
            tokens = inputs if stream.per_input else context
            out = out + group.count * entries(stream, tokens) * stream.elements * element_bytes(stream, cache)
        for state in group.states:
            out = out + group.count * state.bytes
    return out


@dataclass(frozen=True, kw_only=True)
class CacheRates:
    """The cache as rates [B]: per token without limit, windows as (bytes per token, tokens kept),
    constant state per sequence, bytes per encoder token."""

    per_token: float
    windows: tuple[tuple[float, float], ...]
    state: float
    per_input_token: float


def cache_rates(model: Model, cache: str) -> CacheRates:
    """Cache bytes per token by kind of stream; see CacheRates."""
    per_token = per_input = state = 0.0
    windows: dict[float, float] = {}
    for group in model.layers:
        for stream in group.streams:
            rate = group.count * stream.elements / stream.stride * element_bytes(stream, cache)
            if stream.per_input:
                per_input += rate
            elif np.isfinite(stream.window):
                windows[stream.window] = windows.get(stream.window, 0.0) + rate
            else:
                per_token += rate
        state += group.count * sum(s.bytes for s in group.states)
    return CacheRates(
        per_token=per_token,
        windows=tuple((rate, tokens) for tokens, rate in sorted(windows.items())),
        state=state,
        per_input_token=per_input,
    )


# --- operations of a step --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One class of equal operations in a step; every number is per layer, `count` layers alike.

    kind: gemm | routed | attention | state | head. bytes: stored weight bytes (all experts); flop: per
    token (gemm, routed, head, state) or per query token and cache entry (attention). stream / state
    describe what is kept. `ways` caps tensor-parallel cutting.
    """

    part: str
    kind: str
    count: Any
    format: str = "bf16"
    bytes: Any = 0.0
    flop: Any = 0.0
    experts: Any = 1.0
    top_k: Any = 1.0
    expert_groups: Any = 1.0
    groups_kept: Any = 1.0
    ways: Any = np.inf
    stream: Stream | None = None
    state: State | None = None
    encoder: bool = False
    launches: tuple[Launch, ...] = ()
    """Kernels of one layer, for tiers with measured kernels; weights that ride along launch nothing."""


def operations(model: Model) -> tuple[Operation, ...]:
    """Everything a step reads or computes, equal classes merged over layers.

    The input embedding is a lookup and is not listed; a tied table is listed once, as the head.
    Norms ride with their part's bytes and cost no matrix FLOP.
    """
    merged: dict[tuple, Any] = {}
    order: dict[tuple, Operation] = {}

    def add(op: Operation, count: Any) -> None:
        key = (op.part, op.kind, op.format, key_of(op.bytes), key_of(op.flop), key_of(op.experts), key_of(op.top_k),
               key_of(op.ways), _same_kept(op.stream), _same_kept(op.state), op.encoder, len(op.launches))  # fmt: skip
        if key in merged:
            merged[key] = merged[key] + count
        else:
            merged[key], order[key] = count, op

    for group in model.layers:
        for op in _layer(group, model.hidden):
            add(op, group.count)
    head = model.embedding if model.tied else model.head
    add(Operation(part="head", kind="head", count=1.0, format=head.format, bytes=head.params * head.bits / 8.0,
                  flop=2.0 * head.params, launches=_head_launch(model, head)), 1.0)  # fmt: skip
    for w in model.extra:
        if w.part not in INACTIVE:
            add(Operation(part=w.part, kind="gemm", count=1.0, format=w.format, bytes=w.params * w.bits / 8.0,
                          flop=2.0 * w.params if w.matmul else 0.0), 1.0)  # fmt: skip
    return tuple(_with_count(order[k], n) for k, n in merged.items())


def _same_kept(kept: Stream | State | None) -> Any:
    """What makes two streams or states one: their values, or their identity where they hold arrays (sweeps)."""
    try:
        hash(kept)
    except TypeError:
        return id(kept)
    return kept


def _head_launch(model: Model, head: Weight) -> tuple[Launch, ...]:
    return (Launch(k=model.hidden, cols=((head.params / model.hidden, np.inf),), bits=head.bits),)


def _with_count(op: Operation, count: Any) -> Operation:
    return Operation(**{**op.__dict__, "count": count})


def _layer(group: Layers, hidden: Any) -> Iterator[Operation]:
    """Operations of one layer: weights gathered by (part, format, ways), then streams and states."""
    gathered: dict[tuple, list[Any]] = {}
    for w in group.weights:
        slot = gathered.setdefault((w.part, w.format, key_of(w.ways)), [0.0, 0.0, w.ways])
        slot[0] = slot[0] + w.params * w.bits / 8.0
        if w.matmul:
            slot[1] = slot[1] + 2.0 * w.params
    kernels = launches(group, hidden)
    for (part, fmt, cut), (moved, flop, ways) in gathered.items():
        started = tuple(kernels.get((part, fmt, cut), ()))
        if part == "routed":
            yield Operation(
                part=part, kind="routed", count=1.0, format=fmt, bytes=moved, flop=flop * group.top_k / group.experts,
                experts=group.experts, top_k=group.top_k, expert_groups=group.expert_groups,
                groups_kept=group.groups_kept, ways=ways, encoder=group.encoder, launches=started,
            )  # fmt: skip
        else:
            yield Operation(
                part=part if part in GEMM_PARTS else "other", kind="gemm", count=1.0, format=fmt, bytes=moved,
                flop=flop, ways=ways, encoder=group.encoder, launches=started,
            )  # fmt: skip
    for stream in group.streams:
        yield Operation(
            part="cache", kind="attention", count=1.0, flop=stream.flop, stream=stream, encoder=group.encoder
        )
    for state in group.states:
        yield Operation(part="state", kind="state", count=1.0, flop=state.flop, state=state, encoder=group.encoder)


# --- a model made ready for many evaluations -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Resident:
    """Bytes that stay in memory and how they are cut. rule: 'tensor' (over tp, at most `ways`),
    'expert' (over moe_tp * ep; `experts` per layer for redundant copies) or 'vocab' (over tp * dp)."""

    bytes: Any
    rule: str
    ways: Any = np.inf
    experts: Any = 1.0


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A model with everything that does not depend on devices or workload worked out once.

    mixers / dense_layers / moe_layers: decode layers with attention or a linear mixer / a dense FFN /
    routed experts: what communication happens how often. small: small kernels of a step; wide_norms: mixers whose
    query norms span the heads (routeline.launches).
    """

    model: Model
    cache: str
    operations: tuple[Operation, ...]
    residents: tuple[Resident, ...]
    mixers: Any
    dense_layers: Any
    moe_layers: Any
    small: Any
    wide_norms: Any
    experts: Any
    top_k: Any
    expert_groups: Any
    groups_kept: Any


def residents(model: Model, *, with_mtp: bool = False) -> tuple[Resident, ...]:
    """What must be held in memory, gathered by how it is cut."""
    gathered: dict[tuple, list[Any]] = {}
    for w, count, group in weights(model):
        if w.part == "mtp" and not with_mtp:
            continue
        rule = "expert" if w.part == "routed" else "vocab" if w.part in ("embedding", "head") else "tensor"
        experts = group.experts if group is not None and rule == "expert" else 1.0
        slot = gathered.setdefault((rule, key_of(w.ways), key_of(experts)), [0.0, w.ways, experts])
        slot[0] = slot[0] + count * w.params * w.bits / 8.0
    return tuple(Resident(bytes=b, rule=key[0], ways=ways, experts=e) for key, (b, ways, e) in gathered.items())


def resolve_cache(model: Model, cache: str) -> str:
    """'auto' -> the checkpoint's cache format, else bf16; anything else is checked and kept."""
    chosen = (model.cache_format or "bf16") if cache == "auto" else cache
    if chosen not in CACHE_BITS:
        raise RoutelineError(f"unknown cache format {cache!r}; known: auto, {', '.join(CACHE_BITS)}")
    return chosen


def count(model: Model, cache: str = "auto", *, with_mtp: bool = False) -> Counted:
    """Work out operations, residents and layer kinds of a model once.

    experts / top_k are those of its MoE layers (1 and 1 when there are none; the group with most
    layers where several differ).
    """
    mixers = dense = moe = small = wide = 0.0
    shape, most = (1.0, 1.0, 1.0, 1.0), -1.0
    for group in model.layers:
        parts = {w.part for w in group.weights}
        if not group.encoder:
            small = small + group.count * small_launches(group)
            wide = wide + group.count * norms_over_heads(group)
            if group.streams or group.states or "attention" in parts:
                mixers = mixers + group.count
            if "dense_ffn" in parts and "routed" not in parts:
                dense = dense + group.count
        if "routed" in parts:
            if not group.encoder:
                moe = moe + group.count
            if np.max(group.count) > most:
                most = np.max(group.count)
                shape = (group.experts, group.top_k, group.expert_groups, group.groups_kept)
    return Counted(
        model=model, cache=resolve_cache(model, cache), operations=operations(model),
        residents=residents(model, with_mtp=with_mtp), mixers=mixers, dense_layers=dense, moe_layers=moe,
        small=small, wide_norms=wide,
        experts=shape[0], top_k=shape[1], expert_groups=shape[2], groups_kept=shape[3],
    )  # fmt: skip
