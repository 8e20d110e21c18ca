"""What a worker does: one block, reduced or as rows, written to the folder or sent back."""

from __future__ import annotations

import pickle
from typing import Any

from . import evaluate, reduce
from .cells import Refused
from .grid import Space
from .lower import Cell
from .store import Folder

_SPACES: dict[str, tuple[Space, dict[str, reduce.Reducer]]] = {}


def _load(digest: str, payload: bytes) -> tuple[Space, dict[str, reduce.Reducer]]:
    found = _SPACES.get(digest)
    if found is None:
        space = pickle.loads(payload)
        found = (space, {n: reduce.make(space, n) for n in space.reducers})
        _SPACES.clear()
        _SPACES[digest] = found
    return found


def compute(
    digest: str, payload: bytes, block: int, folder: str | None, resolved: Cell | Refused | None = None
) -> dict[str, Any]:
    """One block: partial reductions, or columns; written to `folder` when given, returned otherwise.

    resolved: the block's names as objects; without it they are looked up here.
    """
    space, reducers = _load(digest, payload)
    if reducers:
        found: dict[str, Any] = reduce.block_partials(reducers, evaluate.run(space, block, resolved))
        if folder is not None:
            Folder(folder, space).write_partial(block, found)
        return found
    columns = evaluate.columns(space, block, resolved)
    if folder is None:
        return columns
    Folder(folder, space).write_rows(block, columns)
    return {}


def store(folder: Folder, block: int, found: dict[str, Any]) -> None:
    """Write what a worker without access to the folder sent back."""
    if folder.space.reducers:
        folder.write_partial(block, found)
    else:
        folder.write_rows(block, found)
