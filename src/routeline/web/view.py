"""What the page shows of one answer, as plain text and numbers: small enough to keep, plain enough to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..compare import Comparison

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
    """An answer as the page shows it. others: R by rule; matched: the opponent is a matched dense model."""

    verdict: str
    ratio: float | None
    others: dict[str, float | None]
    matched: bool
    reuse: float | None
    headroom: float | None
    moe: Stand
    dense: Stand
    sentence: str
    warnings: tuple[str, ...]
    ratios: Rows
    labels: tuple[str, str]
    sides: Rows
    ledger: tuple[tuple[str, ...], Rows]
    command: str
    accuracy: str
    notes: tuple[str, ...]
    laws: Rows
    pairs: Rows


def view(found: Comparison, sentence: str) -> View:
    """Everything the page says about an answer, worked out once."""
    from ..answer import ratio_rows, side_rows
    from ..plots.data import labels
    from ..report import accuracy, command_of, ledger

    head, rows = ledger(found)
    evidence = found.q_evidence
    return View(
        verdict=found.verdict,
        ratio=found.throughput_ratio,
        others={name: r.value for name, r in found.ratios.items() if name != "max_batch"},
        matched=found.opponent.architecture == "matched dense",
        reuse=found.reuse_penalty,
        headroom=found.headroom_gain,
        moe=_stand(found, found.moe),
        dense=_stand(found, found.dense),
        sentence=sentence,
        warnings=tuple(found.warnings),
        ratios=_text(ratio_rows(found)),
        labels=labels(found),
        sides=_text(side_rows(found)),
        ledger=(tuple(head), _text(rows)),
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
