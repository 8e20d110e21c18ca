"""Layouts: the grammar people type, the rules that must hold, and the candidates `auto` searches."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .counts import Counted
from .errors import RoutelineError, UnknownName, shorten
from .scenario import Layout

WIDTHS = tuple(f.name for f in fields(Layout) if f.name != "pooled")


def pooled(devices: float) -> Layout:
    """All devices as one: tp = moe_tp = devices, nothing replicated, communication free."""
    return Layout(tp=float(devices), moe_tp=float(devices), pooled=True)


def parse(text: str, devices: int) -> Layout:
    """'tp8', 'dp8,ep8', 'tp=4,dp=2,ep=8,moe_tp=1,pp=1,cp=1,replicas=2' or 'pooled' -> Layout.

    Widths left out are completed: tp = 1; dp = what is left of the devices when `dp` or `ep` is
    written, replicas = what is left otherwise; ep = 1 and moe_tp = tp*dp/ep.

    Raises:
        RoutelineError: unknown or repeated width, not a positive integer, or widths that contradict
            devices = replicas*pp*tp*dp and tp*dp = moe_tp*ep.
    """
    plain = text.strip().lower()
    if plain == "pooled":
        return pooled(devices)
    given: dict[str, int] = {}
    for piece in plain.replace(";", ",").replace("+", ",").split(","):
        name = piece.strip().rstrip("0123456789").rstrip("= ").strip()
        number = piece.strip()[len(piece.strip().rstrip("0123456789")) :]
        name = {"replica": "replicas", "moe-tp": "moe_tp", "etp": "moe_tp", "r": "replicas"}.get(name, name)
        if name not in WIDTHS:
            raise UnknownName("layout width", shorten(name or piece), WIDTHS, "write e.g. tp8 or dp=8,ep=8 or pooled")
        if name in given:
            raise RoutelineError(f"layout {shorten(text)!r} gives {name} twice")
        if not number or len(number) > 7 or int(number) < 1:
            raise RoutelineError(f"layout {shorten(text)!r}: {name} needs a whole number from 1 to 9,999,999")
        given[name] = int(number)
    return _complete(given, devices, text)


def _complete(given: dict[str, int], devices: int, text: str) -> Layout:
    w = {"tp": 1, "pp": 1, "cp": 1} | given
    known = w["tp"] * w["pp"] * w.get("dp", 1) * w.get("replicas", 1)
    left, rest = divmod(devices, known)
    if rest:
        raise RoutelineError(f"layout {shorten(text)!r} needs a multiple of {known} devices, and {devices} are given")
    if "dp" not in w and "replicas" not in w:
        wide = max(w.get("ep", 1) * w.get("moe_tp", 1) // w["tp"], 1)
        w["dp"] = wide if left % wide == 0 else 1
        w["replicas"] = left // w["dp"]
    elif "dp" not in w:
        w["dp"] = left
    elif "replicas" not in w:
        w["replicas"] = left
    elif left != 1:
        raise RoutelineError(f"layout {shorten(text)!r} uses {known} devices, and {devices} are given")
    group = w["tp"] * w["dp"]
    if "ep" not in w:
        w["ep"] = group // w["moe_tp"] if "moe_tp" in w and group % w["moe_tp"] == 0 else 1
    if "moe_tp" not in w:
        w["moe_tp"] = group // w["ep"] if group % w["ep"] == 0 else 1
    if w["moe_tp"] * w["ep"] != group:
        raise RoutelineError(
            f"layout {shorten(text)!r}: moe_tp*ep = {w['moe_tp']}*{w['ep']} must equal tp*dp = {w['tp']}*{w['dp']}"
        )
    return replace(Layout(), **{k: float(v) for k, v in w.items()})


def check_spare(counted: Counted, devices: int, redundant: float) -> None:
    """Refuse more spare expert slots than put every expert on every device: no rank has a use for a second copy.

    Raises:
        RoutelineError: with the number that does it.
    """
    most = float(np.max(counted.experts)) * (devices - 1)
    if counted.moe_layers and redundant > most:
        raise RoutelineError(
            f"--redundant {int(redundant)}: {int(most)} spare slots already put every expert on each of {devices} "
            f"devices; give at most that many"
        )


def check(layout: Layout, counted: Counted, devices: int, redundant: float = 0.0) -> None:
    """Refuse a scalar layout that cannot run this model.

    KV heads need not divide: engines replicate them over the ranks that share one. `redundant` expert
    slots count as experts that ep must divide.

    Raises:
        RoutelineError: tp does not divide the heads, cp not tp, ep not the expert slots, moe_tp not the
            expert width, pp over the layers.
    """
    if layout.pooled:
        return
    if layout.devices != devices:
        raise RoutelineError(f"layout {layout} uses {int(layout.devices)} devices, and {devices} are given")
    heads, tp = counted.model.heads, layout.tp
    if np.ndim(heads) == 0 and heads % tp:  # a match of many sizes has a head count for each: not refused here
        options = ", ".join(str(d) for d in _divisors(int(heads)) if d <= devices)
        raise RoutelineError(f"tp={int(tp)} does not divide {int(heads)} heads of {counted.model.name}; try {options}")
    if tp % layout.cp:
        raise RoutelineError(f"cp={int(layout.cp)} must divide tp={int(tp)}")
    slots = counted.experts + redundant
    if counted.moe_layers and slots % layout.ep:
        options = ", ".join(str(d) for d in _divisors(int(slots)) if d <= devices)
        spare = f" and {int(redundant)} redundant ones" if redundant else ""
        raise RoutelineError(
            f"ep={int(layout.ep)} does not divide {int(counted.experts)} experts{spare}; try {options}, or "
            f"--redundant {int(redundant + -slots % layout.ep)} for spare expert slots that make it divide"
        )
    width = expert_width(counted)
    if width is not None and width % layout.moe_tp:
        options = ", ".join(str(d) for d in _divisors(width) if d <= devices)
        raise RoutelineError(f"moe_tp={int(layout.moe_tp)} does not divide experts of width {width}; try {options}")
    if not counted.moe_layers and layout.ep > 1:
        raise RoutelineError(
            f"{counted.model.name} has no experts: ep={int(layout.ep)} has nothing to divide; leave ep out"
        )
    layers = float(np.max(depth(counted)))
    if layout.pp > max(layers, 1.0):
        raise RoutelineError(f"pp={int(layout.pp)} stages for {int(layers)} layers: use at most {int(layers)}")


def depth(counted: Counted) -> Any:
    """Layers that a decode step goes through [-]; not whole for a match of the standard shape."""
    return sum(g.count for g in counted.model.layers if not g.encoder)


def runs(layout: Layout, counted: Counted) -> Any:
    """Where a match of many sizes can run in a layout: its heads divide over tp, no stage is without a layer.

    True where the size is one number: `check` and `candidates` have seen to it.
    """
    heads, layers = counted.model.heads, depth(counted)
    if layout.pooled or not (np.ndim(heads) or np.ndim(layers)):
        return True
    return (np.asarray(heads) % layout.tp == 0) & (layout.pp <= np.maximum(layers, 1.0))


def expert_width(counted: Counted) -> int | None:
    """Columns of one routed expert's largest matrix [-]; None without experts or where it is not whole."""
    for group in counted.model.layers:
        for w in group.weights:
            if w.part == "routed" and w.matmul and np.ndim(w.params) == 0:
                width = float(w.params) / (float(group.experts) * float(counted.model.hidden))
                return int(width) if width.is_integer() else None
    return None


