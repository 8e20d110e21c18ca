"""The verdict in one sentence, and what it does not establish."""

from __future__ import annotations

import re

from ..compare import Comparison, Side
from ..fair import leads
from ..requests import Requests
from ..requests import sentence as request_sentence
from ..units import show
from .extras import Extras, extras
from .stated import OWN, extrapolated, lead_ratio, own_match, tier_words, within_error

NAMES = {
    "max_batch": "largest batches",
    "equal_batch": "equal batch",
    "tpot": "equal latency",
    "request": "per request",
}
"""What each ratio compares, in words."""


def verdict(answer: Comparison, known: Extras | None = None) -> str:
    """Who wins, by how much, where, and what is not established: one sentence.

    "Dense wins: the matched dense model of 75.1 B serves 4.53x the tokens/s of DeepSeek-V3 ...".
    """
    known = known or extras(answer)
    open_ = limits(answer, known)
    return f"{_outcome(answer, known)} ({_setting(answer)})" + (
        f"; not established: {', '.join(open_)}." if open_ else "."
    )


def _setting(answer: Comparison) -> str:
    pair = answer.ratios[lead_ratio(answer)]
    m, d = pair.moe or answer.moe.point, pair.dense or answer.dense.point
    shown = [str(p.layout) if p is not None else "none" for p in (m, d)]
    layout = f"layout {shown[0]}" if shown[0] == shown[1] else f"layouts {shown[0]} and {shown[1]}"
    return (
        f"{show(answer.scenario.context, 'tokens')} context, {answer.cluster.name}, q = {answer.q:.3g}"
        f"{f' ({OWN})' if own_match(answer) else ''}, {layout + ', ' if m or d else ''}{tier_words(answer)}"
    )


def short_name(one: Side) -> str:
    """A side's name for a column head: 'matched dense (same attention)' for a dense match."""
    return re.sub(r"^dense match of .*(\([a-z ]+\))$", r"matched dense \1", one.name)


def rival(answer: Comparison) -> str:
    """The opponent by name: 'the matched dense model of 75.1 B' or 'Llama-3.1-70B'."""
    from ..counts import total

    if answer.opponent.architecture == "matched dense":
        return f"the matched dense model of {show(float(total(answer.opponent)), 'count', 3)}"
    return answer.opponent.name


def _outcome(answer: Comparison, known: Extras) -> str:
    moe, other, kind = answer.model.name, rival(answer), answer.verdict
    if kind == "neither_fits":
        return f"Neither fits: {moe} {_unfit(answer.moe)}, and {other} {_unfit(answer.dense)}"
    if kind == "moe_infeasible":
        return f"Dense by default: {moe} {_unfit(answer.moe)}, while {other} {_serves(answer.dense)}"
    if kind == "dense_infeasible":
        return f"MoE by default: {other} {_unfit(answer.dense)}, while {moe} {_serves(answer.moe)}"
    name = lead_ratio(answer)
    pair = answer.ratios[name]
    ratio = pair.value or 1.0
    kind = {"neither": "tie", "MoE": "moe", "dense": "dense"}[leads(ratio)]
    ahead, behind, factor, first, second = (
        (moe, other, 1.0 / ratio, pair.moe, pair.dense) if kind == "moe" else (other, moe, ratio, pair.dense, pair.moe)
    )
    mixed, plain = bool(answer.moe.counted.moe_layers), not answer.dense.counted.moe_layers
    named = f"{ahead} wins" if not (mixed and plain) else {"dense": "Dense wins", "moe": "MoE wins"}.get(kind, "")
    head = "A tie" if kind == "tie" else named
    batches = f", batch {first.batch:,.0f} against {second.batch:,.0f}" if first and second else ""
    subject = "it" if head.startswith(ahead) else ahead
    where = f" {_place(answer, name)}" if name != "max_batch" else ""
    text = f"{head}{where}: {subject} serves {factor:.3g}x the tokens/s of {behind}"
    return f"{_unmet(answer)}{text}{'' if name == 'equal_batch' else batches}{_weakest(answer, known, name)}"


