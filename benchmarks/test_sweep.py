"""Speed of sweeps: complete scenarios per second beside a triad measured in the same run.

    pytest benchmarks/test_sweep.py -s        a table, medians of several runs
    python benchmarks/test_sweep.py --billion the 10**9-point reduction too, with its memory

A complete scenario is both sides with floored admissible batches, touched experts, step times as sums of
per-operation rooflines, R and both penalties. No assertion on time: machines drift and are shared, so wall
and CPU time stand beside the triad and the load of the same moment.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from routeline.sweep import Space, make, sweep
from routeline.sweep.evaluate import prepared, run
from routeline.sweep.program import TILE

OUTPUTS = ["ratio", "reuse_penalty", "headroom_gain", "moe_batch", "dense_batch", "moe_step", "dense_step", "touched"]
FEW = {
    "context": {"from": "4k", "to": "128k", "n": 20, "scale": "log"},
    "utilisation": {"from": 0.85, "to": 0.95, "n": 10},
    "memory": {"from": "130GB", "to": "200GB", "n": 10}, "q": {"from": 1.5, "to": 6, "n": 64},
    "bandwidth": {"from": "3TB/s", "to": "6TB/s", "n": 128},
}  # fmt: skip
EVERY = {
    "context": {"from": "4k", "to": "128k", "n": 20, "scale": "log"}, "q": {"from": 1.5, "to": 6, "n": 16},
    "overhead": {"from": "0GB", "to": "8GB", "n": 16}, "memory": {"from": "130GB", "to": "200GB", "n": 32},
    "utilisation": {"from": 0.85, "to": 0.95, "n": 100},
}  # fmt: skip
"""All but q enter the largest batch of both sides and through it every term; q enters every term of its side."""
NAMES = {
    "model": ["DeepSeek-V3", "Qwen3-235B-A22B", "Mixtral-8x22B", "Kimi-K2"],
    "layout": ["pooled", "tp8", "tp4", "tp2", "pp2"],
    "context": {"from": "1k", "to": "32k", "n": 50, "scale": "log"}, "utilisation": {"from": 0.8, "to": 0.95, "n": 100},
    "q": {"from": 1.5, "to": 6, "n": 200},
}  # fmt: skip
DEVICE = {"devices": "8xH200", "weights": "fp8", "outputs": OUTPUTS}
V3 = {"model": "DeepSeek-V3"}
SMALL = {k: FEW[k] for k in ("context", "utilisation", "memory", "q")} | {"overhead": ["0GB", "1GB", "2GB", "3GB"]}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "some axes enter few terms, bandwidth": (FEW, {"tier": "bandwidth", "layout": "pooled"} | V3, "100 (stretch 200)"),
    "some axes enter few terms, ideal": (FEW, {"tier": "ideal", "layout": "pooled"} | V3, "100 (stretch 200)"),
    "some axes enter few terms, dp8,ep8": (FEW, {"tier": "ideal", "layout": "dp8,ep8"} | V3, "100 (stretch 200)"),
    "every axis enters every term, floor": (EVERY, {"tier": "bandwidth", "layout": "pooled"} | V3, "70 (stretch 120)"),
    "every axis enters every term, ideal": (EVERY, {"tier": "ideal", "layout": "pooled"} | V3, "70 (stretch 120)"),
    "every axis enters every term, dp8,ep8": (EVERY, {"tier": "ideal", "layout": "dp8,ep8"} | V3, "70 (stretch 120)"),
    "layouts and named models, ideal": (NAMES, {"tier": "ideal", "extend_context": True}, "20"),
    "calibrated tier, few": (FEW, {"tier": "calibrated", "layout": "dp8,ep8"} | V3, "20"),
    "calibrated tier, every": (EVERY, {"tier": "calibrated", "layout": "tp8"} | V3, "20"),
    "auto layout, ideal": (SMALL, {"tier": "ideal", "layout": "auto"} | V3, "none"),
}  # fmt: skip


def triad(seconds: float = 0.2) -> float:
    """NumPy triad a = b + s*c over tile-sized arrays in L2 [B/s]: what one core can move for elementwise work."""
    b, c, a = (np.ones(TILE) for _ in range(3))
    until, done = time.perf_counter() + seconds, 0
    began = time.process_time()
    while time.perf_counter() < until:
        for _ in range(50):
            np.multiply(c, 1.0000001, out=a)
            np.add(a, b, out=a)
        done += 50
    return done * TILE * 8.0 * 5 / (time.process_time() - began)


def least_bytes(space: Space) -> float:
    """Bytes that the calls of a compiled cell move per point [B]: operands and results, at their own sizes."""
    program: Any = prepared(space, 0)
    total = 0.0
    for call in program.calls:
        for x in (*call.operands, call.result):
            if hasattr(x, "mask"):
                total += 8.0 * np.prod([n for i, n in enumerate(space.shape) if x.mask >> i & 1], dtype=float)
    return total / float(np.prod(space.shape))


def _work(space: Space, part: int, of: int, start: Any, results: Any) -> None:
    """Blocks of whole cells where there are several, else every other block; tracing of several cells is timed too."""
    mine = [b for b in range(space.blocks) if (space.cell_at(b) if space.cells > 1 else b) % of == part]
    next(iter(run(space, mine[0] if mine else 0)))
    start.wait()
    cpu, wall, points = time.process_time(), time.perf_counter(), 0
    for b in mine:
        for tile in run(space, b):
            points += tile.points
    results.put((points, time.process_time() - cpu, time.perf_counter() - wall))


def measure(space: Space, workers: int) -> tuple[float, float]:
    """(points/s of wall time over all workers, points/s of CPU time of one worker)."""
    context = mp.get_context("fork")
    start, results = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=_work, args=(space, i, workers, start, results)) for i in range(workers)]
    for p in processes:
        p.start()
    found = [results.get(timeout=600) for _ in processes]
    for p in processes:
        p.join()
    points = sum(f[0] for f in found)
    return points / max(f[2] for f in found), points / sum(f[1] for f in found)


def report(write: Callable[[str], Any] = print, runs: int = 5, only: str = "") -> list[dict[str, Any]]:
    """Median, lowest and highest of `runs` for every case, interleaved with the triad."""
    cores = os.cpu_count() or 1
    write(f"{cores} cores; M complete scenarios/s; medians of {runs} (lowest..highest); load {os.getloadavg()[0]:.1f}")
    rows = []
    for name, (axes, settings, target) in CASES.items():
        if only not in name:
            continue
        space = make(axes, block=2**18, **(DEVICE | settings))
        wall, cpu, moved = [], [], []
        for _ in range(runs):
            moved.append(triad())
            w, c = measure(space, cores)
            wall.append(w / 1e6)
            cpu.append(c / 1e6)
        limit = statistics.median(moved) / max(least_bytes(space), 1e-9) / 1e6
        rows.append(
            {
                "case": name,
                "points": space.points,
                "wall": statistics.median(wall),
                "cpu": statistics.median(cpu) * cores,
            }
        )
        write(
            f"{name:42s} wall {statistics.median(wall):6.1f} ({min(wall):.0f}..{max(wall):.0f})  "
            f"CPU x {cores} cores {statistics.median(cpu) * cores:6.1f}  target {target}; "
            f"triad {statistics.median(moved) / 1e9:.0f} GB/s a core in L2 would allow {limit * cores:.0f}; "
            f"load {os.getloadavg()[0]:.1f}"
        )
    return rows


def billion(write: Callable[[str], Any] = print, scale: float = 1.0) -> float:
    """10**9 points reduced: verdict map, best per group, statistics. Returns seconds of wall time."""
    n = max(1, round(125 * scale))
    space = make(
        {"context": {"from": "4k", "to": "128k", "n": n, "scale": "log"},
         "utilisation": {"from": 0.85, "to": 0.95, "n": 25},
         "memory": {"from": "130GB", "to": "200GB", "n": 25}, "q": {"from": 1.5, "to": 6, "n": 100},
         "bandwidth": {"from": "3TB/s", "to": "6TB/s", "n": 128}},
        model="DeepSeek-V3", devices="8xH200", weights="fp8", tier="ideal", layout="pooled",
        outputs=["ratio", "reuse_penalty", "headroom_gain"], block=2**22,
        reduce={"best": {"kind": "best", "by": ["context"]}, "stats": {"kind": "stats", "by": ["context"]}},
    )  # fmt: skip
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            peak[0] = max(peak[0], sum(_pss(p) for p in [os.getpid(), *_children(os.getpid())]))

    thread = threading.Thread(target=watch)
    thread.start()
    before = os.times()
    found = sweep(space, workers=os.cpu_count() or 1)
    after = os.times()
    stop.set()
    thread.join()
    cpu = sum(after[:4]) - sum(before[:4])
    write(
        f"{space.points:.4g} points reduced in {found.seconds:.1f} s wall ({found.rate / 1e6:.0f} M/s), "
        f"{cpu:.0f} s of CPU, at most {peak[0] / 1e6:.0f} MB over all processes; "
        f"target 25 s, 1000 MB; load {os.getloadavg()[0]:.1f}"
    )
    return found.seconds


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(c) for c in f.read().split()]
    except OSError:
        return []


def _pss(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return next(float(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0.0


def test_complete_scenarios_per_second(capsys: Any) -> None:
    with capsys.disabled():
        rows = report(lambda text: print("\n" + text, end=""), runs=3)
    assert all(r["wall"] > 0 for r in rows)


def test_cost_is_linear_in_points(capsys: Any) -> None:
    with capsys.disabled():
        small, large = (billion(lambda text: print("\n" + text, end=""), s) for s in (0.03, 0.12))
    assert 0 < small < large * 10


if __name__ == "__main__":
    words = [a for a in sys.argv[1:] if not a.startswith("-")]
    if "--only-billion" not in sys.argv:
        report(only=words[0] if words else "")
    if "--billion" in sys.argv or "--only-billion" in sys.argv:
        billion()
