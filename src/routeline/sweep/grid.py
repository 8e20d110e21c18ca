"""A design space as a grid: what is looped over, what is broadcast over, blocks, tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import RoutelineError, UnknownName
from . import identity, reduce
from .axes import Axis
from .outputs import OUTPUTS
from .program import TILE, tiles

BLOCK = 2**20
"""Points of a block, the unit of checkpointing."""
LIMIT = 1e11
"""Points a space may hold unless the caller allows more."""
DEFAULT_OUTPUTS = ("ratio", "reuse_penalty", "headroom_gain", "moe_batch", "dense_batch", "reason")
_LATE = ("redundant", "draft")


@dataclass(frozen=True)
class Space:
    """What to evaluate. axes in the order of the result; fixed: every other setting, as typed.

    reducers: name -> settings ({kind = "best", ...}); with reducers points are reduced on the fly.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    reducers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    block: int = BLOCK
    limit: float = LIMIT

    def __post_init__(self) -> None:
        names = [a.name for a in self.axes]
        for name in names:
            if names.count(name) > 1:
                raise RoutelineError(f"axis {name} is given twice")
        for name in self.fixed:
            if name in names:
                raise RoutelineError(f"{name} is both an axis and fixed; give it once")
        for name in self.outputs:
            if name not in OUTPUTS:
                raise UnknownName("output", name, OUTPUTS, f"known: {', '.join(OUTPUTS)}")
        if not self.outputs:
            raise RoutelineError(f"no outputs asked for; give at least one of {', '.join(list(OUTPUTS)[:6])}, ...")
        if not self.limit > 0.0:
            raise RoutelineError(f"the limit on points must be above 0, not {self.limit:g}")
        if self.points > self.limit:
            raise RoutelineError(
                f"the space holds {self.points:.3g} points, over the limit of {self.limit:.3g}; "
                "shorten an axis or raise the limit"
            )
        if not 2**10 <= self.block <= 2**26:
            raise RoutelineError(f"a block holds between 1,024 and 67,108,864 points, not {self.block:g}")
        reduce.check(self)

    @property
    def points(self) -> float:
        return math.prod(float(len(a)) for a in self.axes)

    def axis(self, name: str) -> Axis:
        """An axis by name.

        Raises:
            UnknownName: not an axis of this space.
        """
        for a in self.axes:
            if a.name == name:
                return a
        raise UnknownName("axis of this space", name, [a.name for a in self.axes])

    def has(self, name: str) -> bool:
        return any(a.name == name for a in self.axes)

    # --- what is looped over, what is broadcast ---

    @cached_property
    def looped(self) -> tuple[Axis, ...]:
        """Axes looped over: names; draft (it decides whether draft layers are resident); and what changes the
        layouts to choose from: q where a standard dense shape follows it, synthetic shapes unless pooled and
        routed evenly (a skew is a list of as many probabilities as experts)."""
        pooled = not self.has("layout") and str(self.fixed.get("layout", "auto")).strip().lower() == "pooled"
        routed = self.axis("routing").values if self.has("routing") else (self.fixed.get("routing", "uniform"),)
        even = {str(r).strip().lower() for r in routed} <= {"uniform", "balanced"}
        shapes = {self.fixed.get("dense", "same-attention")}
        if self.has("dense"):
            shapes = set(self.axis("dense").values)

        def loops(a: Axis) -> bool:
            if a.kind.role == "name" or a.name in _LATE:
                return True
            if a.name == "q":
                return shapes != {"same-attention"}
            return a.kind.role == "shape" and not (pooled and even)

        return tuple(a for a in self.axes if loops(a))

    @cached_property
    def numeric(self) -> tuple[Axis, ...]:
        """Axes broadcast over, in the order blocks run through them: last the one quantiles need, or a long one."""
        names = {a.name for a in self.looped}
        kept = [a for a in self.axes if a.name not in names]
        over = reduce.innermost(self)
        last = next((a for a in kept if a.name == over), None)
        if last is None and kept and len(kept[-1]) < 64:
            longest = max(kept, key=len)
            last = longest if len(longest) > 2 * len(kept[-1]) else None
        return tuple([a for a in kept if a is not last] + ([last] if last is not None else []))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the numeric axes, in `numeric` order."""
        return tuple(len(a) for a in self.numeric)

    @property
    def cells(self) -> int:
        return math.prod(len(a) for a in self.looped)

    @cached_property
    def ranges(self) -> list[list[tuple[slice, ...]]]:
        """Tiles of each block of one cell (the same in every cell)."""
        blocks: list[list[tuple[slice, ...]]] = []
        size = self.block + 1
        for box in tiles(self.shape, min(TILE, self.block)):
            n = math.prod(s.stop - s.start for s in box)
            if size + n > self.block:
                blocks.append([])
                size = 0
            blocks[-1].append(box)
            size += n
        return blocks

    @property
    def blocks(self) -> int:
        return self.cells * len(self.ranges)

    def cell_at(self, block: int) -> int:
        return block // len(self.ranges)

    def start_of(self, block: int) -> int:
        """Flat position of a block's first point in its cell."""
        return self._starts[block % len(self.ranges)]

    @cached_property
    def _starts(self) -> list[int]:
        sizes = [sum(math.prod(s.stop - s.start for s in b) for b in block) for block in self.ranges]
        return [0, *itertools.accumulate(sizes)]

    def names_of(self, cell: int) -> dict[str, Any]:
        """Looped axes and their values in a cell."""
        index = np.unravel_index(cell, tuple(len(a) for a in self.looped)) if self.looped else ()
        return {a.name: a.values[int(i)] for a, i in zip(self.looped, index, strict=True)}

    def grids(self) -> dict[str, np.ndarray]:
        """Numeric axes as open-grid arrays."""
        n = len(self.numeric)
        return {
            a.name: np.asarray(a.values, float).reshape((1,) * i + (-1,) + (1,) * (n - 1 - i))
            for i, a in enumerate(self.numeric)
        }

    @cached_property
    def digest(self) -> str:
        """Name of this run: two spaces with the same digest give the same blocks."""
        return identity.digest(self)
