"""Named formulas that can be evaluated again with named inputs: the alphabet of `routeline explain`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import routing
from .kernels import effective_tokens, joined
from .numeric import ceil
from .roofline import roofline
from .units import show


@dataclass(frozen=True)
class Formula:
    """text: the formula over {named} inputs; unit of the result; source: where it comes from."""

    text: str
    unit: str
    compute: Callable[..., Any]
    source: str = "docs/physics.md"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One number with its origin. A leaf has no formula; otherwise value = formula(inputs), evaluated again."""

    key: str
    value: Any
    unit: str
    kind: str
    source: str
    formula: str = ""
    inputs: Mapping[str, Trace]

    @property
    def filled(self) -> str:
        """The formula with the values put in."""
        return re.sub(r"\{(\w+)\}", lambda m: number(self.inputs[m[1]]), self.formula)

    @property
    def symbols(self) -> str:
        """The formula with its names."""
        return self.formula.replace("{", "").replace("}", "")

    def payload(self) -> dict[str, Any]:
        """For JSON: infinities become text."""
        value = self.value
        if isinstance(value, float) and not math.isfinite(value):
            value = "unbounded"
        out: dict[str, Any] = {
            "key": self.key, "value": value, "unit": self.unit, "kind": self.kind, "source": self.source,
        }  # fmt: skip
        if self.formula:
            out |= {"formula": self.symbols, "filled": self.filled}
            out["inputs"] = {name: one.payload() for name, one in self.inputs.items()}
        return out


def number(one: Trace) -> str:
    """A value for people, with its unit."""
    if isinstance(one.value, str):
        return one.value
    value = float(one.value)
    if math.isinf(value):
        return "unbounded"
    if one.unit in ("B", "B/s", "FLOP", "FLOP/s", "s"):
        return show(value, one.unit)
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e12 else f"{value:.5g}"


def _time(flop: float, bytes_: float, peak: float, bandwidth: float, p: float, count: float, fixed: float) -> float:
    return count * (roofline(flop, bytes_, peak, bandwidth, p) + fixed)


