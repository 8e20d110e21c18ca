"""Routed experts: constants of every grouped-expert kernel, with its tile, from its own routing's loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...kernels import moe_seconds
from . import robust
from .moe_points import ambiguous, bound, limited, of_shape, points, regroup, route, served, untuned
from .robust import Prior
from .tables import FORMATS, Machine, Table, held_out, machine, read
from .tiles import QUANTA, RULES, Points, padded_columns, padded_pairs

PRIORS: dict[str, Prior] = {
    "t0": Prior(25e-6, 0.7),
    "eta": Prior(0.9, 0.1, 0.05, 1.0),
    "f": Prior(0.5, 0.5, 0.02, 1.0),
    "per_expert": Prior(3e-8, 1.5),
    "shuffle": Prior(4.0, 1.0),
    "narrow": Prior(50.0, 1.0),
    "cache": Prior(2.0, 0.5, 1.0, 5.0),
}
"""The constants of kernels.moe_seconds but p, and `cache`: how much faster replays read what stays in the L2 cache."""
P = 1.5
"""Ridge between bytes and FLOP of all kernels: fitted freely it scatters from 1 to 4 and predicts held-out shapes no
better, while eta and f drift with it."""
WIDE = Prior(100.0, 1.5)
KNOTS = 14
CONTENDERS = 3
"""Tile rules, best at their own width, that are tried with padded widths too."""
LEAST = 60, 10
"""Training and held-out points below which a table is not fitted."""


class Kernel(NamedTuple):
    """One grouped-expert kernel: where it was measured and its rows."""

    table: Table
    dtype: str
    source: str
    rows: dict[str, np.ndarray]


def kernels(device: str) -> Iterator[Kernel]:
    """Gated kernels of one device on all experts (no expert parallelism), by engine, version, format and source."""
    for table in read(device, "moe", "moe_perf.parquet", every=True):
        whole = table["moe_ep_size"] == 1.0
        source, dtype = table["kernel_source"].astype(str), table["moe_dtype"].astype(str)
        for name, fmt in sorted(set(zip(source[whole], dtype[whole], strict=True))):
            if fmt in FORMATS and "nongated" not in name:
                yield Kernel(table, fmt, name, table.where(whole & (source == name) & (dtype == fmt)))


def resident(q: Points, weight: float, m: Machine) -> np.ndarray:
    """Share of the touched weights that replays find in the L2 cache."""
    return m.resident(q["touched"] * 3.0 * q["hidden"] * q["inter"] * weight)


def seconds(q: Points, at: Any, c: Mapping[str, float], weight: float, m: Machine, fmt: str) -> Any:
    """kernels.moe_seconds on the points `at`; what replays find in the cache moves `cache` times faster."""
    moved = weight * (1.0 - q["hit"][at] * (1.0 - 1.0 / c["cache"]))
    c = {"p": P} | dict(c)
    return moe_seconds(
        q["pairs"][at], q["touched"][at], q["hidden"][at], q["columns"][at], 3.0, moved, m.peaks[fmt], m.bandwidth, c,
        q["computed"][at],
    )  # fmt: skip


def basis(q: Points) -> np.ndarray:
    """Where a point stands on the curve of `refined`: by log2 of the pairs per touched expert."""
    return robust.hat(np.log2(np.maximum(q["pairs"] / q["touched"], 1.0)), KNOTS)


def choose(q: Points, model: robust.Model, train: np.ndarray) -> tuple[dict[str, Any], float]:
    """(tile rule, columns) that suit the training points best; sets q["computed"] and q["columns"] to them."""

    def error(rule: int, quantum: float) -> float:
        q["computed"], q["columns"] = padded_pairs(q, RULES[rule]), padded_columns(q, quantum)
        return robust.solve(model, PRIORS, q["seconds"], train, most=800).training

    tried = {(rule, 1.0): error(rule, 1.0) for rule in range(len(RULES))}
    for rule, _ in sorted(tried, key=lambda k: tried[k])[:CONTENDERS]:
        tried |= {(rule, quantum): error(rule, quantum) for quantum in QUANTA[1:]}
    quantum = min(tried, key=lambda k: tried[k])[1]
    if quantum > 1.0:
        tried |= {(r, quantum): error(r, quantum) for r in range(len(RULES)) if (r, quantum) not in tried}
    rule, quantum = min(tried, key=lambda k: tried[k])
    error(rule, quantum)
    return RULES[rule], quantum


def fit(kernel: Kernel, m: Machine) -> dict[str, Any]:
    """The entry of one kernel: plain constants with the tile that suits the training points best, and `refined`: the
    same physics with `wide` and a curve over log2(pairs per touched expert), which tile configuration the library
    picks at which fill. The curve multiplies the seconds by exp(value), linear between whole powers of two."""
    weight, _, fmt = FORMATS[kernel.dtype]
    head = {
        "operation": "moe", "device": kernel.table.device, "engine": kernel.table.engine,
        "version": kernel.table.version, "kernel": kernel.source, "dtype": kernel.dtype,
    }  # fmt: skip
    q = points(kernel.rows)

    def fast(p: Points) -> np.ndarray:
        return p["seconds"] <= robust.FASTER * bound(p, weight, m.peaks[fmt], m.bandwidth)

    clear = {name: column[~ambiguous(q)] for name, column in q.items()}
    behind, broken = limited("min_latency" in kernel.source, clear, fast)
    regroup(q, of_shape(q, behind))
    q["hit"] = resident(q, weight, m)
    keep = served(q) & ~ambiguous(q) & ~untuned(q) & ~of_shape(q, broken)
    parts = robust.split(keep, fast(q), held_out(q["hidden"], q["inter"], q["experts"]))

    def model(c: Mapping[str, float], at: np.ndarray) -> np.ndarray:
        return seconds(q, at, c, weight, m, fmt)

    if not parts.enough(*LEAST):
        return robust.report(head, parts, None, {})
    tile, quantum = choose(q, model, parts.train)
    every = np.arange(len(q["seconds"]))
    straight = robust.rounded(robust.solve(model, PRIORS, q["seconds"], parts.train).constants)
    place = basis(q)
    bent = robust.solve(model, PRIORS | {"wide": WIDE}, q["seconds"], parts.train, place)
    refined, curve = robust.rounded(bent.constants), np.round(bent.curve, 3)
    curved = model(refined, every) * np.exp(place @ curve)
    last = int(np.flatnonzero(place[parts.train].any(0)).max(initial=0)) + 1
    return robust.report(
        head, parts, robust.errors(model(straight, every), q["seconds"], parts),
        {
            "tile": tile,
            "columns": quantum,
            "limited": behind,
            "constants": straight | {"p": P},
            "refined": robust.errors(curved, q["seconds"], parts) | {
                "constants": refined | {"p": P}, "curve": [float(v) for v in curve[:last]],
            },
        },
    )  # fmt: skip


def predict(
    entry: Mapping[str, Any],
    shape: tuple[float, float, float, float],
    tokens: np.ndarray,
    distribution: str,
    *,
    refined: bool = True,
) -> np.ndarray:
    """Seconds of one entry's kernel in the collector's setting on one device, by tokens: shape is (hidden, columns of
    an expert, experts, top-k)."""
    hidden, inter, experts, top_k = (np.full(len(tokens), float(x)) for x in shape)
    q: Points = {
        "hidden": hidden, "inter": inter, "experts": experts, "top_k": top_k, "tokens": np.asarray(tokens, float),
        "routing": np.full(len(tokens), distribution),
    }  # fmt: skip
    route(q)
    if shape in [tuple(found) for found in entry["limited"]]:
        regroup(q, np.ones(len(tokens), bool))
    weight, _, fmt = FORMATS[entry["dtype"]]
    m = machine(entry["device"])
    q["hit"] = resident(q, weight, m)
    q["computed"], q["columns"] = padded_pairs(q, entry["tile"]), padded_columns(q, entry["columns"])
    every = np.arange(len(tokens))
    if not refined:
        return seconds(q, every, entry["constants"], weight, m, fmt)
    curve = np.zeros(KNOTS)
    curve[: len(entry["refined"]["curve"])] = entry["refined"]["curve"]
    return seconds(q, every, entry["refined"]["constants"], weight, m, fmt) * np.exp(basis(q) @ curve)


def moe(device: str) -> Iterator[dict[str, Any]]:
    """Every kernel of a device."""
    m = machine(device)
    for kernel in kernels(device):
        if FORMATS[kernel.dtype][2] in m.peaks:
            yield fit(kernel, m)
