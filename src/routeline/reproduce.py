"""The four claims of the abstract, each with our number, the command that gives it and what it assumes.

Only the abstract of arXiv:2603.08960 is public to us: its hardware, precision, batch, layout, memory basis
and q are unknown. Nothing here is fitted to it; 4.5 is used once, as the level of a contour that is solved for.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import breakeven, fair, requests
from .callable import named
from .compare import Comparison, compare
from .errors import RoutelineError, UnknownName
from .resolve import ask, cluster, model, number, q_of, scenario

PAPER = "Adhinarayanan & Jayasena, The qs Inequality, arXiv:2603.08960 (9 March 2026), abstract"
UNKNOWN = (
    "The paper's settings are unknown to us: only its abstract is public, which names no devices, precision, batch, "
    "layout, memory basis or q. Every derivation and number below is Routeline's own; agreement shows that a claim is "
    "reachable, not how the paper reached it."
)
CLAIMED = 4.5
"""Throughput ratio of claim (a) as the abstract states it [-]; kind published."""
CONTEXT = 131072.0
CLAIMS = {
    "a": "the dense baseline of DeepSeek-V3 reaches 4.5x its throughput at 128k context",
    "b": "the effect is general: DeepSeek-V3, Qwen3-235B, Grok-1 and Switch-C",
    "c": "Switch-C does not fit clusters on which its quality-matched dense model does",
    "d": "MoE may be best seen as a training-time optimisation, with distillation to dense for serving",
}
IDEALISED: dict[str, Any] = {
    "context": "128k", "weights": "bf16", "cache": "bf16", "memory": "marketed", "tier": "bandwidth",
    "layout": "pooled",
}  # fmt: skip
"""The idealisation in which claim (a) is reachable: one pooled device, bytes only, marketed memory."""
CLUSTERS = ("8xMI300X", "8xMI325X", "8xH200", "8xB200", "2x8xH100", "16xMI300X")
QS = (1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0, 12.0)
MODELS = ("DeepSeek-V3", "Qwen3-235B-A22B", "Grok-1", "Switch-C")
CONTEXTS = (4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0)
SIZES = ("8", "2x8", "4x8", "8x8", "16x8")
DEVICES = ("H100", "H200", "B200", "MI300X", "MI325X")
UTILISATIONS = np.round(np.arange(0.70, 1.0001, 0.01), 4)


def command(name: str, devices: str, **values: Any) -> str:
    """The command line that asks the same question."""
    flags = [x for k, v in values.items() for x in (f"--{k.replace('_', '-')}", str(v))]
    return shlex.join(["routeline", "compare", name, "--devices", devices, *flags])


# --- (a) 4.5x --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Strip:
    """R over utilisation for one cluster, precision, memory basis and q, and every utilisation where it is CLAIMED."""

    devices: str
    weights: str
    memory: str
    q: float
    utilisation: np.ndarray = field(repr=False)
    ratio: np.ndarray = field(repr=False)
    reached_at: tuple[float, ...]
    feasible: tuple[float, float] | None

    @property
    def peak(self) -> tuple[float, float] | None:
        """(largest R, its utilisation) on the grid; None where nothing fits."""
        if not np.any(np.isfinite(self.ratio)):
            return None
        at = int(np.nanargmax(self.ratio))
        return float(self.ratio[at]), float(self.utilisation[at])

    def payload(self) -> dict[str, Any]:
        peak = self.peak
        return {
            "devices": self.devices, "weights": self.weights, "memory": self.memory, "q": self.q,
            "utilisation": [float(u) for u in self.utilisation],
            "ratio": [None if not np.isfinite(r) else float(r) for r in self.ratio],
            "reached_at": list(self.reached_at), "feasible": list(self.feasible) if self.feasible else None,
            "peak": None if peak is None else {"ratio": peak[0], "utilisation": peak[1]},
        }  # fmt: skip


def over_utilisation(c: Comparison) -> Callable[[np.ndarray], np.ndarray]:
    """R at largest batches as a function of memory utilisation, all else as in a comparison."""
    memory = float(c.cluster.device.memory(c.scenario.memory))

    def ratio(share: np.ndarray) -> np.ndarray:
        ground = replace(c.ground, capacity=memory * np.asarray(share, float) - c.scenario.overhead)
        rates = [breakeven.best_rate(x.counted, ground, x.options, ground.workload) for x in (c.dense, c.moe)]
        return rates[0] / rates[1]

    return ratio


def penalty_map(
    devices: Sequence[str] = CLUSTERS,
    *,
    weights: Sequence[str] = ("bf16", "fp8"),
    memory: Sequence[str] = ("marketed", "usable"),
    q: Sequence[float] = QS,
    target: float = CLAIMED,
    name: str = "DeepSeek-V3",
    **given: Any,
) -> list[Strip]:
    """R over utilisation, precision, memory basis and q on several clusters, with the contour R = target solved for.

    Raises:
        RoutelineError: an unknown cluster or field.
    """
    out = []
    subject = model(name)
    for where in devices:
        place = cluster(where)
        for fmt in weights:
            for basis in memory:
                asked = scenario(IDEALISED | {"weights": fmt, "memory": basis, "utilisation": 1.0} | given)
                for size in q:
                    c = compare(subject, place, asked, q=float(size))
                    f = over_utilisation(c)
                    found, feasible, _ = breakeven.crossings(
                        lambda u, f=f: f(u) / target, float(UTILISATIONS[0]), 1.0, log=False, points=121
                    )
                    out.append(
                        Strip(
                            devices=where, weights=fmt, memory=basis, q=float(size), utilisation=UTILISATIONS,
                            ratio=np.broadcast_to(f(UTILISATIONS), UTILISATIONS.shape), feasible=feasible,
                            reached_at=tuple(x.value for x in found),
                        )
                    )  # fmt: skip
    return out


def claim_a(devices: Sequence[str] = CLUSTERS) -> dict[str, Any]:
    """The point, what becomes of it when one idealisation is dropped, and the map with its contour."""
    given = IDEALISED | {"utilisation": 0.95, "q": 2}
    c = ask("DeepSeek-V3", "8xMI300X", **given)
    strips = penalty_map(devices)
    fair_ = fair.headline(c)
    reach = [s for s in strips if s.reached_at]
    drops = fair.what_matters(c)
    value = c.throughput_ratio
    assert value is not None
    return {
        "id": "a", "claim": CLAIMS["a"], "ratio": value, "claimed": CLAIMED,
        "command": command("DeepSeek-V3", "8xMI300X", **given),
        "assumptions": [
            "8xMI300X, BF16 weights and cache, all memory as marketed at utilisation 0.95, overhead 0",
            "pooled: all devices as one, communication free; tier bandwidth: compute free",
            "q = 2, matched dense model with the same attention; each side at its own largest batch",
        ],
        "answer": (
            f"reachable: R = {value:.3g} here, and {CLAIMED} is crossed in {len(reach)} of {len(strips)} strips of "
            f"the map; but {fair_.sentence}"
        ),
        "headline": [{"name": r.name, "label": r.label, "ratio": r.value, "reason": r.reason} for r in fair_.rows],
        "without": [
            {"choice": x.name, "instead": x.instead, "ratio": x.ratio, "verdict": x.verdict, "reason": x.reason}
            for x in drops
        ],
        "map": [s.payload() for s in strips],
    }  # fmt: skip


# --- (b) four models -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class General:
    """One model at one context on one cluster under one setting; ratios None where a side does not fit."""

    model: str
    devices: str
    setting: str
    context: float
    past_limit: bool
    q: float
    ratios: dict[str, float | None]
    verdict: str
    reason: str
    layouts: dict[str, str | None]
    command: str


def smallest_cluster(name: str, device: str = "MI300X") -> str:
    """The smallest of 8, 16, ... devices that holds the MoE in native precision at the longest context."""
    for size in SIZES:
        c = ask(name, f"{size}x{device}", context=CONTEXT, extend_context=True, tier="ideal", q=2)
        if c.moe.fits:
            return f"{size}x{device}"
    raise RoutelineError(f"{name} fits no cluster of up to {SIZES[-1]} {device}")


SETTINGS: dict[str, dict[str, Any]] = {
    "idealised": {"layout": "pooled", "tier": "bandwidth", "memory": "marketed"},
    "bound": {"layout": "auto", "tier": "ideal"},
}
"""idealised: as claim (a) needs it; bound: real layouts, full roofline and communication at peak rates."""


def generality(
    names: Sequence[str] = MODELS, contexts: Sequence[float] = CONTEXTS, *, device: str = "MI300X",
    settings: Sequence[str] = tuple(SETTINGS),
) -> list[General]:  # fmt: skip
    """Every model over contexts on the smallest cluster that holds it, q from evidence; limits exceeded are marked."""
    out = []
    for name in names:
        subject = model(name)
        place = smallest_cluster(name, device)
        q, _ = number(q_of(subject, scenario({})))
        for setting in settings:
            for context in contexts:
                past = subject.context_limit is not None and context > subject.context_limit
                given: dict[str, Any] = (
                    SETTINGS[setting] | {"context": _typed(context)} | ({"extend_context": True} if past else {})
                )
                c = ask(name, place, q=q, **given)
                found = {r.name: r.value for r in fair.headline(c).rows}
                flags = {k: v for k, v in given.items() if k != "extend_context"}
                line = command(name, place, **flags) + (" --extend-context" if past else "")
                out.append(
                    General(
                        model=name, devices=place, setting=setting, context=float(context), past_limit=past,
                        q=float(c.q), ratios=found, verdict=c.verdict,
                        reason=c.ratios["max_batch"].reason, layouts=_layouts(c), command=line,
                    )
                )  # fmt: skip
    return out


def _layouts(c: Comparison) -> dict[str, str | None]:
    """The layout each side ran in at its largest batch; None where it does not fit."""
    return {
        role: str(x.largest.layout) if x.largest is not None else None
        for role, x in (("moe", c.moe), ("dense", c.dense))
    }


def _typed(context: float) -> str:
    return f"{int(context) // 1024}k" if context % 1024 == 0 else str(int(context))


def claim_b() -> dict[str, Any]:
    """Whether dense leads for all four models, by context and setting."""
    rows = generality()
    said = []
    for setting in SETTINGS:
        known = [r for r in rows if r.setting == setting and r.ratios.get("max_batch") is not None]
        asked = [r for r in known if (r.ratios.get("request") or 0.0) > 1.0 + fair.TIE]
        lead = {v: sum(r.verdict == v for r in known) for v in ("dense", "tie", "moe")}
        said.append(
            f"{setting}: at largest batches dense leads in {lead['dense']} of {len(known)} cells, {lead['tie']} ties, "
            f"the MoE in {lead['moe']}; per request dense leads in {len(asked)}"
        )
    return {
        "id": "b", "claim": CLAIMS["b"], "command": rows[0].command,
        "assumptions": [
            "each model on the smallest cluster of MI300X (8, 16, ...) that holds it at 128k, native precision, q from "
            "matched pairs (its interval is wide: `routeline compare` prints it)",
            "idealised: pooled, bytes only, marketed memory",
            "bound: best real layout of each side, full roofline and communication, usable memory",
            "contexts past a model's own limit are computed and marked; Switch-C: context counts decoder tokens and "
            "encoder tokens alike, and relative positions set no limit",
            "request: the context in, 1k out, no prefix hits",
        ],
        "answer": (
            f"{'; '.join(said)}. R is large where caches are small or weights nearly fill memory, and falls to 1 or "
            f"below where caches swamp both sides, or where prompts are long"
        ),
        "rows": [dict(r.__dict__) for r in rows],
    }  # fmt: skip


# --- (c) Switch-C ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Switch-C and its match on one cluster: which fits, and R where both do."""

    device: str
    size: str
    devices: int
    weights: str
    moe_fits: bool
    dense_fits: bool
    moe_batch: float
    dense_batch: float
    ratio: float | None
    layouts: dict[str, str | None]
    command: str


