"""What a report says, as plain data; routeline.report.page and .markdown only dress it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import Any

from .. import __version__, counts
from ..compare import Comparison
from ..errors import RoutelineError
from ..scenario import Scenario
from ..units import show
from . import standing as stands
from .standing import Standing

CHARTS = (
    "throughput", "waterfall", "map", "memory", "step", "fragmentation", "roofline", "interactivity", "request", "q",
    "evidence", "cluster", "width",
)  # fmt: skip
"""Charts of a report, in reading order; one that cannot be drawn for an answer is named with the reason."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""(header, rows), text only."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report before it is dressed. glance: (what, number, beside it); figures: plots.Figure; absent: (chart, why it
    is not there), one entry for all where the extra [plots] is missing."""

    title: str
    verdict: str
    standing: Standing
    glance: tuple[tuple[str, str, str], ...]
    facts: tuple[str, ...]
    sides: Table
    ratios: Table
    figures: tuple[Any, ...]
    absent: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    assumptions: Table
    sources: Table
    accuracy: str
    command: str
    version: str


def document(answer: Comparison, charts: tuple[str, ...] | None = None, command: str | None = None) -> Document:
    """Everything a report holds. charts: names of plots.CHARTS, default all that apply; command: as it was typed.

    Raises:
        RoutelineError: an unknown chart name, or charts asked for by name and the extra [plots] missing.
    """
    from ..requests import requests

    figures, absent = _figures(answer, charts)
    request = requests(answer)
    found = stands.standing(answer, request)
    matched = answer.opponent.architecture == "matched dense"
    return Document(
        title=f"{answer.model.name} or {'dense' if matched else answer.opponent.name}? {answer.cluster.name}, "
        f"{show(float(answer.scenario.context), 'tokens')} tokens of context",
        verdict=sentence(answer),
        standing=found,
        glance=glance(answer, found),
        facts=_facts(answer, request),
        sides=sides(answer),
        ratios=stands.table(found),
        figures=figures,
        absent=absent,
        warnings=answer.warnings,
        assumptions=ledger(answer),
        sources=_sources(answer),
        accuracy=accuracy(answer),
        command=command or command_of(answer, "report"),
        version=__version__,
    )


def glance(answer: Comparison, found: Standing) -> tuple[tuple[str, str, str], ...]:
    """The few numbers to look at first: R, its two factors, and what each side serves."""
    from ..answer.rows import number
    from ..plots.theme import digits

    out = []
    if found.lead.ratio is not None:
        moe, dense = found.names
        out.append((f"R, {dense} over {moe}", digits(found.lead.ratio), found.lead.where))
    if answer.reuse_penalty is not None and answer.headroom_gain is not None:
        out.append(("reuse penalty", f"{digits(answer.reuse_penalty)}×", "step time, same batch"))
        out.append(("headroom gain", f"{digits(answer.headroom_gain)}×", "from memory left over"))
    for name, one in zip(found.names, (answer.moe, answer.dense), strict=True):
        if one.point is None or not one.fits:
            need = f"needs {one.devices_needed:,} devices" if one.devices_needed else "on no size tried"
            out.append((name, "does not fit", need))
        else:
            rate = one.point.rate / answer.cluster.count
            out.append((f"{name}: tokens/s/device", number(rate),
                        f"batch {one.point.batch:,.0f}, {show(one.point.tpot, 's', 3)} per token"))  # fmt: skip
    return tuple(out)


def sentence(answer: Comparison) -> str:
    """The verdict in one sentence, as `routeline compare` prints it."""
    from .. import answer as words

    return words.verdict(answer)


def accuracy(answer: Comparison) -> str:
    """What the tier's numbers are worth: what it leaves out, and its measured error where one is known."""
    from ..answer.stated import tier_words

    name = answer.ground.efficiency.name
    text = f"Tier {name}: {answer.ground.efficiency.source}."
    if name == "bandwidth":
        return f"{text} A floor on step time, not a prediction: measured kernels and serving engines are slower."
    if name == "ideal":
        return (
            f"{text} Real engines add kernel inefficiency, launch and scheduling time, so both sides are slower in "
            "practice and a ratio near 1 is open."
        )
    return f"{text} Here: {tier_words(answer)}; {'; '.join(_stated(answer))}."


def _stated(answer: Comparison) -> list[str]:
    """'all measured rows 12%', 'DeepSeek 17%': mean errors of time per token, each family left out of the fit."""
    from ..answer.stated import tier_errors

    return [f"{'all measured rows' if n == 'all' else n} {e:.0%}" for n, e in tier_errors(answer).items()]


