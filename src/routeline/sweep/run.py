"""Run a sweep: blocks to an executor, results back in order, files and progress.

`sweep` is the one call. Any concurrent.futures.Executor will do; by default large sweeps use one process
per core of this machine. A block that is lost with its worker is sent again; results are merged in block
order, so they do not depend on who computed what.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import RoutelineError
from . import evaluate, reduce
from .outputs import OUTPUTS
from .pool import in_order
from .reducer import axis_values
from .space import Space, make, read
from .store import DONE, Folder, assumptions, column_notes, write_json

FITS = 2.0**31
"""Bytes of outputs up to which a sweep without a folder returns them in memory."""


@dataclass
class Result:
    """What a sweep returns. reduced: reducer -> columns; folder: where blocks are."""

    space: Space
    points: float
    seconds: float
    computed: int
    """Blocks computed now (the others were there)."""
    reduced: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    folder: str | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    """Outputs over the axes, in the order of space.axes; NaN where `reason` says why there is none."""

    @property
    def rate(self) -> float:
        return self.points / max(self.seconds, 1e-9)

    def chart(self, name: str | None = None) -> Any:
        """The chart of one reducer or output (default the first); needs the extra [plots].

        Charts are looked up when called: a sweep imports nothing that stands above it.
        """
        return import_module("routeline.plots.sweeps").chart(self, name)

    def _repr_html_(self) -> str:
        """What a notebook shows: how much was computed, and the first chart where there is one."""
        kept = ", ".join(self.reduced or self.arrays) or "blocks on disk"
        text = f"<p>{self.points:,.0f} points in {self.seconds:.3g} s: {html.escape(kept)}</p>"
        try:
            import_module("routeline.plots").available()
            return f"<div>{text}{self.chart().image()}</div>"
        except RoutelineError:
            return f"<div>{text}</div>"

    def refusals(self) -> dict[str, str]:
        """Combinations of names that no point can be evaluated for, with why (resolves every combination)."""
        return evaluate.refusals(self.space)

    def dataset(self) -> Any:
        """The outputs as a labelled xarray Dataset; coded outputs (verdict, reason) as text codes in attrs.

        Raises:
            RoutelineError: the outputs were reduced or streamed to Parquet, or xarray is missing.
        """
        if not self.arrays:
            raise RoutelineError("this sweep was streamed; read its Parquet blocks, or sweep without an output folder")
        try:
            import xarray as xr
        except ImportError:
            raise RoutelineError("a Dataset needs xarray; pip install 'routeline[sweep]'") from None
        dims = [a.name for a in self.space.axes]
        notes = column_notes(self.space)
        coords = {a.name: (a.name, axis_values(a), notes[a.name]) for a in self.space.axes}
        data = {}
        for n, v in self.arrays.items():
            coded = bool(OUTPUTS[n].labels)
            data[n] = (dims, v.astype(np.int8) if coded else v, notes[n])
        data = {(f"{k}_out" if k in coords else k): v for k, v in data.items()}
        attrs = {f"assumption.{k}": f"{v['value']} ({v['kind']})" for k, v in assumptions(self.space).items()}
        return xr.Dataset(data, coords, attrs)


# --- the run -------------------------------------------------------------------------------------------


def sweep(
    space: Space | str | Mapping[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    cluster: str | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    **settings: Any,
) -> Result:
    """Evaluate a whole design space.

    space: a Space, a path to a TOML file, or axes as {name: values} with `settings` (outputs, reduce, limit,
    block and any fixed setting). out: folder for Parquet blocks or reduced results, resumable; without it
    the outputs come back in memory. workers: processes (1: this one; None: as many as pay off). executor: any
    concurrent.futures.Executor; cluster: address of a Dask scheduler. progress(blocks done, of, points done).

    sweep({"context": ["8k", "128k"], "q": [2, 4.5]}, model="DeepSeek-V3", devices="8xH200").dataset()

    Raises:
        RoutelineError: a space that is refused, a folder that holds something else, a full disk, workers
            that keep dying.
    """
    asked = _space(space, settings)
    if workers is not None and not 1 <= workers <= 4096:
        raise RoutelineError(f"workers must be between 1 and 4096, not {workers}")
    if out is None and not asked.reducers and asked.points * 8.0 * len(asked.outputs) > FITS:
        raise RoutelineError(
            f"{asked.points:.3g} points of {len(asked.outputs)} outputs do not fit memory; "
            "give an output folder (-o), or reduce"
        )
    evaluate.preflight(asked)
    folder = Folder(os.fspath(out), asked) if out is not None else None
    done = folder.open(resume=resume) if folder is not None else set()
    try:
        return _run(asked, folder, done, workers, executor, cluster, progress)
    finally:
        if folder is not None:
            folder.close()


def _space(space: Space | str | Mapping[str, Any], settings: Mapping[str, Any]) -> Space:
    if isinstance(space, Mapping):
        return make(space, **settings)
    if settings:
        raise RoutelineError(
            f"{next(iter(settings))} goes into the space itself; give axes as a mapping, or leave it out"
        )
    return space if isinstance(space, Space) else read(os.fspath(space))


def _run(
    space: Space,
    folder: Folder | None,
    done: set[int],
    workers: int | None,
    executor: Executor | None,
    cluster: str | None,
    progress: Callable[[int, int, float], None] | None,
) -> Result:
    began = time.perf_counter()
    reducers = {n: reduce.make(space, n) for n in space.reducers}
    for r in reducers.values():
        r.start()
    arrays: dict[str, np.ndarray] = {}
    if folder is None and not reducers:
        arrays = {n: np.empty((space.cells, int(np.prod(space.shape)))) for n in space.outputs}
    todo = [b for b in range(space.blocks) if b not in done]
    sizes = [b - a for a, b in zip(space._starts, space._starts[1:], strict=False)]
    seen = [len(done), float(sum(sizes[b % len(sizes)] for b in done))]

    def arrived(block: int, found: dict[str, Any]) -> None:
        if arrays:
            start = space.start_of(block)
            for n, (values, _) in found.items():
                arrays[n][space.cell_at(block), start : start + values.size] = values
        seen[0] += 1
        seen[1] += sizes[block % len(sizes)]
        if progress is not None:
            progress(int(seen[0]), space.blocks, seen[1])

    if progress is not None:
        progress(int(seen[0]), space.blocks, seen[1])
    source = in_order(space, folder, todo, workers, executor, cluster, arrived)
    position = 0
    for block, found in source:
        if reducers:
            position = _absorb_stored(reducers, folder, done, position, block)
            reduce.absorb(reducers, found)
            position = block + 1
    if reducers:
        _absorb_stored(reducers, folder, done, position, space.blocks)
    result = Result(
        space=space, points=space.points, seconds=time.perf_counter() - began, computed=len(todo),
        reduced={n: r.result() for n, r in reducers.items()}, folder=None if folder is None else folder.path,
        arrays=_shaped(space, arrays),
    )  # fmt: skip
    if folder is not None:
        for name, table in result.reduced.items():
            folder.write_table(name, table)
        write_json(
            os.path.join(folder.path, DONE), {"digest": space.digest, "blocks": space.blocks, "points": space.points}
        )
    return result


def _absorb_stored(reducers: Mapping[str, Any], folder: Folder | None, done: set[int], first: int, end: int) -> int:
    """Merge finished blocks first..end-1 from the folder: they come before the next one in order."""
    for b in range(first, end):
        if b in done and folder is not None:
            reduce.absorb(reducers, folder.read_partial(b))
    return end


def _shaped(space: Space, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Flat cells to the order of space.axes."""
    made = [a.name for a in (*space.looped, *space.numeric)]
    order = [made.index(a.name) for a in space.axes]
    lengths = [len(a) for a in (*space.looped, *space.numeric)]
    return {n: np.transpose(v.reshape(lengths), order) for n, v in arrays.items()}
