"""Model + cluster + layout + workload + tier -> seconds of one step, by part.

The one place where counts meet rates. Every argument that is a number broadcasts: batch, context,
layout widths, bandwidths and efficiencies may be scalars or arrays; a sweep calls what compare calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import comm, measured, routing
from .arch import FORMATS
from .counts import Counted, Operation, element_bytes, entries
from .errors import RoutelineError
from .hardware import WIDER, Device
from .memory import shards
from .numeric import ceil, choose, maximum, minimum
from .roofline import roofline
from .routing import Routing
from .scenario import Efficiency, Layout, Precision, Workload

ACTIVATION_PASSES = 4.0
"""Least activation traffic of a block: residual in and out around the mixer and around the FFN [-]."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one device offers: memory bandwidth, dense peak by compute format, the network around it."""

    bandwidth: Any = field(metadata={"unit": "B/s"})
    peaks: Mapping[str, Any] = field(metadata={"unit": "FLOP/s"})
    network: comm.Network
    computed_in: Mapping[str, str] = field(default_factory=dict)
    """Weight compute format -> format it really runs in on this device."""


@dataclass(frozen=True, kw_only=True)
class PartTime:
    """One part of a step: bytes and FLOP over all devices (copies included), seconds on the slowest rank."""

    bytes: Any = field(default=0.0, metadata={"unit": "B"})
    flop: Any = field(default=0.0, metadata={"unit": "FLOP"})
    seconds: Any = field(default=0.0, metadata={"unit": "s"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One decode step. parts sum to seconds; tokens: verified in the step over all devices."""

    seconds: Any = field(metadata={"unit": "s"})
    output: Any = field(metadata={"unit": "tokens"})
    parts: Mapping[str, PartTime]
    touched: Any = field(metadata={"unit": "experts"})
    tokens: Any = field(metadata={"unit": "tokens"})
    limits: Mapping[str, Any]
    """Seconds by what limits them: memory, compute, communication, overhead."""
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Part -> seconds of its operations that memory and that compute limits, at the rates of the tier."""

    @property
    def rate(self) -> Any:
        """Output tokens per second over all devices [1/s]."""
        return self.output / self.seconds

    @property
    def weight_bytes(self) -> Any:
        """Weight bytes read in the step over all devices [B]."""
        return sum(p.bytes for k, p in self.parts.items() if k in WEIGHT_PARTS)

    @property
    def cache_bytes(self) -> Any:
        """Cache and state bytes moved in the step over all devices [B]."""
        return sum(p.bytes for k, p in self.parts.items() if k in ("cache", "state"))


WEIGHT_PARTS = ("attention", "router", "routed", "shared", "dense_ffn", "norm", "other", "head")


def rates(device: Device, network: comm.Network, precision: Precision) -> tuple[Rates, list[str]]:
    """Resolve compute formats on a device. Returns (Rates, warnings).

    A weight format without a peak is computed at the next wider one (weight-only), with a warning.

    Raises:
        RoutelineError: a compute format asked for by name has no peak on the device.
    """
    if precision.compute is not None:
        asked = precision.compute
        if asked not in WIDER:
            raise RoutelineError(f"unknown compute format {asked!r}; known: {', '.join(WIDER)}")
        if asked not in device.peaks:
            known = ", ".join(device.peaks)
            raise RoutelineError(f"{device.name} has no {asked} peak; it has {known}: use --compute with one of them")
    ran: dict[str, str] = {}
    for fmt in WIDER:
        chosen = precision.compute or device.compute_format(fmt)
        if chosen is not None:
            ran[fmt] = chosen
    warnings: list[str] = []
    peaks = {fmt: float(device.peaks[chosen]) for fmt, chosen in ran.items()}
    return Rates(bandwidth=float(device.bandwidth), peaks=peaks, network=network, computed_in=ran), warnings


def format_warnings(counted: Counted, rates_: Rates, device: Device, precision: Precision) -> list[str]:
    """One sentence per weight format of this model that the device computes in a wider one."""
    if precision.compute is not None:
        return []
    used = {op.format for op in counted.operations if op.bytes is not None and op.kind in ("gemm", "routed", "head")}
    return [
        f"{device.name} has no {fmt} peak: {fmt} weights of {counted.model.name} are computed in "
        f"{rates_.computed_in[fmt]} (weight-only)"
        for fmt in sorted(used)
        if fmt in rates_.computed_in and rates_.computed_in[fmt] != fmt
    ]


def step(
    counted: Counted,
    rates_: Rates,
    layout: Layout,
    batch: Any,
    workload: Workload,
    efficiency: Efficiency,
    routed: Routing = routing.UNIFORM,
    *,
    attention_format: str = "bf16",
) -> Step:
    """Seconds of one decode step of `batch` sequences over all devices (docs/physics.md section 5).

    Each replica and pipeline microbatch takes whole sequences (ceil); inside, attention ranks share
    them evenly (mean) or the fullest sets the time (efficiency.worst_rank). Per operation:
    t = roofline(bytes, FLOP) + overhead, times its layers; the sum over operations is the step.
    """
    e = efficiency
    per_group = ceil(batch / (layout.replicas * layout.pp) - 1e-9)
    per_rank = ceil(per_group / layout.dp - 1e-9) if e.worst_rank else per_group / layout.dp
    verified = workload.tokens_per_sequence
    tokens = per_group * verified
    ranks = layout.ep
    touched = routing.experts_touched(routed, counted.experts, counted.top_k, tokens)
    devices = layout.devices
    parts: dict[str, PartTime] = {}
    bounds: dict[str, dict[str, Any]] = {}
    limits: dict[str, Any] = {"memory": 0.0, "compute": 0.0, "communication": 0.0, "overhead": 0.0}

    def add(part: str, op: Operation, moved: Any, flop: Any, mean_bytes: Any, mean_flop: Any, fmt: str) -> None:
        peak = rates_.peaks[fmt] * e.compute_fraction(op.kind, fmt)
        band = rates_.bandwidth * e.memory_fraction(op.kind, fmt)
        busy = op.count * roofline(flop, moved, peak, band, e.sharpness)
        fixed = op.count * e.overhead.get(op.kind, 0.0)
        by_memory = moved / band >= flop / peak
        split = {"memory": choose(by_memory, busy, 0.0), "compute": choose(by_memory, 0.0, busy)}
        before = bounds.get(part, {})
        bounds[part] = {name: before.get(name, 0.0) + seconds for name, seconds in split.items()}
        for name, seconds in split.items():
            limits[name] = limits[name] + seconds
        limits["overhead"] = limits["overhead"] + fixed
        old = parts.get(part, PartTime())
        parts[part] = PartTime(
            bytes=old.bytes + op.count * mean_bytes * devices,
            flop=old.flop + op.count * mean_flop * devices,
            seconds=old.seconds + busy + fixed,
        )

    for op in counted.operations:
        if op.encoder:
            continue
        if op.kind == "routed":
            share = layout.moe_tp * ranks
            drawn = measured.draws(op, tokens, routed, e.kernels, rates_.computed_in)
            union = (
                touched
                if drawn is tokens and _same(op, counted)
                else routing.experts_touched(routed, op.experts, op.top_k, drawn)
            )
            mean_b, mean_f = op.bytes * union / op.experts / share, op.flop * tokens / share
            b, f, hot = mean_b, mean_f, union / ranks
            if e.worst_rank:
                hot = routing.worst_rank_touched(routed, op.experts, op.top_k, drawn, ranks)
                load = routing.worst_rank_load(routed, op.experts, op.top_k, tokens, ranks)
                b, f = op.bytes * hot / op.experts / layout.moe_tp, mean_f * load
            add(op.part, op, b, f, mean_b, mean_f, op.format)
            extra = op.count * e.per_expert * hot
            limits["overhead"] = limits["overhead"] + extra
            old = parts[op.part]
            parts[op.part] = PartTime(bytes=old.bytes, flop=old.flop, seconds=old.seconds + extra)
        elif op.stream is not None:
            s = op.stream
            kept = entries(s, workload.encoder_tokens if s.per_input else workload.context)
            attended = minimum(kept, s.read)
            read = minimum(kept, s.read * verified) * s.elements * element_bytes(s, counted.cache)
            b = per_rank * read / shards(s.shards, layout)
            f = per_rank * verified * attended * op.flop / layout.tp
            scale = per_group / layout.dp / maximum(per_rank, 1e-300)
            add("cache", op, b, f, b * scale, f * scale, attention_format)
        elif op.state is not None:
            b = per_rank * 2.0 * op.state.bytes / shards(op.state.shards, layout)
            f = per_rank * verified * op.flop / layout.tp
            scale = per_group / layout.dp / maximum(per_rank, 1e-300)
            add("state", op, b, f, b * scale, f * scale, attention_format)
        elif op.kind == "head":
            cut = layout.tp * layout.dp
            add(op.part, op, op.bytes / cut, op.flop * tokens / cut, op.bytes / cut, op.flop * tokens / cut, op.format)
        else:
            cut = layout.tp if layout.pooled else minimum(layout.tp, op.ways)
            mean_f = op.flop * tokens / layout.dp / cut
            add(op.part, op, op.bytes / cut, op.flop * per_rank * verified / cut, op.bytes / cut, mean_f, op.format)

    if e.kernels is not None:
        times, touched = measured.part_seconds(
            counted, layout, per_group, per_rank, workload, routed, constants=e.kernels, peaks=rates_.peaks,
            computed_in=rates_.computed_in, bandwidth=rates_.bandwidth, network=rates_.network,
            attention_format=attention_format,
        )  # fmt: skip
        return _with_times(parts, times, limits, batch * workload.accepted, tokens, touched, bounds)
    if e.activations:
        blocks = counted.mixers + counted.dense_layers + counted.moe_layers
        op = Operation(part="activations", kind="activation", count=blocks)
        width = counted.model.hidden * 2.0 * ACTIVATION_PASSES / 2.0
        local = per_rank * verified * width / (layout.tp if layout.pooled else 1.0)
        mean = local * (per_group / layout.dp / maximum(per_rank, 1e-300))
        add("activations", op, local, 0.0, mean, 0.0, "bf16")
    if not layout.pooled:
        seconds = communication(counted, rates_, layout, per_rank * verified, e)
        parts["communication"] = PartTime(seconds=seconds)
        limits["communication"] = limits["communication"] + seconds
    fixed = e.step + e.per_sequence * per_rank
    parts["scheduling"] = PartTime(seconds=fixed)
    limits["overhead"] = limits["overhead"] + fixed
    return Step(
        seconds=sum(p.seconds for p in parts.values()), output=batch * workload.accepted, parts=parts,
        touched=touched, tokens=tokens, limits=limits, bounds=bounds,
    )  # fmt: skip


def _with_times(
    parts: Mapping[str, PartTime],
    times: Mapping[str, Any],
    limits: Mapping[str, Any],
    output: Any,
    tokens: Any,
    touched: Any,
    bounds: Mapping[str, Mapping[str, Any]] | None = None,
) -> Step:
    """A step whose bytes and FLOP are counted and whose seconds were measured; what exceeds the roofline of
    the parts is overhead."""
    named = {
        name: PartTime(bytes=old.bytes, flop=old.flop, seconds=times.get(name, 0.0))
        for name in dict.fromkeys((*parts, *times))
        for old in (parts.get(name, PartTime()),)
    }
    seconds = sum(times.values())
    communication = times.get("communication", 0.0)
    rest = seconds - communication - limits["memory"] - limits["compute"]
    return Step(
        seconds=seconds, output=output, parts=named, touched=touched, tokens=tokens,
        limits={**limits, "communication": communication, "overhead": rest}, bounds=bounds or {},
    )  # fmt: skip


def _same(op: Operation, counted: Counted) -> bool:
    return np.ndim(op.experts) == 0 and op.experts == counted.experts and op.top_k == counted.top_k


def communication(counted: Counted, rates_: Rates, layout: Layout, tokens: Any, e: Efficiency) -> Any:
    """Seconds of collectives in one step [s]; `tokens` per attention rank group.

    Per mixer and per dense FFN layer an all-reduce over tp. Per MoE layer: with attention data
    parallelism dispatch and combine all-to-all over ep (a token's copy goes once per rank reached) and
    an all-reduce over moe_tp; without, one all-reduce over tp. Context parallelism gathers queries and
    reduces partial outputs over cp. Pipeline stages pass activations on.
    Hidden states travel in BF16; dispatch of FP8/FP4 experts in one byte.
    """
    raw = rates_.network
    net = comm.Network(
        link=raw.link * e.link, nic=raw.nic * e.nic, node=raw.node,
        link_latency=raw.link_latency * e.latency_scale,
        mesh_peers=raw.mesh_peers, nic_latency=raw.nic_latency * e.latency_scale,
    )  # fmt: skip
    width = counted.model.hidden * 2.0
    moved, fixed = comm.all_reduce(tokens * width, layout.tp, net)
    reduce = moved + fixed
    out = (counted.mixers + counted.dense_layers) * reduce
    if np.any(counted.moe_layers):
        narrow = any(op.kind == "routed" and op.format in ("fp8", "fp4", "int8") for op in counted.operations)
        reached = comm.ranks_reached(layout.ep, counted.top_k, counted.expert_groups, counted.groups_kept)
        sent = tokens / layout.tp * reached * width
        a, a0 = comm.all_to_all(sent * (0.5 if narrow else 1.0), layout.ep, net, stride=layout.moe_tp)
        c, c0 = comm.all_to_all(sent, layout.ep, net, stride=layout.moe_tp)
        inner, inner0 = comm.all_reduce(tokens * layout.dp / layout.ep * width, layout.moe_tp, net)
        spread = a + a0 + c + c0 + inner + inner0
        out = out + counted.moe_layers * choose(layout.dp > 1.0, spread, reduce)
    for op in counted.operations:
        if op.stream is not None and not op.encoder and not (isinstance(layout.cp, float) and layout.cp == 1.0):
            heads = tokens * op.flop * layout.cp / layout.tp  # q and partial outputs in BF16: flop/2 numbers a token
            gather, start = comm.all_reduce(0.5 * heads, layout.cp, net)
            out = out + op.count * (gather + 2.0 * start)
    hop, hop0 = comm.send(tokens * width / layout.tp, layout.pp - 1.0, net, stride=layout.tp * layout.dp)
    return out + hop + hop0


def storage_format(text: str) -> tuple[float, str]:
    """(bits a parameter, compute format) of a storage format; see arch.FORMATS."""
    return FORMATS[text]
