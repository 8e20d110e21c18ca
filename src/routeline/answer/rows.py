"""The numbers of a Comparison side by side, as text: for tables in a terminal, a report or a page."""

from __future__ import annotations

from typing import Any

from ..compare import TIE, Comparison, Ratio
from ..fair import WITHOUT
from ..side import Point
from ..units import show
from .extras import Extras
from .payload import bound, ffn_intensity, resident
from .stated import skewed
from .words import NAMES, said, sides

Row = tuple[str, str, str]
PARTS = {
    "routed": "routed experts", "shared": "shared experts", "dense_ffn": "dense FFN", "cache": "attention to the cache",
    "attention": "attention weights", "state": "linear-attention state", "head": "output head", "norm": "norms",
}  # fmt: skip
"""Parts of a step in words; the others are called what they are."""


def number(value: Any, digits: int = 4) -> str:
    """A plain number for people: four digits, thousands separated."""
    if value is None:
        return "-"
    value = float(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def ratio_text(value: float | None) -> str:
    """R with two digits; with three where two do not tell a tie (within 2% of 1) from a lead."""
    if value is None:
        return "-"
    return f"{value:.3f}" if round(abs(value - 1.0), 2) == TIE else f"{value:.2f}"


def side_rows(answer: Comparison) -> list[Row]:
    """(label with unit, MoE, dense): what each side is, holds, reads and serves."""
    ground, scenario = answer.ground, answer.scenario
    sides = (answer.moe, answer.dense)
    points = [s.point for s in sides]
    rows: list[Row] = []

    def add(label: str, *cells: str) -> None:
        rows.append((label, cells[0], cells[1]))

    def each(label: str, value: Any) -> None:
        add(label, *(value(p) if p is not None else "-" for p in points))

    add("fits", *("yes" if s.fits else "no" for s in sides))
    if not all(s.fits for s in sides):
        add("smallest cluster that would do", *(f"{s.devices_needed:,}" if s.devices_needed else "none" for s in sides))
    add("parameters", *(show(_total(s), "count") for s in sides))
    add("weights, one copy", *(show(s.weight_bytes, "B") for s in sides))
    if any(points):
        each("weights resident, all devices", lambda p: show(resident(p, ground), "B"))
    add(f"cache of one sequence ({sides[0].counted.cache})" if sides[0].counted.cache == sides[1].counted.cache
        else "cache of one sequence", *(show(s.cache_bytes, "B") for s in sides))  # fmt: skip
    if not any(points):
        return rows
    each("layout", lambda p: str(p.layout))
    each("largest batch [sequences]", lambda p: number(p.max_batch))
    if scenario.batch is not None:
        each("batch [sequences]", lambda p: number(p.batch))
    each("step time", lambda p: show(p.step.seconds, "s"))
    each("time per output token", lambda p: show(p.tpot, "s"))
    each("throughput [tokens/s]", lambda p: number(p.rate))
    each("throughput per device [tokens/s]", lambda p: number(p.rate / ground.devices))
    each("weights read a step", lambda p: show(p.step.weight_bytes, "B"))
    each("cache read a step", lambda p: show(p.step.cache_bytes, "B"))
    each(
        f"experts touched{' (fitted skew)' if skewed(answer) else ' a layer'}",
        lambda p: f"{number(p.step.touched)} of {number(p.counted.experts)}",
    )
    each(
        "tokens per fetched expert",
        lambda p: number(float(p.step.tokens) * float(p.counted.top_k) / float(p.step.touched)),
    )
    each("reuse fragmentation", lambda p: number(float(p.step.touched) / float(p.counted.top_k)))
    each("FFN intensity (ridge) [FLOP/B]", lambda p: _intensity(p, answer))
    each("bound by", lambda p: _bound(p, answer))
    return rows


def _total(one: Any) -> float:
    from ..counts import total

    return float(total(one.counted.model))


def _intensity(point: Point, answer: Comparison) -> str:
    value, knee = ffn_intensity(point, answer.ground)
    return "-" if value is None else f"{number(value)} ({number(knee)})"


def _bound(point: Point, answer: Comparison) -> str:
    """What takes most of the step, and where memory or compute does, the part in which it does most."""
    what, found = bound(point, answer.ground), point.step.bounds
    parts = {name: float(one[what]) for name, one in found.items() if what in one}
    if not any(parts.values()):
        return what
    most = max(parts, key=lambda name: parts[name])
    return f"{what} ({PARTS.get(most, most)})"


def part_rows(answer: Comparison) -> list[tuple[str, str, str, str, str]]:
    """(part, MoE time, share, dense time, share) of a step, largest first; parts that take no time left out."""
    points = [answer.moe.point, answer.dense.point]
    steps = [p.step if p is not None else None for p in points]
    names = {n for s in steps if s is not None for n, p in s.parts.items() if float(p.seconds) > 0}

    def seconds(step: Any, name: str) -> float:
        return float(step.parts[name].seconds) if step is not None and name in step.parts else 0.0

    def cells(step: Any, name: str) -> tuple[str, str]:
        value = seconds(step, name)
        return (show(value, "s"), f"{value / float(step.seconds):.1%}") if value else ("-", "")

    ordered = sorted(names, key=lambda n: -max(seconds(s, n) for s in steps))
    return [(PARTS.get(n, n), *cells(steps[0], n), *cells(steps[1], n)) for n in ordered]


def ratio_rows(answer: Comparison) -> list[tuple[str, str, str, str, str]]:
    """(what is held equal, R, batches MoE / dense, tokens/s MoE / dense, why there is none)."""
    if not (answer.moe.fits and answer.dense.fits):
        return []
    return [
        (
            _label(name, r),
            ratio_text(r.value),
            *point_rows(r),
            r.reason if r.value is None else "",
        )
        for name, r in answer.ratios.items()
    ]


def point_rows(ratio: Ratio) -> tuple[str, str]:
    """('12 / 142', '913 / 4,134'): batches and tokens/s of the two points a ratio compares.

    Per request: output tokens over the time of prefill and decode together.
    """
    pair = [ratio.moe, ratio.dense]
    if ratio.name == "request" and ratio.value is not None:
        costs, output = (ratio.detail.moe, ratio.detail.dense), float(ratio.detail.shape.output)
        return " / ".join(number(c.batch) for c in costs), " / ".join(f"{c.rate * output:,.0f}" for c in costs)
    if not all(isinstance(p, Point) for p in pair):
        return "-", "-"
    return " / ".join(number(p.batch) for p in pair if p), " / ".join(f"{p.rate:,.0f}" for p in pair if p)


def _label(name: str, ratio: Ratio) -> str:
    if name == "equal_batch" and ratio.at is not None:
        return f"{NAMES[name]} of {number(ratio.at)}"
    if name == "tpot" and ratio.at is not None:
        return f"at most {show(ratio.at, 's')} per token"
    return NAMES.get(name, name)


WEIGHTS = {"finite batch": "weights alone"}
"""Form of a break-even that weighs no throughput -> what it does weigh: bytes of weights a token."""


def break_even_rows(answer: Comparison, known: Extras) -> list[tuple[str, str, str, str]]:
    """(variable, of which R, where the verdict turns, layout): every break-even sought.

    Where a side does not fit, only those that exist.
    """
    rows, fits, called = (
        [],
        answer.moe.fits and answer.dense.fits,
        dict(zip(("moe", "dense"), sides(answer), strict=True)),
    )
    for name, several in known.break_evens.items():
        for one in several:
            if not fits and not one.crossings:
                continue
            turns = "; ".join(f"{quantity(c.value, one.unit)} ({called[c.above]} ahead above)" for c in one.crossings)
            none = f"none in range: {called[one.leader]} leads throughout" if one.leader in called else one.why_none()
            form = NAMES.get(one.ratio, one.form) if one.ratio else WEIGHTS.get(one.form, one.form)
            rows.append((name.replace("_", " "), form, turns or none, _where(one.layout)))
    return rows


def choice_rows(answer: Comparison, known: Extras, most: int = 6) -> list[tuple[str, str, str]]:
    """(choice, what it becomes, R and verdict with only this changed), the weightiest first, without those that leave
    an answer without R as it is."""
    rows = []
    for c in known.choices:
        if c.verdict in ("refused", answer.verdict) and c.ratio is None:
            continue
        ratio = ratio_text(c.ratio)
        rows.append(
            (c.name, f"{c.given} -> {c.instead}", f"{ratio} {said(answer, c.verdict)}{' (flips)' if c.flips else ''}")
        )
    return rows[:most] + [r for r in rows[most:] if r[0] == WITHOUT]


def layout_rows(answer: Comparison, table: Any, most: int = 20) -> list[tuple[str, ...]]:
    """(layout, batches MoE / dense, MoE step, MoE tokens/s, R, R against the best dense, verdict), fastest first."""
    held = [r for r in table.rows if r.moe_batch >= 1]
    return [
        (
            str(r.layout), f"{number(r.moe_batch)} / {number(r.dense_batch)}", show(r.moe_step, "s"),
            number(r.moe_rate), ratio_text(r.ratio), ratio_text(r.ratio_best), said(answer, r.verdict),
        )
        for r in held[:most]
    ]  # fmt: skip


def _where(layout: str) -> str:
    """A break-even's layout, short: 'auto', 'pooled', 'as chosen'."""
    return "as chosen" if layout.startswith("MoE ") else layout.split(" (", maxsplit=1)[0]


def quantity(value: float, unit: str) -> str:
    """A break-even with its unit: '4,522 tokens', '2.92 tokens per step', '15.9'."""
    shown = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return shown if unit in ("", "-") else f"{shown} {unit}"
