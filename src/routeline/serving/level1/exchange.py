"""Tokens to their experts' ranks and back: dispatch and combine of every all-to-all kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...kernels import joined
from . import robust
from .robust import Prior
from .tables import Machine, Table, machine, read

Points = dict[str, np.ndarray]

PRIORS: dict[str, Prior] = {
    "start": Prior(2e-5, 1.0),
    "fraction": Prior(0.6, 0.5, 0.02, 1.0),
    "token": Prior(1e-9, 2.0),
    "expert": Prior(1e-8, 1.5),
}
LANES = {"rate": Prior(2e10, 1.0), "p": Prior(3.0, 0.5, 1.0, 8.0)}
OWN = Prior(0.5, 1.0)
BYTES = {"bfloat16": 2.0, "fp8": 1.0 + 4.0 / 128.0, "nvfp4": 0.5625, "fp4": 0.5625, "default": 2.0}
"""Bytes an element as sent, scales included (FP8: 4 bytes a block of 128; FP4: 1 byte a block of 16). vLLM's rows do
not say what they send; 16 bits are assumed."""
NODE = {"h": 8.0, "b": 8.0, "g": 4.0}
"""Devices of a node by the first letter of a table's device."""
LARGEST = 16384.0
"""Tokens of a rank up to which a table counts: beyond, engines cut prompts into chunks."""
LEAST = 40, 8


def copies(ranks: Any, top_k: Any, *, each: bool, even: bool = False) -> np.ndarray:
    """Copies of a token, the one to its own rank among them; a share of 1/ranks stays there.

    each: one for every expert (low latency); otherwise one for every rank that holds any of its experts, chosen
    independently, or `even`: spread over as many ranks as there are.
    """
    ranks, top_k = np.asarray(ranks, float), np.asarray(top_k, float)
    if each:
        return top_k
    if even:
        return np.minimum(top_k, ranks)
    return ranks * (1.0 - (1.0 - 1.0 / ranks) ** top_k)


def seconds(q: Points, at: Any, c: Mapping[str, float], link: float) -> np.ndarray:
    """start + expert*experts + token*tokens + bytes that leave a rank over the link, at `fraction` of it.

    own: what bytes that stay cost of that, where a table has several numbers of ranks. rate: where it has several
    numbers of SMs, joined with what these move, each at `rate`.
    """
    ranks = q["ranks"][at]
    size = q["bytes"][at] * (ranks - 1.0 + c.get("own", 0.0)) / ranks
    wire = size / (link * c["fraction"])
    if "rate" in c:
        wire = joined(c["p"], wire, size / (q["sms"][at] * c["rate"]))
    return c["start"] + c["expert"] * q["experts"][at] + c["token"] * q["tokens"][at] + wire


def fifth(*shape: np.ndarray) -> np.ndarray:
    """Mask of every fifth shape in the order of their numbers, from the third on: these tables hold five to twenty."""
    rows = np.stack(shape, axis=1)
    _, place = np.unique(rows, axis=0, return_inverse=True)
    return place.reshape(-1) % 5 == 2


def _points(rows: dict[str, np.ndarray], names: Mapping[str, str], **more: Any) -> Points:
    q = {ours: rows[theirs].astype(float) for ours, theirs in names.items()}
    return q | {k: np.broadcast_to(np.asarray(v, float), q["tokens"].shape) for k, v in more.items()}


def fit(head: dict[str, Any], q: Points, m: Machine, *, each: bool, even: bool = False) -> dict[str, Any]:
    q["bytes"] = q["tokens"] * copies(q["ranks"], q["top_k"], each=each, even=even) * q["hidden"] * q["element"]
    measured = q["seconds"]
    fast = measured <= robust.FASTER * q["bytes"] * (1.0 - 1.0 / q["ranks"]) / m.link
    hold = fifth(q["hidden"], q["experts"], q["top_k"], q["ranks"])
    parts = robust.split(q["tokens"] <= LARGEST, fast, hold)
    if not parts.enough(*LEAST):
        return robust.report(head, parts, None, {})
    several = {name: len(set(q[name])) > 1 for name in ("sms", "ranks")}
    priors = PRIORS | (LANES if several["sms"] else {}) | ({"own": OWN} if several["ranks"] else {})

    def model(c: Mapping[str, float], at: Any) -> np.ndarray:
        return seconds(q, at, c, m.link)

    constants = robust.rounded(robust.solve(model, priors, measured, parts.train).constants)
    error = robust.errors(model(constants, slice(None)), measured, parts)
    return robust.report(head, parts, error, {"constants": constants})


