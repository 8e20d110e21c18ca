"""One answer as one file: self-contained HTML that prints, or Markdown.

`content` gathers what there is to say as plain data, `standing` who serves more under which rule; `page` and
`markdown` only dress it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..compare import Comparison
from ..errors import RoutelineError
from .content import CHARTS, Document, accuracy, command_of, document, ledger, sentence
from .markdown import as_markdown
from .page import as_html, escape, snippet
from .standing import Standing, standing


def write(answer: Comparison, path: str | Path, **options: Any) -> Path:
    """Write the report; the ending (.html or .md) says which. Markdown puts its pictures in a folder beside it.

    Raises:
        RoutelineError: another ending, or a place that cannot be written.
    """
    from ..plots.figure import write as put

    target = check(path)
    made = document(answer, **options)
    if target.suffix.lower() != ".md":
        return put(target, as_html(made).encode())
    folder = target.with_name(f"{target.stem}_figures")
    try:
        if made.figures:
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


__all__ = [
    "CHARTS",
    "Document",
    "Standing",
    "accuracy",
    "as_html",
    "as_markdown",
    "check",
    "command_of",
    "document",
    "escape",
    "ledger",
    "sentence",
    "snippet",
    "standing",
    "write",
]
