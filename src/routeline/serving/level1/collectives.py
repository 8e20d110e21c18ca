"""All-reduce inside a node, as launched in a captured graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...kernels import all_reduce_seconds
from . import robust
from .robust import Prior
from .tables import machine, read

PRIORS: dict[str, Prior] = {
    "ar_start": Prior(4e-6),
    "ar_fraction": Prior(0.6, 1.0, 0.02, 1.0),
    "two_start": Prior(1e-5),
    "two_fraction": Prior(0.6, 1.0, 0.02, 1.0),
    "nccl_start": Prior(2.5e-5),
    "nccl_growth": Prior(8e-6),
    "nccl_fraction": Prior(0.9, 1.0, 0.02, 2.0),
    "nccl_ranks": Prior(0.2),
    "barrier": Prior(1e-7),
}
SMALLEST, WIDEST = 4096.0, 8.0
"""Bytes from which, and devices up to which, a table counts: one hidden state and up, one node."""


def collectives(device: str) -> Iterator[dict[str, Any]]:
    """All-reduce of every engine; held out every fourth message size.

    message_size counts 16-bit elements: the library's table times the same count of bytes half as long.
    """
    m = machine(device)
    for table in read(device, "comm", "custom_allreduce_perf.parquet"):
        eager = np.array(["eager" in str(s) for s in table["kernel_source"]])
        size, ranks = 2.0 * table["message_size"], table["num_gpus"]
        measured = table["latency"] / 1e3
        head = {
            "operation": "all_reduce", "device": device, "engine": table.engine, "version": table.version,
            "dtype": "bfloat16",
        }  # fmt: skip
        # the switch reduces: a device sends and receives its share once, less than a ring's volume
        fast = measured <= robust.FASTER * size * (ranks - 1.0) / ranks / m.link
        keep = ~eager & (size >= SMALLEST) & (ranks <= WIDEST)
        parts = robust.split(keep, fast, np.log2(size) % 4 == 0)
        if not parts.enough(20, 5):
            yield robust.report(head, parts, None, {})
            continue

        def model(c: Mapping[str, float], at: np.ndarray, size: Any = size, ranks: Any = ranks) -> np.ndarray:
            return all_reduce_seconds(size[at], ranks[at], m.link, c)

        found = robust.solve(model, PRIORS, measured, parts.train)
        constants = robust.rounded(found.constants)
        error = robust.errors(model(constants, np.arange(len(measured))), measured, parts)
        yield robust.report(head, parts, error, {"constants": constants})
