"""What reducers share: groups of points, coordinates, and the parts they play in a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RoutelineError, UnknownName, shorten

if TYPE_CHECKING:
    from .evaluate import Tile
    from .grid import Space

GROUPS = 2**24
"""Most groups a reducer keeps."""
LONGEST = 2**13
"""Most values of an axis that quantiles run over: it must fit a tile."""

Table = dict[str, np.ndarray]


class Reducer:
    """Common ground: group positions of a tile and coordinates of points."""

    needs: tuple[str, ...] = ()

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        self.space, self.name, self.given = space, name, given
        by = names(name, "by", "axes", given.get("by", []))
        if len(set(by)) < len(by):
            raise RoutelineError(f"reducer {name}: by names an axis twice")
        self.by = [space.axis(a) for a in by]
        self.groups = math.prod(len(a) for a in self.by)
        if self.groups > GROUPS:
            raise RoutelineError(
                f"reducer {name} would keep {self.groups:.3g} groups, over {GROUPS:,}; name fewer axes in by"
            )
        looped, numeric = [a.name for a in space.looped], [a.name for a in space.numeric]
        self._stride: dict[str, int] = {}
        n = self.groups
        for a in self.by:
            n //= len(a)
            self._stride[a.name] = n
        self._loop = [(i, self._stride[a]) for i, a in enumerate(looped) if a in self._stride]
        self._axes = [(i, self._stride[a]) for i, a in enumerate(numeric) if a in self._stride]
        self._looped_shape = tuple(len(a) for a in space.looped)

    def wanted(self, name: str) -> str:
        """An output of the space, by name.

        Raises:
            UnknownName: not an output of this sweep.
        """
        if name not in self.space.outputs:
            raise UnknownName(f"output of reducer {self.name}", name, self.space.outputs, "list it under outputs")
        return name

    def group(self, tile: Tile) -> np.ndarray:
        """Group of every point of a tile, as an array that broadcasts to it."""
        index = np.unravel_index(tile.cell, self._looped_shape) if self._looped_shape else ()
        out = np.array(sum(int(index[i]) * stride for i, stride in self._loop), np.intp).reshape((1,) * len(tile.shape))
        for axis, stride in self._axes:
            s = tile.box[axis]
            shape = [1] * len(tile.shape)
            shape[axis] = s.stop - s.start
            out = out + (np.arange(s.start, s.stop, dtype=np.intp) * stride).reshape(shape)
        return out

    def labels(self) -> Table:
        """Columns with the values of the `by` axes, one row a group."""
        out: Table = {}
        index = np.unravel_index(np.arange(self.groups), tuple(len(a) for a in self.by)) if self.by else ()
        for a, i in zip(self.by, index, strict=True):
            out[a.name] = axis_values(a)[i]
        return out

    def coordinates(self, cell: np.ndarray, flat: np.ndarray) -> Table:
        """Columns with the values of every axis at points given by cell and flat position."""
        out: Table = {}
        looped = np.unravel_index(cell, self._looped_shape) if self._looped_shape else ()
        inner = np.unravel_index(flat, self.space.shape) if self.space.shape else ()
        for axes, index in ((self.space.looped, looped), (self.space.numeric, inner)):
            for a, i in zip(axes, index, strict=True):
                out[a.name] = axis_values(a)[i]
        return out

    def start(self) -> None:
        """Allocate what `absorb` fills; workers, which only make partials, never call it."""

    def partial(self) -> Partial:
        raise NotImplementedError

    def absorb(self, found: Table) -> None:
        raise NotImplementedError

    def result(self) -> Table:
        raise NotImplementedError


def names(reducer: str, setting: str, what: str, given: Any) -> list[str]:
    """A setting that is a list of names.

    Raises:
        RoutelineError: it is not.
    """
    if not isinstance(given, (list, tuple)) or not all(isinstance(x, str) for x in given):
        raise RoutelineError(f"reducer {reducer}: {setting} must be a list of {what}, not {shorten(given, 40)!r}")
    return list(given)


class Partial:
    """What a reducer knows of one block."""

    def add(self, tile: Tile) -> None:
        raise NotImplementedError

    def arrays(self) -> Table:
        raise NotImplementedError


def axis_values(axis: Any) -> np.ndarray:
    """An axis as an array: floats, integers or text."""
    values = list(axis.values)
    if all(isinstance(v, (int, float)) for v in values):
        return np.array(values)
    return np.array([v if isinstance(v, str) else getattr(v, "name", str(v)) for v in values])
