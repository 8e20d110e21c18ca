"""Evaluate traced formulas over an open grid, tile by tile, in preallocated buffers.

`compile_` turns nodes into a list of NumPy calls. What varies over few points is computed once for the
whole grid; what depends on a whole-number variable alone (a batch) becomes a table over that number;
the rest runs per tile of about 2**15 points, sized to stay in a core's L2 cache, with `out=` buffers
that are reused as soon as their value is no longer needed. No physics here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

TILE = 2**15
"""Points of a tile: 256 KB a buffer."""


@dataclass(eq=False)
class Register:
    """A value while the program runs. mask: axes it varies over; whole grid (once) or per tile.

    Two registers are the same only if they are one object: fields alike say nothing of the value.
    """

    mask: int
    dtype: Any = np.float64
    once: bool = False
    data: Any = None
    slot: int = -1


@dataclass
class Call:
    """One NumPy call: function, operands (registers or numbers), result."""

    function: Any
    operands: tuple[Any, ...]
    result: Register


class _Buffers(threading.local):
    """The arrays that one thread evaluates a program in: a second thread would overwrite its values unseen."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.views: dict[tuple[int, ...], list[Any]] = {}

    def shaped(self, slots: list[tuple[int, Any]], shape: tuple[int, ...]) -> list[Any]:
        """Views of the arrays, shaped for a tile."""
        found = self.views.get(shape)
        if found is not None:
            return found
        if not self.arrays:
            self.arrays = [np.empty(0, dtype) for _, dtype in slots]
        for i, (mask, dtype) in enumerate(slots):
            if self.arrays[i].size < count(shape, mask):
                self.arrays[i] = np.empty(count(shape, mask), dtype)
                self.views.clear()
        self.views[shape] = [
            array[: count(shape, mask)].reshape(shape_of(shape, mask))
            for array, (mask, _) in zip(self.arrays, slots, strict=True)
        ]
        return self.views[shape]


@dataclass
class Program:
    """Instructions for a grid of `shape`; see `run`. Threads may share it: each has buffers of its own."""

    shape: tuple[int, ...]
    calls: list[Call]
    outputs: dict[str, Any]
    slots: list[tuple[int, Any]] = field(default_factory=list)
    _buffers: _Buffers = field(default_factory=_Buffers, repr=False)

    def run(self, box: tuple[slice, ...]) -> dict[str, Any]:
        """Values of every output over a box of the grid, as arrays that broadcast to it.

        The arrays are views of buffers that the next call of the same thread overwrites.
        """
        views = self._buffers.shaped(self.slots, tuple(s.stop - s.start for s in box))
        loaded: dict[int, Any] = {}

        def rows(x: Rows) -> Any:
            inner = (s if n > 1 else slice(None) for s, n in zip(box[x.first :], x.data.shape[1:], strict=True))
            return x.data[(slice(None), *inner)]

        def read(x: Any) -> Any:
            if not isinstance(x, Register):
                return x if not isinstance(x, Rows) else rows(x)
            if not x.once:
                return views[x.slot]
            found = loaded.get(id(x))
            if found is None:
                found = x.data[tuple(s if x.mask >> i & 1 else slice(None) for i, s in enumerate(box))]
                loaded[id(x)] = found
            return found

        with np.errstate(all="ignore"):
            for call in self.calls:
                execute(call.function, [read(x) for x in call.operands], views[call.result.slot])
        return {name: read(x) for name, x in self.outputs.items()}


def count(shape: tuple[int, ...], mask: int) -> int:
    return math.prod(n for i, n in enumerate(shape) if mask >> i & 1)


def shape_of(shape: tuple[int, ...], mask: int) -> tuple[int, ...]:
    return tuple(n if mask >> i & 1 else 1 for i, n in enumerate(shape))


def execute(function: Any, args: list[Any], out: Any) -> None:
    if function == "take":
        np.take(args[0], args[1], out=out, mode="clip")
    elif function == "rows":
        first = out.ndim - args[0].ndim + 1
        np.take(args[0], args[1].reshape(args[1].shape[:first]), axis=0, out=out, mode="clip")
    elif function == "cast":
        np.copyto(out, args[0], casting="unsafe")
    elif function == "where":
        np.copyto(out, args[2])
        np.copyto(out, args[1], where=args[0])
    else:
        function(*args, out=out)


@dataclass(frozen=True)
class Rows:
    """A table (entries, then the axes from `first` on) whose rows are looked up whole: they are innermost."""

    data: Any
    first: int


def tiles(shape: tuple[int, ...], points: int = TILE) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most about `points` points that cover a grid in row order.

    The last axes are whole, one axis is cut evenly, the axes before it advance one by one.
    """
    inner, k = 1, len(shape)
    while k > 0 and inner * shape[k - 1] <= points:
        inner *= shape[k - 1]
        k -= 1
    if k == 0:
        yield tuple(slice(0, n) for n in shape)
        return
    axis = k - 1
    step = max(1, points // inner)
    pieces = -(-shape[axis] // step)
    edges = [shape[axis] * i // pieces for i in range(pieces + 1)]
    whole = tuple(slice(0, n) for n in shape[k:])
    for outer in np.ndindex(*shape[:axis]):
        before = tuple(slice(i, i + 1) for i in outer)
        for a, b in pairwise(edges):
            yield (*before, slice(a, b), *whole)
