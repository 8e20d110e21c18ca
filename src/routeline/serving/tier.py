"""The tier `calibrated` for one device and engine: shipped kernel and serving constants as an Efficiency."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..hardware import Device
from ..scenario import Efficiency
from . import constants
from .classes import engine as engine_name
from .classes import generation

MEASURED = ("hopper", "blackwell")
"""Device classes with kernel tables behind their constants; others run on stated priors."""


def has_constants(device: Device) -> bool:
    """Whether measured kernels of the device's class are behind the calibrated tier."""
    return generation(device) in MEASURED


@lru_cache(maxsize=64)
def _constants(kind: str, engine: str, link_class: str, in_flight: float) -> dict[str, Any]:
    rows = constants.prior_rows([kind], [engine])
    rows["comm.ar_start"] = rows["comm.ar_start"] * constants.link_start(link_class)
    rows["comm.nccl_start"] = rows["comm.nccl_start"] * constants.ring_start(link_class)
    for name in ("gqa.half", "mla.half"):
        rows[name] = rows[name] * in_flight
    known = constants.fitted()
    if known:
        keys = {"generation": [constants.base(kind)], "engine": [engine], "version": [""], "device": [""]}
        rows = constants.apply(rows, known["effects"], keys)
    return {k: tuple(map(float, v[0])) if np.ndim(v[0]) else float(v[0]) for k, v in rows.items()}


def efficiency(device: Device, engine: str = "") -> Efficiency:
    """Constants of a device class and engine ('' the mean of the measured engines) as the tier `calibrated`."""
    kind, brand = generation(device), engine_name(engine)
    known = constants.fitted() or {}
    error = known.get("residual", {}).get("held_out_tpot_mape")
    shown = f"; mean error of time per token on unseen model families {error:.0%}" if error else ""
    basis = "measured kernels" if kind in MEASURED else "stated priors, no kernel measured"
    kernels = _constants(kind, brand, device.link_class, constants.in_flight(device))
    return Efficiency(
        name="calibrated", kernels=kernels, activations=False,
        source=f"{kind} {brand or 'engines on average'}: {basis}, fitted on served points{shown}",
    )  # fmt: skip
