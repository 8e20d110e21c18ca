"""Numbers of the roofline: where parts of both models sit under the device's roofs, and where they turn."""

from __future__ import annotations

import numpy as np

from .. import routing, side
from ..compare import Comparison, Side
from ..numeric import choose
from .data import Rows, labels, need

MOST = 2.0**15
"""Most tokens per step drawn."""


def powers(limit: float, start: float = 1.0) -> np.ndarray:
    """start, 2*start, ... up to and including the last not above `limit`."""
    return start * 2.0 ** np.arange(0, int(np.floor(np.log2(max(limit / start, 1.0)))) + 1)


def ridge_tokens(c: Comparison, one: Side, part: str) -> tuple[float, float, str] | None:
    """(tokens per step at which a part's weights turn compute-bound, intensity there, format), at peak rates.

    FLOP*T/F = bytes*U(T)/E/BW, solved by bisection; None when the side has no such part.
    """
    found = [op for op in one.counted.operations if op.part == part and op.bytes and op.flop and not op.encoder]
    if not found:
        return None
    op = max(found, key=lambda o: float(np.max(o.bytes * o.count)))
    peak, band = float(c.ground.rates.peaks[op.format]), float(c.ground.rates.bandwidth)

    def surplus(tokens: float) -> float:
        share = routing.experts_touched(c.ground.routing, op.experts, op.top_k, tokens) / op.experts
        return op.flop * tokens / peak - op.bytes * float(np.max(share)) / band

    low, high = 0.0, 60.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if surplus(2.0**middle) > 0 else (middle, high)
    return 2.0**high, peak / band, c.ground.rates.computed_in.get(op.format, op.format)


def roofline_points(c: Comparison, limit: float = MOST) -> Rows:
    """Where routed experts, the dense FFN and the attention core sit as tokens per step grow.

    TFLOP/s attained per device (this tier) over FLOP per byte moved; `admitted`: within the largest batch. A tier
    that leaves compute out says nothing above the device's peak, so rows end there.
    """
    need(c, "moe", "dense")
    ceiling = max(float(p) for p in c.ground.rates.peaks.values()) * (1 + 1e-9)
    out: Rows = []
    first, second = labels(c)
    wanted = [
        (c.moe, "routed", f"experts of {first}"),
        (c.dense, "dense_ffn", f"FFN of {second}"),
        (c.moe, "cache", f"attention over the cache, {first}"),
    ]
    for one, part, name in wanted:
        point = one.point
        assert point is not None
        batches = powers(limit / float(c.ground.workload.tokens_per_sequence))
        step = side.step_at(one.counted, c.ground, point.layout, batches)
        if part not in step.parts:
            continue
        time, devices = step.parts[part], float(point.layout.devices)
        moved, flop = np.broadcast_to(time.bytes, batches.shape), np.broadcast_to(time.flop, batches.shape)
        seconds = np.broadcast_to(time.seconds, batches.shape)
        out += [
            {
                "part": name,
                "kind": part,
                "tokens": float(b) * float(c.ground.workload.tokens_per_sequence),
                "batch": float(b),
                "intensity": float(f / m),
                "tflops": float(f / s / devices) / 1e12,
                "admitted": "fits" if b <= point.max_batch else "past the largest batch",
            }
            for b, m, f, s in zip(batches, moved, flop, seconds, strict=True)
            if m > 0 and f > 0 and f / s / devices <= ceiling
        ]
    return out


def roofs(c: Comparison, low: float, high: float) -> Rows:
    """The device's roof per compute format in use: bandwidth slope and dense peak (datasheet), TFLOP/s per device."""
    band = float(c.ground.rates.bandwidth)
    used = {op.format for one in (c.moe, c.dense) for op in one.counted.operations if op.bytes} | {"bf16"}
    out: Rows = []
    for fmt in sorted(used):
        if fmt not in c.ground.rates.peaks:
            continue
        peak, ran = float(c.ground.rates.peaks[fmt]), c.ground.rates.computed_in.get(fmt, fmt)
        name = f"roof, {ran}"
        if any(r["roof"] == name for r in out):
            continue
        ridge = peak / band
        out += [
            {
                "roof": name,
                "format": ran,
                "intensity": x,
                "ridge": ridge,
                "tflops": float(choose(x < ridge, x * band, peak)) / 1e12,
            }
            for x in (low, min(max(ridge, low), high), high)
        ]
    return out
