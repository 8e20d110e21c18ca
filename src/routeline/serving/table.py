"""Rows of many deployments -> one long table of launches with their local shapes. Knows models, not speeds.

Every row names its model's Shape and layout widths; equal launches of a row are one entry with a count.
Arrays are flat over entries with an index back to the row, so that all rows are timed in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hardware import Device
from ..kernels import kernel_code
from ..routing import Routing
from .shapes import Gemm, Shape

PARTS = ("attention", "router", "shared", "dense_ffn", "head", "other")


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Layout of each row; arrays of equal length. tp * dp = moe_tp * ep."""

    tp: np.ndarray
    dp: np.ndarray
    ep: np.ndarray
    pp: np.ndarray

    @property
    def moe_tp(self) -> np.ndarray:
        return self.tp * self.dp / self.ep


@dataclass(frozen=True, kw_only=True)
class Gemms:
    row: np.ndarray
    count: np.ndarray
    n: np.ndarray
    k: np.ndarray
    weight: np.ndarray
    """Bytes a stored parameter [B]."""
    act: np.ndarray
    """Bytes an activation element as the kernel reads it [B]."""
    code: np.ndarray
    peak: np.ndarray
    part: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Moes:
    row: np.ndarray
    count: np.ndarray
    hidden: np.ndarray
    inter: np.ndarray
    """Local width: expert width / moe_tp [-]."""
    matrices: np.ndarray
    experts: np.ndarray
    top_k: np.ndarray
    weight: np.ndarray
    code: np.ndarray
    peak: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Streams:
    row: np.ndarray
    count: np.ndarray
    elements: np.ndarray
    """Local elements per cached entry (heads divided by their ranks) [-]."""
    bytes: np.ndarray
    """Bytes an element [B]."""
    stride: np.ndarray
    window: np.ndarray
    read: np.ndarray
    flop: np.ndarray
    flop_prefill: np.ndarray
    latent: np.ndarray
    heads: np.ndarray
    """Local KV heads (1 for a latent) [-]."""
    peak: np.ndarray


@dataclass(frozen=True, kw_only=True)
class States:
    row: np.ndarray
    count: np.ndarray
    bytes: np.ndarray
    flop: np.ndarray
    peak: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows' launches plus per-row totals. rows: how many deployments."""

    rows: int
    widths: Widths
    gemms: Gemms
    moes: Moes
    streams: Streams
    states: States
    hidden: np.ndarray
    mixers: np.ndarray
    ffns: np.ndarray
    moe_layers: np.ndarray
    small: np.ndarray
    wide_norms: np.ndarray
    bandwidth: np.ndarray
    routings: tuple[tuple[np.ndarray, Routing], ...] = ()
    """(rows, routing) where a routing was asked for by name; the others follow the fitted skew."""


def kernel_class(bits: float, fmt: str, device: Device) -> tuple[int, float, float]:
    """(code, peak FLOP/s, activation bytes) of a product on a device.

    A format the device cannot compute runs weight-only at the next wider one (RoutelineError-free: a device
    always has a peak).
    """
    ran = device.compute_format(fmt) or next(iter(device.peaks))
    code, act = kernel_code(bits, fmt, ran)
    return code, float(device.peaks[ran]), act


class _Columns:
    """Grows flat columns; each append is one class of launches over the rows of one group."""

    def __init__(self) -> None:
        self.parts: list[tuple[Any, ...]] = []

    def add(self, rows: np.ndarray, *values: Any) -> None:
        self.parts.append((rows, *(np.broadcast_to(np.asarray(v, float), rows.shape) for v in values)))

    def arrays(self, width: int) -> list[np.ndarray]:
        if not self.parts:
            return [np.zeros(0, int)] + [np.zeros(0)] * (width - 1)
        return [np.concatenate(c) for c in zip(*self.parts, strict=True)]


def build(groups: Sequence[tuple[np.ndarray, Shape, Device]], widths: Widths, element: np.ndarray) -> Table:
    """The table of `groups`: (row indices, shape, device). element: bytes of a cached element per row [B]."""
    n = len(widths.tp)
    hidden, mixers, ffns, moe_layers, bandwidth, small, wide = (np.zeros(n) for _ in range(7))
    g, m, s, t = _Columns(), _Columns(), _Columns(), _Columns()
    for rows, shape, device in groups:
        tp, moe_tp = widths.tp[rows], widths.moe_tp[rows]
        hidden[rows], mixers[rows], ffns[rows] = shape.hidden, shape.mixers, shape.ffns
        moe_layers[rows], bandwidth[rows] = shape.moe_layers, float(device.bandwidth)
        small[rows], wide[rows] = shape.small, shape.wide_norms
        bf16 = float(device.peaks.get("bf16", next(iter(device.peaks.values()))))
        for gemm in (*shape.gemms, shape.head):
            _gemm(g, gemm, rows, tp, device)
        for moe in shape.moes:
            code, peak, _ = kernel_class(moe.bits, moe.fmt, device)
            m.add(
                rows,
                moe.count,
                moe.hidden,
                moe.inter / moe_tp,
                moe.matrices,
                moe.experts,
                moe.top_k,
                moe.bits / 8.0,
                code,
                peak,
            )
        for count, st in shape.streams:
            if st.per_input:
                continue
            cut = np.minimum(tp, st.shards)
            width = element[rows] + np.where(element[rows] < 2.0, st.scale_bits / 8.0, 0.0)
            s.add(
                rows,
                count,
                st.elements / cut,
                width,
                st.stride,
                st.window,
                st.read,
                st.flop / tp,
                (st.flop_prefill or st.flop) / tp,
                st.shards == 1.0,
                np.maximum(st.shards / cut, 1.0),
                bf16,
            )
        for count, st in shape.states:
            cut = np.minimum(tp, st.shards)
            t.add(rows, count, st.bytes / cut, st.flop / cut, bf16)
    return Table(
        rows=n,
        widths=widths,
        hidden=hidden,
        mixers=mixers,
        ffns=ffns,
        moe_layers=moe_layers,
        small=small,
        wide_norms=wide,
        bandwidth=bandwidth,
        gemms=_make(Gemms, g.arrays(9)),
        moes=_make(Moes, m.arrays(10)),
        streams=_make(Streams, s.arrays(12)),
        states=_make(States, t.arrays(5)),
    )


def _gemm(out: _Columns, gemm: Gemm, rows: np.ndarray, tp: np.ndarray, device: Device) -> None:
    code, peak, act = kernel_class(gemm.bits, gemm.fmt, device)
    n = sum(width / np.minimum(tp, ways) for width, ways in gemm.cols)
    k = gemm.k / np.minimum(tp, gemm.k_ways)
    out.add(
        rows, gemm.count, n, k, gemm.bits / 8.0, act, code, peak, PARTS.index(gemm.part) if gemm.part in PARTS else 5
    )


def _make(cls: Any, arrays: list[np.ndarray]) -> Any:
    names = list(cls.__dataclass_fields__)
    values = dict(zip(names, arrays, strict=True))
    for key in ("code", "part"):
        if key in values:
            values[key] = values[key].astype(int)
    return cls(**values)