def candidates(counted: Counted, devices: int, node: int, redundant: float = 0.0) -> Layout:
    """Every layout `auto` considers on `devices` devices, as one Layout of arrays (shape: layouts).

    tp divides the heads and stays inside a node; cp in {1, tp / KV shards}; pp cuts the layers into stages
    nearly alike (UNEVEN; any number of stages where layers are not whole, as in a standard match); attention
    data parallelism only with experts to spread (for a dense model it would be a replica that shares its
    head); ep divides the expert slots (`redundant` ones included), moe_tp the expert width (a power of two
    where that is not one number).
    """
    moe = bool(np.max(counted.moe_layers) > 0)
    heads = math.lcm(*{int(h) for h in np.ravel(counted.model.heads)})  # of many sizes: what any of them allows
    slots, layers = int(np.max(counted.experts)) + int(redundant), depth(counted)
    whole = bool(np.all(layers == np.floor(layers)))
    shard = min((int(op.stream.shards) for op in counted.operations if op.stream is not None), default=heads)
    width = expert_width(counted)
    return _grid(int(np.max(layers)), whole, heads, slots if moe else 0, width, max(shard, 1), devices, node)


UNEVEN = 1.05
"""Layers of the fullest pipeline stage over the mean that `auto` accepts [-]: memory and time take stages as equal,
which leaves out no more than this (61 layers: 2, 3, 4, 7, 8, 9, 16 stages, but not 5 or 6)."""