def switch_c(
    devices: Sequence[str] = DEVICES, sizes: Sequence[str] = ("1", "2", "4", *SIZES), *,
    weights: Sequence[str] = ("bf16", "fp8"), context: float = 512.0, q: float | None = None,
) -> list[Cell]:  # fmt: skip
    """Fit of Switch-C and its matched dense model over cluster sizes and device types (tier ideal, auto layout)."""
    out = []
    for device in devices:
        for size in sizes:
            for fmt in weights:
                more: dict[str, Any] = {} if q is None else {"q": q}
                c = ask("Switch-C", f"{size}x{device}", context=context, weights=fmt, tier="ideal", **more)
                m, d = c.moe.point, c.dense.point
                out.append(
                    Cell(
                        device=device, size=size, devices=c.cluster.count, weights=fmt, moe_fits=c.moe.fits,
                        dense_fits=c.dense.fits, moe_batch=m.max_batch if m and c.moe.fits else 0.0,
                        dense_batch=d.max_batch if d and c.dense.fits else 0.0, ratio=c.throughput_ratio,
                        layouts=_layouts(c),
                        command=command(
                            "Switch-C", f"{size}x{device}", context=int(context), weights=fmt, tier="ideal", **more
                        ),
                    )
                )  # fmt: skip
    return out