def _head(table: Table, kernel: str, dtype: str) -> dict[str, Any]:
    return {
        "operation": "all_to_all", "device": table.device, "engine": table.engine, "version": table.version,
        "kernel": kernel, "dtype": dtype,
    }  # fmt: skip


DEEPEP = {"tokens": "num_token", "hidden": "hidden_size", "top_k": "num_topk", "experts": "num_experts"}
MODULE = {
    "tokens": "num_tokens", "hidden": "hidden_size", "top_k": "topk", "experts": "num_experts", "ranks": "ep_size",
    "sms": "sms",
}  # fmt: skip


def _deepep(device: str, m: Machine) -> Iterator[dict[str, Any]]:
    """SGLang's: dispatch in FP8, combine in 16 bits, inside one node."""
    for mode, unit in (("ll", "avg_t_us"), ("normal", "transmit_us")):
        for table in read(device, "comm", f"wideep_deepep_{mode}_perf.parquet"):
            rows = table.where(table["node_num"] == 1.0)
            for phase, dtype in (("dispatch", "fp8"), ("combine", "bfloat16")):
                # low latency: an SM serves whole experts, so few experts keep few SMs busy
                lanes = rows[f"{phase}_sms"] if mode == "normal" else np.minimum(rows["num_experts"], m.sms)
                q = _points(
                    rows, DEEPEP, element=BYTES[dtype], ranks=NODE[device[0]], sms=lanes,
                    seconds=rows[f"{phase}_{unit}"] / 1e6,
                )  # fmt: skip
                yield fit(_head(table, f"deepep_{mode} {phase}", dtype), q, m, each=mode == "ll")


def _module(device: str, m: Machine) -> Iterator[dict[str, Any]]:
    """What vLLM and TensorRT-LLM launch around DeepEP."""
    for table in read(device, "comm", "moe_a2a_perf.parquet"):
        names = [table[c].astype(str) for c in ("comm_backend", "phase", "comm_dtype")]
        for backend, phase, dtype in sorted(set(zip(*names, strict=True))):
            mine = (names[0] == backend) & (names[1] == phase) & (names[2] == dtype)
            rows = table.where(mine & (table["node_num"] == 1.0))
            # a combine takes as long whatever format its row names: it sends 16 bits
            sent = BYTES["bfloat16" if phase == "combine" else dtype]
            q = _points(rows, MODULE, element=sent, seconds=rows["transmit_us"] / 1e6)
            each = backend.endswith(("_ll", "_generation"))
            yield fit(_head(table, f"{backend} {phase}", dtype), q, m, each=each)


def _nvlink(device: str, m: Machine) -> Iterator[dict[str, Any]]:
    """TensorRT-LLM's own kernels over NVLink, up to a rack."""
    names = {"tokens": "num_tokens", "hidden": "hidden_size", "top_k": "topk", "experts": "num_experts",
             "ranks": "moe_ep_size"}  # fmt: skip
    for table in read(device, "comm", "trtllm_alltoall_perf.parquet"):
        kinds = [table[c].astype(str) for c in ("kernel_source", "op_name", "moe_dtype")]
        for source, op, dtype in sorted(set(zip(*kinds, strict=True))):
            if op == "alltoall_prepare":
                continue
            rows = table.where((kinds[0] == source) & (kinds[1] == op) & (kinds[2] == dtype))
            sent = "bfloat16" if op == "alltoall_combine" else dtype
            q = _points(rows, names, element=BYTES[sent], sms=0.0, seconds=rows["latency"] / 1e3)
            kernel = f"{source} {op.removeprefix('alltoall_')}"
            yield fit(_head(table, kernel, dtype), q, m, each=False, even=True)


def exchange(device: str) -> Iterator[dict[str, Any]]:
    """Every all-to-all of a device; held out by hidden size, experts, top-k and ranks."""
    m = machine(device)
    yield from _deepep(device, m)
    yield from _module(device, m)
    yield from _nvlink(device, m)
