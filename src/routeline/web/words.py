"""The page's own sentences, as Markdown in which every name is inert. Knows no Streamlit."""

from __future__ import annotations

import re

from ..answer.words import parted
from ..plots.data import IGNORE_FIT
from ..report.standing import UNFIT, Rule
from .view import View

_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$:~&=^])")
COLOURS = {"dense": "blue", "moe": "orange"}


def md(text: object) -> str:
    """Text that Markdown, LaTeX and Streamlit's own directives leave as it is."""
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def subjects(found: View) -> dict[str, str]:
    """Who wins, as the subject of a sentence."""
    moe, dense = found.standing.names
    if (moe, dense) == ("MoE", "dense"):
        return {"moe": "the MoE", "dense": "the dense model"}
    return {"moe": moe, "dense": dense}


def headline(found: View) -> str:
    """The verdict in a few words, equally loud whoever wins; the same side leads as in the sentence."""
    stands, who = found.standing, subjects(found)
    if stands.winner in COLOURS:
        where = stands.lead.where if stands.lead.name != "max_batch" or found.asked else ""
        return _wins(stands.lead, who[stands.winner], where)
    return {
        "tie": "A tie: both serve the same within 2%",
        "moe_infeasible": f":blue[{md(up(who['dense']))} wins: {md(who['moe'])} does not fit]",
        "dense_infeasible": f":orange[{md(up(who['moe']))} wins: {md(who['dense'])} does not fit]",
    }.get(stands.winner, ":red[Neither model fits]")


def turned(found: View) -> list[str]:
    """One line for each other rule under which somebody else wins, as loud as the headline."""
    who = subjects(found)
    return [_wins(r, who[r.leader], r.where) for r in found.standing.turned]


def _wins(rule: Rule, name: str, where: str) -> str:
    """'At batch 2 on both sides the MoE wins: 1.07 times the tokens per second', in the winner's colour."""
    assert rule.ratio is not None
    factor = rule.ratio if rule.leader == "dense" else 1 / rule.ratio
    what = "requests" if rule.name == "request" else "tokens per second"
    beside = f" ({rule.beside}{', an example' if rule.assumed else ''})" if rule.beside else ""
    text = f"{where} {name} wins: {factor:.3g} times the {what}{beside}".strip()
    return f":{COLOURS[rule.leader]}[{md(up(text))}]"


def up(text: str) -> str:
    """A sentence's first letter large, unless it begins with a name or a symbol ('gpt-oss-120b', 'q')."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first == "a" or (len(first) > 1 and first.rstrip(",:;").isalpha()) else text


def finding(found: View) -> tuple[str, str]:
    """(what the sentence finds, what it says is not established or '')."""
    lead, sure, rest = parted(plainly(found.sentence))
    return f"{lead} {sure}".strip(), rest


def settled(found: View) -> bool:
    """Whether a ratio exists at all."""
    return found.standing.winner not in UNFIT


SETTINGS = {
    "dense": "compared with",
    "input": "prompt tokens",
    "output": "output tokens",
    "utilisation": "memory used",
    "tpot": "limit on time per token",
    "extend-context": "allow a context past the model's limit",
}
"""Flag -> the page's name of it, where they differ."""
SERVER = ("allow-hub", "silicon")
_FLAG = re.compile(r"--([a-z][a-z-]*)")


def plainly(text: str) -> str:
    """A warning or refusal of the library without its flags: the page has settings instead."""
    text = text.replace(IGNORE_FIT, "")
    return _FLAG.sub(lambda m: m[0] if m[1] in SERVER else f"the setting “{SETTINGS.get(m[1], m[1])}”", text)
