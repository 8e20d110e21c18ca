"""Any point of a sweep as the full answer of `compare`, and what each output should be there."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from .. import counts, tiers
from ..compare import Comparison, compare
from . import cells, synthetic
from .grid import Space
from .lower import LATE, REASONS, VERDICTS


def comparison(space: Space, index: Mapping[str, int]) -> Comparison:
    """`compare` at the point with these positions on the axes.

    A device whose memory, bandwidth or peaks are swept keeps the measured constants of the device named.

    Raises:
        RoutelineError: what compare refuses there.
    """
    cell, numbers = cells.point(space, index)
    given = {**(cell.numbers or {}), **numbers}
    model = cell.model
    if model is None:
        shape = {**(cell.shape or {}), **{k: given.pop(k) for k in list(given) if k in synthetic.DEFAULTS}}
        synthetic.require(shape)
        model = synthetic.build(shape)
    cluster = cell.cluster
    change: dict[str, Any] = {}
    if "memory" in given:
        change |= {"memory_usable": given["memory"], "memory_marketed": given["memory"]}
        given.pop("memory")
    if "bandwidth" in given:
        change["bandwidth"] = given.pop("bandwidth")
    if "peak" in given:
        factor = given.pop("peak")
        change["peaks"] = {k: v * factor for k, v in cluster.device.peaks.items()}
    if change:
        cluster = replace(cluster, device=cluster.device.but(**change))
    for name in ("link", "nic"):
        if name in given:
            rate, one = given.pop(name), getattr(cluster, name)
            if one is not None:
                cluster = replace(cluster, **{name: replace(one, bandwidth=rate)})
    scenario = replace(cell.scenario, **given)
    q = scenario.q if cell.opponent is None else None
    measured = cell.efficiency or tiers.efficiency(
        scenario.tier, cell.cluster.device, engine=scenario.engine, layout=scenario.layout
    )
    return compare(model, cluster, scenario, q=q, opponent=cell.opponent, routed=cell.routed, efficiency=measured)


def expected(c: Comparison, asked: Container[str] = ()) -> dict[str, float | None]:
    """Outputs of a sweep, read off a comparison; None where there is no value. asked: outputs `reason` answers for."""
    out: dict[str, float | None] = {
        "ratio": c.throughput_ratio, "reuse_penalty": c.reuse_penalty, "headroom_gain": c.headroom_gain,
        "sparsity": c.s, "q": c.q, "qs": c.qs,
    }  # fmt: skip
    for name, key in (("ratio_equal_batch", "equal_batch"), ("ratio_tpot", "tpot"), ("ratio_request", "request")):
        out[name] = c.ratios[key].value if key in c.ratios else None
    for role, one in (("moe", c.moe), ("dense", c.dense)):
        p = one.point if one.fits and not one.reason else None
        out[f"{role}_batch"] = None if p is None else p.batch
        out[f"{role}_step"] = None if p is None else float(p.step.seconds)
        out[f"{role}_tpot"] = None if p is None else p.tpot
        out[f"{role}_rate"] = None if p is None else p.rate
        out[f"{role}_rate_per_device"] = None if p is None else p.rate / c.cluster.count
    m = c.moe.point if c.moe.fits and not c.moe.reason else None
    out["touched"] = None if m is None else float(m.step.touched)
    out["fragmentation"] = None if m is None else float(m.step.touched) / float(counts.count(c.model).top_k)
    unfit = [not c.moe.fits, not c.dense.fits]
    late = c.moe.reason or c.dense.reason
    which = {(True, True): "neither fits", (True, False): "moe does not fit", (False, True): "dense does not fit"}
    without = [REASONS[int(code)] for name, code in LATE.items() if name in asked and out.get(name, 0.0) is None]
    reason = which.get((unfit[0], unfit[1])) or (["the batch does not fit"] * bool(late) + without + ["ok"])[0]
    out["reason"] = float(REASONS.index(reason))
    out["feasible"] = float(c.throughput_ratio is not None)
    out["verdict"] = float(VERDICTS.index(c.verdict))
    for role, one in (("moe", c.moe), ("dense", c.dense)):
        out[f"{role}_max_batch"] = 0.0 if one.largest is None else one.largest.max_batch
    return out
