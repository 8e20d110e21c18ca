"""What the page shows of one answer, as plain text and numbers: small enough to keep, plain enough to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..compare import Comparison
from ..report.standing import Standing

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Stand:
    """One side: output tokens/s per device, batch and seconds per token, or the devices it needs instead."""

    fits: bool
    rate: float = 0.0
    batch: float = 0.0
    tpot: float = 0.0
    needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """An answer as the page shows it. asked: a batch or latency was given; ledger, ratios: (head, rows)."""

    standing: Standing
    asked: bool
    reuse: float | None
    headroom: float | None
    moe: Stand
    dense: Stand
    sentence: str
    warnings: tuple[str, ...]
    ratios: tuple[tuple[str, ...], Rows]
    labels: tuple[str, str]
    sides: Rows
    ledger: tuple[tuple[str, ...], Rows]
    setting: str
    command: str
    accuracy: str
    notes: tuple[str, ...]
    laws: Rows
    pairs: Rows


def view(found: Comparison, sentence: str, request: Any = None) -> View:
    """Everything the page says about an answer, worked out once. request: its requests.Requests, if known."""
    from ..answer import side_rows
    from ..plots.data import labels
    from ..report import accuracy, command_of, ledger
    from ..report.standing import standing, table
    from ..units import show

    head, rows = ledger(found)
    evidence = found.q_evidence
    stands = standing(found, request)
    top, ratios = table(stands)
    one, two = labels(found)
    asked = found.scenario.batch is not None or found.scenario.tpot is not None
    return View(
        standing=stands,
        asked=asked,
        reuse=found.reuse_penalty,
        headroom=found.headroom_gain,
        moe=_stand(found, found.moe),
        dense=_stand(found, found.dense),
        sentence=sentence,
        warnings=tuple(found.warnings),
        ratios=(top, _text(ratios)),
        labels=(one, two),
        sides=_text(side_rows(found)),
        ledger=(tuple(head), _text(rows)),
        setting=f"{one} or {two} on {found.cluster.name}, {show(float(found.scenario.context), 'tokens')} tokens of "
        "context",
        command=command_of(found),
        accuracy=accuracy(found),
        notes=tuple(map(str, getattr(evidence, "notes", ()))),
        laws=_text(
            (w.title, "–" if w.q is None else f"{w.q:.3g}", "yes" if w.in_range else "no", w.warning, w.source)
            for w in getattr(evidence, "laws", ())
        ),
        pairs=_text(
            (p.benchmark, p.ladder, f"{p.q:.3g}", p.grade, p.weight_reason or "enters", p.note)
            for p in getattr(evidence, "pairs", ())
        ),
    )


def _stand(found: Comparison, one: Any) -> Stand:
    point = one.point
    if point is None or not one.fits:
        return Stand(fits=False, needed=one.devices_needed)
    return Stand(
        fits=True, rate=float(point.rate) / found.cluster.count, batch=float(point.batch), tpot=float(point.tpot)
    )


def _text(rows: Any) -> Rows:
    return tuple(tuple("" if c is None else str(c) for c in row) for row in rows)
