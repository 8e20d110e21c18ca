"""One answer as one file: self-contained HTML that prints, or Markdown.

`document` gathers the content as plain data; `as_html` and `as_markdown` only dress it. Every text
that came from outside (names, paths, sources) passes through `escape`.
"""

from __future__ import annotations

import base64
import html
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from . import __version__, counts
from .compare import Comparison
from .errors import RoutelineError
from .scenario import Scenario
from .units import show

CHARTS = (
    "throughput", "waterfall", "map", "memory", "step", "fragmentation", "roofline", "interactivity", "request", "q",
    "evidence", "cluster", "width",
)  # fmt: skip
"""Charts of a report, in reading order; one that cannot be drawn for an answer is named with the reason."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""(header, rows), text only."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report before it is dressed. figures: plots.Figure; absent: (chart, why it is not there)."""

    title: str
    verdict: str
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
        RoutelineError: an unknown chart name or the extra [plots] missing.
    """
    figures, absent = _figures(answer, charts)
    return Document(
        title=f"{answer.model.name} or dense? {answer.cluster.name}, "
        f"{show(float(answer.scenario.context), 'tokens')} tokens",
        verdict=sentence(answer),
        facts=_facts(answer),
        sides=_sides(answer),
        ratios=_ratios(answer),
        figures=figures,
        absent=absent,
        warnings=answer.warnings,
        assumptions=ledger(answer),
        sources=_sources(answer),
        accuracy=accuracy(answer),
        command=command or command_of(answer, "report"),
        version=__version__,
    )


def write(answer: Comparison, path: str | Path, **options: Any) -> Path:
    """Write the report; the ending (.html or .md) says which. Markdown puts its pictures in a folder beside it.

    Raises:
        RoutelineError: another ending, or a place that cannot be written.
    """
    from .plots.figure import write as put

    target = check(path)
    made = document(answer, **options)
    if target.suffix.lower() != ".md":
        return put(target, as_html(made).encode())
    folder = target.with_name(f"{target.stem}_figures")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RoutelineError(f"cannot write the pictures to {folder}: {error.strerror or error}") from None
    for figure in made.figures:
        put(folder / f"{figure.name}.svg", figure.svg().encode())
    return put(target, as_markdown(made, folder.name).encode())


def check(path: str | Path) -> Path:
    """Refuse a place that no report can go to, before anything is computed.

    Raises:
        RoutelineError: another ending than .html or .md, or no such folder.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm", ".md"):
        raise RoutelineError(f"cannot write a report to {target.name!r}: end the file name with .html or .md")
    if not target.parent.is_dir():
        raise RoutelineError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    return target


# --- content ---------------------------------------------------------------------------------------


def sentence(answer: Comparison) -> str:
    """The verdict in one sentence, as `routeline compare` prints it."""
    from . import answer as words

    return words.verdict(answer)


def accuracy(answer: Comparison) -> str:
    """What the tier's numbers are worth: what it leaves out, and its measured error where one is known."""
    name = answer.ground.efficiency.name
    text = f"Tier {name}: {answer.ground.efficiency.source}."
    if name == "bandwidth":
        return f"{text} A floor on step time, not a prediction: measured kernels and serving engines are slower."
    if name == "ideal":
        return (
            f"{text} Real engines add kernel inefficiency, launch and scheduling time, so both sides are slower in "
            "practice and a ratio near 1 is open."
        )
    return text


def _facts(answer: Comparison) -> tuple[str, ...]:
    active, total = float(counts.active(answer.model).all), float(counts.total(answer.model))
    out = [
        f"{answer.model.name}: {show(total, 'count')} parameters, {show(active, 'count')} used per token "
        f"(s = {answer.s:.4f}).",
        f"Matched dense size: q = {answer.q:.3g}" + (f" ({answer.q_source})" if answer.q_source else "")
        + f"; qs = {answer.qs:.3g}, {'below' if answer.qs < 1 else 'not below'} 1: the static form says the dense "
            "model is "
        + ("smaller than what the MoE keeps resident, which settles nothing "
            "alone." if answer.qs < 1 else "not smaller."),
    ]  # fmt: skip
    if answer.reuse_penalty is not None and answer.headroom_gain is not None:
        out.append(
            f"R = {answer.throughput_ratio:.3g} = reuse penalty {answer.reuse_penalty:.3g} × headroom gain "
            f"{answer.headroom_gain:.3g}, dense over MoE throughput at the largest admissible batches."
        )
    from .requests import requests, sentence

    found = sentence(requests(answer))
    example = "" if "request" in answer.ratios else " (an example: no request was given)"
    out.append(f"{found[:1].upper()}{found[1:]}{example}.")
    return tuple(out)


def _sides(answer: Comparison) -> Table:
    from .answer import side_rows
    from .plots.data import labels

    return ("", *labels(answer)), [tuple(map(str, row)) for row in side_rows(answer)]


