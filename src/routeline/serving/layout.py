"""How a row's devices are used: widths of the layout, and the sequences their memory holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..counts import Counted, count
from ..memory import cache_per_device, weights_per_device
from ..scenario import Layout, Workload
from . import rows
from .classes import GGUF, generation
from .constants import base
from .table import Widths

RESERVE = 1.5e9
"""Bytes a device keeps for the runtime [B]; guess: context, workspaces and graphs of a serving engine."""
SMALL = 0.06
"""Most of a device's memory that the runtime keeps [-]; guess: small devices run with smaller workspaces."""
POOLED = ("vllm", "sglang", "trtllm", "tgi", "lmdeploy", "")
"""Engines that take a share of the memory at the start, UTILISATION unless told; others allocate as they need."""
GROWING = ("vllm", "sglang", "lmdeploy", "")
"""Engines that give a sequence memory as it grows, on average half its output; published. On classes of devices without
kernel tables only: the fit of the others counted whole sequences."""
UTILISATION = 0.90
"""Share of the memory that POOLED engines take [-]; published: default of vLLM and TensorRT-LLM."""
FULL = 0.98
"""Share of the memory that may be used where nobody limits it [-]; guess."""
BY_LAYERS = (*GGUF, "mlx", "exllama", "transformers", "ktransformers")
"""Engines that give each device some of the layers, not some of each matrix; published: their defaults."""
UNEVEN = (*BY_LAYERS, "deepspeed", "optimum-habana")
"""Engines that may cut attention heads unevenly, or not at all; published: DeepSpeed's automatic tensor parallelism
(DeepSpeed pull request 4011). The others refuse a tp that does not divide the query heads, and replicate KV heads."""
TOTAL = ("sglang", "trtllm")
"""Engines whose tp counts the ranks of data-parallel attention, too; published: their arguments. A tp wider than a NODE
that divides no heads is such a count, as the measured rows of wide experts have it."""
NODE = 8.0
"""Devices of a usual node [-]."""

STATIC = ("llama.cpp", "mlx", "exllama", "transformers", "deepspeed", "optimum-habana")
"""Engines whose published rows are one batch: all its prompts, then all its tokens; published: llama-batched-bench,
optimum-habana's run_generation, and the like of the others."""
BUDGET = {"llama.cpp": 512.0, "llama-server": 512.0, "mlx": 512.0}
"""Most prompt tokens computed in one step where the device does not matter [tokens]; published: n_ubatch, and
the prefill step of mlx-lm."""
CHUNK = 8192.0
"""The same of the others [tokens]; published: max_num_batched_tokens of vLLM on large devices and TensorRT-LLM's
max_num_tokens, chunked_prefill_size of SGLang on devices of 80 GB."""
MOST = 1024.0
"""Most sequences an engine batches [-]; published: max_num_seqs of vLLM on large devices."""
LARGE = 70 * 2.0**30
"""Memory from which vLLM takes the larger defaults, on any device but A100 [B]; published: its EngineArgs."""
SMALL_VLLM, SMALL_CHUNK = 256.0, 2048.0
"""max_num_seqs and max_num_batched_tokens of vLLM on the other devices [-], [tokens]; published: its EngineArgs."""
CHUNKS = ((35e9, 2048.0), (60e9, 4096.0))
"""Memory below which SGLang computes prompts in such chunks [B], [tokens]; published: its server_args."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Per row: most sequences at once over all devices [-]; bytes a device needs for weights and bytes it has [B];
    share of its memory that this allows [-]; whether that is more than the engine's default, for want of room."""

    most: np.ndarray
    need: np.ndarray
    have: np.ndarray
    share: np.ndarray
    raised: np.ndarray


def layouts(p: rows.Parsed) -> tuple[Widths, np.ndarray]:
    """Widths and replicas per row; blanks are chosen: replicas and pp 1, tp all devices left that divide the heads.

    Engines of BY_LAYERS split layers instead: tp that is blank, or asked for over PCIe, becomes pp. Rows whose tp an
    engine refuses get a reason.
    """
    n = p.numbers
    size = len(p.index)
    tp, dp, ep, pp, rep, dev = (n[k].copy() for k in ("tp", "attention_dp", "ep", "pp", "replicas", "devices"))
    for i in range(size):
        _by_layers(p, i, tp, pp, rep[i], dev[i])
    pp, dp = np.where(pp > 0, pp, 1.0), np.where(dp > 0, dp, 1.0)
    for i in range(size):
        where = int(p.index[i])
        heads, moe = float(p.models[i].heads), any(g.experts > 1 for g in p.models[i].layers)
        if not tp[i]:
            left = (dev[i] or 1.0) / (pp[i] * dp[i] * (rep[i] or 1.0))
            options = [d for d in (1, 2, 4, 8, 16, 32, 64) if d <= left and heads % d == 0]
            tp[i] = max(options, default=1)
            if dev[i] > 1:
                p.notes[where].append(f"layout chosen: tp={int(tp[i])}")
        if heads % tp[i] and p.engine[i] not in UNEVEN:
            said = f"tp {tp[i]:g} does not divide {heads:g} heads"
            if moe and tp[i] > NODE and p.engine[i] in TOTAL:
                p.notes[where].append(f"{said}: taken as stated, though attention must run data-parallel")
                p.wide[i] *= rows.UNKNOWN
            else:
                p.reasons[where] = f"row {where + 1}: {said}; {_dividing(heads, tp[i])}"
        if not rep[i]:
            rep[i] = max((dev[i] or 0.0) / (tp[i] * dp[i] * pp[i]), 1.0)
        if rep[i] != np.floor(rep[i]):
            rep[i] = max(np.floor(rep[i]), 1.0)
        group = tp[i] * dp[i]
        if not ep[i]:
            ep[i] = group if moe and dp[i] > 1 else 1.0
        if moe and (ep[i] > group or group % ep[i]) and not p.reasons[where]:
            p.reasons[where] = f"row {where + 1}: ep={int(ep[i])} must divide tp*attention_dp = {int(group)}"
        if not moe:
            ep[i] = 1.0
        used = group * pp[i] * rep[i]
        if dev[i] and abs(used - dev[i]) > 1e-6 and not p.reasons[where]:
            if used > dev[i]:
                p.reasons[where] = (
                    f"row {where + 1}: tp*attention_dp*pp*replicas = {int(used)} needs more than {int(dev[i])} devices"
                )
            else:
                p.notes[where].append(f"{int(used)} of {int(dev[i])} devices are used")
    return Widths(tp=tp, dp=dp, ep=np.minimum(ep, tp * dp), pp=pp), rep


