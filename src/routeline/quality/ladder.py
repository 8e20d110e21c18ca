"""Dense size of equal score, by interpolation on a ladder of dense models; and users' own files.

The rule that the shipped rows follow: the score is a straight line in ln(size) between neighbouring
dense models, and the last piece is carried on beyond the ladder's ends.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable

import numpy as np

from ..errors import RoutelineError, shorten
from .pairs import GRADES, STATUSES, Pair, check_sizes

FAR = 4.0
"""Beyond this factor outside the ladder an extrapolated size is shown and not used."""

SCORE_COLUMNS = ("model", "size", "benchmark", "score", "family")
PAIR_COLUMNS = ("model", "active", "total", "q")


def matched_size(sizes, scores, score: float) -> tuple[float, str]:
    """(dense size of equal score, status) on one ladder.

    Args:
        sizes: dense parameters [-], at least two different ones.
        scores: their scores, rising or falling throughout (a loss falls).
        score: the MoE's score.

    Raises:
        RoutelineError: fewer than two sizes, or scores that neither rise nor fall throughout.
    """
    order = np.argsort(np.asarray(sizes, dtype=float))
    x = np.log(np.asarray(sizes, dtype=float)[order])
    y = np.asarray(scores, dtype=float)[order]
    if len(x) < 2 or np.any(np.diff(x) <= 0):
        raise RoutelineError(
            "interpolation needs at least two dense models of different size; add a row for another one"
        )
    steps = np.diff(y)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise RoutelineError("the dense scores neither rise nor fall throughout with size: no size has that score")
    if steps[0] < 0:
        y, score = -y, -score
    i = int(np.clip(np.searchsorted(y, score) - 1, 0, len(x) - 2))
    log_size = x[i] + (score - y[i]) / (y[i + 1] - y[i]) * (x[i + 1] - x[i])
    if y[0] <= score <= y[-1]:
        return float(math.exp(log_size)), "interpolated"
    beyond = max(log_size - x[-1], x[0] - log_size)
    if beyond > 50:
        return float(math.exp(np.clip(log_size, -50, 90))), "far-extrapolated"
    return float(math.exp(log_size)), "far-extrapolated" if beyond > math.log(FAR) else "extrapolated"


def pairs_from_scores(rows: Iterable[dict], source: str = "user") -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """(pairs, warnings) from benchmark scores of dense models and MoEs of one family.

    Each row has model, size, benchmark, score, family. A dense model's size is one number ('8.2B'); an
    MoE's is 'active/total' ('3.3B/30.5B'). A benchmark without a usable ladder is left out with a warning.
    """
    dense: dict[tuple[str, str], list] = {}
    sparse = []
    for row in rows:
        key = (row["family"], row["benchmark"])
        if row["active"] is None:
            dense.setdefault(key, []).append((row["size"], row["score"], row["model"]))
        else:
            sparse.append(row)
    if not sparse:
        raise RoutelineError(f"{source}: no row describes an MoE; write its size as active/total, e.g. 3.3B/30.5B")
    pairs, warnings = [], []
    for row in sparse:
        what = f"row {row['line']}: {shorten(row['model'])} on {shorten(row['benchmark'])}"
        ladder = dense.get((row["family"], row["benchmark"]), [])
        try:
            size, status = matched_size([d[0] for d in ladder], [d[1] for d in ladder], row["score"])
        except RoutelineError as problem:
            warnings.append(f"{what} left out: {problem}")
            continue
        if status != "interpolated":
            fate = "used with twice the variance" if status == "extrapolated" else "shown, not used"
            warnings.append(f"{what} extrapolates beyond the dense ladder: q {size / row['active']:.3g}, {fate}")
        pairs.append(
            Pair(
                model=row["model"],
                family=row["family"],
                active=row["active"],
                total=row["size"],
                ladder=", ".join(d[2] for d in sorted(ladder)),
                benchmark=row["benchmark"],
                score=f"{row['score']:g}",
                matched=size,
                grade="U",
                status=status,
                checked="given",
                source=source,
            )
        )
    return tuple(pairs), tuple(warnings)


def read_user_file(path: str | os.PathLike) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """(pairs, warnings) from a user's CSV: benchmark scores, or ready pairs.

    Scores: columns model, size, benchmark, score, family. Pairs: columns model, active, total, q and
    optionally family, benchmark, class (A, B or C), status, source.

    Raises:
        RoutelineError: unreadable file, missing column or malformed row, with the row's number.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise RoutelineError(f"the pair file {shorten(path)!r} is not UTF-8 text; save it as a CSV") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or shorten(problem)
        raise RoutelineError(f"cannot read the pair file {shorten(path)!r}: {reason}") from None
    return read_user_text(text, source=os.path.basename(path))


