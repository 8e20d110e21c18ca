"""Measured kernels: launch shapes and fitted constants -> seconds. Knows no model and no device.

A launch is a start-up time plus a rounded roofline (memory and compute overlap, the ridge is not sharp) plus
what each kind of kernel adds: narrow tiles, activations quantised apart, per-expert work, shuffled tokens.
`Constants` maps 'gemm.t0', 'moe.eta', ... to numbers or arrays; a value with a format axis is indexed by one of
CODES. Used by the tier `calibrated` and by served predictions alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .numeric import choose, maximum, minimum, sqrt

Constants = Mapping[str, Any]
CODES = ("bf16", "fp8", "fp4", "w4a16", "fp8_block", "mxfp4")
"""Kernel classes of a matrix product: 16-bit; 8-bit, one scale a tensor or row; 4-bit native with scales of 16
(nvfp4); weights narrower than the compute; 8-bit with a scale a block; 4-bit with scales of 32 (mxfp4)."""
BLOCK, MX = 8.0001, 4.4
"""Stored bits above which FP8 carries block scales, and below which 4-bit weights are mxfp4."""


def kernel_code(bits: float, stored: str, ran: str) -> tuple[int, float]:
    """(index into CODES, bytes an activation element as read) for weights of `bits` in format `stored`,
    computed in `ran`."""
    mx = stored == "fp4" and bits < MX
    if ran in ("fp8", "int8"):
        return (3, 2.0) if bits < 7.0 else (4 if bits > BLOCK else 1, 1.0)
    if ran in ("fp4", "int4"):
        return 5 if mx else 2, 0.5625
    return (0 if bits >= 15.0 else 5 if mx else 3), 2.0


def joined(p: Any, *terms: Any) -> Any:
    """(sum of terms**p)**(1/p): overlapping times with a rounded ridge [s]; p -> inf is the roofline's max."""
    top = terms[0]
    for t in terms[1:]:
        top = maximum(top, t)
    top = maximum(top, 1e-30)
    total: Any = 0.0
    for t in terms:
        total = total + (t / top) ** p
    return top * total ** (1.0 / p)


def gemm_seconds(m: Any, n: Any, k: Any, weight: Any, act: Any, peak: Any, bandwidth: Any, c: Constants) -> Any:
    """One m x k times k x n product [s].

    t0 + quantising pass + joined(bytes/(eta*BW) * (1 + narrow/n), FLOP/(f*peak), k * serial). c: t0, eta, f, p,
    serial [s per k], quant (passes over m*k bf16 elements), narrow [columns], and where known unpack [FLOP a weight],
    what turning a narrow weight into the computed format costs. weight, act: bytes an element.
    """
    moved = (n * k * weight + m * k * act + 2.0 * m * n) / bandwidth / c["eta"] * (1.0 + c["narrow"] / n)
    work = 2.0 * m * n * k / (peak * c["f"]) + c.get("unpack", 0.0) * n * k / peak
    return c["t0"] + c["quant"] * 3.0 * m * k / bandwidth + joined(c["p"], moved, work, c["serial"] * k)


def moe_seconds(
    pairs: Any,
    touched: Any,
    hidden: Any,
    inter: Any,
    matrices: Any,
    weight: Any,
    peak: Any,
    bandwidth: Any,
    c: Constants,
    padded: Any = None,
) -> Any:
    """Routed experts of one layer on one rank [s]: `pairs` token-expert pairs over `touched` experts.

    t0 + per_expert*touched + passes over the permuted activations + joined(bytes, FLOP). padded: the pairs that the
    matrix products compute, every expert's tokens rounded up to a tile; as many as `pairs` if not
    given. c: t0, eta, f, p, per_expert [s], shuffle (passes), narrow and, optional, wide [columns]: what a narrow
    expert costs in bandwidth and in FLOP/s; unpack as in gemm_seconds.
    """
    params = matrices * hidden * inter
    moved = touched * params * weight / bandwidth / c["eta"] * (1.0 + c["narrow"] / inter)
    work = 2.0 * params * (pairs if padded is None else padded) / (peak * c["f"]) * (1.0 + c.get("wide", 0.0) / inter)
    work = work + c.get("unpack", 0.0) * params * touched / peak
    shuffle = c["shuffle"] * pairs * (hidden + inter) * 2.0 / bandwidth
    return c["t0"] + c["per_expert"] * touched + shuffle + joined(c["p"], moved, work)


WIDE_NORM = 8.0
"""Bytes a token that the reduction of a norm over all heads carries: two 32-bit sums [B]."""

SPAN = 256.0
"""Cached tokens that one piece of a split attention covers [tokens]; its effect is absorbed by `half`."""


def attention_seconds(moved: Any, flop: Any, items: Any, length: Any, peak: Any, bandwidth: Any, c: Constants) -> Any:
    """Attention core of one layer on one rank [s]: cache bytes and FLOP over its sequences.

    items: sequences x local KV heads, each a work item; it is cut along its `length` tokens, and until some
    `half` pieces of SPAN tokens are in flight the bandwidth is not reached. t0 + item*items + joined.
    """
    pieces = items * maximum(length / SPAN, 1.0)
    reached = pieces / maximum(pieces + c["half"], 1e-30)
    memory = moved / (bandwidth * c["eta"] * maximum(reached, 1e-9))
    return c["t0"] + c["item"] * items + joined(c["p"], memory, flop / (peak * c["f"]))


def all_reduce_seconds(size: Any, ranks: Any, link: Any, c: Constants) -> Any:
    """All-reduce of `size` bytes over `ranks` devices of one node [s]; 0 for one rank.

    The fastest of three algorithms, each a start-up and what it moves over a device's link:
    one-shot, every rank reads all the others, (g-1)*size; two-shot, reduce-scatter and all-gather, 2(g-1)/g*size; the
    library's ring, the same volume with a slow start, a term of the middle sizes (growth*sqrt(MiB)) and a
    fraction of the link that rises with the ranks, (g/8)**nccl_ranks, where switches reduce. c: ar_start,
    ar_fraction (one-shot), two_start, two_fraction, nccl_start, nccl_growth, nccl_fraction, nccl_ranks,
    barrier [s per rank beyond two].
    """
    volume = 2.0 * (ranks - 1.0) / maximum(ranks, 1.0) * size
    one = c["ar_start"] + (ranks - 1.0) * size / (link * c["ar_fraction"])
    two = c["two_start"] + volume / (link * c["two_fraction"])
    reached = link * c["nccl_fraction"] * minimum(ranks / 8.0, 1.0) ** c["nccl_ranks"]
    ring = c["nccl_start"] + c["nccl_growth"] * sqrt(size / 2.0**20) + volume / reached
    t = minimum(minimum(one, two), ring) + c["barrier"] * maximum(ranks - 2.0, 0.0)
    return choose(ranks > 1.0, t, 0.0)


def effective_tokens(tokens: Any, c: Constants) -> Any:
    """Tokens of independent uniform routing that touch as many experts as `tokens` real ones [-].

    spread * T**skew, between min(T, 1) and T: real routers are skewed and neighbouring tokens agree.
    """
    draws = c["spread"] * tokens ** c["skew"]
    return minimum(maximum(draws, minimum(tokens, 1.0)), tokens)


def chosen(constants: Constants, prefix: str, code: int | None = None) -> dict[str, Any]:
    """Constants 'prefix.name' by short name; those with a format axis at `code`."""
    out = {}
    for name, value in constants.items():
        if name.startswith(prefix + "."):
            out[name[len(prefix) + 1 :]] = value[code] if code is not None and isinstance(value, tuple) else value
    return out
