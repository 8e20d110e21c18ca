"""Who serves more, rule by rule: the one the answer leads with, and those under which somebody else does.

What the report, the page and a notebook put at the top; the rules and their order are those of the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..answer import ratio_rows
from ..answer.stated import lead_ratio
from ..answer.words import only_split
from ..compare import Comparison
from ..fair import leads
from ..plots.data import names
from ..requests import requests
from ..units import show

UNFIT = ("moe_infeasible", "dense_infeasible", "neither_fits")
LEADERS = {"dense": "dense", "MoE": "moe", "neither": "tie"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """R under one rule. label: as a table names it; where: as a sentence does; leader: dense, moe, tie or '' (none).

    beside: the shape of a request; assumed: nobody asked for this request, it is an example.
    """

    name: str
    label: str
    where: str
    ratio: float | None
    leader: str
    batches: str = "-"
    rates: str = "-"
    reason: str = ""
    beside: str = ""
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Standing:
    """winner: dense, moe, tie or what does not fit; lead: the rule the answer leads with; others: the rest, in order.

    names: what R compares, ('MoE', 'dense') or the models' own names.
    """

    winner: str
    lead: Rule
    others: tuple[Rule, ...]
    names: tuple[str, str]

    @property
    def turned(self) -> tuple[Rule, ...]:
        """Rules under which somebody else serves more than under the one led with."""
        if self.winner in UNFIT:
            return ()
        return tuple(r for r in self.others if r.leader not in ("", "tie", self.winner))


def standing(answer: Comparison, request: Any = None) -> Standing:
    """Who serves more under every rule. request: the requests.Requests of the answer, worked out here without one."""
    found = {r.name: r for r in _rules(answer, request)}
    lead = found.pop(lead_ratio(answer))
    if only_split(answer) is not None:
        lead = replace(lead, beside="only with context or pipeline parallelism")
    winner = answer.verdict if answer.verdict in UNFIT else (lead.leader or "tie")
    return Standing(winner=winner, lead=lead, others=tuple(found.values()), names=names(answer))


def _rules(answer: Comparison, request: Any) -> list[Rule]:
    texts = dict(zip(answer.ratios, ratio_rows(answer), strict=False))
    out = []
    for name, ratio in answer.ratios.items():
        label, _, batches, rates, reason = texts.get(name, (name, "", "-", "-", ratio.reason))
        out.append(
            Rule(
                name=name, label=_label(answer, name, label), where=_where(answer, name), ratio=ratio.value,
                leader=_leader(ratio.value), batches=batches, rates=rates, reason=reason,
                beside=_shape(ratio.detail) if name == "request" else "",
            )
        )  # fmt: skip
    if "request" not in answer.ratios and answer.moe.fits and answer.dense.fits:
        made = request or requests(answer)
        shape = _shape(made)
        out.append(
            Rule(
                name="request", label=f"per whole request, {shape} (an example)", where="per whole request",
                beside=shape, ratio=made.value, leader=_leader(made.value), reason=made.reason, assumed=True,
            )
        )  # fmt: skip
    return out


def _leader(ratio: float | None) -> str:
    return "" if ratio is None else LEADERS[leads(ratio)]


def _shape(made: Any) -> str:
    hit = f", {float(made.shape.prefix_hit):.0%} cached" if float(made.shape.prefix_hit) else ""
    return f"{show(float(made.shape.input), 'tokens')} in, {show(float(made.shape.output), 'tokens')} out{hit}"


def _label(answer: Comparison, name: str, text: str) -> str:
    if name == "request":
        return f"per whole request, {_shape(answer.ratios[name].detail)}"
    return {"max_batch": "at largest batches", "equal_batch": f"at {text}"}.get(name, text)


def _where(answer: Comparison, name: str) -> str:
    """'at batch 64', 'within 50 ms per token': the rule inside a sentence."""
    at = answer.ratios[name].at
    if name == "equal_batch" and at is not None:
        return f"at batch {at:,.0f} on both sides"
    if name == "tpot" and at is not None:
        return f"within {show(at, 's', 3)} per token"
    if name == "request":
        return "per whole request"
    return "at the largest batches"


def more(rule: Rule, names: tuple[str, str]) -> str:
    """'dense, 1.59×': who serves more under a rule, and how much."""
    if rule.ratio is None:
        return "-"
    if rule.leader == "tie":
        return "neither"
    return f"{names[1]}, {rule.ratio:.2f}×" if rule.leader == "dense" else f"{names[0]}, {1 / rule.ratio:.2f}×"


HEAD = ("rule", "who serves more", "R", "batch MoE / dense", "tokens/s MoE / dense", "why there is none")


def table(found: Standing) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The rules as a table, the one led with first; the last column only where it says something.

    No rows where a side does not fit: then no rule has an answer, and the sentence says why.
    """
    moe, dense = found.names
    head = tuple(h.replace("MoE / dense", f"{moe} / {dense}") for h in HEAD)
    if found.winner in UNFIT:
        return head, []
    rows = [
        (r.label, more(r, found.names), "-" if r.ratio is None else f"{r.ratio:.2f}", r.batches, r.rates, r.reason)
        for r in (found.lead, *found.others)
    ]
    width = 6 if any(row[5] for row in rows) else 5
    return head[:width], [row[:width] for row in rows]