F: dict[str, Formula] = {
    "s": Formula("{active} / {total}", "-", lambda active, total: active / total, "docs/physics.md section 1"),
    "qs": Formula("{q} * {s}", "-", lambda q, s: q * s, "docs/physics.md section 6, static form"),
    "ratio": Formula(
        "{dense_rate} / {moe_rate}",
        "-",
        lambda dense_rate, moe_rate: dense_rate / moe_rate,
        "docs/physics.md section 6",
    ),
    "request_ratio": Formula(
        "{moe_cost} / {dense_cost}",
        "-",
        lambda moe_cost, dense_cost: moe_cost / dense_cost,
        "docs/physics.md section 6",
    ),
    "request_cost": Formula(
        "{prefill} + {decode}", "s", lambda prefill, decode: prefill + decode, "cluster seconds of one request"
    ),
    "reuse_penalty": Formula(
        "{moe_step} / {dense_step}",
        "-",
        lambda moe_step, dense_step: moe_step / dense_step,
        "docs/physics.md section 7",
    ),
    "headroom_gain": Formula("{ratio} / {reuse}", "-", lambda ratio, reuse: ratio / reuse, "docs/physics.md section 7"),
    "rate": Formula("{output} / {step}", "tokens/s", lambda output, step: output / step, "output tokens a step"),
    "output": Formula(
        "{batch} * {accepted}", "tokens", lambda batch, accepted: batch * accepted, "docs/physics.md section 1"
    ),
    "tpot": Formula("{step} / {accepted}", "s", lambda step, accepted: step / accepted),
    "capacity": Formula(
        "{memory} * {utilisation} - {overhead}",
        "B",
        lambda memory, utilisation, overhead: memory * utilisation - overhead,
        "docs/physics.md section 4",
    ),
    "max_batch": Formula(
        "floor(({capacity} - {weights}) / {cache}) * {ranks}",
        "sequences",
        lambda capacity, weights, cache, ranks: (
            math.floor(max(capacity - weights, 0.0) / cache * (1.0 + 1e-12)) * ranks
        ),
        "docs/physics.md section 4; floored on each attention rank (dp * replicas), on the whole where pooled",
    ),
    "per_group": Formula(
        "ceil({batch} / ({replicas} * {pp}))",
        "sequences",
        lambda batch, replicas, pp: ceil(batch / (replicas * pp) - 1e-9),
        "whole sequences in a replica and microbatch",
    ),
    "per_rank_worst": Formula(
        "ceil({per_group} / {dp})",
        "sequences",
        lambda per_group, dp: ceil(per_group / dp - 1e-9),
        "fullest attention rank",
    ),
    "per_rank_mean": Formula(
        "{per_group} / {dp}", "sequences", lambda per_group, dp: per_group / dp, "mean attention rank"
    ),
    "tokens": Formula("{per_group} * {verified}", "tokens", lambda per_group, verified: per_group * verified),
    "effective_tokens": Formula(
        "max(min({tokens}, 1), min({spread} * {tokens}**{skew}, {tokens}))",
        "tokens",
        lambda tokens, **c: effective_tokens(tokens, c),
        "kernels.effective_tokens: independent tokens that touch as many experts as real ones",
    ),
    "touched_uniform": Formula(
        "{experts} * (1 - (1 - {top_k}/{experts})**{tokens})",
        "experts",
        routing.touched_uniform,
        "docs/physics.md section 2",
    ),
    "fragmentation": Formula("{touched} / {top_k}", "-", routing.fragmentation, "docs/physics.md section 3"),
    "tokens_per_expert": Formula(
        "{tokens} * {top_k} / {touched}",
        "tokens",
        routing.tokens_per_expert,
        "docs/physics.md section 3",
    ),
    "mean_hot": Formula("{touched} / {ep}", "experts", lambda touched, ep: touched / ep, "mean expert-parallel rank"),
    "gemm_bytes": Formula("{stored} / {cut}", "B", lambda stored, cut: stored / cut, "weights of one layer, read once"),
    "gemm_flop": Formula(
        "{flop_per_token} * {rows} / {cut}", "FLOP", lambda flop_per_token, rows, cut: flop_per_token * rows / cut
    ),
    "routed_bytes": Formula(
        "{stored} * {hot} / {experts} / {moe_tp}",
        "B",
        lambda stored, hot, experts, moe_tp: stored * hot / experts / moe_tp,
        "docs/physics.md section 5: U/E of the experts",
    ),
    "routed_flop": Formula(
        "{flop_per_token} * {tokens} / ({moe_tp} * {ep}) * {load}",
        "FLOP",
        lambda flop_per_token, tokens, moe_tp, ep, load: flop_per_token * tokens / (moe_tp * ep) * load,
    ),
    "cache_bytes": Formula(
        "{per_rank} * {entries} * {elements} * {element} / {shards}",
        "B",
        lambda per_rank, entries, elements, element, shards: per_rank * entries * elements * element / shards,
        "docs/physics.md section 5: cache reads",
    ),
    "cache_flop": Formula(
        "{rows} * {entries} * {flop_per_entry} / {tp}",
        "FLOP",
        lambda rows, entries, flop_per_entry, tp: rows * entries * flop_per_entry / tp,
    ),
    "state_bytes": Formula(
        "2 * {per_rank} * {state} / {shards}",
        "B",
        lambda per_rank, state, shards: 2.0 * per_rank * state / shards,
        "state read and written",
    ),
    "activation_bytes": Formula(
        "{rows} * {hidden} * 2 * {passes} / 2 / {cut}",
        "B",
        lambda rows, hidden, passes, cut: rows * hidden * 2.0 * passes / 2.0 / cut,
        "residual stream in BF16",
    ),
    "time": Formula(
        "{layers} * (max({bytes_} / {bandwidth}, {flop} / {peak}) + {fixed})",
        "s",
        lambda layers, bytes_, bandwidth, flop, peak, fixed: _time(
            flop, bytes_, peak, bandwidth, math.inf, layers, fixed
        ),
        "docs/physics.md section 5; Williams, Waterman, Patterson 2009",
    ),
    "soft_time": Formula(
        "{layers} * ((({bytes_} / {bandwidth})**{p} + ({flop} / {peak})**{p})**(1/{p}) + {fixed})",
        "s",
        lambda layers, bytes_, bandwidth, flop, peak, fixed, p: _time(flop, bytes_, peak, bandwidth, p, layers, fixed),
        "measured kernels round the ridge (roofline.roofline)",
    ),
    "gemm_kernel": Formula(
        "{layers} * ({t0} + {quantised}/{bandwidth} + (({bytes_}/({eta}*{bandwidth}) * (1 + {narrow}/{n}))**{p} + "
        "({flop}/({f}*{peak}))**{p} + ({serial}*{k})**{p})**(1/{p}))",
        "s",
        lambda layers, t0, quantised, bandwidth, bytes_, eta, narrow, n, p, flop, f, peak, serial, k: (
            layers
            * (
                t0
                + quantised / bandwidth
                + joined(p, bytes_ / (eta * bandwidth) * (1.0 + narrow / n), flop / (f * peak), serial * k)
            )
        ),
        "kernels.gemm_seconds, fitted on measured kernels",
    ),
    "attention_kernel": Formula(
        "{layers} * ({t0} + {item}*{items} + (({bytes_}/({eta}*{bandwidth}*{pieces}/({pieces}+{half})))**{p} + "
        "({flop}/({f}*{peak}))**{p})**(1/{p}))",
        "s",
        lambda layers, t0, item, items, bytes_, eta, bandwidth, pieces, half, p, flop, f, peak: (
            layers
            * (t0 + item * items + joined(p, bytes_ / (eta * bandwidth * pieces / (pieces + half)), flop / (f * peak)))
        ),
        "kernels.attention_seconds, fitted on measured kernels",
    ),
    "moe_kernel": Formula(
        "{layers} * ({t0} + {per_expert}*{touched} + {shuffled}/{bandwidth} + "
        "(({bytes_}/({eta}*{bandwidth}) * (1 + {narrow}/{n}))**{p} + ({flop}/({f}*{peak}))**{p})**(1/{p}))",
        "s",
        lambda layers, t0, per_expert, touched, shuffled, bandwidth, bytes_, eta, narrow, n, p, flop, f, peak: (
            layers
            * (
                t0
                + per_expert * touched
                + shuffled / bandwidth
                + joined(p, bytes_ / (eta * bandwidth) * (1.0 + narrow / n), flop / (f * peak))
            )
        ),
        "kernels.moe_seconds, fitted on measured kernels",
    ),
    "scheduling": Formula(
        "{fixed} + {sequence} * {per_rank}",
        "s",
        lambda fixed, sequence, per_rank: fixed + sequence * per_rank,
        "fitted on served points",
    ),
    "attainable": Formula(
        "{nominal} * {fraction}", "", lambda nominal, fraction: nominal * fraction, "rate times efficiency"
    ),
}
"""Formulas by name. Inputs of one name mean one thing; units are SI."""


