"""The parts of a decode step in measured kernels: launches of a model + fitted constants -> seconds by part.

Walks the same operations as estimate.step and broadcasts alike; only the formula that turns a launch into
seconds differs (routeline.kernels). Served predictions (routeline.serving) time the same launches with the
same functions, many models at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import comm, kernels, routing
from .counts import Counted, Operation, element_bytes, entries
from .kernels import WIDE_NORM, chosen, kernel_code
from .memory import shards
from .numeric import choose, maximum, minimum
from .routing import Routing
from .scenario import Layout, Workload


def part_seconds(
    counted: Counted,
    layout: Layout,
    per_group: Any,
    per_rank: Any,
    workload: Workload,
    routed: Routing,
    *,
    constants: Mapping[str, Any],
    peaks: Mapping[str, Any],
    computed_in: Mapping[str, str],
    bandwidth: Any,
    network: comm.Network,
    attention_format: str = "bf16",
) -> tuple[dict[str, Any], Any]:
    """(seconds by part of one decode step, experts touched per MoE layer) [s, -].

    per_group / per_rank: sequences in flight per replica and microbatch / on its fullest attention rank.
    What uniform routing touches is fitted, see `draws`.
    """
    verified = workload.tokens_per_sequence
    local = maximum(per_rank * verified, 1e-9)
    everyone = maximum(per_group * verified, 1e-9)
    attention_peak = peaks[attention_format]
    out: dict[str, Any] = {}
    touched: Any = None

    def add(part: str, seconds: Any) -> None:
        out[part] = out.get(part, 0.0) + seconds

    for op in counted.operations:
        if op.encoder:
            continue
        peak = peaks[op.format]
        if op.kind == "routed" and not op.launches:
            continue  # biases of experts ride along with their matrices
        if op.kind == "routed":
            seconds, union = _experts(op, layout, everyone, routed, constants, peak, computed_in, bandwidth)
            touched = union if touched is None else touched
            add(op.part, op.count * seconds)
        elif op.stream is not None:
            s = op.stream
            kept = entries(s, workload.encoder_tokens if s.per_input else workload.context)
            read = minimum(kept, s.read * verified) * s.elements * element_bytes(s, counted.cache)
            moved = per_rank * read / shards(s.shards, layout)
            flop = per_rank * verified * minimum(kept, s.read) * op.flop / layout.tp
            c = chosen(constants, "mla" if s.shards == 1.0 else "gqa")
            if np.isfinite(s.read):
                c["t0"] = c["t0"] + c.get("sparse", 0.0)
            items = per_rank * maximum(s.shards / minimum(layout.tp, s.shards), 1.0)
            length = minimum(kept, s.read)
            busy = kernels.attention_seconds(moved, flop, items, length, attention_peak, bandwidth, c)
            add("cache", op.count * busy)
        elif op.state is not None:
            c = chosen(constants, "state")
            moved = per_rank * 2.0 * op.state.bytes / shards(op.state.shards, layout)
            add("state", op.count * (c["t0"] + moved / (bandwidth * c["eta"])))
        else:
            vocab = op.kind == "head"
            cut, m = (layout.tp * layout.dp, everyone) if vocab else (layout.tp, local)
            add(op.part, op.count * _products(op, m, cut, constants, peak, computed_in, bandwidth))
    small = chosen(constants, "small")
    blocks = counted.mixers + counted.dense_layers + counted.moe_layers
    passes = small["passes"] * blocks * local * counted.model.hidden * 2.0 / bandwidth
    out["activations"] = passes + small["launch"] * counted.small
    if not layout.pooled:
        out["communication"] = collectives(counted, layout, local, constants, network)
    out["scheduling"] = constants["step.fixed"] + constants["step.sequence"] * per_rank
    return out, 1.0 if touched is None else touched


def _products(
    op: Operation, m: Any, tp: Any, constants: Mapping[str, Any], peak: Any, ran: Mapping[str, str], bandwidth: Any
) -> Any:
    """Seconds of the matrix products of one operation in one layer [s]."""
    out: Any = 0.0
    for launch in op.launches:
        code, act = kernel_code(float(np.max(launch.bits)), op.format, ran[op.format])
        n = sum(width / minimum(tp, ways) for width, ways in launch.cols)
        k = launch.k / minimum(tp, launch.k_ways)
        c = chosen(constants, "gemm", code)
        out = out + kernels.gemm_seconds(m, n, k, launch.bits / 8.0, act, peak, bandwidth, c)
    return out


def expert_constants(op: Operation, constants: Mapping[str, Any], ran: Mapping[str, str]) -> dict[str, Any]:
    """The constants of the kernel that runs these experts, by short name."""
    code, _ = kernel_code(float(np.max(op.launches[0].bits)), op.format, ran[op.format])
    return chosen(constants, "moe", code)


def draws(
    op: Operation, tokens: Any, routed: Routing, constants: Mapping[str, Any] | None, ran: Mapping[str, str]
) -> Any:
    """Independent tokens that touch as many of an operation's experts as `tokens` do [-].

    With measured kernels uniform routing is read as the fitted skew of real routers (kernels.effective_tokens); any
    other routing is used as it is, and `zipf:0` is uniform to the letter. Weights that ride along (biases of
    experts, no launch of their own) and tiers without kernels take tokens as they are.
    """
    if constants is None or routed.name != "uniform" or not op.launches:
        return tokens
    return kernels.effective_tokens(tokens, expert_constants(op, constants, ran))


def _experts(
    op: Operation, layout: Layout, tokens: Any, routed: Routing, constants: Mapping[str, Any], peak: Any,
    ran: Mapping[str, str], bandwidth: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """(seconds of one layer's routed experts on the slowest rank, experts touched) [s, -]."""
    launch, c = op.launches[0], expert_constants(op, constants, ran)
    independent = draws(op, tokens, routed, constants, ran)
    union = routing.experts_touched(routed, op.experts, op.top_k, independent)
    hot = routing.worst_rank_touched(routed, op.experts, op.top_k, independent, layout.ep)
    load = 1.0 + c["imbalance"] * routing.expected_max_normal(layout.ep)
    pairs = tokens * op.top_k / layout.ep * load
    inter = launch.cols[0][0] / layout.moe_tp
    seconds = kernels.moe_seconds(
        pairs, hot, launch.k, inter, launch.matrices, launch.bits / 8.0, peak, bandwidth, c
    )  # fmt: skip
    return seconds, union


def collectives(
    counted: Counted, layout: Layout, tokens: Any, constants: Mapping[str, Any], network: comm.Network
) -> Any:
    """Seconds of collectives in one step with measured start-ups [s]; `tokens` per attention rank group.

    Two all-reduces a layer over tp; with attention data parallelism dispatch and combine instead of the
    second. Context parallelism gathers queries and reduces partial outputs. Groups that leave a node take
    the NIC's rate.
    """
    c = chosen(constants, "comm")
    size = tokens * counted.model.hidden * 2.0
    group = layout.tp * layout.dp

    def rate(ranks: Any) -> Any:
        near = network.inside(minimum(ranks, network.node))
        return choose(ranks <= network.node, near, minimum(near, network.nic))

    reduce = kernels.all_reduce_seconds(size, layout.tp, rate(layout.tp), c)
    plain = (counted.mixers + counted.dense_layers + counted.moe_layers) * reduce
    sent = size / layout.tp * (group - 1.0) / maximum(group, 1.0)
    spread = c["a2a_start"] + minimum(layout.ep, 8.0) / 2.0 * sent / (rate(group) * c["a2a_fraction"])
    wide = (counted.mixers + counted.dense_layers) * reduce + counted.moe_layers * choose(group > 1.0, spread, 0.0)
    norms = counted.wide_norms * kernels.all_reduce_seconds(tokens * WIDE_NORM, layout.tp, rate(layout.tp), c)
    stage = (layout.pp - 1.0) * (c["ar_start"] + size / rate(group * layout.pp))
    out = choose(layout.dp > 1.0, wide, plain) + norms + stage
    if isinstance(layout.cp, float) and layout.cp == 1.0:
        return out
    for op in counted.operations:
        if op.stream is not None and not op.encoder:
            heads = 0.5 * tokens * op.flop * layout.cp / layout.tp
            gather = kernels.all_reduce_seconds(heads, layout.cp, rate(layout.cp), c)
            out = out + op.count * (gather + choose(layout.cp > 1.0, c["ar_start"], 0.0))
    return out
