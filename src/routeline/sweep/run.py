"""Run a sweep: blocks to an executor, results back in order, files and progress.

`sweep` is the one call. Any concurrent.futures.Executor will do; by default large sweeps use one process
per core of this machine. A block that is lost with its worker is sent again; results are merged in block
order, so they do not depend on who computed what.
"""

from __future__ import annotations

import html
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import RoutelineError
from . import evaluate, reduce
from .outputs import OUTPUTS
from .reducer import axis_values
from .space import Space, make, read
from .store import DONE, Folder, column_notes, write_json

FITS = 2.0**31
"""Bytes of outputs up to which a sweep without a folder returns them in memory."""
SERIAL = 4e6
"""Points below which starting processes costs more than it saves."""
RETRIES = 5
"""Times a block is sent again after the worker that had it died."""


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
        from .store import assumptions

        attrs = {f"assumption.{k}": f"{v['value']} ({v['kind']})" for k, v in assumptions(self.space).items()}
        return xr.Dataset(data, coords, attrs)


# --- what workers run ----------------------------------------------------------------------------------

_SPACES: dict[str, tuple[Space, dict[str, reduce.Reducer]]] = {}


def _load(digest: str, payload: bytes) -> tuple[Space, dict[str, reduce.Reducer]]:
    if digest not in _SPACES:
        _SPACES.clear()
        space = pickle.loads(payload)
        _SPACES[digest] = (space, {n: reduce.make(space, n) for n in space.reducers})
    return _SPACES[digest]


def compute(digest: str, payload: bytes, block: int, folder: str | None) -> dict[str, Any]:
    """One block: partial reductions, or columns; written to `folder` when given, returned otherwise."""
    space, reducers = _load(digest, payload)
    if reducers:
        found: dict[str, Any] = reduce.block_partials(reducers, evaluate.run(space, block))
        if folder is not None:
            Folder(folder, space).write_partial(block, found)
        return found
    columns = evaluate.columns(space, block)
    if folder is None:
        return columns
    Folder(folder, space).write_rows(block, columns)
    return {}


def _watch_parent() -> None:
    """End this worker when the process that started it is gone (killed, not closed)."""
    import multiprocessing
    from multiprocessing.connection import wait as wait_for

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def local_pool(workers: int) -> Executor:
    """One process per worker, each with single-threaded NumPy; they end with their parent."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_watch_parent)


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
    source = _in_order(space, folder, todo, workers, executor, cluster, arrived)
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


def _in_order(
    space: Space, folder: Folder | None, todo: Sequence[int], workers: int | None, executor: Executor | None,
    cluster: str | None, arrived: Callable[[int, dict[str, Any]], None],
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """Blocks with their results, in block order, however they are computed."""
    payload = pickle.dumps(space)
    where = None if folder is None else folder.path
    points = space.points * len(todo) / max(space.blocks, 1)
    many = workers if workers is not None else (os.cpu_count() or 1 if points > SERIAL else 1)
    if executor is None and cluster is None and (many == 1 or len(todo) == 1):
        for b in todo:
            found = compute(space.digest, payload, b, where)
            arrived(b, found)
            yield b, found
        return
    with _Pool(many, executor, cluster) as pool:
        local = pool.writes_files
        window = 2 * pool.width + 2
        waiting: dict[Future[Any], int] = {}
        tries: dict[int, int] = {}
        held: dict[int, dict[str, Any]] = {}
        queue = list(todo)[::-1]
        nexts = list(todo)[::-1]
        while nexts:
            while queue and len(waiting) + len(held) < window:
                b = queue.pop()
                waiting[pool.submit(compute, space.digest, payload, b, where if local else None)] = b
            ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                b = waiting.pop(future)
                try:
                    found = future.result()
                except Exception as error:
                    if not pool.lost(error):
                        raise
                    tries[b] = tries.get(b, 0) + 1
                    if tries[b] > RETRIES:
                        raise RoutelineError(
                            f"workers died {tries[b]} times on block {b}: too little memory?; finished blocks are "
                            "kept, run again with --resume"
                        ) from None
                    queue.append(b)
                    continue
                if folder is not None and not local:
                    store(folder, b, found)
                arrived(b, found)
                held[b] = found
            queue.sort(reverse=True)
            while nexts and nexts[-1] in held:
                b = nexts.pop()
                yield b, held.pop(b)


def store(folder: Folder, block: int, found: dict[str, Any]) -> None:
    """Write what a worker without access to the folder sent back."""
    if folder.space.reducers:
        folder.write_partial(block, found)
    else:
        folder.write_rows(block, found)


class _Pool:
    """Local processes, a given executor or a Dask cluster, with replacement of dead local workers."""

    def __init__(self, workers: int, executor: Executor | None, cluster: str | None) -> None:
        self._workers, self._client = workers, None
        self._own = executor is None and cluster is None
        if cluster is not None:
            self._client = _dask(cluster)
            executor = self._client.get_executor(pure=False)
            self.width = max(1, sum(self._client.ncores().values()) or 1)
        elif executor is not None:
            self.width = int(getattr(executor, "_max_workers", 4) or 4)
        else:
            self.width = workers
        self._executor: Any = executor if executor is not None else local_pool(workers)
        self.writes_files = self._own

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._own:
            self._executor.shutdown(wait=exc[0] is None, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *args)
        except BrokenProcessPool:
            if not self._own:
                raise
            self._renew()
            return self._executor.submit(function, *args)

    def lost(self, error: BaseException) -> bool:
        """The error means that a worker died, not that the block is bad."""
        if isinstance(error, BrokenProcessPool):
            return self._own
        if self._client is None:
            return False
        gone = isinstance(error, (CancelledError, TimeoutError, ConnectionError))
        return gone or type(error).__module__.startswith("distributed")

    def _renew(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = local_pool(self._workers)


def _dask(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise RoutelineError("a cluster needs Dask; pip install 'routeline[cluster]'") from None
    try:
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise RoutelineError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`"
        ) from None
