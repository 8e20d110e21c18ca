"""Points of a block: a cell's program run tile by tile, fed to whoever collects the values."""

from __future__ import annotations

import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RoutelineError
from . import cells, lower, outputs
from .cells import Refused
from .compiler import compile_
from .graph import NotTraceable
from .grid import Space
from .lower import REASONS, VERDICTS
from .outputs import OUTPUTS
from .program import TILE, Program

KEEP = 4
"""Compiled cells a worker keeps; blocks of a cell follow each other."""
FEW = 128
"""Points of a cell up to which it is evaluated without tracing."""
DEPTH = 40_000
"""Recursion allowed while a formula is traced and compiled: searches over many layouts nest deeply."""


@dataclass
class Tile:
    """Values of one tile. Arrays broadcast to `shape`; valid[name] tells where a value exists."""

    cell: int
    box: tuple[slice, ...]
    shape: tuple[int, ...]
    start: int
    """Flat position of the first point in the cell."""
    values: dict[str, Any]
    valid: dict[str, Any]

    @property
    def points(self) -> int:
        return math.prod(self.shape)

    def full(self, name: str) -> np.ndarray:
        """Values of an output on the whole tile."""
        return np.broadcast_to(self.values[name], self.shape)

    def mask(self, name: str) -> np.ndarray:
        """Where an output has a value, on the whole tile."""
        return np.broadcast_to(self.valid[name], self.shape)


class _Direct:
    """Evaluation without tracing, tile by tile."""

    def __init__(self, cell: lower.Cell, space: Space, names: tuple[str, ...]) -> None:
        self.cell, self.names, self.grids, self.order = cell, names, space.grids(), [a.name for a in space.numeric]

    def run(self, box: tuple[slice, ...]) -> dict[str, Any]:
        numbers = {}
        for i, name in enumerate(self.order):
            values = self.grids[name][tuple(s if i == j else slice(None) for j, s in enumerate(box))]
            numbers[name] = values if self.grids[name].size > 1 else float(values.reshape(-1)[0])
        return outputs.direct(self.cell, numbers, self.names)


def prepare(space: Space, index: int, resolved: lower.Cell | Refused | None = None) -> Program | _Direct | Refused:
    """A cell made ready: traced and compiled, evaluated directly where it cannot be traced, or refused.

    resolved: what cells.attempt says of it, where the names cannot be resolved here (other machines lack the files).
    """
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(max(limit, DEPTH))
        found = cells.cell(space, index) if resolved is None else resolved
        if isinstance(found, Refused):
            return found
        try:
            if _better_direct(space, found):
                raise NotTraceable("few points")
            traced, made = outputs.trace(
                found, space.grids(), len(space.numeric), space.outputs, int(math.prod(space.shape))
            )
            return compile_(traced, space.shape, made)
        except NotTraceable:
            made = _Direct(found, space, space.outputs)
            made.run(tuple(slice(0, 1) for _ in space.numeric))
            return made
    except RoutelineError as error:
        return Refused(str(error))
    finally:
        sys.setrecursionlimit(limit)


def _better_direct(space: Space, cell: lower.Cell) -> bool:
    """Few points do not pay for tracing; a search over batches in every layout is slow to trace."""
    points = math.prod(space.shape)
    if any(a.kind.role == "shape" for a in space.numeric):
        return False
    searching = cell.scenario.layout.strip().lower() == "auto" and "ratio_tpot" in space.outputs
    return points <= FEW or (searching and points <= TILE)


_PREPARED: OrderedDict[tuple[str, int], Any] = OrderedDict()
_PREPARING = threading.Lock()
"""One thread traces at a time: the recursion limit is the whole process's."""


def prepared(space: Space, index: int, resolved: lower.Cell | Refused | None = None) -> Program | _Direct | Refused:
    """`prepare`, kept for the cells used last; threads share it."""
    key = (space.digest, index)
    found = _PREPARED.get(key)
    if found is None:
        with _PREPARING:
            found = _PREPARED.get(key)
            if found is None:
                found = _PREPARED[key] = prepare(space, index, resolved)
                while len(_PREPARED) > KEEP:
                    _PREPARED.popitem(last=False)
    return found


def run(space: Space, block: int, resolved: lower.Cell | Refused | None = None) -> Iterator[Tile]:
    """Tiles of a block, in order. Arrays are overwritten by the next tile of the same thread."""
    cell = space.cell_at(block)
    program = prepared(space, cell, resolved)
    start = space.start_of(block)
    for box in space.ranges[block % len(space.ranges)]:
        shape = tuple(s.stop - s.start for s in box)
        if isinstance(program, Refused):
            values: dict[str, Any] = {n: _refused(n) for n in space.outputs}
            valid: dict[str, Any] = {n: bool(OUTPUTS[n].labels) or n == "feasible" for n in space.outputs}
        else:
            made = program.run(box)
            values = {n: made[n] for n in space.outputs}
            valid = {n: made[f"{n}?"] for n in space.outputs}
        yield Tile(cell, box, shape, start, values, valid)
        start += math.prod(shape)


def _refused(name: str) -> float:
    codes = {"reason": REASONS.index("refused"), "verdict": VERDICTS.index("refused")}
    return float(codes.get(name, 0))


def refusals(space: Space, limit: int = 1000) -> dict[str, str]:
    """Combinations of names that cannot be evaluated, with why; looks at up to `limit` of them."""
    out: dict[str, str] = {}
    for i in range(min(space.cells, limit)):
        program = prepared(space, i)
        if isinstance(program, Refused):
            names = ", ".join(f"{k}={getattr(v, 'name', v)}" for k, v in space.names_of(i).items())
            out[names or "all"] = program.reason
    return out


def columns(
    space: Space, block: int, resolved: lower.Cell | Refused | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Outputs of a block as flat columns: (values, missing or None)."""
    sizes = [math.prod(s.stop - s.start for s in b) for b in space.ranges[block % len(space.ranges)]]
    total = sum(sizes)
    out = {n: (np.empty(total), np.zeros(total, bool)) for n in space.outputs}
    at = 0
    for tile in run(space, block, resolved):
        for n, (data, missing) in out.items():
            part = data[at : at + tile.points].reshape(tile.shape)
            np.copyto(part, tile.values[n])
            valid = tile.valid[n]
            if valid is not True and not (isinstance(valid, np.ndarray) and valid.all()):
                gone = missing[at : at + tile.points].reshape(tile.shape)
                np.copyto(gone, np.logical_not(valid))
                np.copyto(part, np.nan, where=gone)
        at += tile.points
    return {n: (data, missing if missing.any() else None) for n, (data, missing) in out.items()}


def preflight(space: Space) -> None:
    """Refuse a space whose first cell cannot be evaluated when no other can either (a wrong name, say).

    Raises:
        RoutelineError: the sentence of the first cell, when all of the first few cells are refused.
    """
    reasons = []
    for i in range(min(space.cells, KEEP)):
        program = prepared(space, i)
        if not isinstance(program, Refused):
            return
        reasons.append(program.reason)
    if space.cells <= KEEP:
        raise RoutelineError(reasons[0])