def _place(answer: Comparison, name: str) -> str:
    """'at batch 64', 'within 50 ms per token', 'at largest batches', 'per request'."""
    at = answer.ratios[name].at if name in answer.ratios else None
    if name == "equal_batch" and answer.scenario.batch is not None:
        limit = answer.scenario.tpot
        pair = [p for p in (answer.ratios[name].moe, answer.ratios[name].dense) if p is not None]
        slow = [p.counted.model.name for p in pair if limit is not None and p.tpot > limit]
        late = f" ({' and '.join(slow)} over {show(float(limit or 0), 's')} per token)" if slow else ""
        return f"at batch {answer.scenario.batch:,.0f}{late}"
    if name == "tpot" and answer.scenario.tpot is not None and at is not None:
        return f"within {show(at, 's')} per token"
    return NAMES[name] if name == "request" else f"at {NAMES[name]}"


def _unmet(answer: Comparison) -> str:
    """'No answer at batch 4,000 (... does not admit batch 4000); at largest batches: ' where it cannot be met."""
    asked = answer.scenario
    name = "equal_batch" if asked.batch is not None else "tpot"
    if (asked.batch is None and asked.tpot is None) or lead_ratio(answer) == name:
        return ""
    return f"No answer {_place(answer, name)} ({answer.ratios[name].reason}); at largest batches instead: "


CLOSE = 0.05
"""Ratios within 5% of each other are not told apart in the sentence."""


def _weakest(answer: Comparison, known: Extras, main: str) -> str:
    """The asked-for ratio that supports the verdict least, with its number: a headline must not hide it."""
    ratio = answer.ratios[main].value or 1.0
    dense_ahead = leads(ratio) != "MoE"
    asked = {r.name: r.value for r in known.headline.rows if r.value is not None and not r.assumed}
    name = (min if dense_ahead else max)(asked, key=lambda n: asked[n])
    value = asked[name]
    if leads(value) in (leads(ratio), "neither") and abs(value / ratio - 1) < CLOSE:
        return ""
    where = _place(answer, name)
    if leads(value) not in ("neither", leads(ratio)):
        return f", but {where} {_ahead(answer, value)}"
    return f", but only {value if dense_ahead else 1 / value:.3g}x {where}"


def _ahead(answer: Comparison, value: float, verb: str = "leads by") -> str:
    """'the MoE leads by 1.4x' at a ratio R = dense over MoE: the convention of the sentence."""
    if leads(value) == "neither":
        return "it is a tie"
    mixed, plain = bool(answer.moe.counted.moe_layers), not answer.dense.counted.moe_layers
    names = ("dense", "the MoE") if mixed and plain else (answer.opponent.name, answer.model.name)
    return f"{names[0] if value > 1 else names[1]} {verb} {max(value, 1 / value):.2g}x"


def _serves(one: Side) -> str:
    if one.point is None:
        return "fits"
    return f"serves {one.point.rate:,.0f} tokens/s at batch {one.point.batch:,.0f}"


def _unfit(one: Side) -> str:
    """'does not fit (not even one sequence ...) and needs 8 devices'."""
    if one.largest is not None:
        return f"does not run as asked ({one.reason})"
    if one.reason.startswith("no layout of"):
        return f"does not run ({one.reason})"
    n = one.devices_needed
    need = f"needs {n:,} of these devices" if n else "fits no cluster of these devices that was tried"
    return f"does not fit and {need}"


