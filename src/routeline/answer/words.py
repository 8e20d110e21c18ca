"""The verdict in words: who wins and where, how sure that is over q, and what is not established."""

from __future__ import annotations

import math
import re

from ..compare import TIE, Comparison, Side
from ..fair import WITHOUT, Choice, lead_ratio, leads, plain_layouts
from ..requests import Requests
from ..requests import sentence as request_sentence
from ..units import show
from .extras import Extras, extras
from .stated import extrapolated, own_match, tier_words, within_error

NAMES = {
    "max_batch": "largest batches",
    "equal_batch": "equal batch",
    "tpot": "equal latency",
    "request": "per request",
}
"""What each ratio compares, in words."""
MATCHING = {
    "equal-tokens": "equal training tokens",
    "equal-flop": "equal training FLOP",
    "compute-optimal": "compute-optimal training of both",
}
"""Matching conventions, in words."""
OPEN = "Not established: "
SETTLED = 0.95
"""Share of the evidence on q above which q is not listed as open."""


def verdict(answer: Comparison, known: Extras | None = None) -> str:
    """The headline, how sure it is and what is not established: two or three sentences.

    "Dense wins: the matched dense model of 75.1 B serves 4.53x the tokens/s of DeepSeek-V3 ...".
    """
    known = known or extras(answer)
    return " ".join(
        text for text in (headline(answer, known), how_sure(answer, known), still_open(answer, known)) if text
    )


def parted(text: str) -> tuple[str, str, str]:
    """A verdict's text as (headline, how sure it is or '', what is not established or '')."""
    found, _, rest = text.partition(f" {OPEN}")
    lead, stop, sure = found.partition("). ")
    return lead + stop.rstrip(), sure, rest


def headline(answer: Comparison, known: Extras | None = None) -> str:
    """Who wins, by how much, and under what: one sentence."""
    return f"{_outcome(answer, known or extras(answer))} ({_setting(answer)})."


def still_open(answer: Comparison, known: Extras | None = None) -> str:
    """'Not established: ...' with everything in `limits`; '' where nothing is open."""
    open_ = limits(answer, known)
    return f"{OPEN}{'; '.join(open_)}." if open_ else ""


def sides(answer: Comparison) -> tuple[str, str]:
    """What to call the two sides in a table: 'MoE' and 'dense', or their names where that is not what they are."""
    if own_match(answer):
        return "model", "its match"
    mixed, plain = bool(answer.moe.counted.moe_layers), not answer.dense.counted.moe_layers
    return ("MoE", "dense") if mixed and plain else (answer.model.name, answer.opponent.name)


def short_name(one: Side) -> str:
    """A side's name for a column head: 'matched dense (same attention)' for a dense match."""
    return re.sub(r"^dense match of .*(\([a-z ]+\))$", r"matched dense \1", one.name)


def rival(answer: Comparison) -> str:
    """The opponent by name: 'the matched dense model of 75.1 B' or 'Llama-3.1-70B'."""
    from ..counts import total

    if answer.opponent.architecture == "matched dense":
        return f"the matched dense model of {show(float(total(answer.opponent)), 'count', 3)}"
    return answer.opponent.name


def ahead(answer: Comparison, value: float, verb: str = "leads by") -> str:
    """'the MoE leads by 1.4x' at a ratio R = dense over MoE: the convention of the headline."""
    side = leads(value)
    if side == "neither":
        return "it is a tie"
    moe, dense = ("the MoE" if n == "MoE" else n for n in sides(answer))
    return f"{dense if side == 'dense' else moe} {verb} {max(value, 1 / value):.3g}x"


def _setting(answer: Comparison) -> str:
    pair = answer.ratios[lead_ratio(answer)]
    points = [pair.moe or answer.moe.point, pair.dense or answer.dense.point]
    shown = list(dict.fromkeys(str(p.layout) for p in points if p is not None))
    layout = [f"layout{'s' if len(shown) > 1 else ''} {' and '.join(shown)}"] if shown else []
    q = [] if own_match(answer) else [f"q = {answer.q:.3g}"]
    context = f"{show(answer.scenario.context, 'tokens')} context"
    return ", ".join([context, answer.cluster.name, *q, *layout, tier_words(answer)])


