"""The measured serving points of aiconfigurator-core, read in place: rows, conventions mended, flags.

Every exclusion is a rule on measured rows and hard physical bounds; none looks at a prediction of ours.
Rules and names follow facts/silicon/README.md.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from ..errors import RoutelineError

VERSION = "0.12.0"
FLAGS = (
    "squared",
    "vllm_dp2",
    "gb200_wide",
    "width",
    "replicas",
    "dup",
    "saturated",
    "queue",
    "subroof",
    "mtp_sus",
    "impossible",
)
"""Bit i of the shipped peer table's flag mask stands for FLAGS[i]."""

RULES = {
    "squared": "moe_tp = moe_ep > 1 and tp*dp = moe_tp*moe_ep: tp was stored as tp*ep",
    "vllm_dp2": "vLLM with tp = attention_dp > 1: really dp = t, ep = t on t devices",
    "gb200_wide": "GB200 with tp > 8: likely disaggregated",
    "width": "MoE with tp*dp != moe_tp*moe_ep",
    "replicas": "concurrency over 1.01 * batch_size * attention_dp: unrecorded replicas",
    "dup": "same lengths, concurrency, TTFT and TPOT as an earlier row",
    "saturated": "TTFT over 1000 TPOT",
    "queue": "TTFT over output length * TPOT",
    "subroof": "TPOT under the byte bound of its own configuration at peak bandwidth",
    "mtp_sus": "R1 at least 5% faster than the same V3 configuration: likely speculative",
    "impossible": "more than 0.75 of peak FP8 FLOP/s",
}

MODELS = {
    "MiniMaxAI/MiniMax-M2.5": "MiniMax-M2.5",
    "Qwen/Qwen3-235B-A22B-FP8": "Qwen3-235B-A22B",
    "Qwen/Qwen3-32B": "Qwen3-32B",
    "nvidia/Qwen3-32B-NVFP4": "Qwen3-32B",
    "Qwen/Qwen3.5-397B-A17B": "Qwen3.5-397B-A17B",
    "deepseek-ai/DeepSeek-R1": "DeepSeek-R1",
    "deepseek-ai/DeepSeek-V3": "DeepSeek-V3",
    "nvidia/DeepSeek-R1-NVFP4": "DeepSeek-R1",
    "nvidia/DeepSeek-V3.1-NVFP4": "DeepSeek-V3",
    "meta-llama/Llama-3.1-70B": "Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "Llama-3.1-8B",
    "moonshotai/Kimi-K2.5": "Kimi-K2.5",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "zhipuai/GLM-5": "GLM-5",
}
"""model_path -> name in our catalogue."""

FAMILIES = (
    ("Llama-3.1-70B", "Llama-70B"),
    ("Llama-3.1-8B", "Llama-8B"),
    ("Qwen3-32B", "Qwen3-32B"),
    ("Qwen3-235B", "Qwen3-235B"),
    ("DeepSeek", "DeepSeek"),
    ("Kimi", "Kimi"),
    ("gpt-oss", "gpt-oss"),
    ("MiniMax", "MiniMax"),
    ("Qwen3.5", "Qwen3.5"),
    ("GLM", "GLM-5"),
)
DENSE = ("Llama-70B", "Llama-8B", "Qwen3-32B")

DEVICES = {
    "h100_sxm": "H100 SXM",
    "h200_sxm": "H200 SXM",
    "b200_sxm": "B200 SXM",
    "b300_sxm": "B300 SXM",
    "gb200": "GB200 NVL72",
    "gb300": "GB300 NVL72",
}


def root() -> Any:
    """The package's `systems` folder.

    Raises:
        RoutelineError: aiconfigurator-core is not installed.
    """
    try:
        return resources.files("aiconfigurator_core") / "systems"
    except ModuleNotFoundError:
        raise RoutelineError(
            "this needs the measured tables of aiconfigurator-core; install them with pip install 'routeline[silicon]'"
        ) from None


def family(model: str) -> str:
    """Model family of a catalogue or published name; the name itself where it is not among the ten."""
    return next((name for part, name in FAMILIES if part.lower() in model.lower()), model)


@dataclass(frozen=True, kw_only=True)
class Silicon:
    """The aggregated rows as columns. `columns`: the predict schema plus measured_tpot_ms and
    measured_ttft_ms, with conventions mended; `flags`: name -> bool per row; `raw`: stored columns."""

    columns: dict[str, list[Any]]
    flags: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]

    @property
    def clean(self) -> np.ndarray:
        """Rows without any flag."""
        return ~np.any([self.flags[f] for f in FLAGS if f in self.flags], axis=0)


def _number(text: str) -> float:
    return float(text) if text not in ("", "nan", "NaN") else float("nan")


