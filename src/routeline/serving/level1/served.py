"""Which of several measured kernels an engine runs: marks one entry per device, engine and format.

Served versions (vLLM 0.11 to 0.19, SGLang 0.5.1 to 0.5.10, TensorRT-LLM 1.0 to 1.3.0rc5) are older than the tables, so
the lowest version on record that has the kernel counts.
"""

from __future__ import annotations

from typing import Any

from .tables import version_order

PREFERRED: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("vllm", "", "int4_wo", ("marlinexperts",)),
    ("vllm", "b", "w4a16_mxfp4", ("gptossmxfp4moe",)),
    ("vllm", "h", "w4a16_mxfp4", ("vllm_mxfp4_moe", "gptossmxfp4moe")),
    ("vllm", "h", "fp8_block", ("vllm_fused_moe", "triton")),
    ("vllm", "b", "", ("vllm_fused_moe", "trtllm")),
    ("trtllm", "b", "nvfp4", ("min_latency",)),
    ("sglang", "b", "", ("flashinfer_trtllm",)),
    ("sglang", "h", "", ("triton", "marlin")),
)
"""(engine, device class by its first letter or any, format or any, parts of the kernel's name, best first).

vLLM: int4 checkpoints run Marlin; the 0.19 table called marlin times the Triton kernel of its fused_experts instead
(aiconfigurator, collector/vllm/collect_moe.py), a fifth of the bandwidth. gpt-oss runs FlashInfer's trtllm-gen on
Blackwell, OpenAI's Triton kernels on Hopper. fp8_block ran Triton up to 0.19. TensorRT-LLM's `min_latency` is its
TRTLLM backend (trtllm-gen), faster than CUTLASS at every batch of the tables.
"""


def _rank(entry: dict[str, Any], wanted: tuple[str, ...]) -> int:
    return next((i for i, part in enumerate(wanted) if part in entry["kernel"]), len(wanted))


def wanted(entry: dict[str, Any]) -> tuple[str, ...]:
    """Kernels the entry's engine would run, best first."""
    kind = "h" if entry["device"].startswith("h") else "b"
    for engine, device, dtype, names in PREFERRED:
        if engine == entry["engine"] and device in ("", kind) and dtype in ("", entry["dtype"]):
            return names
    return ()


def mark(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with `serves` set: true for one kernel per device, engine and format, of those that were fitted."""
    best: dict[tuple[str, str, str], int] = {}
    order = [(_rank(e, wanted(e)), version_order(e["version"]), -e["used"]) for e in entries]
    for i, e in enumerate(entries):
        key = (e["device"], e["engine"], e["dtype"])
        if "constants" in e and (key not in best or order[i] < order[best[key]]):
            best[key] = i
    chosen = set(best.values())
    return [e | {"serves": True} if i in chosen else e for i, e in enumerate(entries)]
