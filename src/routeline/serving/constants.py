"""Constants per row: priors by device class, times the fitted effects that apply. Reads data/calibration only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware import Device
from ..kernels import CODES
from .classes import MEASURED_ENGINES, generation

FOLDER = Path(__file__).parent.parent / "data" / "calibration"


@lru_cache(maxsize=8)
def read(name: str) -> dict[str, Any]:
    """A shipped calibration file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def priors() -> dict[str, Any]:
    return read("priors.json")


@lru_cache(maxsize=1)
def fitted() -> dict[str, Any] | None:
    """The shipped level-2 fit, or None before the first one."""
    return read("serving.json") if (FOLDER / "serving.json").is_file() else None


def base(generation: str) -> str:
    """The measured class whose constants a device class starts from."""
    table = priors()["generations"]
    return table.get(generation, table["other"]).get("like", generation)


def link_rate(device: Device, tp: Any) -> np.ndarray:
    """Link rate of one device inside a tensor-parallel group [B/s]; a slow stand-in where none is known."""
    tp = np.asarray(tp, float)
    rate = float(device.link or device.nic or 25e9)
    if device.topology == "mesh" and device.domain > 2:
        return rate * np.clip((tp - 1.0) / (device.domain - 1.0), 1.0 / (device.domain - 1.0), 1.0)
    return np.full(tp.shape, rate)


def link_factors(link_class: str) -> dict[str, float]:
    """Factors of a class of link on the constants of collectives, NVLink's being 1 [-]."""
    known = priors()["links"]
    spec = {} if link_class in ("nvlink", "") else known.get(link_class, known["other"])
    return {name: value for name, value in spec.items() if name.startswith("comm.")}


def link_start(link_class: str) -> float:
    """Start-up of collectives on a class of link over NVLink's [-]; a guess off NVLink and xGMI."""
    return link_factors(link_class).get("comm.ar_start", 1.0)


def older(engine: str, version: str, kind: str) -> dict[str, Any]:
    """Factors of an engine's old versions on a class of devices, {} where the version is not old or not given."""
    number = re.match(r"v?(\d+)\.(\d+)", version.strip().lower())
    found: dict[str, Any] = {}
    if number is None or kind == base(kind):
        return found
    for v in priors()["versions"]:
        early = (int(number[1]), int(number[2])) < tuple(map(int, v["before"].split(".")))
        if v["engine"] == engine and early and v.get("class", kind) == kind:
            found = v["scale"]
    return found


REFERENCE = {"hopper": 3.35e12, "blackwell": 8.0e12}
"""Bandwidth at which the kernel tables behind `half` were measured [B/s]; datasheets of H100 SXM and B200."""


def in_flight(device: Device) -> float:
    """Factor on `half`, the pieces of attention in flight that reach the bandwidth [-]: latency times bandwidth.

    Little's law: a slower memory is filled by fewer pieces. 1 on devices whose class was measured.
    """
    kind = generation(device)
    return 1.0 if kind in REFERENCE else min(float(device.bandwidth) / REFERENCE.get(base(kind), 3.35e12), 1.0)


NEVER = 1e3
"""Start-up of a ring that is not used [s]."""


def ring_start(link_class: str) -> float:
    """Factor on the start-up of the library's ring: measured on NVLink only, elsewhere it is left out [-]."""
    return 1.0 if link_class in ("nvlink", "") else NEVER


def prior_rows(generations: Sequence[str], engines: Sequence[str]) -> dict[str, np.ndarray]:
    """Prior constants as arrays (rows,) or (rows, formats), before any fitted effect."""
    data = priors()

    def own(gen: str, engine: str, name: str, value: np.ndarray) -> np.ndarray:
        """The value of an engine's own kernels where they were measured, else the class's."""
        if not name.startswith("moe.") or value.ndim == 0 or name == "moe.unpack":
            return value
        return np.where(np.isnan(found := experts(base(gen), engine, name[4:])), value, found)

    kinds, index = np.unique(np.asarray(generations, object).astype(str), return_inverse=True)
    brands, brand = np.unique(np.asarray(engines, object).astype(str), return_inverse=True)
    out: dict[str, np.ndarray] = {}
    for c in data["constants"]:
        rows = []
        for gen in kinds:
            spec = data["generations"].get(gen, data["generations"]["other"])
            value = by_format(spec.get("set", {}).get(c["name"], c.get(spec.get("like", gen), c.get("value"))))
            rows.append([own(gen, b, c["name"], value) * by_format(spec.get("scale", {}).get(c["name"], 1.0))
                         for b in brands])  # fmt: skip
        values = np.array(rows)[index, brand]
        table = [[_engine_scale(data, b, g, c["name"], values.ndim) for b in brands] for g in kinds]
        out[c["name"]] = values * np.array(table)[index, brand]
    return out