def _dividing(heads: float, tp: float) -> str:
    """The nearest widths that divide the heads."""
    divisors = [d for d in range(1, int(heads) + 1) if heads % d == 0]
    around = [max((d for d in divisors if d < tp), default=0), min((d for d in divisors if d > tp), default=0)]
    return "use " + " or ".join(str(d) for d in around if d)


def _by_layers(p: rows.Parsed, i: int, tp: np.ndarray, pp: np.ndarray, replicas: float, devices: float) -> None:
    """Turns tensor parallelism of engines that split by layers into stages, in place."""
    wide = max(tp[i], 1.0) if tp[i] else devices / (replicas or 1.0)
    if p.engine[i] not in BY_LAYERS or pp[i] > 1 or wide <= 1:
        return
    if tp[i] > 1 and p.devices[i].link_class in ("nvlink", "xgmi"):
        return
    tp[i], pp[i] = 1.0, wide
    p.notes[int(p.index[i])].append(f"{p.engine[i]} splits layers over devices: pp={int(wide)}")


def defaults(p: rows.Parsed) -> tuple[np.ndarray, np.ndarray]:
    """(most sequences of an attention rank, most prompt tokens of a step) per row, as engines start on the device."""
    most, budget = np.full(len(p.index), MOST), np.full(len(p.index), CHUNK)
    for i, (engine, device) in enumerate(zip(p.engine, p.devices, strict=True)):
        size = device.memory("usable")
        if engine == "vllm" and (size < LARGE or device.name.startswith("A100")):
            most[i], budget[i] = SMALL_VLLM, SMALL_CHUNK
        elif engine == "sglang":
            budget[i] = next((chunk for below, chunk in CHUNKS if size < below), CHUNK)
        else:
            budget[i] = BUDGET.get(engine, CHUNK)
        if engine == "trtllm":
            most[i] = 2.0 * MOST
    return most, budget


def memory(p: rows.Parsed, index: Any, w: Widths, replicas: np.ndarray) -> Room:
    """Room of every row. index: (row indices, model, device) of each pair.

    A blank memory_utilisation is the engine's default, or FULL where one sequence needs more: such an engine is started
    with what works, and `raised` says so. Engines that are not POOLED keep half the reserve at need.
    """
    size = len(p.index)
    most, need, have, used = (np.zeros(size) for _ in range(4))
    raised = np.zeros(size, bool)
    asked = p.numbers["memory_utilisation"]
    pooled, growing = (np.array([e in kind for e in p.engine], bool) for kind in (POOLED, GROWING))
    for ix, model, dev in index:
        counted: Counted = _counted(model)
        layout = Layout(tp=w.tp[ix], dp=w.dp[ix], ep=w.ep[ix], moe_tp=w.moe_tp[ix], pp=w.pp[ix])
        n = p.numbers
        weights = weights_per_device(counted, layout)
        context = n["input_len"][ix] + n["output_len"][ix]
        cache = cache_per_device(counted, layout, Workload(context=context)) * p.element[ix] / 2.0
        total = dev.memory("usable")
        share = np.where(np.isnan(asked[ix]), np.where(pooled[ix], UTILISATION, FULL), asked[ix])
        reserve = min(RESERVE, SMALL * total)
        tight = weights + cache > total * share - reserve
        raised[ix] = tight & pooled[ix] & np.isnan(asked[ix])
        used[ix] = np.where(raised[ix], FULL, share)
        capacity = total * used[ix] - np.where(tight & ~pooled[ix], reserve / 2.0, reserve)
        need[ix], have[ix] = weights, capacity
        grows = growing[ix] & (base(generation(dev)) != generation(dev))
        held = np.where(grows, cache * (n["input_len"][ix] + n["output_len"][ix] / 2.0) / context, cache)
        most[ix] = np.floor(np.maximum(capacity - weights, 0.0) / np.maximum(held, 1.0)) * w.dp[ix] * replicas[ix]
    return Room(most=most, need=need, have=have, share=used, raised=raised)


_COUNTED: dict[Any, Counted] = {}


def _counted(model: Any) -> Counted:
    if model not in _COUNTED:
        _COUNTED[model] = count(model, "bf16")
    return _COUNTED[model]
