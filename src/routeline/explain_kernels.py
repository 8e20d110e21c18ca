"""Parts of a calibrated step as traces: bytes, FLOP and constants of every launch, put into the kernel's formula."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from . import explain, kernels, measured, routing
from .compare import Comparison
from .counts import Operation, element_bytes, entries
from .formulas import Trace, apply, call, leaf, total
from .kernels import chosen, kernel_code
from .memory import shards
from .numeric import ceil
from .side import Point

UNITS = {"t0": "s", "item": "s", "serial": "s", "per_expert": "s", "narrow": "columns", "half": "pieces"}
"""Units of the constants that enter; the others are fractions and exponents."""


def kernel_part(c: Comparison, key: str, name: str, p: Point) -> Trace:
    """One part of a calibrated step, launch by launch; where a launch is no such sum, the function as a whole."""
    per_group = ceil(p.batch / (p.layout.replicas * p.layout.pp) - 1e-9)
    per_rank = ceil(per_group / p.layout.dp - 1e-9)
    times, touched = measured.part_seconds(
        p.counted, p.layout, per_group, per_rank, c.ground.workload, c.ground.routing,
        constants=c.ground.efficiency.kernels or {}, peaks=c.ground.rates.peaks,
        computed_in=c.ground.rates.computed_in, bandwidth=c.ground.rates.bandwidth, network=c.ground.rates.network,
        attention_format=c.ground.attention_format,
    )  # fmt: skip
    value = float(times.get(name, 0.0))
    walk = Walk(c, p, float(per_group), float(per_rank))
    found = walk.part(name)
    if found:
        alone = next(iter(found.values())) if len(found) == 1 else None
        trace = (
            replace(alone, key=key)
            if alone
            else total(key, "s", "launches of this part: routeline.measured.part_seconds", found)
        )
        if math.isclose(float(trace.value), value, rel_tol=1e-9):
            return trace
    inputs = {"per_rank": walk.per_rank_trace, "bandwidth": walk.bandwidth()}
    if name == "routed":
        inputs["touched"] = leaf("experts touched", touched, "experts", "fitted", "kernels.effective_tokens")
    prefix = {"communication": "comm", "activations": "small", "routed": "moe"}.get(name, "gemm")
    inputs |= {k: walk.constant(prefix, k, v) for k, v in chosen(walk.constants, prefix).items() if np.ndim(v) == 0}
    return call("measured.part_seconds", key, "s", value, f"routeline.measured: the part {name}", **inputs)


class Walk:
    """The operations of one calibrated step at one point, traced one launch at a time."""

    def __init__(self, c: Comparison, p: Point, per_group: float, per_rank: float) -> None:
        self.c, self.p, self.ground, self.layout = c, p, c.ground, p.layout
        self.constants = c.ground.efficiency.kernels or {}
        self.source = f"tier {c.ground.efficiency.name} ({c.ground.efficiency.source.split(':')[0]})"
        verified = c.ground.workload.tokens_per_sequence
        self.per_rank, self.local, self.everyone = per_rank, per_rank * verified, per_group * verified
        self.per_rank_trace = leaf(
            "sequences on the fullest rank", per_rank, "sequences", "derived", "ceil of batch over ranks"
        )

    def part(self, name: str) -> dict[str, Trace]:
        if name == "scheduling":
            names = ("fixed", "sequence")
            held: dict[str, Any] = {
                n: leaf(f"step.{n}", self.constants[f"step.{n}"], "s", "fitted", self.source) for n in names
            }
            return {"scheduler": apply("scheduling", "scheduling", per_rank=self.per_rank_trace, **held)}
        out: dict[str, Trace] = {}
        for op in self.p.counted.operations:
            if op.encoder or (op.part != name and not (name == "cache" and op.stream is not None)):
                continue
            if op.kind == "routed":
                found = [self.experts(op)] if op.launches and name == "routed" else []
            elif op.stream is not None:
                found = [self.attention(op)] if name == "cache" else []
            elif op.state is not None:
                found = []
            else:
                found = self.products(op)
            out |= {f"{op.kind}_{len(out) + i + 1}": one for i, one in enumerate(found)}
        return out

    def constant(self, prefix: str, name: str, value: Any) -> Trace:
        return leaf(f"{prefix}.{name}", value, UNITS.get(name, "-"), "fitted", self.source)

    def bandwidth(self) -> Trace:
        return explain._device(self.c, "memory bandwidth", self.c.cluster.device.bandwidth, "B/s")

    def counted(self, name: str, value: Any, unit: str = "-") -> Trace:
        return leaf(name, value, unit, "derived", f"counted, layout {self.layout}")

    def shared(self, op: Operation, fmt: str) -> dict[str, Any]:
        ran = self.ground.rates.computed_in.get(fmt, fmt)
        return {
            "layers": self.counted("layers", op.count), "bandwidth": self.bandwidth(),
            "peak": explain._device(self.c, f"{ran} peak", self.c.cluster.device.peaks[ran], "FLOP/s"),
        }  # fmt: skip

    def picked(self, prefix: str, c: dict[str, Any], *names: str) -> dict[str, Any]:
        return {n: self.constant(prefix, n, c[n]) for n in names}

    def products(self, op: Operation) -> list[Trace]:
        """Every matrix product of an operation (kernels.gemm_seconds)."""
        head = op.kind == "head"
        cut, m = (self.layout.tp * self.layout.dp, self.everyone) if head else (self.layout.tp, self.local)
        out = []
        for launch in op.launches:
            code, act = kernel_code(float(np.max(launch.bits)), op.format, self.ground.rates.computed_in[op.format])
            c = chosen(self.constants, "gemm", code)
            n = float(sum(width / min(cut, ways) for width, ways in launch.cols))
            k = float(launch.k / min(cut, launch.k_ways))
            moved = n * k * launch.bits / 8.0 + m * k * act + 2.0 * m * n
            out.append(
                apply(
                    "gemm_kernel", f"{m:.0f} x {k:.0f} x {n:.0f}", **self.shared(op, op.format),
                    bytes_=self.counted("bytes moved", moved, "B"), flop=self.counted("FLOP", 2.0 * m * n * k, "FLOP"),
                    k=self.counted("inner width", k), n=self.counted("columns", n),
                    quantised=self.counted("passes to quantise", c["quant"] * 3.0 * m * k, "B"),
                    **self.picked("gemm", c, "t0", "eta", "f", "p", "serial", "narrow"),
                )
            )  # fmt: skip
        return out

    def attention(self, op: Operation) -> Trace:
        """The attention core of one class of layers (kernels.attention_seconds)."""
        s, work = op.stream, self.ground.workload
        assert s is not None
        verified = work.tokens_per_sequence
        kept = entries(s, work.encoder_tokens if s.per_input else work.context)
        length = min(kept, s.read)
        read = min(kept, s.read * verified) * s.elements * element_bytes(s, self.p.counted.cache)
        flop = self.per_rank * verified * length * op.flop / self.layout.tp
        prefix = "mla" if s.shards == 1.0 else "gqa"
        c = chosen(self.constants, prefix)
        if np.isfinite(s.read):
            c["t0"] = c["t0"] + c.get("sparse", 0.0)
        items = self.per_rank * max(s.shards / min(self.layout.tp, s.shards), 1.0)
        return apply(
            "attention_kernel", s.name, **self.shared(op, self.ground.attention_format),
            bytes_=self.counted("cache bytes read", self.per_rank * read / shards(s.shards, self.layout), "B"),
            flop=self.counted("FLOP", flop, "FLOP"), items=self.counted("sequences x KV heads", items),
            pieces=self.counted("pieces in flight", items * max(length / kernels.SPAN, 1.0), "pieces"),
            **self.picked(prefix, c, "t0", "item", "half", "eta", "f", "p"),
        )  # fmt: skip

    def experts(self, op: Operation) -> Trace:
        """The routed experts of one class of layers on the slowest rank (kernels.moe_seconds)."""
        launch, routed = op.launches[0], self.ground.routing
        ran = self.ground.rates.computed_in
        c = measured.expert_constants(op, self.constants, ran)
        independent = measured.draws(op, self.everyone, routed, self.constants, ran)
        hot = float(routing.worst_rank_touched(routed, op.experts, op.top_k, independent, self.layout.ep))
        load = 1.0 + c["imbalance"] * routing.expected_max_normal(self.layout.ep)
        pairs = float(self.everyone * op.top_k / self.layout.ep * load)
        inter = float(launch.cols[0][0] / self.layout.moe_tp)
        params = launch.matrices * launch.k * inter
        return apply(
            "moe_kernel", "experts of one layer", **self.shared(op, op.format),
            bytes_=self.counted("weight bytes of the touched experts", hot * params * launch.bits / 8.0, "B"),
            flop=self.counted("FLOP", 2.0 * params * pairs, "FLOP"),
            touched=leaf("experts touched on the slowest rank", hot, "experts", "fitted", "kernels.effective_tokens"),
            shuffled=self.counted("bytes shuffled", c["shuffle"] * pairs * (launch.k + inter) * 2.0, "B"),
            n=self.counted("expert width on a rank", inter),
            **self.picked("moe", c, "t0", "per_expert", "eta", "narrow", "f", "p"),
        )  # fmt: skip
