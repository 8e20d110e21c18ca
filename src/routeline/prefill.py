"""Prompt tokens through the same counts as decode: prefill passes and steps that mix both phases.

A pass is one forward run. Weights are read once a pass, experts as many as its tokens touch; attention
is causal; the head runs for the last token of a prompt only. Everything broadcasts like estimate.step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import comm, estimate, routing
from .arch import Stream
from .counts import Counted, Operation, element_bytes, entries
from .estimate import PartTime, Rates, Step
from .memory import shards
from .numeric import ceil, choose, floor, maximum, minimum
from .roofline import roofline
from .routing import Routing
from .scenario import Efficiency, Layout, Workload

CHUNK = 8192.0
"""Prompt tokens an attention rank puts through in one pass [tokens]. Kind guess: the usual budget of
chunked prefill in serving engines (recall: 2k to 16k); shorter prompts share a pass, longer ones take several."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What one attention rank prefills in one pass.

    tokens: prompt tokens in the pass; new / cached: tokens of one prompt that are computed / come from
    the prefix cache; they fix how far back a token looks on average.
    """

    tokens: Any = field(metadata={"unit": "tokens"})
    new: Any = field(metadata={"unit": "tokens"})
    cached: Any = field(default=0.0, metadata={"unit": "tokens"})

    @property
    def prompts(self) -> Any:
        """Different prompts that share the pass [-]."""
        return maximum(self.tokens / self.new, 1.0)

    @property
    def finished(self) -> Any:
        """Prompts that end in the pass, on average [-]: as many last tokens go through the head."""
        return self.tokens / self.new

    @property
    def past(self) -> Any:
        """Mean tokens before the chunk being computed [-]: the prefix, then half of the earlier chunks."""
        passes = maximum(self.new / maximum(self.tokens, 1e-300), 1.0)
        return self.cached + 0.5 * self.new * (1.0 - 1.0 / passes)


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """Prefill of `requests` prompts over all devices in `seconds`; `step` is one of its `passes`."""

    seconds: Any = field(metadata={"unit": "s"})
    requests: Any = field(metadata={"unit": "requests"})
    passes: Any
    step: Step

    @property
    def per_request(self) -> Any:
        """Seconds of the whole cluster for one request [s]."""
        return self.seconds / self.requests


def attended(stream: Stream, new: Any, cached: Any) -> Any:
    """Query-entry pairs of a causal prompt in one layer [-]: sum over its new tokens of what each attends to.

    The token at position p attends to min(p, w)/stride entries, w the smaller of the window and what a
    sparse read keeps: n*c + n(n+1)/2 for full attention, of L**2/2 when nothing is cached.
    """
    w = minimum(stream.window, stream.read * stream.stride)
    return (_capped_sum(cached + new, w) - _capped_sum(cached, w)) / stream.stride


def _capped_sum(p: Any, w: Any) -> Any:
    """sum over j = 1..p of min(j, w)."""
    low = minimum(p, w)
    return 0.5 * low * (low + 1.0) + choose(p > w, (p - low) * low, 0.0)


def attention_flop(stream: Stream, new: Any, cached: Any) -> Any:
    """FLOP of causal attention over one prompt in one layer [FLOP].

    Expanded heads (stream.flop_prefill) on every entry; a sparse read may instead run in absorbed form
    on the entries it keeps: the cheaper of the two, as DeepSeek-V3.2 chooses by length. Projecting
    cached latents back to heads, once a chunk, is left out (5% of attention at chunks of 8k).
    """
    if np.all(np.isinf(stream.read)):
        return attended(stream, new, cached) * stream.flop_prefill
    whole = attended(replace(stream, read=np.inf), new, cached) * stream.flop_prefill
    return minimum(whole, attended(stream, new, cached) * stream.flop)


def mixed(
    counted: Counted,
    rates_: Rates,
    layout: Layout,
    batch: Any,
    workload: Workload,
    efficiency: Efficiency,
    routed: Routing = routing.UNIFORM,
    *,
    prompt: Prompt | None = None,
    attention_format: str = "bf16",
) -> Step:
    """One step that decodes `batch` sequences and prefills `prompt` on every attention rank.

    Without a prompt it is estimate.step; with batch 0 a pure prefill pass. Linear layers see all tokens
    at once (weights read once); attention of the two phases runs one after the other. Encoder layers run
    over the prompt, and then the decoder sees one start token and the cross projections of the prompt.
    """
    e = efficiency
    if prompt is None and e.kernels is not None:
        return estimate.step(counted, rates_, layout, batch, workload, e, routed, attention_format=attention_format)
    per_group = ceil(batch / (layout.replicas * layout.pp) - 1e-9)
    per_rank = ceil(per_group / layout.dp - 1e-9) if e.worst_rank else per_group / layout.dp
    decoded = per_rank * workload.tokens_per_sequence
    seq2seq = any(op.encoder for op in counted.operations)
    ahead: Any = 0.0 if prompt is None else (prompt.finished if seq2seq else prompt.tokens)
    encoded: Any = prompt.tokens if prompt is not None and seq2seq else 0.0
    rank_tokens = decoded + ahead
    tokens = per_group * workload.tokens_per_sequence + ahead * layout.dp
    heads = per_group * workload.tokens_per_sequence + (0.0 if prompt is None else prompt.finished * layout.dp)
    parts: dict[str, PartTime] = {}
    limits: dict[str, Any] = {"memory": 0.0, "compute": 0.0, "communication": 0.0, "overhead": 0.0}

    def add(part: str, op: Operation, moved: Any, flop: Any, fmt: str, extra: Any = 0.0) -> None:
        peak, band = (
            rates_.peaks[fmt] * e.compute_fraction(op.kind, fmt),
            rates_.bandwidth * e.memory_fraction(op.kind, fmt),
        )
        busy = op.count * roofline(flop, moved, peak, band, e.sharpness)
        fixed = op.count * (e.overhead.get(op.kind, 0.0) + extra)
        by_memory = moved / band >= flop / peak
        limits["memory"] = limits["memory"] + choose(by_memory, busy, 0.0)
        limits["compute"] = limits["compute"] + choose(by_memory, 0.0, busy)
        limits["overhead"] = limits["overhead"] + fixed
        old = parts.get(part, PartTime())
        parts[part] = PartTime(
            bytes=old.bytes + op.count * moved * layout.devices, flop=old.flop + op.count * flop * layout.devices,
            seconds=old.seconds + busy + fixed,
        )  # fmt: skip

    for op in counted.operations:
        if op.encoder and prompt is None:
            continue
        here, whole = (encoded, encoded * layout.dp) if op.encoder else (rank_tokens, tokens)
        if op.kind == "routed":
            if e.worst_rank:
                hot = routing.worst_rank_touched(routed, op.experts, op.top_k, whole, layout.ep)
                load = routing.worst_rank_load(routed, op.experts, op.top_k, whole, layout.ep)
            else:
                hot, load = routing.experts_touched(routed, op.experts, op.top_k, whole) / layout.ep, 1.0
            share = op.flop * whole / (layout.moe_tp * layout.ep)
            add(op.part, op, op.bytes * hot / op.experts / layout.moe_tp, share * load, op.format, e.per_expert * hot)
        elif op.stream is not None:
            s = op.stream
            if np.any(np.asarray(batch) > 0):
                kept = entries(s, workload.encoder_tokens if s.per_input else workload.context)
                read = (
                    minimum(kept, s.read * workload.tokens_per_sequence) * s.elements * element_bytes(s, counted.cache)
                )
                look = decoded * minimum(kept, s.read) * op.flop / layout.tp
                add("cache", op, per_rank * read / shards(s.shards, layout), look, attention_format)
            if prompt is not None:
                add("cache", op, *_prompt_attention(s, op, counted, layout, prompt), attention_format)
        elif op.state is not None:
            moved = 2.0 * op.state.bytes / shards(op.state.shards, layout)
            busy = per_rank + (0.0 if prompt is None else prompt.prompts)
            add("state", op, busy * moved, rank_tokens * op.flop / layout.tp, attention_format)
        elif op.kind == "head":
            cut = layout.tp * layout.dp
            add(op.part, op, op.bytes / cut, op.flop * heads / cut, op.format)
        else:
            cut = layout.tp if layout.pooled else minimum(layout.tp, op.ways)
            add(op.part, op, op.bytes / cut, op.flop * here / cut, op.format)
    if seq2seq and prompt is not None:
        for op in _encoder_only(counted, prompt):
            add(op.part, op, 0.0, op.flop * encoded / layout.tp, attention_format if op.part == "cache" else op.format)
    if e.kernels is not None and prompt is not None and not seq2seq:
        from . import prefill_measured

        times = prefill_measured.part_seconds(
            counted, rates_, layout, e, routed, workload, decoded=decoded, per_rank=per_rank, ahead=ahead, heads=heads,
            finished=prompt.finished, prompts=prompt.prompts, attention_format=attention_format,
            attention=lambda s, op: _prompt_attention(s, op, counted, layout, prompt),
        )  # fmt: skip
        touched = routing.experts_touched(routed, counted.experts, counted.top_k, tokens)
        return estimate._with_times(parts, times, limits, batch * workload.accepted, tokens, touched)
    if e.activations:
        blocks = counted.mixers + counted.dense_layers + counted.moe_layers
        width = counted.model.hidden * 2.0 * estimate.ACTIVATION_PASSES / 2.0
        cut = layout.tp if layout.pooled else 1.0
        op = Operation(part="activations", kind="activation", count=blocks)
        add("activations", op, (rank_tokens + encoded) * width / cut, 0.0, "bf16")
    if not layout.pooled:
        seconds = _communication(counted, rates_, layout, decoded, ahead + encoded, prompt, e)
        parts["communication"] = PartTime(seconds=seconds)
        limits["communication"] = limits["communication"] + seconds
    fixed = e.step + e.per_sequence * per_rank
    parts["scheduling"] = PartTime(seconds=fixed)
    limits["overhead"] = limits["overhead"] + fixed
    return Step(
        seconds=sum(p.seconds for p in parts.values()), output=batch * workload.accepted, parts=parts,
        touched=routing.experts_touched(routed, counted.experts, counted.top_k, tokens), tokens=tokens, limits=limits,
    )  # fmt: skip


def _prompt_attention(s: Stream, op: Operation, counted: Counted, layout: Layout, prompt: Prompt) -> tuple[Any, Any]:
    """(bytes, FLOP) of one rank and layer in a pass: the past is read once a chunk, new entries are written."""
    size = s.elements * element_bytes(s, counted.cache)
    if s.per_input:
        written = prompt.tokens / s.stride
        return written * size / shards(s.shards, layout), prompt.tokens * op.flop / layout.tp
    if any(o.encoder for o in counted.operations):
        return 0.0, 0.0
    past = minimum(prompt.past, s.window) / s.stride
    moved = prompt.prompts * past + prompt.tokens / s.stride
    flop = attention_flop(s, prompt.new, prompt.cached) * prompt.tokens / prompt.new
    return moved * size / shards(s.shards, layout), flop / layout.tp


def _encoder_only(counted: Counted, prompt: Prompt) -> list[Operation]:
    """Encoder work that leaves no cache: bidirectional attention (n entries a token) and the decoder's
    cross-attention keys and values over the prompt [FLOP per encoder token]."""
    out = []
    cross = next((op.stream for op in counted.operations if op.stream is not None and op.stream.per_input), None)
    layers = sum(g.count for g in counted.model.layers if g.encoder)
    if cross is not None:
        out.append(Operation(part="cache", kind="attention", count=layers, flop=cross.flop_prefill * prompt.new))
    for g in counted.model.layers:
        for w in g.weights:
            if not g.encoder and w.name in ("cross_attn.k", "cross_attn.v"):
                out.append(
                    Operation(part="attention", kind="gemm", count=g.count, format=w.format, flop=2.0 * w.params)
                )
    return out


def _communication(
    counted: Counted, rates_: Rates, layout: Layout, decoded: Any, ahead: Any, prompt: Prompt | None, e: Efficiency
) -> Any:
    """Collectives of a mixed step [s]: estimate.communication of all tokens; context parallelism gathers
    queries for decoded tokens and, for prompts, the keys and values of the other ranks (ring attention)."""
    if prompt is None:
        return estimate.communication(counted, rates_, layout, decoded, e)
    flat = replace(layout, cp=1.0)
    out = estimate.communication(counted, rates_, flat, decoded + ahead, e)
    if not np.any(np.asarray(layout.cp) > 1.0):
        return out
    if np.any(np.asarray(decoded) > 0):
        out = out + estimate.communication(counted, rates_, layout, decoded, e)
        out = out - estimate.communication(counted, rates_, flat, decoded, e)
    raw = rates_.network
    net = comm.Network(
        link=raw.link * e.link, nic=raw.nic * e.nic, node=raw.node, mesh_peers=raw.mesh_peers,
        link_latency=raw.link_latency * e.latency_scale, nic_latency=raw.nic_latency * e.latency_scale,
    )  # fmt: skip
    for op in counted.operations:
        if op.stream is not None and not op.encoder:
            s = op.stream
            kept = prompt.prompts * minimum(prompt.past, s.window) / s.stride + prompt.tokens / s.stride
            moved, fixed = comm.all_reduce(0.5 * kept * s.elements * element_bytes(s, counted.cache), layout.cp, net)
            out = out + op.count * (moved + fixed)
    return out


def prefill(
    counted: Counted,
    rates_: Rates,
    layout: Layout,
    new: Any,
    efficiency: Efficiency,
    routed: Routing = routing.UNIFORM,
    *,
    cached: Any = 0.0,
    chunk: Any = CHUNK,
    most: Any = np.inf,
    attention_format: str = "bf16",
) -> Prefill:
    """Prefill prompts of `new` tokens after `cached` ones on every attention rank (docs/physics.md section 5).

    A prompt longer than `chunk` takes ceil(new/chunk) passes; shorter ones share a pass, at most `most`
    of them. Each replica and pipeline microbatch works on its own prompts.
    """
    passes = maximum(ceil(new / chunk - 1e-9), 1.0)
    together = maximum(minimum(floor(chunk / new + 1e-9), most), 1.0)
    prompt = Prompt(tokens=new * together / passes, new=new, cached=cached)
    step = mixed(
        counted, rates_, layout, 0.0, Workload(context=1.0), efficiency, routed, prompt=prompt,
        attention_format=attention_format,
    )  # fmt: skip
    requests = together * layout.dp * layout.pp * layout.replicas
    return Prefill(seconds=step.seconds * passes, requests=requests, passes=passes, step=step)
