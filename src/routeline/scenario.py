"""What is asked: precision, layout, workload, and the efficiencies a tier stands for. Data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import RoutelineError

CACHE_BITS = {"bf16": 16.0, "fp16": 16.0, "fp8": 8.0, "int8": 8.0}
"""Bits per cached element. fp8 is one byte an element; indexer keys add their own scale bits."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Storage and compute formats.

    weights: 'native' (what the checkpoint stores) or one of arch.FORMATS for every parameter.
    cache: 'auto' (the config's, else bf16) or one of CACHE_BITS. compute: None (follows the weights)
    or a format every weight matrix is computed in. attention: format of the attention core.
    """

    weights: str = "native"
    cache: str = "auto"
    compute: str | None = None
    attention: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How devices share the work: devices = replicas * pp * tp * dp and tp * dp = moe_tp * ep.

    tp: tensor parallel; dp: attention data parallel inside a replica; ep / moe_tp: experts across
    ranks / inside an expert; pp: pipeline stages; cp: context parallel (splits one sequence's cache
    over cp of the tp ranks); replicas: whole copies. Fields may be arrays that broadcast.
    pooled: all devices as one, nothing replicated, communication free (paper-style idealisation).
    """

    tp: Any = 1.0
    dp: Any = 1.0
    ep: Any = 1.0
    moe_tp: Any = 1.0
    pp: Any = 1.0
    cp: Any = 1.0
    replicas: Any = 1.0
    pooled: bool = False

    @property
    def devices(self) -> Any:
        return self.replicas * self.pp * self.tp * self.dp

    def __str__(self) -> str:
        if self.pooled:
            return "pooled"
        shown = {f.name: int(getattr(self, f.name)) for f in fields(self) if f.name != "pooled"}
        if shown["ep"] == 1:
            del shown["moe_tp"]  # it is tp * dp, and a dense model has no experts to cut
        return ",".join(f"{name}={value}" for name, value in shown.items() if value != 1 or name == "tp")


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What fraction of the hardware is reached: the whole difference between tiers.

    Rates: `memory` and `compute` are fractions of peak by operation kind (keys of KINDS; '' is the
    default) or by (kind, format). `overhead`: seconds per operation and layer by kind. inf as a
    fraction makes that resource free. sharpness p joins memory and compute time as
    (m**p + c**p)**(1/p); inf is the roofline's max. worst_rank: the slowest expert-parallel rank sets
    the time (else the mean). per_expert: seconds per touched expert on a rank. step / per_sequence:
    scheduler seconds a step. link / nic: fractions of interconnect peak; latency_scale multiplies the
    collective latencies (0: free). activations: count activation traffic.
    """

    name: str
    memory: Mapping[Any, Any] = field(default_factory=lambda: {"": 1.0})
    compute: Mapping[Any, Any] = field(default_factory=lambda: {"": 1.0})
    overhead: Mapping[str, Any] = field(default_factory=dict)
    sharpness: float = math.inf
    worst_rank: bool = True
    per_expert: Any = 0.0
    step: Any = 0.0
    per_sequence: Any = 0.0
    link: Any = 1.0
    nic: Any = 1.0
    latency_scale: Any = 1.0
    activations: bool = True
    kernels: Mapping[str, Any] | None = None
    """Constants of measured kernels (routeline.kernels); None: rates and fractions alone."""
    source: str = ""

    def memory_fraction(self, kind: str, fmt: str) -> Any:
        return _lookup(self.memory, kind, fmt)

    def compute_fraction(self, kind: str, fmt: str) -> Any:
        return _lookup(self.compute, kind, fmt)


def _lookup(table: Mapping[Any, Any], kind: str, fmt: str) -> Any:
    for key in ((kind, fmt), kind, fmt):
        if key in table:
            return table[key]
    return table[""]


KINDS = ("gemm", "routed", "attention", "state", "head", "activation")

BANDWIDTH = Efficiency(
    name="bandwidth",
    compute={"": math.inf},
    worst_rank=False,
    link=math.inf,
    nic=math.inf,
    latency_scale=0.0,
    activations=False,
    source="bytes at peak bandwidth, mean rank; compute and communication free (paper-style floor)",
)
IDEAL = Efficiency(
    name="ideal",
    source="full roofline and communication at peak rates, slowest rank, no overheads: a bound",
)
TIERS = {"bandwidth": BANDWIDTH, "ideal": IDEAL}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The serving point. context: tokens already cached per sequence; inputs: encoder tokens.

    tokens_per_sequence: tokens verified per sequence and step (1 + draft); accepted: output tokens per
    sequence and step (1 + draft * acceptance).
    """

    context: Any
    inputs: Any = None
    tokens_per_sequence: Any = 1.0
    accepted: Any = 1.0

    @property
    def encoder_tokens(self) -> Any:
        return self.context if self.inputs is None else self.inputs


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How much of each device may hold weights and cache.

    basis: 'usable' (driver reading) or 'marketed'; utilisation: fraction of it; overhead: bytes a
    device keeps for the runtime.
    """

    basis: str = "usable"
    utilisation: Any = 0.90
    overhead: Any = 0.0

    def __post_init__(self) -> None:
        if self.basis not in ("usable", "marketed"):
            raise RoutelineError(f"memory basis must be usable or marketed, not {self.basis!r}")


def _asked(default: Any, unit: str, what: str) -> Any:
    return field(default=default, metadata={"unit": unit, "what": what})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One question, SI inside: what the command line, scenario files, sweeps and the page all fill.

    A field left at its default is reported as such in the answer's assumptions.
    """

    context: Any = _asked(8192.0, "tokens", "tokens already in the cache of each sequence")
    weights: str = _asked("native", "", "stored weight format of both sides; native: as the checkpoint stores them")
    cache: str = _asked("auto", "", "cache format; auto: the config's, else bf16")
    compute: str | None = _asked(None, "", "compute format of weight matrices; none: follows the weights")
    utilisation: Any = _asked(0.90, "-", "fraction of device memory for weights and cache")
    overhead: Any = _asked(0.0, "B", "bytes a device keeps for the runtime")
    memory: str = _asked("usable", "", "memory basis: usable (driver reading) or marketed")
    layout: str = _asked("auto", "", "how devices share the work; auto: best feasible, each side its own")
    routing: str = _asked("uniform", "", "which experts tokens choose")
    redundant: Any = _asked(0.0, "experts", "spare expert slots cluster-wide (EPLB)")
    tier: str = _asked(
        "auto", "", "bandwidth | ideal | calibrated; auto: calibrated where kernels were measured, else ideal"
    )
    engine: str = _asked("", "", "serving engine of the calibrated tier; none: the mean of the measured ones")
    dense: str = _asked("same-attention", "", "shape of the matched dense model, or a model's name")
    q: Any = _asked(None, "-", "size multiplier of the matched dense model, or a range 1.5..4; none: from evidence")
    q_law: str | None = _asked(None, "", "take q from one published law; none: the estimate from matched pairs")
    convention: str = _asked("equal-tokens", "", "how the dense model is matched")
    train_tokens: Any = _asked(None, "tokens", "training tokens of the MoE; none: as published")
    q_pairs: str | None = _asked(None, "", "file with matched pairs or scores of your own; none: the shipped ones")
    batch: Any = _asked(None, "sequences", "sequences decoded together; none: the largest admissible")
    tpot: Any = _asked(None, "s", "limit on time per output token; none: the MoE's own at its largest batch")
    draft: Any = _asked(0.0, "tokens", "speculative tokens verified per sequence and step")
    accept: Any = _asked(0.0, "-", "share of draft tokens accepted")
    input: Any = _asked(None, "tokens", "prompt tokens per request")
    output: Any = _asked(None, "tokens", "output tokens per request")
    prefix_hit: Any = _asked(0.0, "-", "share of the prompt already cached")
    extend_context: bool = _asked(False, "", "allow a context past the model's own limit")
    ignore_fit: bool = _asked(False, "", "give a time for what does not fit")

    def __post_init__(self) -> None:
        _within("context", self.context, 1.0, 1e9, "tokens")
        _within("utilisation", self.utilisation, 1e-6, 1.0, "")
        _within("overhead", self.overhead, 0.0, 1e15, "bytes")
        _within("redundant", self.redundant, 0.0, 16384.0, "experts")
        if not isinstance(self.q, str):
            _within("q", self.q, 1e-6, 1e6, "")
        _within("batch", self.batch, 1.0, 1e9, "sequences")
        _whole("batch", self.batch, "sequences")
        _whole("redundant", self.redundant, "experts")
        _within("tpot", self.tpot, 1e-9, 1e6, "seconds")
        _within("draft", self.draft, 0.0, 64.0, "tokens")
        _within("accept", self.accept, 0.0, 1.0, "")
        _within("input", self.input, 1.0, 1e9, "tokens")
        _within("output", self.output, 1.0, 1e9, "tokens")
        _within("prefix_hit", self.prefix_hit, 0.0, 1.0, "")
        if self.memory not in ("usable", "marketed"):
            raise RoutelineError(f"memory basis must be usable or marketed, not {self.memory!r}")


def _within(name: str, value: Any, low: float, high: float, unit: str) -> None:
    """Refuse a number (or array) outside [low, high]; None passes."""
    import numpy as np

    if value is None:
        return
    if isinstance(value, (str, bool)):
        raise RoutelineError(f"{name} must be a number, not {value!r}")
    array = np.asarray(value, float)
    if not np.all((array >= low) & (array <= high)):
        worst = float(array.flat[int(np.argmax(~((array >= low) & (array <= high))))])
        raise RoutelineError(f"{name} must be between {low:g} and {high:g} {unit}".rstrip() + f", not {worst:g}")


def _whole(name: str, value: Any, unit: str) -> None:
    """Refuse a count (or array of counts) that is not whole; None passes."""
    import numpy as np

    if value is not None and not np.all(np.asarray(value, float) == np.floor(np.asarray(value, float))):
        raise RoutelineError(f"{name} counts whole {unit}, not {float(np.max(value)):g}")
