"""Parts of a calibrated step as traces: measured kernels evaluated again, with the constants that entered."""

from __future__ import annotations

from typing import Any

from . import measured
from .compare import Comparison
from .formulas import Trace, call, leaf
from .kernels import chosen
from .numeric import ceil
from .side import Point

FORMULAS = {
    "cache": ("kernels.attention_seconds", "t0 + per_sequence*B + joined(bytes/(eta*BW), FLOP/(f*peak)), times layers"),
    "routed": ("kernels.moe_seconds", "t0 + per_expert*touched + shuffle + joined(bytes, FLOP), times layers"),
    "state": ("kernels.state", "t0 + bytes/(eta*BW), times layers"),
    "communication": ("measured.collectives", "start + growth*sqrt(size) + bytes/(fraction*link), times layers"),
    "activations": ("kernels.small", "launches * start-up + passes * activations/BW"),
    "scheduling": ("measured.scheduling", "fixed + sequence * B"),
}
GEMM = (
    "kernels.gemm_seconds",
    "per launch: t0 + quantising + joined(bytes/(eta*BW)*(1 + narrow/n), FLOP/(f*peak), serial*k)",
)
PREFIX = {"routed": ("moe",), "state": ("state",), "communication": ("comm",), "activations": ("small",),
          "scheduling": ("step",), "cache": ("gqa", "mla")}  # fmt: skip


def kernel_part(c: Comparison, key: str, name: str, p: Point) -> Trace:
    """One part of a calibrated step: the library's function on named inputs, evaluated again."""
    e, ground, layout = c.ground.efficiency, c.ground, p.layout
    constants = e.kernels or {}
    per_group = ceil(p.batch / (layout.replicas * layout.pp) - 1e-9)
    per_rank = ceil(per_group / layout.dp - 1e-9)
    times, touched = measured.part_seconds(
        p.counted, layout, per_group, per_rank, ground.workload, ground.routing, constants=constants,
        peaks=ground.rates.peaks, computed_in=ground.rates.computed_in, bandwidth=ground.rates.bandwidth,
        network=ground.rates.network, attention_format=ground.attention_format,
    )  # fmt: skip
    function, text = FORMULAS.get(name, GEMM)
    inputs: dict[str, Any] = {
        "per_rank": leaf("sequences on the fullest rank", per_rank, "sequences", "derived", "ceil of batch over ranks"),
        "context": leaf("context", ground.workload.context, "tokens", "given", "scenario"),
        "bandwidth": leaf("memory bandwidth", ground.rates.bandwidth, "B/s", "datasheet", c.cluster.device.name),
    }
    if name == "routed":
        inputs["touched"] = leaf("experts touched", touched, "experts", "fitted", "kernels.effective_tokens")
    for prefix in PREFIX.get(name, ("gemm",)):
        for short, value in chosen(constants, prefix).items():
            for code, number in enumerate(value) if isinstance(value, tuple) else [("", value)]:
                label = f"{prefix}_{short}_{code}".rstrip("_")
                inputs[label] = leaf(f"{prefix}.{short}{code}", number, "", "fitted", e.source)
    return call(function, key, "s", times.get(name, 0.0), f"routeline.kernels: {text}", **inputs)