def _outcome(answer: Comparison, known: Extras) -> str:
    moe, other, kind = answer.model.name, rival(answer), answer.verdict
    if kind == "neither_fits":
        return f"Neither fits: {moe} {_unfit(answer.moe)}, and {other} {_unfit(answer.dense)}"
    if kind == "moe_infeasible":
        return f"Dense by default: {moe} {_unfit(answer.moe)}, while {other} {_serves(answer.dense)}"
    if kind == "dense_infeasible":
        return f"MoE by default: {other} {_unfit(answer.dense)}, while {moe} {_serves(answer.moe)}"
    if own_match(answer):
        return (
            f"Nothing to decide: {moe} is dense and its own match, and {_serves(answer.moe)}; name another with --dense"
        )
    name = lead_ratio(answer)
    pair = answer.ratios[name]
    ratio = pair.value or 1.0
    kind = {"neither": "tie", "MoE": "moe", "dense": "dense"}[leads(ratio)]
    first, behind, factor, one, two = (
        (moe, other, 1.0 / ratio, pair.moe, pair.dense) if kind == "moe" else (other, moe, ratio, pair.dense, pair.moe)
    )
    plain = sides(answer) == ("MoE", "dense")
    named = {"dense": "Dense wins", "moe": "MoE wins"}.get(kind, "") if plain else f"{first} wins"
    head = "A tie" if kind == "tie" else named
    batches = f", batch {one.batch:,.0f} against {two.batch:,.0f}" if one and two else ""
    subject = "it" if head.startswith(first) else first
    where = f" {_place(answer, name)}" if name != "max_batch" else ""
    turned = only_split(answer)
    where += " only with context or pipeline parallelism" if turned else ""
    shown = f"{factor:.4g}" if abs(factor - 1.0) < 2.0 * TIE else f"{factor:.3g}"  # tells a tie from a lead
    text = f"{head}{where}: {subject} serves {shown}x the tokens/s of {behind}"
    without = f"; in layouts without either {_instead(answer, turned)}" if turned else ""
    unmet = _unmet(answer)
    text = text[:1].lower() + text[1:] if unmet and text.startswith(("Dense", "A tie")) else text
    return f"{unmet}{text}{'' if name == 'equal_batch' else batches}{_weakest(answer, known, name)}{without}"


def only_split(answer: Comparison) -> Choice | None:
    """What becomes of a verdict in layouts without context and pipeline parallelism, where that turns it."""
    if answer.ground.efficiency.kernels is None or not extrapolated(answer):
        return None
    return next((c for c in plain_layouts(answer) if c.flips), None)


def _instead(answer: Comparison, choice: Choice) -> str:
    return said(answer, choice.verdict) if choice.ratio is None else ahead(answer, choice.ratio)


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
    return f"No answer {_place(answer, name)} ({answer.ratios[name].reason}); at largest batches instead, "


CLOSE = 0.05
"""Ratios within 5% of each other are not told apart in the headline."""


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
    if leads(value) != leads(ratio):
        return f", but {where} {ahead(answer, value)}"
    return f", but only {value if dense_ahead else 1 / value:.3g}x {where}"


def _serves(one: Side) -> str:
    if one.point is None:
        return "fits"
    return f"serves {one.point.rate:,.0f} tokens/s at batch {one.point.batch:,.0f}"


def _unfit(one: Side) -> str:
    """'does not fit and needs 8 of these devices', or why it does not run as asked."""
    if one.largest is not None or one.held:
        return f"does not run as asked ({one.reason})"
    n = one.devices_needed
    need = f"needs {n:,} of these devices" if n else "fits no cluster of these devices that was tried"
    return f"does not fit and {need}"


