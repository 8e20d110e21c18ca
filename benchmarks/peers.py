"""Points per second of sweeps beside other tools, in one run: one MoE's decode step over batch x context.

    pip install -e . aiconfigurator-core==0.12.0 genz-llm==0.0.16 llm-analysis==0.2.2
    python benchmarks/peers.py                 a table; --seconds N for each peer (default 2)

Peers bring pandas, transformers and more: use an environment of their own. One that is not installed is skipped. All
run in this process on one core. A point is the time of one decode step of Mixtral-8x7B in bf16 on eight H100 under
tensor parallelism 8; every point fits memory. Peers are called point by point, as their interfaces ask for, on as many
distinct points as the time allows, context after context, batches in random order; what can be built once (model,
tables, engine) is built before their clock starts. No assertion on time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import itertools
import json
import logging
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from test_sweep import least_bytes, triad

from routeline.counts import total
from routeline.models import load_model
from routeline.sweep import make, sweep

BATCHES, CONTEXTS = range(1, 257), range(194, 8193, 2)
CHECK = (32, 4096)
"""(batch, context) at which every tool's answer is printed."""
Step = Callable[[int, int], float]
"""(batch, context) -> seconds of a decode step."""


def space(tier: str, batches: Any = BATCHES, contexts: Any = CONTEXTS) -> Any:
    axes = {"batch": list(batches), "context": list(contexts)}
    return make(axes, model="Mixtral-8x7B", devices="8xH100", layout="tp8", weights="bf16", cache="bf16", tier=tier,
                q=2.0, outputs=["moe_step"])  # fmt: skip


# --- peers: each returns its step, and what it says DeepSeek-V3 holds ------------------------------------


def aiconfigurator() -> tuple[Step, str]:
    from aiconfigurator_core.sdk.config_builders import build_model_config
    from aiconfigurator_core.sdk.engine import EngineHandle
    from aiconfigurator_core.sdk.models import get_model

    def config(name: str, folder: str) -> str:
        """Its own copy of a config.json, so that nothing is fetched."""
        text = (resources.files("aiconfigurator_core") / "model_configs" / f"{name}_config.json").read_text()
        Path(folder, "config.json").write_text(text)
        return folder

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        engine = EngineHandle.compile(config("mistralai--Mixtral-8x7B-v0.1", one), "h100_sxm", "trtllm", tp_size=8,
                                      moe_tp_size=8, moe_ep_size=1)  # fmt: skip
        alone = build_model_config(tp_size=1, pp_size=1, attention_dp_size=1, moe_tp_size=1, moe_ep_size=1)
        model = get_model(config("deepseek-ai--DeepSeek-V3", two), alone, "trtllm")
    held = sum(op.get_weights() for op in model.generation_ops)
    return (
        lambda b, c: engine.decode_step_latency(b, c, 2) / 1e3,
        f"no count; weights of its operations {_giga(held)} GB",
    )


def genz() -> tuple[Step, str]:
    from GenZ import decode_moddeling

    common = {"output_tokens": 0, "Bb": 1, "system_name": "H100_GPU", "bits": "bf16"}

    def step(batch: int, context: int) -> float:
        return decode_moddeling(model="mistralai/mixtral-8x7b", batch_size=batch, input_tokens=context,
                                tensor_parallel=8, **common)["Latency"] / 1e3  # fmt: skip

    _, summary = decode_moddeling(model="deepseek-ai/DeepSeek-V3-Base", batch_size=1, input_tokens=1024,
                                  tensor_parallel=1, model_profilling=True, **common)  # fmt: skip
    weights = float(summary["Total Weights (MB)"].iloc[0]) * 2.0**20 / 2.0
    return step, f"{_giga(weights)} B, from its bytes of weights at two a parameter"


def llm_analysis() -> tuple[Step, str]:
    from llm_analysis.analysis import LLMAnalysis
    from llm_analysis.config import ModelConfig, ParallelismConfig, get_gpu_config_by_name

    place, eight = get_gpu_config_by_name("h100-sxm-80gb"), ParallelismConfig(tp_size=8)
    full = {"flops_efficiency": 1.0, "hbm_memory_efficiency": 1.0}

    def model(layers: int, heads: int, hidden: int, vocabulary: int, width: int, **more: Any) -> Any:
        more |= {"ffn_embed_dim": width}
        return ModelConfig("moe", layers, heads, hidden, vocabulary, expansion_ratio=width / hidden, **more)

    mixtral = model(32, 32, 4096, 32000, 14336, num_key_value_heads=8, moe_num_experts=8, moe_top_k=2)
    found = LLMAnalysis(mixtral, place, parallelism_config=eight, **full)
    deepseek = model(61, 128, 7168, 129280, 2048, moe_num_experts=257, moe_top_k=9)  # the shared expert as one more
    held = LLMAnalysis(deepseek, place, parallelism_config=eight, **full).total_num_params

    def step(batch: int, context: int) -> float:
        """The decode part of its `inference`: without the prefill and the report that it makes each time."""
        passed, _ = found.get_latency_fwd(batch, 1, is_inference=True, layernorm_dtype_bytes=2)
        cache = found.get_memory_kv_cache_per_layer(batch, context, kv_cache_dtype_bytes=2) * mixtral.num_layers
        return passed + 2 * cache / (found.get_gpu_hbm_bandwidth() * 1e9)

    return step, f"{_giga(held)} B, for the nearest model it can describe"