def _engine_scale(data: Mapping[str, Any], engine: str, generation: str, name: str, axes: int) -> Any:
    """Factor of an engine on a prior: a number, or one per format; `as` names an engine with the same kernels,
    `elsewhere` stands in on device classes without kernel tables `but` some, `on` on the device classes it names."""
    spec = data["engines"].get(engine, {})
    spec = data["engines"].get(spec.get("as"), {}) | spec
    away = spec.get("elsewhere", {}) if base(generation) != generation else {}
    away = {} if generation in away.get("but", ()) else away
    found = spec.get("on", {}).get(generation, {}).get(name, away.get(name, spec.get(name, 1.0)))
    return by_format(found) if axes > 1 and np.ndim(found) else [found] * len(CODES) if axes > 1 else found


def by_format(value: Any) -> np.ndarray:
    """A constant as a number or one per kernel class; four values are those of the classes without block scales."""
    v = np.asarray(value, float)
    return v[[0, 1, 2, 3, 1, 2]] if v.ndim and len(v) == 4 else v


TABLES = {"h200_sxm": "hopper", "b200_sxm": "blackwell"}
"""Tables that stand for a class of devices: the larger memory of each."""
DTYPES = {"bf16": "bfloat16", "fp8": "fp8", "fp4": "nvfp4", "w4a16": "int4_wo", "fp8_block": "fp8_block",
          "mxfp4": "w4a16_mxfp4", "mxfp4 blackwell": "w4a8_mxfp4_mxfp8"}  # fmt: skip
"""Kernel class -> dtype of its tables. gpt-oss computes mxfp4 weights in 16 bits on Hopper, in mxfp8 on Blackwell."""


@lru_cache(maxsize=256)
def experts(kind: str, engine: str, name: str) -> np.ndarray:
    """Constant `name` of an engine's grouped expert products per kernel class; NaN where none was measured.

    Level-1 fits of the kernels that the engine's served versions run; unknown engines get the geometric mean.
    """
    out = np.full(len(CODES), np.nan)
    for code, fmt in enumerate(CODES):
        dtype = DTYPES.get(f"{fmt} {kind}", DTYPES[fmt])
        found = [t["constants"][name] * _rate(t, name) for t in read("kernels.json")["tables"]
                 if t["operation"] == "moe" and t.get("serves") and TABLES.get(t["device"]) == kind
                 and t["dtype"] == dtype and engine in ("", t["engine"])]  # fmt: skip
        if found and engine in (*MEASURED_ENGINES, ""):
            out[code] = float(np.exp(np.mean(np.log(found))))
    return out


def _rate(table: Mapping[str, Any], name: str) -> float:
    """mxfp4 weights with FP8 activations were fitted against the FP8 peak; a model's format has the FP4 peak."""
    return 0.5 if name == "f" and table["dtype"] == "w4a8_mxfp4_mxfp8" else 1.0


def apply(
    constants: Mapping[str, np.ndarray], effects: Sequence[Mapping[str, Any]], keys: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Constants times exp(effect) where an effect's keys match the row; unknown engines take the mean effect.

    An effect: {"names": [...], "by": {"generation": ..., "engine": ...}, "log": value}; 'gemm.eta@1' means
    format 1 only.
    """
    out = {k: np.array(v) for k, v in constants.items()}
    columns = {k: np.asarray(v, object) for k, v in keys.items()}
    rows = len(next(iter(columns.values())))
    unknown = ~np.isin(columns["engine"], MEASURED_ENGINES) if "engine" in columns else np.zeros(rows, bool)
    for e in effects:
        hit, weight = np.ones(rows, bool), np.ones(rows)
        for key, wanted in e["by"].items():
            same = columns[key] == wanted
            if key == "engine":
                weight = np.where(unknown, 1.0 / len(MEASURED_ENGINES), 1.0)
                same = same | unknown
            hit &= same
        for name in e["names"]:
            plain, _, code = name.partition("@")
            factor = np.exp(e["log"] * weight[hit])
            if code:
                out[plain][hit, int(code)] *= factor
            else:
                out[plain][hit] *= factor if out[plain].ndim == 1 else factor[:, None]
    return out


def code_index(fmt: str) -> int:
    return CODES.index(fmt)