def leaf(key: str, value: Any, unit: str, kind: str, source: str) -> Trace:
    """A number that is not computed here: given, from a device's file, or counted from a config."""
    plain = value if isinstance(value, str) else float(value)
    return Trace(key=key, value=plain, unit=unit, kind=kind, source=source, inputs={})


def apply(name: str, key: str, *, unit: str | None = None, **inputs: Any) -> Trace:
    """Evaluate a named formula on traced inputs."""
    f = F[name]
    value = float(f.compute(**{k: t.value for k, t in inputs.items()}))
    return Trace(key=key, value=value, unit=f.unit if unit is None else unit, kind="derived", source=f.source,
                 formula=f.text, inputs=inputs)  # fmt: skip


def total(key: str, unit: str, source: str, parts: Mapping[str, Trace]) -> Trace:
    """The sum of traced parts."""
    value = sum(t.value for t in parts.values())
    text = " + ".join(f"{{{name}}}" for name in parts)
    return Trace(key=key, value=value, unit=unit, kind="derived", source=source, formula=text, inputs=dict(parts))


def call(name: str, key: str, unit: str, value: Any, source: str, **inputs: Trace) -> Trace:
    """A library function evaluated as a whole, shown as a call on its traced inputs."""
    text = f"{name}({', '.join(f'{k}={{{k}}}' for k in inputs)})"
    return Trace(key=key, value=float(value), unit=unit, kind="derived", source=source, formula=text, inputs=inputs)