def claim_c() -> dict[str, Any]:
    """Where only the dense model fits."""
    cells = switch_c()
    alone = [x for x in cells if x.dense_fits and not x.moe_fits]
    both = [x for x in cells if x.moe_fits and x.dense_fits]
    low = {}
    for x in cells:
        for side, fits in (("moe", x.moe_fits), ("dense", x.dense_fits)):
            if fits:
                low.setdefault((x.device, x.weights, side), x.devices)
    q, source = number(q_of(model("Switch-C"), scenario({})))
    return {
        "id": "c", "claim": CLAIMS["c"],
        "command": command("Switch-C", "8xH200", context=512, weights="bf16", tier="ideal"),
        "assumptions": [
            "Switch-C in its paper's shape (15 + 15 layers, all sparse, 1,571 B parameters, 1.68 B active); the "
            "published config.json is wrong and is kept as Switch-C-config",
            f"q = {q:.3g}: {source}", "context 512 (as trained), largest batches, tier ideal, best layout of each side",
        ],
        "answer": (
            f"holds in {len(alone)} of {len(cells)} clusters tried: the dense model fits them and Switch-C does not; "
            f"{len(both)} hold both, {len(cells) - len(alone) - len(both)} neither"
        ),
        "smallest": [
            {"device": d, "weights": w, "side": s, "devices": n} for (d, w, s), n in low.items()
        ],
        "cells": [dict(x.__dict__) for x in cells],
    }  # fmt: skip


