"""Printing: JSON, and Rich tables that read the same on a terminal and in a pipe."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

PIPE_WIDTH = 100
"""Columns used where there is no terminal, so that output does not depend on who reads it."""
LABEL, NUMBERS, WORDS = 32, 24, 12
"""Width to which cells may be wrapped before a table is split: of the first column, with digits, of words only."""
LABEL_LEAST = 16
"""As LABEL, where a table would have to be split otherwise."""
TOGETHER = 4
"""A table of up to so many columns is not split while its words fit."""
GAP, GAP_LEAST = 3, 2
"""Spaces between two columns; where a table would have to be split otherwise."""


def emit(data: Any) -> None:
    """Print a value as JSON. NaN and infinity are refused here: a result must not hold them."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def console() -> Any:
    """A Rich console without markup (names are shown as typed), 100 columns wide in a pipe.

    It breaks lines between words only: a word wider than the console stands out of it.
    """
    from rich.console import Console

    class Plain(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            said = (wrapped(one, self.width) if isinstance(one, str) else one for one in objects)
            super().print(*said, **{"crop": False, "no_wrap": True, "overflow": "ignore"} | options)

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    return Plain(width=wide, markup=False, highlight=False, emoji=False, soft_wrap=False)


def working(text: str) -> Any:
    """A sign of life on stderr while something long runs; nothing where stderr is no terminal."""
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most `width` columns, broken at spaces only."""
    return "\n".join(_broken(line, r"(\s*)(\S+)", width) for line in text.split("\n"))


def _broken(line: str, piece: str, width: int) -> str:
    """A line with a break before every piece (gap, text) that would stand out of the width."""
    lines = [""]
    for gap, text in re.findall(piece, line):
        if lines[-1] and _widest(lines[-1] + gap + text) > width:
            lines.append(text)
        else:
            lines[-1] += gap + text
    return "\n".join(lines)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", left: int = 1, caption: str = ""
) -> Grid:
    """A plain table: the first `left` columns left-aligned, the rest right."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return Grid(list(columns), cells, title=title, left=left, caption=caption)


class Grid:
    """A table that never breaks a word or a number.

    Too wide for the console, it wraps headers at spaces and underscores and long cells at spaces; still too wide, it
    is printed as several tables, one below the other, each with the columns that name a row.
    """

    def __init__(self, columns: list[str], rows: list[list[str]], *, title: str, left: int, caption: str) -> None:
        self.columns, self.rows, self.title, self.left, self.caption = columns, rows, title, left, caption

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        if self.title:
            yield Text(wrapped(self.title, options.max_width), style="bold")
        for chosen, widths, gap in self.layout(options.max_width):
            wide = options.update(width=_total(widths, gap), no_wrap=False, overflow="fold")
            yield from console.render(self._made(chosen, widths, gap), wide)
        if self.caption:
            yield Text(wrapped(self.caption, options.max_width), style="table.caption")

    def layout(self, room: int) -> list[tuple[list[int], list[int], int]]:
        """(columns, their widths, the gap between two) of each table to print in `room` columns of text."""
        every = list(range(len(self.columns)))
        full = [max(_widest(self.columns[i]), *self._each(i, _widest)) for i in every]
        word = [max(_longest(_pieces(self.columns[i])), *self._each(i, lambda c: _longest(c.split()))) for i in every]
        least = [max(word[i], *self._each(i, _least)) for i in every]
        label, short = (max(word[0], *self._each(0, lambda c, n=n: min(_widest(c), n))) for n in (LABEL, LABEL_LEAST))
        floors = [[label, *least[1:]], [short, *least[1:]], word]

        def fits(chosen: list[int], widths: list[int], gap: int = GAP) -> bool:
            return _total([widths[i] for i in chosen], gap) <= room

        def placed(chosen: list[int]) -> tuple[list[int], list[int], int]:
            tried = ((floors[0], GAP), (floors[0], GAP_LEAST), (floors[1], GAP), (floors[2], GAP))
            floor, gap = next((t for t in tried if fits(chosen, *t)), (word, GAP_LEAST))
            return chosen, _narrowed([full[i] for i in chosen], [floor[i] for i in chosen], room, gap), gap

        if (
            len(every) < 2
            or fits(every, floors[0], GAP_LEAST)
            or fits(every, floors[1 if len(every) > TOGETHER else 2])
        ):
            return [placed(every)]
        names = self._naming()
        if sum(floors[0][i] for i in names) > room / 2:
            names = every[:1]
        groups: list[list[int]] = []
        for i in every[len(names) :]:
            if groups and fits([*groups[-1], i], floors[0]):
                groups[-1].append(i)
            else:
                groups.append([*names, i])
        return [placed(chosen) for chosen in groups]

    def _each(self, column: int, size: Any) -> list[int]:
        return [0, *(size(row[column]) for row in self.rows if column < len(row))]

    def _naming(self) -> list[int]:
        """The first columns, as many as tell the rows apart; only the first where none do."""
        for n in range(1, min(4, len(self.columns))):
            if len({tuple(row[:n]) for row in self.rows}) == len(self.rows):
                return list(range(n))
        return [0]

    def _made(self, chosen: list[int], widths: list[int], gap: int) -> Any:
        from rich import box
        from rich.table import Table

        out = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", collapse_padding=gap < GAP)
        for i, width in zip(chosen, widths, strict=True):
            out.add_column(
                _folded(self.columns[i], width), justify="left" if i < self.left else "right", width=width,
                overflow="fold",
            )  # fmt: skip
        for row in self.rows:
            out.add_row(*(row[i] if i < len(row) else "" for i in chosen))
        return out


def _total(widths: list[int], gap: int) -> int:
    """The width of a table with columns of these widths: an edge stands at each side."""
    return 2 + sum(widths) + gap * (len(widths) - 1)


def _narrowed(full: list[int], floor: list[int], room: int, gap: int) -> list[int]:
    """Widths that fit the room if the floors do: always the widest column above its floor gives way."""
    widths = list(full)
    while _total(widths, gap) > room:
        above = [i for i, width in enumerate(widths) if width > floor[i]]
        if not above:
            break
        widths[max(above, key=lambda i: (widths[i], i))] -= 1
    return widths


def _widest(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _least(cell: str) -> int:
    return min(_widest(cell), NUMBERS if any(map(str.isdigit, cell)) else WORDS)


def _longest(words: Iterable[str]) -> int:
    return max(map(_widest, words), default=0)


def _pieces(header: str) -> list[str]:
    """Where a header may be broken: after a space or an underscore."""
    return [piece for word in header.split() for piece in re.findall(r"[^_]*_+|[^_]+", word)]


def _folded(header: str, width: int) -> str:
    """A header with the line breaks it needs in this width."""
    return _broken(header, r"(\s*)([^\s_]*_+|[^\s_]+)", width)