def read_user_text(text: str, source: str = "user") -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """`read_user_file` on text already read."""
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        header = tuple(str(h).strip().lower() for h in (reader.fieldnames or ()))
        body = [
            (
                {str(k).strip().lower(): (v or "").strip() for k, v in r.items() if k is not None},
                reader.line_num,
                None in r,
            )
            for r in reader
        ]
    except csv.Error as problem:
        raise RoutelineError(f"{source} is not a readable CSV: {shorten(problem)}") from None
    for line in (n for _, n, spare in body if spare):
        raise RoutelineError(f"{source}, row {line}: more cells than columns; quote text that contains a comma")
    if all(c in header for c in SCORE_COLUMNS):
        return pairs_from_scores([_score_row(r, n, source) for r, n, _ in body], source)
    if all(c in header for c in PAIR_COLUMNS):
        pairs = tuple(_pair_row(r, n, source) for r, n, _ in body)
        if not pairs:
            raise RoutelineError(f"{source} has a header and no rows; add at least one pair")
        far = [
            f"{p.model} on {p.benchmark or 'its benchmark'} is marked {p.status}"
            for p in pairs
            if "extrapolated" in p.status
        ]
        return pairs, tuple(far)
    raise RoutelineError(
        f"{source} has columns {shorten(', '.join(header) or 'none')}; needed: {', '.join(SCORE_COLUMNS)} "
        f"(scores) or {', '.join(PAIR_COLUMNS)} (pairs)"
    )


def _text(row: dict, column: str, line: int, source: str) -> str:
    if not row.get(column):
        raise RoutelineError(f"{source}, row {line}: {column} is empty; fill it in or delete the row")
    return row[column]


def _number(text: str, column: str, line: int, source: str, *, positive: bool = True) -> float:
    from ..units import parse

    try:
        value = parse(text, "count", column) if positive else float(text)
    except ValueError:
        example = "3.3B" if positive else "71.5"
        raise RoutelineError(
            f"{source}, row {line}: {column} {shorten(text)!r} is not a number; write e.g. {example}"
        ) from None
    if not math.isfinite(value) or (positive and value <= 0):
        raise RoutelineError(f"{source}, row {line}: {column} is {shorten(text)}; it must be finite and above zero")
    return value


def _size(text: str, column: str, line: int, source: str) -> float:
    """Parameters: '8.2B' or a bare 8.2e9; a bare number below 1e6 is taken for a forgotten unit and refused."""
    value = _number(text, column, line, source)
    if value < 1e6:
        raise RoutelineError(
            f"{source}, row {line}: {column} {shorten(text)!r} is {value:g} parameters; write the unit, e.g. 8.2B"
        )
    return value


def _score_row(row: dict, line: int, source: str) -> dict:
    if not row.get("size"):
        raise RoutelineError(
            f"{source}, row {line}: size is empty; write a dense model's as 8.2B, an MoE's as active/total: 3.3B/30.5B"
        )
    size = row["size"]
    parts = size.split("/")
    if len(parts) > 2:
        raise RoutelineError(f"{source}, row {line}: size {shorten(size)!r} has more than one '/'; write active/total")
    numbers = [_size(p.strip(), "size", line, source) for p in parts]
    active = numbers[0] if len(numbers) == 2 else None
    if active is not None:
        check_sizes(active, numbers[1], f"{source}, row {line}")
    return {
        "line": line,
        "model": _text(row, "model", line, source),
        "size": numbers[-1],
        "active": active,
        "benchmark": _text(row, "benchmark", line, source),
        "score": _number(_text(row, "score", line, source), "score", line, source, positive=False),
        "family": _text(row, "family", line, source),
    }


def _pair_row(row: dict, line: int, source: str) -> Pair:
    model = _text(row, "model", line, source)
    active = _size(_text(row, "active", line, source), "active", line, source)
    total = _size(_text(row, "total", line, source), "total", line, source)
    check_sizes(active, total, f"{source}, row {line}")
    grade = (row.get("class") or "U").upper()
    status = (row.get("status") or "parity").lower()
    for value, known, column in ((grade, GRADES, "class"), (status, STATUSES, "status")):
        if value not in known:
            raise RoutelineError(
                f"{source}, row {line}: {column} {shorten(value)!r} is not known; use one of {', '.join(known)}"
            )
    return Pair(
        model=model,
        family=row.get("family") or model,
        active=active,
        total=total,
        ladder=row.get("ladder") or "",
        benchmark=row.get("benchmark") or "",
        score=row.get("score") or "",
        matched=active * _number(_text(row, "q", line, source), "q", line, source),
        grade=grade,
        status=status,
        checked="given",
        source=row.get("source") or source,
    )