# --- (d) distillation ------------------------------------------------------------------------------


def claim_d() -> dict[str, Any]:
    """What a distilled dense model would have to be to serve more, and what is not computed."""
    rows = []
    for name in MODELS:
        place = smallest_cluster(name)
        c = ask(name, place, context="4k", tier="ideal")
        found = breakeven.break_evens(c, ["q"])["q"]
        end = next(x for x in found if x.form == "end to end")
        active = c.s * float(_total(c))
        turns = [x.value for x in end.crossings if x.above == "moe"]
        asked = requests.requests(c)
        rows.append(
            {
                "model": name, "devices": place, "context": 4096.0, "q": c.q, "s": c.s,
                "break_even_q": turns[0] if turns else None, "none": None if turns else end.why_none(),
                "break_even_parameters": turns[0] * active if turns else None,
                "dense_parameters": c.q * active, "ratio": c.throughput_ratio, "ratio_request": asked.value,
                "weight_bytes": {"moe": c.moe.weight_bytes, "dense": c.dense.weight_bytes},
                "layouts": _layouts(c), "command": command(name, place, context="4k", tier="ideal"),
            }
        )  # fmt: skip
    return {
        "id": "d", "claim": CLAIMS["d"], "command": rows[0]["command"],
        "assumptions": [
            "largest batches at 4k, tier ideal, best layout of each side, native precision, q from matched pairs"
        ],
        "answer": (
            "a dense model distilled from the MoE serves more tokens at largest batches if it keeps the quality with "
            "fewer parameters than the break-even listed; whether it can is not computed"
        ),
        "computed": [
            "serving: weights, cache, batch, step time, R of a dense model of any size against the MoE",
            "the size up to which the dense model serves more (break-even q)",
        ],
        "not_computed": [
            "whether distillation reaches the MoE's quality at that size: q here is for models trained alike, and a "
            "teacher can lower it",
            "the cost of training either model or of distilling (teacher tokens, student training)",
            "effects on latency targets, fine-tuning and operations",
        ],
        "rows": rows,
    }  # fmt: skip


def _total(c: Comparison) -> Any:
    from .counts import total

    return total(c.model)


# --- all -------------------------------------------------------------------------------------------

_CLAIM: dict[str, Callable[[], dict[str, Any]]] = {"a": claim_a, "b": claim_b, "c": claim_c, "d": claim_d}


def reproduce(which: Sequence[str] = tuple(CLAIMS)) -> dict[str, Any]:
    """The claims asked for, as plain JSON values.

    Raises:
        UnknownName: a claim that is not a, b, c or d.
    """
    for name in which:
        if name not in CLAIMS:
            raise UnknownName("claim", name, CLAIMS, f"known: {', '.join(CLAIMS)}")
    return {
        "schema_version": 1, "paper": PAPER, "settings": "unknown", "statement": UNKNOWN,
        "claims": [_CLAIM[name]() for name in which],
    }  # fmt: skip


named(__name__)