def how_sure(answer: Comparison, known: Extras | None = None) -> str:
    """'Dense leads at every q below 16.3, where over 99% of the evidence lies (...).'; '' where q has no spread."""
    known = known or extras(answer)
    e, name = answer.q_evidence, lead_ratio(answer)
    chance = known.odds.p_above.get(name) if known.odds is not None else None
    if chance is None or known.odds is None or e.interval90[0] == e.interval90[1]:
        return ""
    flips = [f for f in known.odds.flips if f.ratio == name]
    dense, share = _leader_over_q(answer, known, chance)
    who, only = sides(answer)[1 if dense else 0], "" if share >= 0.5 else "only "
    who = "the MoE" if who == "MoE" else who
    if len(flips) == 1 and leads(answer.ratios[name].value or 1.0) == "neither":
        moe, plain = ("the MoE" if n == "MoE" else n for n in sides(answer))
        below, above = (plain, moe) if not flips[0].rising else (moe, plain)
        text = f"{below} is ahead below q = {flips[0].q:.3g}, {above} above"
        text += f"; {_percent(share)} of the evidence is for {who}"
    elif len(flips) == 1:
        where = "below" if dense != flips[0].rising else "above"
        at = f"{only}at q" if only else "at every q"
        text = f"{who} leads {at} {where} {flips[0].q:.3g}, where {_percent(share)} of the evidence lies"
    else:
        text = f"{who} leads {only}at {_percent(share)} of what q may be"
    if name != "max_batch":
        text = f"{_place(answer, name)} {text}"
    if only_split(answer) is not None:
        text = f"in these layouts {text}"
    source = {"stated": "the range given", "estimate": "matched pairs"}.get(e.origin, f"the {e.origin}")
    stop, unfit = known.odds.stops.get(name), known.odds.p_unfit.get(name, 0.0)
    room = f"; above q = {stop:.3g} it has no answer ({_percent(unfit)})" if stop is not None and unfit > 0.005 else ""
    return f"{text[:1].upper()}{text[1:]} ({source} at {MATCHING[e.convention]}, {_spread(e.interval90)}{room})."


def _spread(interval: tuple[float, float]) -> str:
    """'90% between 2.59 and 8.65'; the upper end may be that no dense model is as good."""
    low, high = interval
    return f"90% between {low:.3g} and {f'{high:.3g}' if math.isfinite(high) else 'no dense match'}"


def _leader_over_q(answer: Comparison, known: Extras, chance: float) -> tuple[bool, float]:
    """(whether it is dense, the share of q over which it leads) of the headline's leader; of the likelier at a tie."""
    assert known.odds is not None
    name = lead_ratio(answer)
    other = 1.0 - chance - known.odds.p_unfit[name]
    side = leads(answer.ratios[name].value or 1.0)
    dense = side == "dense" or (side == "neither" and chance >= other)
    return dense, chance if dense else other


def limits(answer: Comparison, known: Extras | None = None) -> list[str]:
    """What the answer does not settle, most important first."""
    known = known or extras(answer)
    if own_match(answer):
        return []
    out = [*_quality(answer, known), *_conventions(answer, known)]
    tier, ratio = answer.ground.efficiency.name, answer.ratios[lead_ratio(answer)].value
    if tier in ("bandwidth", "ideal"):
        out.append(f"real speeds (tier {tier} is a bound)")
    elif within_error(answer, ratio):
        out.append("real speeds (the lead is within the error of the tier)")
    if bold := extrapolated(answer):
        these = f"layout {bold[0]} runs" if len(bold) == 1 else "these layouts run"
        out.append(f"that {these} as computed (no measured deployment uses context or pipeline parallelism)")
    if answer.scenario.layout.strip().lower() == "pooled":
        out.append("that a real layout reaches the pooled ideal")
    if not known.illustrated and within_error(answer, known.request.value):
        out.append("who serves requests faster (the lead is within the error of the tier)")
    if known.illustrated and known.request.value is not None and leads(known.request.value) != leads(ratio or 1.0):
        out.append(_request(answer, known.request))
    return out


def _quality(answer: Comparison, known: Extras) -> list[str]:
    """What is open about q: a q that was given or is one value, or evidence that does not settle the verdict."""
    e = answer.q_evidence
    if e is None:
        return [f"that {answer.model.name} and {answer.opponent.name} are equally good"]
    low, high = e.interval90
    if e.origin == "stated" and low == high:
        return [f"that q is {answer.q:.3g} (it was given)"]
    name, odds = lead_ratio(answer), known.odds
    chance = odds.p_above.get(name) if odds is not None else None
    source = {"stated": "as given", "estimate": "from matched pairs"}.get(e.origin, f"by the {e.origin}")
    if low == high:
        return [f"q ({source}, one value{_flip(answer, known)})"]
    if chance is None:
        return [f"q ({source}, {_spread(e.interval90)})"]
    share = _leader_over_q(answer, known, chance)[1]
    return [f"q ({_percent(share)} of the evidence agrees)"] if share < SETTLED else []


