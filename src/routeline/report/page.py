"""A report as one HTML file: no script, nothing fetched, readable when printed.

Every text that came from outside (names, paths, sources) passes through `escape`.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from ..answer import words
from ..compare import Comparison
from ..errors import RoutelineError
from .content import Document, Table, sentence, sides
from .standing import standing, table

STYLE = Path(__file__).parent.parent / "data" / "report.css"


def escape(text: object) -> str:
    """Text made inert inside HTML."""
    return html.escape(str(text), quote=True)


def _table(content: Table, kind: str) -> str:
    head, rows = content
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "".join(
        "<tr>" + f'<th scope="row">{escape(r[0])}</th>' + "".join(f"<td>{escape(x)}</td>" for x in r[1:]) + "</tr>\n"
        for r in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def _verdict(text: str, winner: str) -> str:
    """What is found, how sure that is, and what is not established, each a paragraph of one box."""
    found, sure, rest = words.parted(text)
    more = f"<p>{escape(sure)}</p>" if sure else ""
    open_ = f'<p class="open">{escape(words.OPEN)}{escape(rest)}</p>' if rest else ""
    return f'<div class="verdict {escape(winner)}"><p><strong>{escape(found)}</strong></p>{more}{open_}</div>'


def _figure(figure: Any) -> str:
    note = f'<p class="note">{escape(figure.note)}</p>' if figure.note else ""
    return (
        f'<figure id="{escape(figure.name)}"><h3>{escape(figure.title)}</h3>{note}'
        f"{figure.image(dressed=False)}"
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def as_html(made: Document) -> str:
    """One file, no script, nothing fetched: pictures are inline SVG data, their captions text."""
    absent = [f"{escape(name)}: {escape(why)}" for name, why in made.absent]
    if len(absent) == 1:
        undrawn = f"<p>Not drawn: {absent[0]}</p>"
    else:
        undrawn = f"<p>Not drawn:</p><ul>{''.join(f'<li>{one}</li>' for one in absent)}</ul>" if absent else ""
    warnings = "".join(f"<li>{escape(w)}</li>" for w in made.warnings)
    glance = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(number)}<small>{escape(beside)}</small></dd></div>"
        for what, number, beside in made.glance
    )
    parts = [
        f"<header><h1>{escape(made.title)}</h1>{_verdict(made.verdict, made.standing.winner)}"
        f'<dl class="glance">{glance}</dl></header>',
        f"<h2>Who serves more, rule by rule</h2>{_table(made.ratios, 'numbers rules')}" if made.ratios[1] else "",
        f'<section class="warnings"><h2>Read this with care</h2><ul>{warnings}</ul></section>' if warnings else "",
        "<h2>In words</h2>" + "".join(f"<p>{escape(x)}</p>" for x in made.facts),
        f"<h2>The same again</h2><pre>{escape(made.command)}</pre><p>Routeline {escape(made.version)}.</p>",
        f"<h2>The numbers</h2>{_table(made.sides, 'numbers')}",
        "<h2>Charts</h2>" + "\n".join(map(_figure, made.figures))
        + undrawn,
        f"<h2>How accurate is this?</h2><p>{escape(made.accuracy)}</p>",
        f"<h2>Assumptions</h2>{_table(made.assumptions, 'ledger')}",
        f"<h2>Sources</h2>{_table(made.sources, 'ledger')}",
    ]  # fmt: skip
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
    parts = [f"<p><strong>{escape(sentence(answer))}</strong></p>", _table(table(standing(answer)), "numbers rules")]
    try:
        from .. import plots

        parts.append(plots.chart("waterfall", answer).image())
    except RoutelineError:
        pass
    return "<div>" + "".join((*parts, _table(sides(answer), "numbers"))) + "</div>"
