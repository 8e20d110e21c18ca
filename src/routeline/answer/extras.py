"""What is derived from a finished Comparison: odds over q, break-evens, whole requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..breakeven import break_evens
from ..breakeven import payload as break_even_payload
from ..compare import Comparison
from ..fair import Choice, Headline, headline, what_matters
from ..odds import Odds, odds
from ..requests import Requests, requests


@dataclass(frozen=True, kw_only=True)
class Extras:
    """odds: how sure the verdict is over q (None for a named opponent); break_evens: by variable;
    request: R per request, of the scenario's request or (illustrated) of the context in and 1k out;
    headline: the weakest of the ratios; choices: silent choices changed alone, the weightiest first."""

    odds: Odds | None
    break_evens: Mapping[str, tuple[Any, ...]]
    request: Requests
    illustrated: bool
    headline: Headline
    choices: tuple[Choice, ...]


def extras(answer: Comparison) -> Extras:
    """Work out everything that an answer says beyond the two sides (some 50 ms; the Comparison takes few)."""
    asked = answer.ratios["request"].detail if "request" in answer.ratios else None
    return Extras(
        odds=odds(answer), break_evens=break_evens(answer), request=asked or requests(answer),
        illustrated=asked is None, headline=headline(answer), choices=what_matters(answer),
    )  # fmt: skip


def evidence_payload(answer: Comparison, known: Odds | None) -> dict[str, Any] | None:
    """`q_evidence`: where q comes from, its spread, and what that does to every verdict."""
    e = answer.q_evidence
    if e is None:
        return None
    out = {
        "median": e.median,
        "interval50": e.interval50,
        "interval90": e.interval90,
        "convention": e.convention,
        "origin": e.origin,
        "p_qs_below_1": e.p_static,
        "p_unreachable": e.p_unreachable,
        "conventions": {name: d.median for name, d in e.conventions().items()},
    }
    if known is None:
        return out
    return out | {
        "p_batch_above_break_even": known.p_beyond_break_even,
        "p_dense_wins": known.p_above,
        "p_no_answer": known.p_unfit,
        "flips": [{"ratio": f.ratio, "q": f.q, "rising": f.rising} for f in known.flips],
        "scanned": known.scanned,
    }


def request_payload(found: Requests, illustrated: bool) -> dict[str, Any]:
    """`request`: both sides' seconds of the whole cluster for one request, by phase."""

    def cost(one: Any) -> dict[str, Any] | None:
        if one is None:
            return None
        return {
            "layout": str(one.layout), "batch": one.batch, "prefill_s": one.prefill, "decode_s": one.decode,
            "mixed_s": one.mixed, "prefill_share": one.prefill_share, "first_token_s": one.first_token,
            "requests_per_s": one.rate,
        }  # fmt: skip

    return {
        "input": found.shape.input, "output": found.shape.output, "prefix_hit": found.shape.prefix_hit,
        "illustrated": illustrated, "ratio": found.value, "ratio_mixed": found.mixed, "ratio_prefill": found.prefill,
        "ratio_decode": found.decode, "reason": found.reason, "moe": cost(found.moe), "dense": cost(found.dense),
    }  # fmt: skip


def headline_payload(found: Headline) -> dict[str, Any]:
    """`headline`: one sentence on the weakest ratio, and that ratio."""
    w = found.weakest
    weakest = None if w is None else {"ratio": w.name, "label": w.label, "value": w.value, "assumed": w.assumed}
    return {"sentence": found.sentence, "weakest": weakest}


__all__ = ["Extras", "break_even_payload", "evidence_payload", "extras", "headline_payload", "request_payload"]
