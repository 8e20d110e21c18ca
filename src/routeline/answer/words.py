"""The verdict in one sentence, and what it does not establish."""

from __future__ import annotations

from ..compare import Comparison, Side
from ..units import show

NAMES = {
    "max_batch": "largest batches",
    "equal_batch": "equal batch",
    "tpot": "equal latency",
    "request": "per request",
}
"""What each ratio compares, in words."""


def verdict(answer: Comparison) -> str:
    """Who wins, by how much, where, and what is not established: one sentence.

    "Dense wins: its matched dense model (75.1 B, q = 2) serves 4.53x the tokens/s of DeepSeek-V3 ...".
    """
    return f"{_outcome(answer)} ({_setting(answer)}); not established: {', '.join(limits(answer))}."


def _setting(answer: Comparison) -> str:
    m, d = answer.moe.point, answer.dense.point
    shown = [str(p.layout) if p is not None else "none" for p in (m, d)]
    layout = f"layout {shown[0]}" if shown[0] == shown[1] else f"layouts {shown[0]} and {shown[1]}"
    return (
        f"{show(answer.scenario.context, 'tokens')} context, {answer.cluster.name}, q = {answer.q:.3g}, {layout}, "
        f"tier {answer.ground.efficiency.name}"
    )


def rival(answer: Comparison) -> str:
    """The opponent by name: 'its matched dense model of 75.1 B' or 'Llama-3.1-70B'."""
    from ..counts import total

    if answer.opponent.architecture == "matched dense":
        return f"the matched dense model of {show(float(total(answer.opponent)), 'count', 3)}"
    return answer.opponent.name


def _outcome(answer: Comparison) -> str:
    moe, other, kind = answer.model.name, rival(answer), answer.verdict
    if kind == "neither_fits":
        return f"Neither fits: {moe} needs {_needs(answer.moe)} and {other} {_needs(answer.dense)}"
    if kind == "moe_infeasible":
        return f"Dense by default: {moe} does not fit and needs {_needs(answer.moe)}, while {other} {_serves(answer.dense)}"
    if kind == "dense_infeasible":
        return (
            f"MoE by default: {other} does not fit and needs {_needs(answer.dense)}, while {moe} {_serves(answer.moe)}"
        )
    ratio = answer.throughput_ratio
    assert ratio is not None and answer.moe.point is not None and answer.dense.point is not None
    batches = f"batch {answer.moe.point.batch:,.0f} against {answer.dense.point.batch:,.0f}"
    if kind == "tie":
        head = f"A tie: {other} serves {ratio:.2f}x the tokens/s of {moe}, {batches}"
    elif kind == "dense":
        head = f"Dense wins: {other} serves {ratio:.2f}x the tokens/s of {moe}, {batches}"
    else:
        head = f"MoE wins: {moe} serves {1 / ratio:.2f}x the tokens/s of {other}, {batches.replace('batch ', 'batch ')}"
    return head + _weakest(answer)


def _weakest(answer: Comparison) -> str:
    """The comparison that is kindest to the loser, with its number: a headline must not hide it."""
    dense_ahead = (answer.throughput_ratio or 1.0) >= 1.0
    known = {k: r.value for k, r in answer.ratios.items() if r.value is not None}
    pick = (min if dense_ahead else max)(known, key=lambda k: known[k])
    value = known[pick]
    if pick == "max_batch" or abs(value / known["max_batch"] - 1) < 0.005:
        return ""
    shown = f"{value:.2f}x" if dense_ahead else f"{1 / value:.2f}x"
    turned = (value < 1) == dense_ahead and abs(value - 1) > 0.02
    return f", but only {shown} at {NAMES[pick]}" + (", where the verdict turns" if turned else "")


def _serves(one: Side) -> str:
    if one.point is None:
        return "fits"
    return f"serves {one.point.rate:,.0f} tokens/s at batch {one.point.batch:,.0f}"


def _needs(one: Side) -> str:
    n = one.devices_needed
    return f"{n:,} devices" if n else "more devices than any cluster tried"


def limits(answer: Comparison) -> list[str]:
    """What the answer rests on without evidence, most important first."""
    out = []
    if answer.opponent.architecture != "matched dense":
        out.append(f"equal quality of {answer.model.name} and {answer.opponent.name}")
    elif answer.scenario.q is not None:
        out.append("that q is right (it was given)")
    else:
        out.append("that q is right (see q_source)" if not answer.q_source else f"q itself ({_short(answer.q_source)})")
    tier = answer.ground.efficiency.name
    if tier in ("bandwidth", "ideal"):
        out.append(f"real speeds (tier {tier} is a bound)")
    if answer.scenario.layout.strip().lower() == "pooled":
        out.append("that any layout reaches the pooled ideal")
    if "request" not in answer.ratios or answer.ratios["request"].value is None:
        out.append("prefill (no request shape given)")
    return out


def _short(source: str) -> str:
    return source.split(" (")[0].split(" =")[0]