def _flip(answer: Comparison, known: Extras) -> str:
    """'; the verdict turns at q = 8.1' for a q of one value."""
    found = [f.q for f in known.odds.flips if f.ratio == lead_ratio(answer)] if known.odds is not None else []
    return f"; the verdict turns at q = {' and '.join(f'{q:.3g}' for q in found)}" if found else ""


def _conventions(answer: Comparison, known: Extras) -> list[str]:
    """Matching conventions under which the verdict would be another one, or no dense model would be as good."""
    e, odds, main = answer.q_evidence, known.odds, lead_ratio(answer)
    if e is None:
        return []
    flips = [f.q for f in odds.flips if f.ratio == main] if odds is not None else []
    out = []
    for name, spread in e.conventions().items():
        missing = getattr(spread, "p_unreachable", 0.0)
        if name != e.convention and missing >= 0.5:
            out.append(f"a match at {MATCHING[name]} ({_percent(missing)} that no dense model is as good)")
            continue
        low, high = sorted((answer.q, spread.median))
        if sum(low < q < high for q in flips) % 2:
            out.append(f"a match at {MATCHING[name]} (q = {spread.median:.3g}: the verdict turns)")
    return out


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if 0.005 <= share <= 0.995 else ("over 99%" if share > 0.5 else "under 1%")


def _request(answer: Comparison, found: Requests) -> str:
    """'whole requests (at 8k in, 1k out the verdict turns: dense leads by 1.3x)'."""
    assert found.value is not None
    shape = f"{show(found.shape.input, 'tokens')} in, {show(found.shape.output, 'tokens')} out"
    if leads(found.value) == "neither" or answer.ratios[lead_ratio(answer)].value is None:
        return f"whole requests (at {shape} {ahead(answer, found.value)})"
    return f"whole requests (at {shape} the verdict turns: {ahead(answer, found.value)})"


def turns(answer: Comparison, known: Extras, most: int = 4) -> str:
    """'The verdict turns with dense shape standard (R = 0.41), ...': choices that flip it when only they change.

    '' where none does. A ratio that moves by less than a tie is wide, across its edge, turns nothing.
    """
    base = answer.ratios[lead_ratio(answer)].value
    moved = (c for c in known.choices if c.ratio is None or base is None or abs(c.ratio / base - 1.0) > TIE)
    told = WITHOUT if only_split(answer) is not None else ""
    every = [] if own_match(answer) else [c for c in moved if c.flips and c.name != told]
    found, more = every[:most], len(every) - most
    shown = [
        f"{'layouts without cp and pp' if c.name == WITHOUT else f'{c.name} {c.instead}'} "
        f"({said(answer, c.verdict) if c.ratio is None else f'R = {c.ratio:.2f}'})"
        for c in found
    ]
    rest = f" and {more} more" if more > 0 else ""
    return f"The verdict turns with {', '.join(shown)}{rest}." if shown else ""


def said(answer: Comparison, code: str) -> str:
    """A verdict code in words with the names of the sides: 'dense ahead', 'Qwen3-32B does not fit'."""
    moe, dense = sides(answer)
    return {
        "dense": f"{dense} ahead", "moe": f"{moe} ahead", "tie": "a tie", "moe_infeasible": f"only {dense} fits",
        "dense_infeasible": f"only {moe} fits", "neither_fits": "neither fits",
    }[code]  # fmt: skip


def request_line(answer: Comparison, known: Extras) -> str:
    """One sentence on whole requests, marked where nobody asked for one."""
    text = request_sentence(known.request, sides(answer))
    return f"{text[:1].upper()}{text[1:]}" + (" (an example: give --input and --output)." if known.illustrated else ".")
