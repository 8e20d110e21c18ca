"""Where answers are worked out: in processes of their own where the server started some, else right here.

A page's script holds the interpreter while it computes; with fifty visitors that is what they wait for. Workers
also keep the server's own memory small.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

_POOL: ProcessPoolExecutor | None = None
_LOCK = threading.Lock()
_COUNT = 0


def start(count: int | None = None) -> None:
    """Start the workers; default one a processor, at most four."""
    global _POOL, _COUNT  # noqa: PLW0603 - one pool a server
    _COUNT = count or max(1, min(os.cpu_count() or 1, 4))
    _POOL = ProcessPoolExecutor(_COUNT, mp_context=get_context("spawn"), initializer=prepare)


def prepare() -> None:
    """Read the catalogue and draw once, so that no visitor waits for imports; return idle memory now and then."""
    import altair.utils.schemapi as checks

    from . import answers, launch
    from .state import Choice

    checks.DEBUG_MODE = False  # specifications are validated by the tests
    answers.models()
    answers._compute_view(Choice(), None, False)
    answers._compute_picture(Choice(), None, "waterfall", ())
    launch.settle()
    launch.tidy()


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) in a worker. A worker that died is replaced and asked once more."""
    pool = _POOL
    if pool is None:
        return function(*arguments)
    try:
        return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        with _LOCK:
            if _POOL is pool:
                start(_COUNT)
        assert _POOL is not None
        return _POOL.submit(function, *arguments).result()
