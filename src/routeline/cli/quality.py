"""`routeline quality`: what is known of a model's q."""

from __future__ import annotations

from typing import Any

import click

from ._options import CLUSTER, command, json_option, model_argument, scenario_options
from ._show import console, emit, table


@command(example="routeline quality DeepSeek-V3")
@model_argument
@click.option("-d", "--devices", metavar="CLUSTER", help=f"Add the odds of each verdict there: {CLUSTER}")
@scenario_options()
@json_option
def quality(model: str, devices: str | None, given: dict[str, Any], as_json: bool) -> None:
    """Every law and matched pair on q of MODEL side by side, with sources, and the estimate they leave.

    q is the size multiplier: the dense model of equal quality has q times the MoE's active parameters.
    """
    from .. import resolve
    from ..answer import clean

    asked = resolve.scenario(given)
    subject = resolve.model(model)
    evidence = resolve.q_of(subject, asked)
    chances = None
    if devices is not None:
        from ..odds import odds

        chances = odds(resolve.ask(subject, devices, asked))
    if as_json:
        found = {"schema_version": 1} | evidence.to_dict()
        if devices is not None:
            found["p_dense_wins"] = chances.p_above if chances else None
            found["p_no_answer"] = chances.p_unfit if chances else None
            found["no_answer_above"] = chances.stops if chances else None
            found["flips"] = chances.flips if chances else []
        emit(clean(found))
    else:
        _print(evidence, chances)


def _print(evidence: Any, chances: Any) -> None:
    out, found = console(), evidence.to_dict()
    out.print(_sentence(found), style="bold")
    rows = [
        (c["convention"], _number(c["q"]["median"]), _range(c["q"]["interval50"]), _range(c["q"]["interval90"]),
         f"{c['p_qs_below_1']:.3f}", f"{c['p_unreachable']:.2f}")
        for c in found["conventions"]
    ]  # fmt: skip
    out.print(table(["matched at", "q", "50%", "90%", "P(qs < 1)", "P(no dense match)"], rows))
    laws = [
        (r["name"], _number(r["q"]), "yes" if r["in_range"] else "no",
         ". ".join(t for t in (r["source"], r["warning"]) if t))
        for r in found["laws"]
    ]  # fmt: skip
    out.print(table(["law", "q", "in range", "source and warning"], laws, left=4))
    if found["pairs"]:
        pairs = [
            (f"{p['ladder']}: {p['benchmark']}", p["source"], _number(p["q"]), p["class"], p["status"],
             "yes" if p["enters"] else p["why_not"])
            for p in found["pairs"]
        ]  # fmt: skip
        columns = [f"matched pairs of {found['model']}", "source", "q", "class", "", "enters"]
        out.print(table(columns, pairs, left=2))
    for note in found["notes"]:
        out.print(f"Note: {note}.")
    if chances is not None:
        odds = [
            (name, "-" if p is None else f"{p:.3f}", f"{chances.p_unfit[name]:.3f}", _flips(chances, name))
            for name, p in chances.p_above.items()
        ]
        out.print(table(["R at", "P(dense ahead)", "P(no answer)", "R passes 1 at q"], odds))


def _sentence(found: dict[str, Any]) -> str:
    q = found["q"]
    if q["median"] is None:
        return f"Matched at {q['convention']}, no dense model is expected to reach the quality of {found['model']}."
    low, high = q["interval90"]
    spread = "" if low == high else f"90% {_range(q['interval90'])}; "
    return (
        f"q of {found['model']} is {q['median']:.3g} ({spread}{q['origin']}, "
        f"{q['convention']}): the dense model of equal quality has q x {found['s']:.4f} = "
        f"{q['median'] * found['s']:.3g} times the MoE's parameters."
    )


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}"


def _range(pair: Any) -> str:
    if None in (pair[0], pair[1]):
        low = "no dense match" if pair[0] is None else f"{_number(pair[0])} to no dense match"
        return low
    return f"{_number(pair[0])} to {_number(pair[1])}" if pair[0] != pair[1] else _number(pair[0])


def _flips(chances: Any, name: str) -> str:
    ahead, stop = chances.p_above[name], chances.stops[name]
    if ahead is None:
        return "the dense model has no answer at any q"
    said = ", ".join(f"{f.q:.3g}" for f in chances.flips if f.ratio == name)
    if not said:
        said = f"nowhere ({'dense' if ahead > 0.0 else 'the MoE'} ahead)"
    return said if stop is None else f"{said}; {_STOPS.get(name, _STOPS['max_batch'])} above q = {stop:.3g}"


_STOPS = {
    "max_batch": "the dense model does not fit",
    "equal_batch": "the dense model does not hold that batch",
    "tpot": "the dense model has no batch within that TPOT",
}  # fmt: skip
