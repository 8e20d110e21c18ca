"""Numbers of stacked bars: what holds a device's memory, where a step's time goes, how R splits in two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import counts, layouts, memory
from ..answer.rows import number
from ..arch import Model
from ..compare import Comparison, Side
from ..errors import RoutelineError
from ..scenario import Layout
from ..units import show
from . import theme
from .data import Rows, labels, need, sides
from .theme import digits

GROUPS = {
    "routed": "routed experts",
    "shared": "shared experts",
    "dense_ffn": "dense FFN",
    "attention": "attention weights",
    "cache": "cache",
    "state": "state",
    "head": "embedding, head",
    "embedding": "embedding, head",
    "activations": "activations",
    "communication": "communication",
    "scheduling": "overhead",
}
"""Part of the model -> group shown; anything else is 'norms, routers, other'."""
REST = "norms, routers, other"
TIMES = GROUPS | {"cache": "attention over the cache"}
"""The same for time: what reading the cache costs is attention's core."""
UNUSED = "not used (utilisation, runtime)"


def _only(model: Model, parts: set[str]) -> Model:
    """The model with every weight outside `parts` emptied: what is left is what those parts keep resident."""

    def keep(w: Any) -> Any:
        return w if w.part in parts else replace(w, params=0.0)

    return replace(
        model,
        embedding=keep(model.embedding),
        head=keep(model.head),
        extra=tuple(keep(w) for w in model.extra),
        layers=tuple(replace(g, weights=tuple(keep(w) for w in g.weights)) for g in model.layers),
    )


def weights_by_part(c: Comparison, one: Side, layout: Layout) -> dict[str, float]:
    """Resident weight bytes on one device by group shown [B]; they sum to memory.weights_per_device."""
    model, out = one.counted.model, {}
    for part in {w.part for w, _, _ in counts.weights(model)}:
        held = counts.residents(_only(model, {part}), with_mtp=bool(c.scenario.draft))
        amount = memory.weights_per_device(replace(one.counted, residents=held), layout, c.ground.routing.redundant)
        group = GROUPS.get(part, REST)
        out[group] = out.get(group, 0.0) + float(np.max(amount))
    return {k: v for k, v in out.items() if v > 0}


def leanest(one: Side, redundant: Any = 0.0) -> Layout:
    """Of the layouts a side may use, the one with the fewest weight bytes a device."""
    if np.ndim(one.options.tp) == 0:
        return one.options
    return layouts.pick(one.options, int(np.argmin(memory.weights_per_device(one.counted, one.options, redundant))))


def memory_stack(c: Comparison) -> Rows:
    """GB on the fullest device by what holds them, per side; a side that does not fit shows its weights alone."""
    device = float(c.cluster.device.memory(c.scenario.memory))
    capacity = float(c.ground.capacity)
    out: Rows = []
    for role, label, one in sides(c):
        layout = one.point.layout if one.point is not None else leanest(one, c.ground.routing.redundant)
        batch = one.point.batch if one.point is not None and one.fits else 0.0
        held = weights_by_part(c, one, layout)
        ranks = float(layout.dp * layout.replicas)
        cache = float(memory.cache_per_device(one.counted, layout, c.ground.workload)) * float(np.ceil(batch / ranks))
        stack = held | {"cache": cache}
        if one.fits:
            stack |= {"free": max(capacity - sum(stack.values()), 0.0), UNUSED: max(device - capacity, 0.0)}
        out += [
            {
                "role": role,
                "side": label,
                "part": part,
                "gb": amount / 1e9,
                "fits": one.fits,
                "batch": batch,
                "layout": str(layout),
            }
            for part, amount in stack.items()
            if amount > 0
        ]
    return stacked(out, "gb")


WIDE = 0.07
"""Smallest share of a chart's width that holds a number of two or three digits."""


