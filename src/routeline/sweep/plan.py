"""What a sweep will cost, before it runs: points, blocks, bytes, expected time from a few timed tiles."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import evaluate
from .grid import Space
from .pool import SERIAL

SAMPLES = 5
"""Cells looked at for a dry run."""


@dataclass(frozen=True)
class Plan:
    """A dry run. seconds: expected on `workers` processes, from timed tiles of sample cells; None where none ran.

    bytes: outputs as stored (Parquet before compression, or memory); looped and broadcast: axes by kind.
    """

    points: float
    blocks: int
    cells: int
    bytes: float
    seconds: float | None
    workers: int
    looped: tuple[str, ...]
    broadcast: tuple[str, ...]
    refused: dict[str, str]
    reduced: bool


def plan(space: Space, workers: int | None = None) -> Plan:
    """Points, blocks, bytes and expected time. Runs a tile or two of a few cells; writes nothing."""
    evaluate.preflight(space)
    used = workers or (os.cpu_count() or 1 if space.points > SERIAL else 1)
    step = max(1, space.cells // SAMPLES)
    picks: Sequence[int] = range(0, space.cells, step)[:SAMPLES]
    setup = running = 0.0
    points = 0
    for cell in picks:
        began = time.perf_counter()
        evaluate.prepared(space, cell)
        setup += time.perf_counter() - began
        tiles = evaluate.run(space, cell * len(space.ranges))
        next(tiles, None)
        began = time.perf_counter()
        for tile in (next(tiles, None), next(tiles, None)):
            points += tile.points if tile is not None else 0
        running += time.perf_counter() - began
    per_point = running / points if points else 0.0
    seconds = (setup / len(picks) * space.cells + per_point * space.points) / used
    columns = len(space.outputs) * 8.0 + 4.0 * len(space.axes)
    return Plan(
        points=space.points, blocks=space.blocks, cells=space.cells,
        bytes=0.0 if space.reducers else space.points * columns, seconds=seconds if math.isfinite(seconds) else None,
        workers=used, looped=tuple(a.name for a in space.looped), broadcast=tuple(a.name for a in space.numeric),
        refused=evaluate.refusals(space, limit=SAMPLES), reduced=bool(space.reducers),
    )  # fmt: skip
