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
    "narrow": tuple(f"{n}@{code}" for n in ("gemm.eta", "gemm.f", "moe.eta", "moe.f") for code in (3, 5)),
    "comm": ("comm.ar_start", "comm.two_start", "comm.barrier"),
    "share": ("comm.ar_fraction", "comm.two_fraction"),
    "ttft": ("ttft.fixed",),
}
"""What moves together -> constants it multiplies; @3 and @5 are the kernel classes
of weights narrower than the compute."""
SIGMA = {
    "bytes": 0.1, "kv": 0.25, "work": 0.2, "attend": 0.4, "start": 0.25, "moe": 0.4, "narrow": 0.3, "step": 0.5,
    "comm": 0.4, "share": 0.3, "ttft": 1.0,
}  # fmt: skip
"""Width of each log factor around the present prior [-]; guess: about twice the spread between the measured classes."""
MEASURED = ("hopper", "blackwell", "rubin")
CLASSES = {
    "ampere": ("bytes",), "apple": ("start",), "blackwell-workstation": ("work",), "rdna": ("bytes",),
}  # fmt: skip
"""Device classes that three or more sources of the tune half measured -> what moves. More factors a class predict the
sources left out worse (docs/log.md)."""
TAKES = {"volta": "ampere", "turing": "ampere-gddr", "pascal": "ampere-gddr", "cdna2": "cdna3", "cdna1": "cdna3"}
"""Classes that move with another one: too few rows of their own."""
ENGINES = {"llama.cpp": ("bytes", "kv", "work", "attend", "start", "moe"), "llama-server": ("step",)}
"""Engines with factors of their own on every class, and which."""
BUT = ("cdna3", "cdna4")
"""Classes that keep their own host work and prefill."""
APART = "apple"
"""Class whose llama.cpp kernels are others (Metal), moved by its own factors only."""
SERVERS = {"vllm sglang": ("step", "work"), "vllm sglang trtllm": ("ttft",)}
"""Engines whose host work moves together on classes without kernel tables, and what."""
ON = {("llama.cpp", "ampere"): ("bytes",), ("llama.cpp", "blackwell-workstation"): ("work",),
      ("vllm", "gaudi"): ("start", "moe", "step"), ("vllm sglang", "cdna3"): ("narrow", "step")}  # fmt: skip
"""(engine, class) that moves apart from both."""
NOISE = {"tpot": 0.10, "throughput": 0.12, "ttft": 0.35}
"""Scatter of a good prediction, log [-]; guess: medians of the first run."""
STEPS = 12
WIDTH = 0.7
"""Priors narrowed to this before writing [-]: what --validate prefers, within its noise."""
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
        add(
            ("generations", k),
            np.isin(kind, [k, *(a for a, b in TAKES.items() if b == k)]),
            groups,
            2.0 if k == "cdna3" else 1.0,
        )
    for e, groups in ENGINES.items():
        add(("engines", e), gguf & (kind != APART) if e == "llama.cpp" else engine == e, groups)
    for e, groups in SERVERS.items():
        add(
            ("engines", e, "elsewhere"),
            np.isin(engine, e.split()) & plain & (~np.isin(kind, BUT) | (groups == ("ttft",))),
            groups,
        )
    for (e, k), groups in ON.items():
        add(
            ("engines", e, "on", k),
            (gguf if e == "llama.cpp" else np.isin(engine, e.split())) & (kind == k),
            groups,
            3.0 if k == "gaudi" else 1.0,
        )
    add(("links", "pcie"), (link == "pcie") & (tp > 1), ("comm", "share"))
    amd = kind == "cdna3"
    add(("versions", "vllm"), old & ~amd, ("work", "start", "step"), 2.0)
    add(("versions", "vllm", "cdna3"), old & amd, ("work", "start", "step"), 4.0)
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
    """Each source predicted from a fit without it: median |log error| before and after, and quantiles by class."""
    before, after = {}, {}
    left_out = {t: np.full(len(problem.table), np.nan) for t in problem.measured}
    plain = np.zeros(len(problem.factors))
    for source in sorted({r["source"] for r in problem.table}):
        theta = problem.solve(source, width)
        start, found = problem.errors(plain, source), problem.errors(theta, source)
        print(f"{source:24s}", "  ".join(f"{t} {start[t]:.2f} -> {found[t]:.2f}" for t in start), flush=True)
        for t in start:
            before.setdefault(t, []).append(start[t])
            after.setdefault(t, []).append(found[t])
        at = np.array([r["source"] == source for r in problem.table])
        for t, part in zip(left_out, np.split(problem.residuals(theta), len(left_out)), strict=True):
            left_out[t][at] = part[at] * NOISE[t] / problem.weight[t][at]
    print(f"width {width}:", "  ".join(f"{t} {np.mean(before[t]):.3f} -> {np.mean(after[t]):.3f}" for t in before))
    for by in (problem.prepared.parsed.generation, problem.prepared.parsed.engine):
        for name in sorted(set(by)):
            print(f"{name:24s}", "  ".join(_quantiles(e[np.array(by) == name], t) for t, e in left_out.items()))


