"""The measured kernel tables, read in place: columns by engine and version, formats, held-out shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...devices import load_device
from ..silicon import DEVICES, root

FORMATS: dict[str, tuple[float, float, str]] = {
    "bfloat16": (2.0, 2.0, "bf16"),
    "fp8": (1.0, 1.0, "fp8"),
    "fp8_block": (1.0, 1.0, "fp8"),
    "nvfp4": (0.5625, 0.5625, "fp4"),
    "int4_wo": (0.53, 2.0, "bf16"),
    "w4a16_mxfp4": (0.53125, 2.0, "bf16"),
    "w4a8_mxfp4_mxfp8": (0.53125, 1.0, "fp8"),
}
"""table's dtype -> (bytes a weight, bytes an activation, compute format)."""
CACHE = {"h": 50e6, "b": 126e6, "g": 126e6}
"""L2 cache [B] by the first letter of a table's device: H100 and H200 (NVIDIA, Hopper architecture), B200 and kin
(NVIDIA, Blackwell tuning guide)."""
SMS = {"h": 132.0, "b": 148.0, "g": 152.0}
"""Streaming multiprocessors by the first letter: H100 and H200 SXM (NVIDIA, Hopper architecture); B200 and B300, GB200
and GB300 as their drivers report them."""


class Table(NamedTuple):
    """One parquet file; `columns` hold numbers as float64 and text as objects."""

    device: str
    engine: str
    version: str
    columns: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def where(self, use: np.ndarray) -> dict[str, np.ndarray]:
        """The rows in `use`, as plain columns."""
        return {name: column[use] for name, column in self.columns.items()}


class Machine(NamedTuple):
    """What a formula needs of a device: rates per format [FLOP/s], memory and link [B/s], L2 cache [B], SMs."""

    peaks: dict[str, float]
    bandwidth: float
    link: float
    cache: float
    sms: float

    def resident(self, size: np.ndarray) -> np.ndarray:
        """Share of `size` bytes that replays find in the L2 cache: all up to half of it, none beyond all of it."""
        return np.clip((self.cache - size) / (0.5 * self.cache), 0.0, 1.0)


def machine(device: str) -> Machine:
    found = load_device(DEVICES[device])
    peaks = {name: float(rate) for name, rate in found.peaks.items()}
    return Machine(peaks, float(found.bandwidth), float(found.link or 1.0), CACHE[device[0]], SMS[device[0]])


def version_order(text: str) -> tuple[int, ...]:
    """Key that sorts versions by their numbers: 1.3.0rc20 after 1.3.0rc9."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def read(device: str, folder: str, name: str, *, every: bool = False) -> Iterator[Table]:
    """Tables of one kind, by engine and version; only the largest of each engine unless `every`."""
    from pyarrow import parquet

    place = root() / "data" / device / folder
    if not place.is_dir():
        return
    for engine in sorted(place.iterdir(), key=lambda p: p.name):
        files = [v / name for v in engine.iterdir() if (v / name).is_file()]
        files.sort(key=lambda p: -p.stat().st_size)
        files = files if every else files[:1]
        for path in sorted(files, key=lambda p: version_order(p.parent.name)):
            found = parquet.read_table(str(path))
            if not found.num_rows:
                continue
            columns = {c: found[c].to_numpy(zero_copy_only=False) for c in found.column_names}
            numbers = {c: v.astype(float) for c, v in columns.items() if v.dtype.kind in "iufb"}
            yield Table(device, engine.name, path.parent.name, columns | numbers)


def held_out(*shape: np.ndarray) -> np.ndarray:
    """A fifth of the shapes, chosen by their numbers alone: whole shapes, whatever the batch."""
    mixed = np.zeros(len(shape[0]))
    for prime, column in zip((7.0, 13.0, 29.0, 31.0), shape, strict=False):
        mixed = mixed + prime * np.round(np.log2(np.maximum(column, 1.0)) * 8.0)
    return mixed % 5 == 0