def limits(answer: Comparison, known: Extras | None = None) -> list[str]:
    """What the answer does not settle, most important first."""
    known = known or extras(answer)
    out = [_quality(answer, known)] if not own_match(answer) else []
    tier, ratio = answer.ground.efficiency.name, answer.ratios[lead_ratio(answer)].value
    if tier in ("bandwidth", "ideal"):
        out.append(f"real speeds (tier {tier} is a bound)")
    elif within_error(answer, ratio) and not own_match(answer):
        out.append("real speeds (the lead is within the error of the tier)")
    bold = extrapolated(answer)
    if bold:
        several = f"layouts {' and '.join(bold)} run" if len(bold) > 1 else f"layout {bold[0]} runs"
        out.append(f"that {several} as computed (no measured deployment uses {'them' if len(bold) > 1 else 'it'})")
    if answer.scenario.layout.strip().lower() == "pooled":
        out.append("that a real layout reaches the pooled ideal")
    if known.illustrated and not own_match(answer):
        out.append(_request(answer, known.request))
    return out


def _quality(answer: Comparison, known: Extras) -> str:
    e = answer.q_evidence
    if e is None:
        return f"that {answer.model.name} and {answer.opponent.name} are equally good"
    if e.origin == "stated" and e.interval90[0] == e.interval90[1]:
        return f"that q is {answer.q:.3g} (it was given)"
    source = {"stated": "as given", "estimate": "from matched pairs"}.get(e.origin, f"by {e.origin}")
    low, high = e.interval90
    spread = f"90% between {low:.3g} and {high:.3g}" if low != high else "one value"
    return f"q ({source}, {spread}{_sure(answer, known)}{_conventions(answer, known)})"


def _sure(answer: Comparison, known: Extras) -> str:
    """'; dense leads below q = 15.9, where over 99% of the evidence lies'."""
    if known.odds is None:
        return ""
    name = lead_ratio(answer)
    chance = known.odds.p_above.get(name)
    if chance is None:
        return ""
    flips = [f for f in known.odds.flips if f.ratio == name]
    dense = chance >= 0.5
    share = chance if dense else 1.0 - chance - known.odds.p_unfit[name]
    side = "dense" if dense else "the MoE"
    if len(flips) != 1:
        return f"; {side} leads over {_percent(share)} of it"
    where = "below" if dense != flips[0].rising else "above"
    return f"; {side} leads {where} q = {flips[0].q:.3g}, where {_percent(share)} of it lies"


def _conventions(answer: Comparison, known: Extras) -> str:
    """'; matched at equal-flop no dense model may exist (98%)': where another convention would say otherwise."""
    e, flips = answer.q_evidence, [f.q for f in known.odds.flips if f.ratio == lead_ratio(answer)] if known.odds else []
    out = []
    for name, spread in e.conventions().items():
        missing = getattr(spread, "p_unreachable", 0.0)
        if name != e.convention and missing >= 0.5:
            out.append(f"matched at {name} no dense model may exist ({_percent(missing)})")
            continue
        low, high = sorted((answer.q, spread.median))
        if sum(low < q < high for q in flips) % 2:
            out.append(f"matched at {name}, q = {spread.median:.3g}, the verdict turns")
    return "".join(f"; {text}" for text in out)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if 0.005 <= share <= 0.995 else ("over 99%" if share > 0.5 else "under 1%")


def _request(answer: Comparison, found: Requests) -> str:
    """'whole requests: with 8k in, 1k out the verdict turns, dense leads by 1.3x'."""
    if found.value is None:
        return "whole requests (none asked for)"
    shape = f"{show(found.shape.input, 'tokens')} in, {show(found.shape.output, 'tokens')} out"
    main = answer.ratios[lead_ratio(answer)].value
    if main is None or leads(found.value) == "neither":
        return f"whole requests (at {shape} {_ahead(answer, found.value)})"
    if leads(found.value) == leads(main):
        return f"whole requests (at {shape} {_ahead(answer, found.value)} too)"
    return f"whole requests (at {shape} the verdict turns: {_ahead(answer, found.value)})"


def request_line(known: Extras) -> str:
    """One sentence on whole requests, marked where nobody asked for one."""
    text = request_sentence(known.request)
    return f"{text[:1].upper()}{text[1:]}" + (" (an example: give --input and --output)." if known.illustrated else ".")