def read(extra: dict[str, np.ndarray] | None = None) -> Silicon:
    """Read, flag and mend the 3,619 aggregated rows. extra: flags that need a model (subroof, ...)."""
    with (root() / "silicon_sample.csv").open(encoding="utf-8", newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["mode"] == "agg"]
    text = {
        k: np.array([r[k] for r in rows], object)
        for k in (
            "id",
            "silicon_data_source",
            "backend",
            "backend_version",
            "model_path",
            "system",
            "precision",
            "gemm_quant_mode",
            "moe_quant_mode",
        )
    }
    num = {
        k: np.array([_number(r[k]) for r in rows])
        for k in (
            "isl",
            "osl",
            "batch_size",
            "tp_size",
            "pp_size",
            "attention_dp_size",
            "moe_tp_size",
            "moe_ep_size",
            "silicon_ttft_ms",
            "silicon_tpot_ms",
        )
    }
    one = {
        k: np.where(np.nan_to_num(num[k]) > 0, np.nan_to_num(num[k]), 1.0)
        for k in ("tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    }
    tp, dp, mtp, ep = one["tp_size"], one["attention_dp_size"], one["moe_tp_size"], one["moe_ep_size"]
    found = [re.search(r"silicon_concurrency=([0-9.]+)", s) for s in text["silicon_data_source"]]
    stored = np.array([float(m[1]) if m else float("nan") for m in found])
    conc = np.where(np.isnan(stored), num["batch_size"] * dp, stored)
    families = np.array([family(str(MODELS.get(m, m))) for m in text["model_path"]], object)
    dense = np.isin(families, DENSE)
    flags = _flags(text, num, tp, dp, mtp, ep, conc, dense)
    if extra:
        flags |= extra
    layout = _mend(text, tp, dp, mtp, ep, flags, dense)
    inferencex = np.array(
        [
            ("workflow_run_id" in s) or bool(re.match(r"source_file=\d{4}-\d\d-\d\d\.csv", s))
            for s in text["silicon_data_source"]
        ]
    )
    devices = layout["tp"] * layout["dp"] * one["pp_size"]
    replicas = np.where(flags["replicas"], np.maximum(np.round(conc / (num["batch_size"] * dp)), 1.0), 1.0)
    stored_as = (text[k] for k in ("precision", "gemm_quant_mode", "moe_quant_mode", "model_path"))
    columns: dict[str, list[Any]] = {
        "id": list(text["id"]),
        "model": [MODELS.get(m, m) for m in text["model_path"]],
        "device": [DEVICES.get(s, s) for s in text["system"]],
        "devices": list(devices * replicas),
        "engine": list(text["backend"]),
        "engine_version": list(text["backend_version"]),
        "weights": [_weights(p, g, m, f) for p, g, m, f in zip(*stored_as, strict=True)],
        "cache": [""] * len(rows),
        "tp": list(layout["tp"]),
        "pp": list(one["pp_size"]),
        "ep": list(layout["ep"]),
        "attention_dp": list(layout["dp"]),
        "replicas": list(replicas),
        "input_len": list(num["isl"]),
        "output_len": list(num["osl"]),
        "concurrency": list(conc),
        "measured_tpot_ms": list(num["silicon_tpot_ms"]),
        "measured_ttft_ms": list(num["silicon_ttft_ms"]),
        "family": list(families),
    }
    raw = text | num | {"concurrency": conc, "inferencex": inferencex, "family": families, "dense": dense}
    return Silicon(columns=columns, flags=flags, raw=raw)


def _weights(precision: str, gemm: str, moe: str, model: str) -> str:
    """Weight label of a row; gpt-oss is its native mxfp4 whatever the row says."""
    if "gpt-oss" in model:
        return "native"
    if precision in ("", "bf16"):
        return "bf16"
    return {"fp4": "nvfp4", "fp8": "fp8", "int4": "int4"}.get(precision, precision)


def _flags(text: Any, num: Any, tp: Any, dp: Any, mtp: Any, ep: Any, conc: Any, dense: Any) -> dict[str, np.ndarray]:
    ttft, tpot = num["silicon_ttft_ms"], num["silicon_tpot_ms"]
    seen: set[tuple] = set()
    dup = np.zeros(len(tp), bool)
    for i, key in enumerate(zip(num["isl"], num["osl"], conc, ttft, tpot, strict=True)):
        dup[i] = key in seen
        seen.add(key)
    return {
        "squared": (mtp == ep) & (mtp > 1) & (tp * dp == mtp * ep),
        "vllm_dp2": (text["backend"] == "vllm") & (tp == dp) & (dp > 1),
        "gb200_wide": (text["system"] == "gb200") & (tp > 8),
        "width": ~dense & (tp * dp != mtp * ep),
        "replicas": conc / (num["batch_size"] * dp) > 1.01,
        "dup": dup,
        "saturated": ttft > 1000.0 * tpot,
        "queue": ttft > num["osl"] * tpot,
    }


def _mend(text: Any, tp: Any, dp: Any, mtp: Any, ep: Any, flags: Any, dense: Any) -> dict[str, np.ndarray]:
    """Layout per row with the known storage conventions undone."""
    t, d, e = tp.copy(), dp.copy(), ep.copy()
    sq = flags["squared"] & (dp == 1.0)
    t, e = np.where(sq, mtp, t), np.where(sq, ep, e)
    v = flags["vllm_dp2"]
    t, d, e = np.where(v, 1.0, t), np.where(v, dp, d), np.where(v, dp, e)
    e = np.where(dense | (t * d % np.maximum(e, 1.0) != 0), 1.0, np.minimum(e, t * d))
    return {"tp": t, "dp": d, "ep": e}
