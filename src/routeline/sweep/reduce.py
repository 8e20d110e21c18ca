"""Reductions while blocks stream by: best per group, Pareto front, histogram, quantiles, verdict map, statistics.

A reducer turns the tiles of one block into a small dict of arrays (`partial`, the checkpoint of that
block) and merges the dicts in block order (`absorb`), so the result does not depend on who computed what.
Groups are flat positions over the axes named in `by`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RoutelineError, UnknownName, shorten
from .counting import OVER, Histogram, Quantiles, Stats, VerdictMap
from .points import Best, Pareto
from .reducer import Reducer, Table

if TYPE_CHECKING:
    from .evaluate import Tile
    from .grid import Space

KINDS = {
    "best": {"output", "goal", "by", "keep"},
    "pareto": {"outputs", "by"},
    "histogram": {"output", "low", "high", "bins", "scale", "by"},
    "quantiles": {"output", "over", "probabilities"},
    "verdict": {"by"},
    "stats": {"output", "by"},
}


def check(space: Space) -> None:
    """Refuse reducers that cannot run on this space.

    Raises:
        RoutelineError: an unknown kind, setting, axis or output; too many groups.
    """
    if not isinstance(space.reducers, Mapping):
        raise RoutelineError("reduce maps names to reducers: {'best': {'kind': 'best', 'by': ['model']}}")
    over = set()
    for name, given in space.reducers.items():
        if not isinstance(given, Mapping) or "kind" not in given:
            raise RoutelineError(f"reducer {name} needs a kind: {', '.join(KINDS)}")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}", name):
            raise RoutelineError(
                f"reducer {shorten(name)!r} names a file: letters, digits, '_', '.' and '-', a letter or digit first"
            )
        kind = given["kind"]
        if not isinstance(kind, str) or kind not in KINDS:
            raise UnknownName("reducer kind", kind, KINDS)
        for key in given:
            if key != "kind" and key not in KINDS[kind]:
                raise UnknownName(f"setting of reducer {name}", key, KINDS[kind])
        made = make(space, name)
        if isinstance(made, Quantiles):
            over.add(made.axis.name)
    if len(over) > 1:
        raise RoutelineError(f"quantiles run over one axis in a sweep, not over {' and '.join(sorted(over))}")


def innermost(space: Space) -> str | None:
    """The axis that quantiles run over: it must be whole in every tile."""
    wanted = [
        r.get("over", OVER) for r in space.reducers.values() if isinstance(r, Mapping) and r.get("kind") == "quantiles"
    ]
    return wanted[0] if wanted else None


def make(space: Space, name: str) -> Reducer:
    """The reducer of this name."""
    given = {k: v for k, v in space.reducers[name].items() if k != "kind"}
    return _MAKERS[space.reducers[name]["kind"]](space, name, given)


_MAKERS: dict[str, Any] = {
    "best": Best, "pareto": Pareto, "histogram": Histogram, "quantiles": Quantiles, "verdict": VerdictMap,
    "stats": Stats,
}  # fmt: skip


def block_partials(reducers: Mapping[str, Reducer], tiles: Iterable[Tile]) -> Table:
    """All reducers over the tiles of a block: {'name/key': array}."""
    partials = {name: r.partial() for name, r in reducers.items()}
    for tile in tiles:
        for p in partials.values():
            p.add(tile)
    return {f"{name}/{key}": a for name, p in partials.items() for key, a in p.arrays().items()}


def absorb(reducers: Mapping[str, Reducer], found: Mapping[str, np.ndarray]) -> None:
    """Merge the partials of one block."""
    for name, r in reducers.items():
        r.absorb({k.split("/", 1)[1]: v for k, v in found.items() if k.split("/", 1)[0] == name})


def kinds_text() -> str:
    """Kinds with their settings, for help texts."""
    return "; ".join(f"{k}({', '.join(sorted(v))})" for k, v in KINDS.items())


__all__ = ["KINDS", "Reducer", "block_partials", "check", "innermost", "make"]
