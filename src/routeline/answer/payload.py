"""Comparison -> the JSON of `routeline compare --json`. docs/json.md describes every key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..compare import Comparison, Ratio, Side
from ..fair import lead_ratio
from ..layouts import widths
from ..roofline import ridge
from ..side import Ground, Point
from .extras import Extras, break_even_payload, evidence_payload, extras, headline_payload, request_payload
from .stated import assumptions, q_source
from .words import headline, how_sure, limits

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes away; new keys do not raise it."""

RATIOS = ("max_batch", "equal_batch", "tpot", "request")
FFN_PARTS = ("routed", "shared", "dense_ffn")
NO_REQUEST = "no request shape: give --input and --output"


def payload(answer: Comparison, known: Extras | None = None) -> dict[str, Any]:
    """Every number of an answer as plain JSON values in SI units; null where there is none, with a reason."""
    known = known or extras(answer)
    ratios = {name: answer.ratios.get(name) for name in RATIOS} | answer.ratios
    asked = answer.scenario
    out = {
        "schema_version": SCHEMA_VERSION,
        "model": answer.model.name,
        "opponent": answer.opponent.name,
        "devices": answer.cluster.name,
        "device_count": answer.cluster.count,
        "context": asked.context,
        "tier": answer.ground.efficiency.name,
        "s": answer.s,
        "q": answer.q,
        "qs": answer.qs,
        "q_source": q_source(answer),
        "q_evidence": evidence_payload(answer, known.odds),
        "verdict": answer.verdict,
        "sentence": headline(answer, known),
        "sentence_ratio": lead_ratio(answer),
        "how_sure": how_sure(answer, known),
        "not_established": limits(answer, known),
        "throughput_ratio": answer.throughput_ratio,
        "ratios": {k: r.value if r else None for k, r in ratios.items()},
        "ratio_reasons": {k: _reason(r) for k, r in ratios.items() if r is None or r.value is None},
        "ratio_points": {k: _ratio_point(r, answer.cluster.count) for k, r in ratios.items() if r is not None},
        "reuse_penalty": answer.reuse_penalty,
        "headroom_gain": answer.headroom_gain,
        "moe": side_payload(answer.moe, answer.ground),
        "dense": side_payload(answer.dense, answer.ground),
        "headline": headline_payload(known.headline),
        "what_matters": known.choices,
        "request": request_payload(known.request, known.illustrated),
        "break_even": break_even_payload(dict(known.break_evens)),
        "assumptions": [
            {"name": a.name, "value": a.value, "unit": a.unit, "kind": a.kind, "source": a.source, "default": a.default}
            for a in assumptions(answer, known)
        ],
        "warnings": list(answer.warnings),
    }
    return clean(out)


def _reason(ratio: Ratio | None) -> str:
    return NO_REQUEST if ratio is None else ratio.reason or "not computed"


def _ratio_point(ratio: Ratio, devices: int) -> dict[str, Any]:
    return {"at": ratio.at, "moe": _brief(ratio.moe, devices), "dense": _brief(ratio.dense, devices)}


def _brief(point: Any, devices: int) -> dict[str, Any] | None:
    """One side of a ratio: where it stands and how fast it is."""
    if point is None:
        return None
    if not isinstance(point, Point):
        return clean(point) if isinstance(point, Mapping) or is_dataclass(point) else None
    return {
        "layout": str(point.layout),
        "batch": point.batch,
        "max_batch": point.max_batch,
        "step_time_s": point.step.seconds,
        "tpot_s": point.tpot,
        "tokens_per_s": point.rate,
        "tokens_per_s_per_device": point.rate / devices,
    }


def ffn_intensity(point: Point, ground: Ground) -> tuple[float | None, float | None]:
    """(FLOP per byte of the FFN weights read, routed and shared together; the device's ridge in their format)."""
    parts = [point.step.parts[p] for p in FFN_PARTS if p in point.step.parts]
    moved, flop = sum(float(p.bytes) for p in parts), sum(float(p.flop) for p in parts)
    ops = [op for op in point.counted.operations if op.part in FFN_PARTS and op.format in ground.rates.peaks]
    if not moved or not ops:
        return None, None
    largest = max(ops, key=lambda op: float(op.bytes) * float(op.count))
    return flop / moved, float(ridge(ground.rates.peaks[largest.format], ground.rates.bandwidth))


KERNELS = "kernel efficiency and launches"
"""What `overhead` is in a tier of measured kernels: time above the bounds of memory and compute at peak rates."""


def bound(point: Point, ground: Ground) -> str:
    """What takes most of the step: memory, compute, communication, overhead, or (measured kernels) KERNELS."""
    most = max(point.step.limits, key=lambda k: float(point.step.limits[k]))
    return KERNELS if most == "overhead" and ground.efficiency.kernels is not None else most


def resident(point: Point, ground: Ground) -> float:
    """Weight bytes over all devices in a layout, copies included [B]."""
    from ..memory import weights_per_device

    per_device = float(weights_per_device(point.counted, point.layout, ground.routing.redundant))
    return per_device * float(point.layout.devices)


def side_payload(one: Side, ground: Ground) -> dict[str, Any]:
    """One side. Without a point (it does not fit) everything that needs a layout is null."""
    point = one.point
    out: dict[str, Any] = {
        "name": one.name,
        "fits": one.fits,
        "reason": one.reason,
        "devices_needed": one.devices_needed,
        "weight_bytes_one_copy": one.weight_bytes,
        "weight_bytes_resident": one.weight_bytes,
        "cache_bytes": one.cache_bytes,
    }
    if point is None:
        return out | dict.fromkeys(_WITH_POINT)
    step, k = point.step, float(one.counted.top_k)
    touched = float(step.touched)
    intensity, knee = ffn_intensity(point, ground)
    return out | {
        "layout": str(point.layout),
        "layout_widths": widths(point.layout),
        "max_batch": point.max_batch,
        "batch": point.batch,
        "step_time_s": step.seconds,
        "tpot_s": point.tpot,
        "tokens_per_s": point.rate,
        "tokens_per_s_per_device": point.rate / ground.devices,
        "weight_bytes_resident": resident(point, ground),
        "weight_bytes_read": step.weight_bytes,
        "cache_bytes_read": step.cache_bytes,
        "experts_touched": touched,
        "tokens_per_expert": float(step.tokens) * k / touched,
        "fragmentation": touched / k,
        "ffn_intensity": intensity,
        "ridge": knee,
        "bound": bound(point, ground),
        "limits_s": dict(step.limits),
        "parts": {
            name: {"bytes": p.bytes, "flop": p.flop, "seconds": p.seconds} for name, p in step.parts.items()
        },
    }  # fmt: skip


_WITH_POINT = (
    "layout", "layout_widths", "max_batch", "batch", "step_time_s", "tpot_s", "tokens_per_s", "tokens_per_s_per_device",
    "weight_bytes_read", "cache_bytes_read", "experts_touched", "tokens_per_expert", "fragmentation", "ffn_intensity",
    "ridge", "bound", "limits_s", "parts",
)  # fmt: skip


def clean(value: Any) -> Any:
    """A value as JSON holds it: NumPy numbers as plain ones, whole numbers as ints, NaN and inf as null."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if hasattr(value, "to_dict"):
        return clean(value.to_dict())
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if isinstance(value, int):
        return int(value)
    if getattr(value, "ndim", 0):
        return [clean(v) for v in value.tolist()]
    if is_dataclass(value):
        return {f.name: clean(getattr(value, f.name)) for f in fields(value)}
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
