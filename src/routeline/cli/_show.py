"""Printing: JSON, and Rich tables that read the same on a terminal and in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

PIPE_WIDTH = 100
"""Columns used where there is no terminal, so that output does not depend on who reads it."""


def emit(data: Any) -> None:
    """Print a value as JSON. NaN and infinity are refused here: a result must not hold them."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def console() -> Any:
    """A Rich console without markup (names are shown as typed), 100 columns wide in a pipe."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=wide, markup=False, highlight=False, emoji=False, soft_wrap=False)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", left: int = 1, caption: str = ""
) -> Any:
    """A plain Rich table: the first `left` columns left-aligned, the rest right."""
    from rich import box
    from rich.table import Table

    out = Table(
        title=title or None, title_justify="left", title_style="bold", caption=caption or None, caption_justify="left",
        box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for i, name in enumerate(columns):
        out.add_column(name, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        out.add_row(*("" if cell is None else str(cell) for cell in row))
    return out
