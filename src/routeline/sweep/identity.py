"""The name of a run: a digest of everything that its numbers depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import resolve
from ..dense import SHAPES
from ..errors import RoutelineError

if TYPE_CHECKING:
    from .grid import Space


def describe(space: Space) -> dict[str, Any]:
    """Everything that determines the numbers, as JSON."""
    from .. import __version__

    return {
        "routeline": __version__,
        "numpy": np.__version__,
        "axes": [[a.name, [_plain(v) for v in a.values]] for a in space.axes],
        "fixed": {k: _plain(v) for k, v in sorted(space.fixed.items())},
        "outputs": list(space.outputs),
        "reduce": {k: dict(v) for k, v in space.reducers.items()},
        "block": space.block,
        "outside": dict(sorted(outside(space))),
    }


def digest(space: Space) -> str:
    """Sixteen digits that two spaces share only if they give the same blocks."""
    return hashlib.sha256(json.dumps(describe(space), sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return f"{getattr(value, 'name', type(value).__name__)} {_hash(repr(value).encode())}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def outside(space: Space) -> Iterator[tuple[str, str]]:
    """(text, hash of what it stands for) of every value that names a file or a model of the hub.

    The text alone does not say whether a config.json has changed between a run and its continuation. What cannot
    be read has no hash: its points are refused when they are evaluated.
    """
    given = [(a.name, v) for a in space.axes for v in a.values] + list(space.fixed.items())
    for name, value in given:
        if not isinstance(value, str):
            continue
        try:
            found = _content(name, value)
        except (RoutelineError, OSError):
            continue
        if found:
            yield f"{name}={value}", _hash(found)


def _content(name: str, text: str) -> bytes:
    """What stands outside the package behind a text; empty where nothing does."""
    if name == "model" or (name == "dense" and text not in SHAPES):
        from ..models import resolve as known

        return b"" if text == "synthetic" or known(text) else repr(resolve.model(text)).encode()
    if name in ("devices", "device") and (".toml" in text or os.sep in text):
        return repr(resolve.cluster(text).device).encode()
    path = text.partition(":")[2] if name == "routing" else text if name == "q_pairs" else ""
    if not path:
        return b""
    with open(path, "rb") as f:
        return b"" if name == "routing" and not text.startswith("measured") else f.read()