def _facts(answer: Comparison, request: Any) -> tuple[str, ...]:
    from .. import answer as say
    from ..requests import sentence as said

    active, total = float(counts.active(answer.model).all), float(counts.total(answer.model))
    matched = answer.opponent.architecture == "matched dense"
    size = f"q = {answer.q:.3g}" + (f", {answer.q_source}" if answer.q_source else "")
    static = (
        "the dense model is smaller than what the MoE keeps resident, which settles nothing alone"
        if answer.qs < 1
        else "the dense model is not smaller than what the MoE keeps resident"
    )
    out = [
        f"{answer.model.name}: {show(total, 'count')} parameters, {show(active, 'count')} used per token "
        f"(s = {answer.s:.4f}).",
        f"{'Size of the matched dense model' if matched else f'Size of {answer.opponent.name}'}: {size}; qs = "
        f"{answer.qs:.3g}: {static}.",
    ]
    if answer.reuse_penalty is not None and answer.headroom_gain is not None:
        out.append(
            f"R = {answer.throughput_ratio:.3g} = reuse penalty {answer.reuse_penalty:.3g} × headroom gain "
            f"{answer.headroom_gain:.3g}, dense over MoE throughput at the largest admissible batches, each side in "
            "one layout."
        )
    if turned := say.turns(answer, say.extras(answer)):
        out.append(turned)
    text = said(request)
    example = "" if "request" in answer.ratios else " (an example: no request was given)"
    out.append(f"{text[:1].upper()}{text[1:]}{example}.")
    return tuple(out)


def sides(answer: Comparison) -> Table:
    from ..answer import side_rows
    from ..plots.data import labels

    return ("", *labels(answer)), [tuple(map(str, row)) for row in side_rows(answer)]


def ledger(answer: Comparison) -> Table:
    def text(value: Any, unit: str) -> str:
        if value is None:
            return "none"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return str(value)
        return (
            show(float(value), unit)
            if unit in ("B", "B/s", "FLOP/s", "s", "tokens")
            else f"{value:,.6g} {unit}".strip(" -")
        )

    from ..answer import assumptions

    rows = [
        (a.name, text(a.value, a.unit), "default" if a.default else a.kind, str(a.source)) for a in assumptions(answer)
    ]
    return ("assumption", "value", "kind", "source or meaning"), rows


def _sources(answer: Comparison) -> Table:
    rows = [("model", answer.model.name, answer.model.source or "given")]
    if answer.opponent.architecture != "matched dense":
        rows.append(("opponent", answer.opponent.name, answer.opponent.source or "given"))
    else:
        rows.append(("opponent", answer.opponent.name, "derived: q times the MoE's active parameters"))
    rows.append(
        ("idea", "the qs inequality", "arXiv:2603.08960, abstract only; every derivation here is Routeline's own")
    )
    if answer.q_evidence is not None:
        rows += [("q", str(r.used_for), str(r.url)) for r in answer.q_evidence.references()]
    return ("what", "name", "source"), rows


def _figures(answer: Comparison, charts: tuple[str, ...] | None) -> tuple[tuple, tuple]:
    from .. import plots

    if charts is None:
        try:
            plots.available()
        except RoutelineError as error:  # one reason for all
            return (), (("charts", str(error)),)
    made, absent = [], []
    for name in charts if charts is not None else [n for n in CHARTS if n in plots.CHARTS]:
        try:
            made.append(plots.chart(name, answer))
        except RoutelineError as error:
            if name not in plots.CHARTS or charts is not None:
                raise
            absent.append((name, str(error)))
    return tuple(made), tuple(absent)


def named(answer: Comparison) -> str:
    """What to type for the answer's model."""
    from ..models import model_names

    name, source = answer.model.name, answer.model.source
    if name in model_names() or name.count("/") == 1:
        return name
    return "./config.json" if source in ("uploaded", "") else source


TYPED = {"context": "tokens", "input": "tokens", "output": "tokens"}


def command_of(answer: Comparison, verb: str = "compare", model: str = "", devices: str = "") -> str:
    """The command line that gives this answer again: every field that differs from its default.

    model, devices: as they were typed; without them the catalogue's name, the hub's id or the path it was read from.
    """
    words = ["routeline", verb, model or named(answer), "--devices", devices or answer.cluster.name]
    for f in fields(Scenario):
        value = getattr(answer.scenario, f.name)
        if f.name != "context" and value == f.default:
            continue
        flag = "--" + f.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag)
        elif f.name in TYPED:
            words += [flag, show(float(value), "tokens", 12).replace(",", "")]
        elif f.name == "tpot":
            words += [flag, f"{float(value) * 1e3:.12g}ms"]
        elif f.name == "overhead":
            words += [flag, f"{float(value):.12g}B"]
        else:
            words += [flag, f"{value:.12g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
