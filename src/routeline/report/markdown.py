"""A report as Markdown, its pictures beside it."""

from __future__ import annotations

import html

from ..answer import words
from .content import Document, Table


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
    found, sure, rest = words.parted(made.verdict)
    parts = [f"# {_plain(made.title)}", f"**{_plain(found)}**", *([_plain(sure)] if sure else [])]
    parts += [f"{words.OPEN}{_plain(rest)}"] if rest else []
    if made.ratios[1]:
        parts += ["## Who serves more, rule by rule", _grid(made.ratios)]
    if made.warnings:
        parts += ["## Read this with care", "\n".join(f"- {_plain(w)}" for w in made.warnings)]
    parts += ["## In words", *map(_plain, made.facts)]
    fence = "````"
    parts += ["## The same again", f"{fence}sh\n{made.command}\n{fence}", f"Routeline {made.version}."]
    parts += ["## The numbers", _grid(made.sides)]
    if folder is not None and made.figures:
        parts.append("## Charts")
        for f in made.figures:
            place = f"{folder}/{f.name}.svg".replace(" ", "%20").replace("(", "%28").replace(")", "%29")
            parts += [f"### {_plain(f.title)}", f"![{_plain(f.alt)}]({place})"]
    if folder is not None and made.absent:
        absent = [f"{_plain(n)}: {_plain(why)}" for n, why in made.absent]
        parts.append(f"Not drawn: {absent[0]}" if len(absent) == 1 else "\n- ".join(["Not drawn:\n", *absent]))
    parts += ["## How accurate is this?", _plain(made.accuracy), "## Assumptions", _grid(made.assumptions)]
    parts += ["## Sources", _grid(made.sources)]
    return "\n\n".join(parts) + "\n"
