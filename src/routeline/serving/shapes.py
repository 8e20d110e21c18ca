"""Model -> the matrix products, grouped experts, cache streams and states of one decoder step, layer classes merged.

Which matrices share a launch, and with what shape, is routeline.launches' business; this adds counts per step.
Knows no device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from ..arch import Layers, Model, State, Stream
from ..launches import launches, norms_over_heads, small_launches


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """One launch m x k times k x n per layer. cols: (n, ways) pieces cut over min(tp, ways) ranks; k_ways
    cuts k instead (row parallel); 1 replicates. bits stored per parameter; fmt the compute format."""

    part: str
    count: float
    k: float
    cols: tuple[tuple[float, float], ...]
    k_ways: float = 1.0
    bits: float = 16.0
    fmt: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class Moe:
    """Routed experts of `count` layers: E experts of matrices x hidden x inter parameters, top-k of them."""

    count: float
    hidden: float
    inter: float
    matrices: float
    experts: float
    top_k: float
    bits: float
    fmt: str
    groups: float = 1.0
    kept: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything a step launches, by class of equal launches."""

    model: Model
    hidden: float
    gemms: tuple[Gemm, ...]
    moes: tuple[Moe, ...]
    streams: tuple[tuple[float, Stream], ...]
    states: tuple[tuple[float, State], ...]
    head: Gemm
    mixers: float
    ffns: float
    moe_layers: float
    small: float
    """Small kernels of a step [-]; see routeline.launches."""
    wide_norms: float
    """Mixers whose query norms span the heads [-]."""
    latent: bool


def _kernels(group: Layers, hidden: float) -> tuple[list[Gemm], Moe | None]:
    """(matrix products, routed experts) of the layers of one group."""
    gemms: list[Gemm] = []
    moe = None
    for (part, fmt, _), found in launches(group, hidden).items():
        for x in found:
            if part != "routed":
                gemms.append(
                    Gemm(part=part, count=group.count, k=x.k, cols=x.cols, k_ways=x.k_ways, bits=x.bits, fmt=fmt)
                )
                continue
            moe = Moe(
                count=group.count, hidden=hidden, inter=x.cols[0][0], matrices=x.matrices, experts=group.experts,
                top_k=group.top_k, bits=x.bits, fmt=fmt, groups=group.expert_groups, kept=group.groups_kept,
            )  # fmt: skip
    return gemms, moe


@lru_cache(maxsize=512)
def shape(model: Model) -> Shape:
    """Work out the launches of one decoder step of a model."""
    h = float(model.hidden)
    gemms: list[Gemm] = []
    moes: list[Moe] = []
    streams: dict[Stream, float] = {}
    states: dict[State, float] = {}
    mixers = ffns = moe_layers = small = wide = 0.0
    for g in model.layers:
        if g.encoder:
            continue
        products, m = _kernels(g, h)
        gemms += products
        small += g.count * small_launches(g)
        wide += g.count * norms_over_heads(g)
        parts = {w.part for w in g.weights}
        if m is not None:
            moes.append(m)
            moe_layers += g.count
        elif "dense_ffn" in parts:
            ffns += g.count
        if g.streams or g.states or "attention" in parts:
            mixers += g.count
        for s in g.streams:
            streams[s] = streams.get(s, 0.0) + g.count
        for s in g.states:
            states[s] = states.get(s, 0.0) + g.count
    table = model.embedding if model.tied else model.head
    head = Gemm(
        part="head", count=1.0, k=h, cols=((table.params / h, float("inf")),), bits=table.bits, fmt=table.format
    )
    merged: dict[Gemm, float] = {}
    for gemm in gemms:
        merged[replace(gemm, count=0.0)] = merged.get(replace(gemm, count=0.0), 0.0) + gemm.count
    gemms = [replace(gemm, count=n) for gemm, n in merged.items()]
    return Shape(
        model=model,
        hidden=h,
        gemms=tuple(gemms),
        moes=tuple(moes),
        head=head,
        mixers=mixers,
        ffns=ffns,
        moe_layers=moe_layers,
        small=small,
        wide_norms=wide,
        streams=tuple((n, s) for s, n in streams.items()),
        states=tuple((n, s) for s, n in states.items()),
        latent=any(s.name == "latent" for s in streams),
    )
