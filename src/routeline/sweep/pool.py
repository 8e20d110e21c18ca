"""Blocks to workers and back in order: local processes, an executor that was given, or a Dask cluster.

A block that is lost with its worker is sent again. What comes back is handed on in block order, so results do not
depend on who computed what.
"""

from __future__ import annotations

import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from functools import lru_cache
from typing import Any

from ..errors import RoutelineError, shorten
from . import cells
from .grid import Space
from .store import Folder
from .work import compute, store

SERIAL = 4e6
"""Points below which starting processes costs more than it saves."""
RETRIES = 5
"""Times a block is sent again after the worker that had it died."""
PATIENCE = 60.0
"""Seconds that a cluster may be without a scheduler or without any worker before the run gives up [s]."""
ADDRESS = re.compile(r"inproc://.+|([a-z+]+://)?(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):[0-9]{1,5}/?")


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


def in_order(
    space: Space, folder: Folder | None, todo: Sequence[int], workers: int | None, executor: Executor | None,
    cluster: str | None, arrived: Callable[[int, dict[str, Any]], None],
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """Blocks with their results, in block order, however they are computed.

    arrived(block, result) is called as soon as a block is there.

    Raises:
        RoutelineError: workers that keep dying, a cluster without scheduler or workers.
    """
    digest, where = space.digest, None if folder is None else folder.path
    payload = pickle.dumps(space)
    points = space.points * len(todo) / max(space.blocks, 1)
    many = workers if workers is not None else (os.cpu_count() or 1 if points > SERIAL else 1)
    if executor is None and cluster is None and (many == 1 or len(todo) == 1):
        for b in todo:
            found = compute(digest, payload, b, where)
            arrived(b, found)
            yield b, found
        return
    resolved = lru_cache(maxsize=4)(lambda cell: cells.attempt(space, cell))
    kept = "finished blocks are kept, run again with --resume" if folder else "nothing was kept; give a folder with -o"
    with _Pool(many, executor, cluster, kept) as pool:
        waiting: dict[Future[Any], int] = {}
        tries: dict[int, int] = {}
        held: dict[int, dict[str, Any]] = {}
        queue, nexts = list(todo)[::-1], list(todo)[::-1]
        scheduler = pool.schedulers
        try:
            while nexts:
                while queue and len(waiting) + len(held) < pool.window:
                    b = queue.pop()
                    to = where if pool.writes_files else None
                    waiting[pool.submit(compute, digest, payload, b, to, resolved(space.cell_at(b)))] = b
                for future in pool.ready(waiting):
                    b = waiting.pop(future)
                    try:
                        found = future.result()
                    except Exception as error:
                        pool.lost(error)
                        tries[b] = tries.get(b, 0) + 1
                        if tries[b] > RETRIES:
                            raise RoutelineError(
                                f"workers died {tries[b]} times on block {b}: too little memory?; {kept}"
                            ) from None
                        queue.append(b)
                        continue
                    if folder is not None and not pool.writes_files:
                        store(folder, b, found)
                    arrived(b, found)
                    held[b] = found
                if pool.schedulers != scheduler:  # what an earlier one was given will not come back
                    scheduler = pool.schedulers
                    queue += waiting.values()
                    waiting.clear()
                queue.sort(reverse=True)
                while nexts and nexts[-1] in held:
                    b = nexts.pop()
                    yield b, held.pop(b)
        finally:
            for future in waiting:
                future.cancel()


class _Pool:
    """Local processes, a given executor or a Dask cluster; replaces dead local workers and a scheduler that went."""

    def __init__(self, workers: int, executor: Executor | None, cluster: str | None, kept: str) -> None:
        self._workers, self._cluster, self._kept = workers, cluster, kept
        self._client: Any = None
        self.schedulers = 0
        self._own = executor is None and cluster is None
        self._alone: float | None = None
        self.writes_files = self._own
        if cluster is not None:
            self._connect(_dask(cluster))
        else:
            self._executor: Any = executor if executor is not None else local_pool(workers)
            self.width = workers if self._own else int(getattr(executor, "_max_workers", 4) or 4)

    @property
    def window(self) -> int:
        """Blocks under way or waiting for an earlier one."""
        return 2 * self.width + 2

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
        except Exception as error:
            self.lost(error)
            if self._own:
                self._executor.shutdown(wait=False, cancel_futures=True)
                self._executor = local_pool(self._workers)
            return self._executor.submit(function, *args)

    def ready(self, waiting: dict[Future[Any], int]) -> set[Future[Any]]:
        """Futures that are done: at least one, unless a cluster has to be looked after."""
        return wait(waiting, timeout=self._look_after(), return_when=FIRST_COMPLETED)[0]

    def lost(self, error: BaseException) -> None:
        """Make ready to send a block again if the error means that a worker died; raise it if the block is bad."""
        if self._client is not None:
            gone = isinstance(error, (CancelledError, TimeoutError, ConnectionError))
            if not gone and not type(error).__module__.startswith("distributed"):
                raise error
            if self._client.status != "running":
                self._reconnect()
            return
        if not isinstance(error, BrokenExecutor):
            raise error
        if not self._own:
            raise RoutelineError(
                f"the executor that was given lost its workers ({shorten(error)}); {self._kept}"
            ) from error

    # --- Dask ---

    def _connect(self, client: Any) -> None:
        self._client, self._executor = client, client.get_executor(pure=False)
        self.schedulers += 1
        self.width = max(1, self._cores())

    def _cores(self) -> int:
        try:
            return sum(self._client.ncores().values()) if self._client.status == "running" else 0
        except (OSError, TimeoutError, CancelledError):
            return 0

    def _reconnect(self) -> None:
        """A new client, as soon as a scheduler answers at the address again."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fresh = _dask(str(self._cluster))
            except RoutelineError:
                if time.monotonic() > until:
                    raise RoutelineError(
                        f"the Dask scheduler at {self._cluster} went and did not come back in {PATIENCE:.0f} s; "
                        f"{self._kept}"
                    ) from None
                time.sleep(1.0)
                continue
            self._client.close()
            self._connect(fresh)
            return

    def _look_after(self) -> float | None:
        """Seconds to wait for a block before the cluster is looked at again; None: as long as it takes.

        Raises:
            RoutelineError: no worker has been there for PATIENCE.
        """
        if self._client is None:
            return None
        cores = self._cores()
        if cores:
            self._alone, self.width = None, cores
            return 5.0
        now = time.monotonic()
        self._alone = self._alone or now
        if now - self._alone > PATIENCE:
            raise RoutelineError(
                f"no worker has been at the Dask scheduler {self._cluster} for {PATIENCE:.0f} s; start some with "
                f"`dask worker {self._cluster}`; {self._kept}"
            )
        return 1.0


def _dask(address: str) -> Any:
    if not ADDRESS.fullmatch(address):
        raise RoutelineError(
            f"cluster {shorten(address)!r} is no address; write tcp://HOST:PORT, e.g. tcp://node1:8786"
        )
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