def _ratios(answer: Comparison) -> Table:
    from .answer import ratio_rows

    rows = [tuple(map(str, (*row[:4], row[4] or "–"))) for row in ratio_rows(answer)]
    return ("R, dense over MoE throughput", "R", "batch MoE / dense", "tokens/s MoE / dense", "why there is none"), rows


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

    from .answer import assumptions

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
    from . import plots

    made, absent = [], []
    for name in charts if charts is not None else [n for n in CHARTS if n in plots.CHARTS]:
        try:
            made.append(plots.chart(name, answer))
        except RoutelineError as error:
            if name not in plots.CHARTS or charts is not None:
                raise
            absent.append((name, str(error)))
    return tuple(made), tuple(absent)


TYPED = {"context": "tokens", "input": "tokens", "output": "tokens"}


def command_of(answer: Comparison, verb: str = "compare") -> str:
    """The command line that gives this answer again: every field that differs from its default."""
    words = ["routeline", verb, answer.model.name, "--devices", answer.cluster.name]
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


# --- dress -----------------------------------------------------------------------------------------

STYLE = Path(__file__).parent / "data" / "report.css"


def escape(text: object) -> str:
    """Text made inert inside HTML."""
    return html.escape(str(text), quote=True)


def _table(table: Table, kind: str) -> str:
    head, rows = table
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "".join(
        "<tr>" + f'<th scope="row">{escape(r[0])}</th>' + "".join(f"<td>{escape(x)}</td>" for x in r[1:]) + "</tr>\n"
        for r in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def as_html(made: Document) -> str:
    """One file, no script, nothing fetched: pictures are inline SVG data."""
    pictures = "\n".join(
        f'<figure><h3>{escape(f.title)}</h3><img alt="{escape(f.alt)}" src="data:image/svg+xml;base64,'
        f'{base64.b64encode(f.svg().encode()).decode()}"></figure>' for f in made.figures
    )  # fmt: skip
    absent = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in made.absent)
    warnings = "".join(f"<li>{escape(w)}</li>" for w in made.warnings)
    parts = [
        f'<h1>{escape(made.title)}</h1><p class="verdict">{escape(made.verdict)}</p>',
        "".join(f"<p>{escape(x)}</p>" for x in made.facts),
        f'<section class="warnings"><h2>Read this first</h2><ul>{warnings}</ul></section>' if warnings else "",
        f"<h2>The ratio, four ways</h2>{_table(made.ratios, 'numbers')}",
        f"<h2>The numbers</h2>{_table(made.sides, 'numbers')}",
        f"<h2>Charts</h2>{pictures}" + (f"<p>Not drawn:</p><ul>{absent}</ul>" if absent else ""),
        f"<h2>How accurate is this?</h2><p>{escape(made.accuracy)}</p>",
        f"<h2>Assumptions</h2>{_table(made.assumptions, 'ledger')}",
        f"<h2>Sources</h2>{_table(made.sources, 'ledger')}",
        f"<h2>The same again</h2><pre>{escape(made.command)}</pre><p>Routeline {escape(made.version)}.</p>",
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(made.title)}</title><style>{STYLE.read_text()}</style></head>\n<body><main>\n"
        + "\n".join(p for p in parts if p)
        + "\n</main></body></html>\n"
    )


def snippet(answer: Comparison) -> str:
    """What a notebook shows: the verdict, the ratios, both sides, and the two penalties where charts are installed."""
    parts = [f"<p><strong>{escape(sentence(answer))}</strong></p>", _table(_ratios(answer), "numbers")]
    try:
        from . import plots

        image = base64.b64encode(plots.chart("waterfall", answer).svg().encode()).decode()
        parts.append(f'<img alt="{escape(answer.verdict)}" src="data:image/svg+xml;base64,{image}">')
    except RoutelineError:
        pass
    return "<div>" + "".join((*parts, _table(_sides(answer), "numbers"))) + "</div>"


def _plain(text: object) -> str:
    """Text made inert inside a Markdown table or paragraph."""
    out = html.escape(" ".join(str(text).split()), quote=False)
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "#"):
        out = out.replace(mark, "\\" + mark)
    return out


def _grid(table: Table) -> str:
    head, rows = table
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(x if x == "---" else _plain(x) for x in line) + " |" for line in lines)


def as_markdown(made: Document, folder: str | None = None) -> str:
    """The report as Markdown; pictures are looked for in `folder` (none are shown without one)."""
    parts = [f"# {_plain(made.title)}", f"**{_plain(made.verdict)}**", *map(_plain, made.facts)]
    if made.warnings:
        parts += ["## Read this first", "\n".join(f"- {_plain(w)}" for w in made.warnings)]
    parts += ["## The ratio, four ways", _grid(made.ratios), "## The numbers", _grid(made.sides)]
    if folder is not None and made.figures:
        parts.append("## Charts")
        for f in made.figures:
            place = f"{folder}/{f.name}.svg".replace(" ", "%20").replace("(", "%28").replace(")", "%29")
            parts += [f"### {_plain(f.title)}", f"![{_plain(f.alt)}]({place})"]
    parts += ["## How accurate is this?", _plain(made.accuracy), "## Assumptions", _grid(made.assumptions)]
    parts += ["## Sources", _grid(made.sources), "## The same again"]
    fence = "````"
    parts += [f"{fence}sh\n{made.command}\n{fence}", f"Routeline {made.version}."]
    return "\n\n".join(parts) + "\n"
