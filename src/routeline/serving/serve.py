"""A closed loop of requests on a continuous batch: time per output token, time to first token, throughput.

Fixed point: of C requests in flight a fraction phi decodes. A decoding request sees the C-1 others (arrival theorem
of closed loops): phi*(C-1) of them decode beside it, and every step carries phi*(C-1)*I/O of their prompt tokens.
Engines either mix those tokens into decode steps (chunked prefill) or pause decoding for whole prompts; `mixed` says
which. Where prompts run alone, requests that arrived together stay together: all prompts first, then all decoding, so
a request sees on average half of the others' prompts after its own, (C-1)/2, instead of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .physics import Constants, step_seconds
from .table import Table

ITERATIONS = 6


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked of each row. concurrency: requests in flight per attention rank; prompt, output: tokens;
    hit: share of the prompt found in a prefix cache; verified / accepted: tokens checked and kept per sequence
    and step (1 and 1 without speculation); budget: most prompt tokens in one step; mixed: 1 chunked prefill
    inside decode steps, 0 prompts alone; waves: 0 requests arrive one by one as others finish, 1 all together
    (equal lengths keep a closed loop in lock-step); static: 1 one batch, all its prompts before all its tokens."""

    concurrency: np.ndarray
    prompt: np.ndarray
    output: np.ndarray
    hit: np.ndarray
    verified: np.ndarray
    accepted: np.ndarray
    budget: np.ndarray
    mixed: np.ndarray
    waves: np.ndarray
    static: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Served:
    """tpot, ttft [s]; decoding: sequences in decode per rank; step: a pure decode step [s]; share: of its
    time the loop spends on prompts; parts of the decode step [s]."""

    tpot: np.ndarray
    ttft: np.ndarray
    decoding: np.ndarray
    step: np.ndarray
    interference: np.ndarray
    parts: Mapping[str, np.ndarray]
    rate: np.ndarray
    """Requests finished per second and attention rank [1/s]."""


def serve(table: Table, k: Constants, load: Load, iterations: int = ITERATIONS, phi: Any = None) -> Served:
    """Solve the closed loop for every row at once (vectorised fixed point)."""
    c, steps = load.concurrency, np.maximum(load.output / load.accepted, 1.0)
    fresh = np.maximum(load.prompt * (1.0 - load.hit), 1.0)
    context = load.prompt + load.output / 2.0
    share = np.full(table.rows, 0.95) if phi is None else np.asarray(phi, float)
    out: Served | None = None
    for _ in range(max(iterations, 1)):
        most = load.budget * steps / fresh
        others = np.minimum(np.maximum(c - 1.0, 0.0) * share, most)
        out = _loop(table, k, load, others, np.minimum(c * share, most + 1.0), steps, fresh, context)
        share = 0.5 * share + 0.5 * (steps * out.tpot * load.accepted) / (out.ttft + steps * out.tpot * load.accepted)
    assert out is not None
    return out


def _loop(
    table: Table, k: Constants, load: Load, others: Any, decoding: Any, steps: Any, fresh: Any, context: Any
) -> Served:
    """One evaluation: `others` decode beside a decoding request, `decoding` on average over all time."""
    c, static = load.concurrency, load.static > 0
    b = np.where(static, c, np.minimum(c, 1.0) + others)
    together = np.where(load.mixed > 0, load.waves, np.maximum(load.waves, np.minimum(k["ttft.burst"], 1.0)))
    rivals = np.maximum(c - 1.0, 0.0)
    per_step = ((1.0 - together) * others + together * rivals / 2.0) * fresh / steps
    per_step = np.where(static, c * fresh, per_step)
    chunk = np.minimum(np.maximum(fresh, per_step), load.budget)
    often = np.minimum(per_step / chunk, 1.0)
    requests = chunk / fresh
    around = load.prompt * load.hit + fresh / 2.0
    parts = step_seconds(
        table, k, decode=b, context=context, prompt=0.0, prompt_context=0.0, prompts=0.0, verified=load.verified
    )
    fixed = k["step.fixed"] + k["step.sequence"] * b
    plain = sum(parts.values()) + fixed
    mixed = (load.mixed > 0) & ~static
    alone = np.where(mixed, b, 0.0)
    filled = step_seconds(
        table,
        k,
        decode=alone,
        context=context,
        prompt=chunk,
        prompt_context=around,
        prompts=requests,
        verified=load.verified,
    )
    extra = k["step.prefill"] + k["step.request"] * requests
    busy = sum(filled.values()) + fixed + extra
    inside = np.where(mixed, busy - plain, busy)
    step = plain + np.where(static, 0.0, often * np.maximum(inside, 0.0) * k["step.interference"])
    tpot = step / load.accepted
    chunks = np.maximum(fresh / load.budget, 1.0)
    own = chunks * busy
    service = np.maximum(inside / np.maximum(requests, 1.0), 0.0) * chunks
    rate = decoding / (steps * step)
    used = np.minimum(rate * service * np.maximum(1.0 - 1.0 / np.maximum(c, 1.0), 0.0), 0.95)
    wait = service * used / (2.0 * (1.0 - used))
    burst = np.maximum(k["ttft.burst"], load.waves) * np.maximum(c - 1.0, 0.0) * service / 2.0
    ttft = own + 0.5 * step + np.minimum(wait, c * service) + burst + k["ttft.fixed"]
    first = np.maximum(c * fresh / chunk, 1.0) * busy + k["ttft.fixed"]
    ttft, rate = np.where(static, first, ttft), np.where(static, c / (first + steps * step), rate)
    return Served(
        tpot=tpot, ttft=ttft, decoding=b, step=plain, interference=step - plain,
        parts={**parts, "scheduling": fixed}, rate=rate,
    )  # fmt: skip