def _quantiles(errors: np.ndarray, target: str) -> str:
    """n, 10, 50 and 90% of measured over predicted, log."""
    found = -errors[(errors != 0.0) & ~np.isnan(errors)]
    low, mid, high = np.quantile(found, (0.1, 0.5, 0.9)) if len(found) else (0.0, 0.0, 0.0)
    return f"{target} {len(found):3d} {low:+.2f} {mid:+.2f} {high:+.2f}"


def moved(problem: Problem, theta: np.ndarray) -> Iterator[tuple[Factor, float]]:
    for f, x in zip(problem.factors, theta, strict=True):
        if abs(x) >= 0.02:
            yield f, float(x)


def write(problem: Problem, theta: np.ndarray) -> None:
    """Multiply the factors into priors.json, rounded to four digits."""
    path = constants.FOLDER / "priors.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for f, x in moved(problem, theta):
        if f.place == ("engines", "llama.cpp"):
            engine = data["engines"]["llama.cpp"]
            for name in GROUPS[f.group]:
                engine["on"][APART].setdefault(name, engine.get(name, 1.0))
        for spec, shared in _specs(data, f.place):
            for name in GROUPS[f.group]:
                plain, _, code = name.partition("@")
                if shared is None and plain not in spec:
                    continue
                start = np.asarray(spec.get(plain, (shared or {}).get(plain, 1.0)), float)
                if code:
                    start = np.broadcast_to(constants.by_format(start), (6,)).copy()
                    start[int(code)] *= np.exp(x)
                spec[plain] = (start if code else start * np.exp(x)).tolist()
    for spec in (data["engines"][e] for e in ("vllm", "sglang", "trtllm")):
        for k in BUT:
            spec.setdefault("on", {}).setdefault(k, {})["ttft.fixed"] = spec["elsewhere"].get("ttft.fixed", 1.0)
    data = json.loads(json.dumps(data), parse_float=lambda t: float(f"{float(t):.4g}"))
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _specs(data: dict[str, Any], place: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """(where factors go, where their present value stands otherwise; None where only present ones move)."""
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
            yield from ((s, None) for k, s in spec.get("on", {}).items() if k != APART)
        elif place[2] == "elsewhere":
            yield spec["elsewhere"], spec
        else:
            away = spec.get("elsewhere", {}) if place[3] not in BUT else {}
            yield spec.setdefault("on", {}).setdefault(place[3], {}), {**spec, **away}
    elif where == "versions":
        kind = (*place[2:], None)[0]
        yield from ((v["scale"], {}) for v in data["versions"] if v["engine"] == name and v.get("class") == kind)
    else:
        yield data["links"][name], {}


def main(argv: list[str]) -> None:
    problem = Problem()
    if "--validate" in argv:
        for width in map(float, argv[argv.index("--validate") + 1 :] or ["1"]):
            validated(problem, width)
        return
    theta = problem.solve(width=WIDTH)
    for f, x in moved(problem, theta):
        print(f"{' '.join(f.place):36s} {f.group:6s} {np.exp(x):6.2f}  ({x / f.sigma:+.1f} sigma)")
    if "--write" in argv:
        write(problem, theta)


if __name__ == "__main__":
    main(sys.argv[1:])
