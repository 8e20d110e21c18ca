"""Fits the priors of devices without kernel tables to the `tune` half of published.csv.

`python tests/serving/tune_published.py [--write | --validate 0.5 1]` moves a handful of log factors (GROUPS) of device
classes, engines and links, each held by a prior width (SIGMA), by iterated least squares on log errors: robust, a
source of n rows weighing as n**0.4. --write puts them into data/calibration/priors.json; --validate leaves out one
source at a time, with priors that many times as wide. The `check` half is never read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import published

from routeline.serving import constants
from routeline.serving.classes import GGUF
from routeline.serving.predict import prepare, row_constants
from routeline.serving.serve import serve

GROUPS = {
    "bytes": ("gemm.eta", "moe.eta"),
    "kv": ("gqa.eta", "mla.eta"),
    "work": ("gemm.f", "moe.f", "gqa.prefill", "mla.prefill"),
    "attend": ("gqa.prefill", "mla.prefill"),
    "start": ("gemm.t0", "moe.t0", "gqa.t0", "mla.t0", "small.launch"),
    "moe": ("moe.t0", "moe.per_expert"),
    "step": ("step.fixed", "step.sequence", "step.prefill", "step.request"),
    "narrow": ("gemm.eta@3", "gemm.f@3", "moe.eta@3", "moe.f@3"),
    "comm": ("comm.ar_start", "comm.ar_growth"),
    "share": ("comm.ar_fraction",),
    "ttft": ("ttft.fixed",),
}
"""What moves together -> constants it multiplies; @3 is the kernel class of weights narrower than the compute."""
SIGMA = {"bytes": 0.1, "kv": 0.25, "work": 0.2, "attend": 0.4, "start": 0.25, "moe": 0.4, "narrow": 0.3, "step": 0.5, "comm": 0.4,
         "share": 0.3, "ttft": 1.0}  # fmt: skip
"""Width of each log factor around the present prior [-]; guess: about twice the spread between the measured classes."""
MEASURED = ("hopper", "blackwell", "rubin")
CLASSES = {
    "ada": ("bytes", "start"), "ampere": ("bytes", "kv", "start", "moe"),
    "ampere-gddr": ("bytes", "start"), "apple": ("bytes", "kv", "work", "attend", "start"),
    "blackwell-workstation": ("bytes", "work", "start"), "cdna3": ("bytes", "kv", "work", "start", "comm", "narrow"),
    "rdna": ("bytes", "work", "start"),
}  # fmt: skip
"""Device classes that three or more sources of the tune half measured -> what moves."""
TAKES = {"volta": "ampere", "turing": "ampere-gddr", "pascal": "ampere-gddr", "cdna2": "cdna3", "cdna1": "cdna3"}
"""Classes that move with another one: too few rows of their own."""
ENGINES = {"llama.cpp": ("bytes", "kv", "work", "attend", "start", "moe"), "llama-server": ("step",)}
"""Engines with factors of their own on every class, and which."""
APART = "apple"
"""Class whose llama.cpp kernels are others (Metal), moved by its own factors only."""
SERVERS = {"vllm sglang": ("step", "work"), "vllm sglang trtllm": ("ttft",)}
"""Engines whose host work moves together on classes without kernel tables, and what."""
ON = {("llama.cpp", "ampere"): ("bytes", "start"), ("llama.cpp", "blackwell-workstation"): ("work",),
      ("vllm", "gaudi"): ("start", "moe", "step")}  # fmt: skip
"""(engine, class) that moves apart from both."""
NOISE = {"tpot": 0.10, "throughput": 0.12, "ttft": 0.35}
"""Scatter of a good prediction, log [-]; guess: medians of the first run."""
STEPS = 12
TAIL = 2.0
"""Error from which a row pulls less, over its noise [-]."""
OLD = ("0.3", "0.4", "0.5")
"""Versions of vLLM before its scheduler left the critical path (0.6)."""


@dataclass(frozen=True)
class Factor:
    """One log factor: where in priors.json it goes, the rows it acts on, the group, its width."""

    place: tuple[str, ...]
    hit: Any
    group: str
    sigma: float


def factors(p: Any, tp: np.ndarray) -> list[Factor]:
    """Factors that some row depends on."""
    kind, engine = np.array(p.generation, object), np.array(p.engine, object)
    gguf, plain = np.isin(engine, GGUF), ~np.isin(kind, MEASURED)
    link = np.array([d.link_class for d in p.devices], object)
    old = np.array([e == "vllm" and v.startswith(OLD) for e, v in zip(p.engine, p.version, strict=True)]) & plain
    out: list[Factor] = []

    def add(place: tuple[str, ...], hit: np.ndarray, groups: Iterable[str], width: float = 1.0) -> None:
        if hit.any():
            out.extend(Factor(place, hit, g, SIGMA[g] * width) for g in groups)

    for k, groups in CLASSES.items():
        add(("generations", k), np.isin(kind, [k, *(a for a, b in TAKES.items() if b == k)]), groups)
    for e, groups in ENGINES.items():
        add(("engines", e), gguf & (kind != APART) if e == "llama.cpp" else engine == e, groups)
    for e, groups in SERVERS.items():
        add(("engines", e, "elsewhere"), np.isin(engine, e.split()) & plain, groups)
    for (e, k), groups in ON.items():
        add(("engines", e, "on", k), (gguf if e == "llama.cpp" else engine == e) & (kind == k), groups)
    add(("links", "pcie"), (link == "pcie") & (tp > 1), ("comm", "share"))
    add(("versions", "vllm"), old, ("work", "start", "step"), 2.0)
    return out


class Problem:
    """Rows of the tune half, what they measured, and the solver."""

    def __init__(self) -> None:
        table = [r for r in published.rows() if r["split"] == "tune"]
        self.prepared = prepare({k: [r[k] for r in table] for k in table[0]})
        keep = self.prepared.parsed.index
        self.table = [table[i] for i in keep]
        self.base = row_constants(self.prepared)
        self.factors = factors(self.prepared.parsed, self.prepared.widths.tp)
        self.sigma = np.array([f.sigma for f in self.factors])
        self.measured = {t: self._column(c[0]) for t, c in published.TARGETS.items()}
        self.weight = {t: self._weights(t) for t in self.measured}

    def _column(self, name: str) -> np.ndarray:
        return np.array([float(r[name]) if r[name] else np.nan for r in self.table])

    def _weights(self, target: str) -> np.ndarray:
        sources = [r["source"] for r in self.table]
        known = ~np.isnan(self.measured[target])
        count = {s: sum(known[i] for i, x in enumerate(sources) if x == s) for s in set(sources)}
        return np.array([max(count[s], 1) ** -0.3 for s in sources])

    def residuals(self, theta: np.ndarray) -> np.ndarray:
        k = {n: np.array(v) for n, v in self.base.items()}
        for f, x in zip(self.factors, theta, strict=True):
            for name in GROUPS[f.group]:
                plain, _, code = name.partition("@")
                k[plain][(f.hit, int(code)) if code else f.hit] *= np.exp(x)
        p, n = self.prepared, self.prepared.parsed.numbers
        s = serve(p.table, k, p.load)
        queue = p.queued * (s.ttft + (n["output_len"] - 1.0).clip(0.0) * s.tpot)
        found = {
            "tpot": s.tpot * 1e3,
            "ttft": (s.ttft + queue) * 1e3,
            "throughput": s.rate * n["output_len"] * p.widths.dp * p.replicas * p.staged,
        }
        parts = [np.log(found[t] / self.measured[t]) / NOISE[t] * self.weight[t] for t in found]
        r = np.concatenate(parts)
        return np.where(np.isnan(r), 0.0, r)

    def solve(self, left: str = "", width: float = 1.0) -> np.ndarray:
        """Best log factors without the rows of the source `left`, priors `width` times as wide."""
        theta, sigma = np.zeros(len(self.factors)), self.sigma * width
        used = np.tile([r["source"] != left for r in self.table], len(self.measured))
        for _ in range(STEPS):
            r = self.residuals(theta) * used
            w = 1.0 / (1.0 + (r / TAIL) ** 2)  # heavy tails: a row that is far off pulls little
            jac = np.stack([(self.residuals(theta + e) * used - r) / 0.05 for e in 0.05 * np.eye(len(theta))], axis=1)
            a = np.vstack([jac * w[:, None], np.diag(1.0 / sigma)])
            b = np.concatenate([-r * w, -theta / sigma])
            theta = theta + np.clip(np.linalg.lstsq(a, b, rcond=None)[0], -0.7, 0.7)
        return theta

    def errors(self, theta: np.ndarray, source: str) -> dict[str, float]:
        """Median |log error| of one source by target."""
        at = np.array([r["source"] == source for r in self.table])
        parts = np.split(self.residuals(theta), len(self.measured))
        out = {}
        for part, t in zip(parts, self.measured, strict=True):
            known = at & ~np.isnan(self.measured[t])
            if known.any():
                out[t] = float(np.median(np.abs(part[known] * NOISE[t] / self.weight[t][known])))
        return out


def validated(problem: Problem, width: float) -> None:
    """Each source predicted from a fit without it: median |log error|, before and after."""
    before, after = {}, {}
    for source in sorted({r["source"] for r in problem.table}):
        start, found = (
            problem.errors(t, source) for t in (np.zeros(len(problem.factors)), problem.solve(source, width))
        )
        print(f"{source:24s}", "  ".join(f"{t} {start[t]:.2f} -> {found[t]:.2f}" for t in start), flush=True)
        for t in start:
            before.setdefault(t, []).append(start[t])
            after.setdefault(t, []).append(found[t])
    print(f"width {width}:", "  ".join(f"{t} {np.mean(before[t]):.3f} -> {np.mean(after[t]):.3f}" for t in before))


def moved(problem: Problem, theta: np.ndarray) -> Iterator[tuple[Factor, float]]:
    for f, x in zip(problem.factors, theta, strict=True):
        if abs(x) >= 0.02:
            yield f, float(x)


def write(problem: Problem, theta: np.ndarray) -> None:
    """Multiply the factors into priors.json, rounded to four digits."""
    path = constants.FOLDER / "priors.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for f, x in moved(problem, theta):
        for spec, shared in _specs(data, f.place):
            for name in GROUPS[f.group]:
                plain, _, code = name.partition("@")
                start = np.asarray(spec.get(plain, shared.get(plain, 1.0)), float)
                if code:
                    start = np.broadcast_to(start, (4,)).copy()
                    start[int(code)] *= np.exp(x)
                spec[plain] = (start if code else start * np.exp(x)).tolist()
    data = json.loads(json.dumps(data), parse_float=lambda t: float(f"{float(t):.4g}"))
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _specs(data: dict[str, Any], place: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(where factors go, where their present value stands otherwise)."""
    where, name = place[0], place[1]
    if where == "generations":
        for k in (name, *(a for a, b in TAKES.items() if b == name)):
            yield data["generations"][k].setdefault("scale", {}), {}
    elif where == "engines" and " " in name:
        for part in name.split():
            yield from _specs(data, (where, part, *place[2:]))
    elif where == "engines":
        spec = data["engines"][name]
        if len(place) == 2:
            yield spec, data["engines"].get(spec.get("as"), {})
            yield from ((s, spec) for k, s in spec.get("on", {}).items() if k != APART)
        elif place[2] == "elsewhere":
            yield spec["elsewhere"], spec
        else:
            yield spec.setdefault("on", {}).setdefault(place[3], {}), {**spec, **spec.get("elsewhere", {})}
    elif where == "versions":
        yield from ((v["scale"], {}) for v in data["versions"] if v["engine"] == name)
    else:
        yield data["links"][name], {}


def main(argv: list[str]) -> None:
    problem = Problem()
    if "--validate" in argv:
        for width in map(float, argv[argv.index("--validate") + 1 :] or ["1"]):
            validated(problem, width)
        return
    theta = problem.solve()
    for f, x in moved(problem, theta):
        print(f"{' '.join(f.place):36s} {f.group:6s} {np.exp(x):6.2f}  ({x / f.sigma:+.1f} sigma)")
    if "--write" in argv:
        write(problem, theta)


if __name__ == "__main__":
    main(sys.argv[1:])