@lru_cache(maxsize=1024)
def _grid(
    layers: int, whole: bool, heads: int, slots: int, width: int | None, shard: int, devices: int, node: int
) -> Layout:
    """`candidates` of a shape (slots 0: dense); kept, because every answer asks again for the sizes it tries."""
    rows: list[tuple[int, ...]] = []
    for tp in _divisors(devices):
        if heads % tp or tp > node:
            continue
        spare = max(tp // shard, 1)
        for pp in _divisors(devices // tp):
            if pp > max(layers, 1) or (whole and -(-layers // pp) * pp > UNEVEN * layers):
                continue
            for dp in _divisors(devices // (tp * pp)) if slots else [1]:
                for ep in _spreads(tp * dp, slots, width, node):
                    for cp in sorted({1, spare} if tp % spare == 0 else {1}):
                        rows.append((tp, dp, ep, tp * dp // ep, pp, cp, devices // (tp * pp * dp)))
    table = np.array(rows, float).T
    table.flags.writeable = False
    return Layout(**dict(zip(("tp", "dp", "ep", "moe_tp", "pp", "cp", "replicas"), table, strict=True)))


def _spreads(ranks: int, slots: int, width: int | None, node: int) -> list[int]:
    """ep of `ranks` ranks: divides the expert slots and leaves moe_tp = ranks / ep inside a node and in the expert
    width. An odd factor cuts experts only where their number has no room for it."""
    if not slots:
        return [1]
    found = {
        ep: ranks // ep
        for ep in _divisors(ranks)
        if not slots % ep and ranks // ep <= node and (_odd(ranks // ep) == 1 or (width and not width % (ranks // ep)))
    }
    least = min(map(_odd, found.values()), default=1)
    return [ep for ep, inner in found.items() if _odd(inner) == least]


def _odd(n: int) -> int:
    return n // (n & -n)


def _divisors(n: int) -> list[int]:
    low = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted(set(low + [n // d for d in low]))


def pick(layout: Layout, index: int) -> Layout:
    """One scalar layout out of a Layout of arrays."""
    return replace(layout, **{w: float(getattr(layout, w)[index]) for w in WIDTHS})


def take(layout: Layout, keep: np.ndarray) -> Layout:
    """Some layouts out of a Layout of arrays, in their order."""
    return replace(layout, **{w: np.asarray(getattr(layout, w))[keep] for w in WIDTHS})


def size(layout: Layout) -> int:
    """How many layouts a Layout of arrays holds; 1 for a scalar."""
    return int(np.size(layout.tp))


def as_column(layout: Layout) -> Layout:
    """Layout arrays with a trailing axis, to broadcast against batches or contexts."""
    return replace(layout, **{w: np.asarray(getattr(layout, w), float)[..., None] for w in WIDTHS})


def widths(layout: Layout) -> dict[str, Any]:
    """Widths as integers, for JSON."""
    return {w: int(getattr(layout, w)) for w in WIDTHS} | {"pooled": layout.pooled}
