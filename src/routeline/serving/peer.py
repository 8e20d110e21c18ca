"""AIConfigurator's own answers on the same rows, and the flags that need its or another row: shipped by row id."""

from __future__ import annotations

import csv
import gzip
import io
from functools import lru_cache
from typing import Any

import numpy as np

from .constants import FOLDER
from .silicon import FLAGS

FILE = "peer_aic_0.12.0.csv.gz"
SOURCE = (
    "AIConfigurator 0.12.0 run on silicon_sample.csv of aiconfigurator-core 0.12.0 (Apache-2.0); "
    "'' where it does not answer"
)


@lru_cache(maxsize=1)
def table() -> dict[str, tuple[float, float, float, float, int]]:
    """id -> (tpot ms, ttft ms, repaired tpot ms, repaired ttft ms, flag mask); nan where it has no answer."""
    text = gzip.decompress((FOLDER / FILE).read_bytes()).decode("utf-8")
    lines = (line for line in io.StringIO(text) if not line.startswith("#"))
    num = lambda s: float(s) if s else float("nan")  # noqa: E731
    return {r["id"]: (num(r["tpot"]), num(r["ttft"]), num(r["tpot_repaired"]), num(r["ttft_repaired"]), int(r["flags"]))
            for r in csv.DictReader(lines)}  # fmt: skip


def columns(ids: Any) -> dict[str, np.ndarray]:
    """Peer predictions in the order of ids [ms]."""
    found = table()
    missing = (float("nan"),) * 4 + (0,)
    rows = np.array([found.get(i, missing) for i in ids], float)
    return {"tpot": rows[:, 0], "ttft": rows[:, 1], "tpot_repaired": rows[:, 2], "ttft_repaired": rows[:, 3]}


def flags(ids: Any) -> dict[str, np.ndarray]:
    """Flags that need a second look at the data (byte bounds, twins), as published with the peer's answers."""
    found = table()
    mask = np.array([found[i][4] if i in found else 0 for i in ids])
    return {name: (mask >> bit & 1).astype(bool) for bit, name in enumerate(FLAGS)}