def stacked(rows: Rows, field: str) -> Rows:
    """Rows of stacked bars with their stacking order, and a number on each segment that is wide enough for one."""
    order = {p: i for i, p in enumerate(theme.PARTS)}
    lengths: dict[str, float] = {}
    for r in rows:
        lengths[r["side"]] = lengths.get(r["side"], 0.0) + r[field]
    longest = max(lengths.values(), default=1.0)
    return [
        r
        | {
            "order": order[r["part"]],
            "number": digits(r[field], 2) if r[field] >= WIDE * longest and r["part"] not in ("free", UNUSED) else "",
            "ink": theme.on(theme.PARTS[r["part"]]),
        }
        for r in sorted(rows, key=lambda r: (r["role"] != "moe", order[r["part"]]))
    ]


def step_parts(c: Comparison) -> Rows:
    """Milliseconds of one step and microseconds per output token, by part, per side at its own batch."""
    need(c, "moe", "dense")
    out: Rows = []
    for role, label, one in sides(c):
        point = one.point
        assert point is not None
        grouped: dict[str, float] = {}
        for part, time in point.step.parts.items():
            name = TIMES.get(part, REST)
            grouped[name] = grouped.get(name, 0.0) + float(time.seconds)
        tokens = float(point.step.output)
        out += [
            {
                "role": role,
                "side": label,
                "part": part,
                "ms": seconds * 1e3,
                "us_per_token": seconds / tokens * 1e6,
                "batch": point.batch,
            }
            for part, seconds in grouped.items()
            if seconds > 0
        ]
    return out


def step_totals(c: Comparison) -> Rows:
    """Per side: the line above its bar in both units, and the part that takes most of its step."""
    need(c, "moe", "dense")
    out: Rows = []
    for role, label, one in sides(c):
        assert one.point is not None
        mine = [r for r in step_parts(c) if r["role"] == role]
        most = max(mine, key=lambda r: r["ms"])
        seconds = float(one.point.step.seconds)
        batch = f"{label}, batch {one.point.batch:,.0f}"
        out.append(
            {
                "side": label,
                "ms": f"{batch}: {show(seconds, 's', 3)}",
                "us_per_token": f"{batch}: {show(1.0 / one.point.rate, 's', 3)}",
                "most": most["part"],
                "share": f"{most['ms'] / (seconds * 1e3):.0%}",
            }
        )
    return out


def waterfall(c: Comparison) -> Rows:
    """From the dense model's tokens/s to the MoE's: what the smaller batch takes, what lost reuse takes.

    R = reuse penalty x headroom gain: the dense model held to the MoE's batch reaches
    rate_dense / headroom; the MoE reaches that / reuse.
    """
    ratio = c.ratios["max_batch"]
    if ratio.value is None or c.headroom_gain is None or c.reuse_penalty is None:
        raise RoutelineError(f"the two penalties need both sides to fit: {ratio.reason}")
    assert ratio.moe is not None
    assert ratio.dense is not None
    first, second = labels(c)
    top, bottom = ratio.dense.rate / c.cluster.count, ratio.moe.rate / c.cluster.count
    middle = top / c.headroom_gain

    def row(order: int, name: list[str], start: float, end: float, kind: str, text: str) -> dict[str, Any]:
        return {
            "order": order,
            "step": "\n".join(name),
            "from": start,
            "to": end,
            "kind": kind,
            "text": text,
            "low": min(start, end),
            "high": max(start, end),
        }

    def change(order: int, name: list[str], start: float, end: float, factor: float) -> dict[str, Any]:
        text = f"÷ {digits(factor)}" if factor >= 1 else f"× {digits(1 / factor)}"
        return row(order, name, start, end, "loss" if end < start else "gain", text)

    def lines(label: str) -> list[str]:
        return theme.wrap(label, 15)

    return [
        row(0, [*lines(second), f"batch {ratio.dense.batch:,.0f}"], 0.0, top, "dense", number(top)),
        change(1, ["headroom:", f"at batch {ratio.moe.batch:,.0f}"], top, middle, c.headroom_gain),
        change(2, ["reuse:", "the MoE's step"], middle, bottom, c.reuse_penalty),
        row(3, [*lines(first), f"batch {ratio.moe.batch:,.0f}"], 0.0, bottom, "moe", number(bottom)),
    ]