PEERS: dict[str, tuple[str, Callable[[], tuple[Step, str]], str]] = {
    "aiconfigurator-core": (
        "0.12.0", aiconfigurator,
        "interpolates measured kernel tables (TensorRT-LLM); power-law routing; one side, no admissible batch",
    ),
    "genz-llm": (
        "0.0.16", genz,
        "roofline by operation in pandas; as many experts read as one token uses, whatever the batch; a CSV file "
        "under /tmp/genz every call",
    ),
    "llm-analysis": (
        "0.2.2", llm_analysis,
        "roofline by layer; two matrices an expert (no gate), so 31.5 of Mixtral's 46.7 B; the cache is counted as "
        "read and written",
    ),
}  # fmt: skip


def _giga(x: float) -> str:
    return f"{x / 1e9:,.1f}"


@contextlib.contextmanager
def quiet() -> Any:
    """Peers print, log and warn while they work."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def rate(step: Step, seconds: float) -> tuple[float, int]:
    """(points per second, points) over distinct points."""
    batches = random.Random(0).sample(BATCHES, len(BATCHES))
    step(*CHECK)
    began, done = time.perf_counter(), 0
    for done, (batch, context) in enumerate(itertools.product(batches, CONTEXTS), 1):
        step(batch, context)
        if (done % 16 == 0 or done < 16) and time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began), done


def peer(name: str, seconds: float) -> dict[str, Any]:
    version, build, differs = PEERS[name]
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"tool": name, "skipped": f"not installed: pip install {name}=={version}"}
    if found != version:
        return {"tool": name, "skipped": f"{found} is installed, this was written for: pip install {name}=={version}"}
    try:
        with quiet():
            step, held = build()
            answer = step(*CHECK)
            speed, points = rate(step, seconds)
    except Exception as error:  # a peer that fails is a line of the table, not the end of the run
        return {"tool": f"{name} {version}", "skipped": f"failed here ({type(error).__name__}: {str(error)[:200]})"}
    return {"tool": f"{name} {version}", "rate": speed, "points": points, "check": answer, "held": held,
            "differs": differs}  # fmt: skip


def timed(asked: Any) -> float:
    """Points per second of a sweep, whatever it has to build first."""
    began = time.perf_counter()
    sweep(asked, workers=1)
    return asked.points / (time.perf_counter() - began)


def ours(tier: str, runs: int = 5) -> dict[str, Any]:
    """The whole grid, memory checked at every point; the first run traces and compiles, as every new question does."""
    asked, little = space(tier), space(tier, BATCHES[::8], CONTEXTS[::128])
    few, first = timed(little), timed(asked)
    speeds = [timed(asked) for _ in range(runs)]
    at = sweep(space(tier, CHECK[:1], CHECK[1:]), workers=1).arrays["moe_step"].item()
    moved = triad()
    return {
        "tool": f"Routeline, tier {tier}", "rate": first, "again": statistics.median(speeds),
        "points": int(asked.points), "few": (few, int(little.points)), "check": at,
        "held": f"{_giga(total(load_model('DeepSeek-V3')))} B", "triad": moved, "allows": moved / least_bytes(asked),
        "differs": "exact formula or kernel fit on whole arrays; also says which batches fit memory",
    }  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    load = os.getloadavg()[0]
    print(f"one core of {os.cpu_count()}, load {load:.1f}; one decode step of Mixtral-8x7B, bf16, 8xH100, tp8\n")
    print("| tool | points per second | points | step at batch 32, context 4,096 | parameters of DeepSeek-V3 |")
    print("|---|---|---|---|---|")
    for r in rows:
        if "skipped" in r:
            print(f"| {r['tool']} | skipped | - | {r['skipped']} | - |")
        else:
            print(f"| {r['tool']} | {r['rate']:,.0f} | {r['points']:,} | {r['check'] * 1e3:.2f} ms | {r['held']} |")
    print()
    for r in rows:
        if "again" in r:
            print(
                f"{r['tool']}: {r['again']:,.0f}/s when asked again in the same process (median of 5); "
                f"{r['few'][0]:,.0f}/s for {r['few'][1]:,} points. A triad of this run moves "
                f"{r['triad'] / 1e9:.0f} GB/s, which would allow {r['allows'] / 1e6:,.0f} M/s."
            )
    print("\nNot the same:")
    for r in rows:
        if "differs" in r:
            print(f"- {r['tool']}: {r['differs']}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each peer (default 2)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [ours("ideal"), ours("calibrated"), *(peer(name, given.seconds) for name in PEERS)]
    if given.json:
        print(json.dumps(rows))
    else:
        show(rows)
