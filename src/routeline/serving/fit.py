"""Level 2: serving constants from end-to-end rows, around priors, by robust Gauss-Newton; folds by linearisation.

Each effect is a log-normal step from its prior (sigma in priors.json): least squares with a unit penalty per
effect. Residuals are log(predicted/measured), Cauchy-weighted, so a group with another protocol pulls little; a
group of n rows counts as n^(1 - 2*CROWD) rows. Leaving a family out re-solves the linearised problem at the full
fit, RELINEAR times, which agrees with refitting from scratch (tests/serving/test_fit.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import constants, predict
from .serve import serve

SCALE = {"tpot": 0.20, "ttft": 0.60}
"""Log-residual at which a row's weight halves."""
TTFT_WEIGHT = 0.6
CROWD = 0.35
STEPS = 6
RELINEAR = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Measured rows ready to fit. rows index usable rows; tpot, ttft measured [s]; family and group per row."""

    prepared: predict.Prepared
    base: Mapping[str, np.ndarray]
    keys: Mapping[str, Sequence[str]]
    spec: Sequence[Mapping[str, Any]]
    tpot: np.ndarray
    ttft: np.ndarray
    family: np.ndarray
    weight: np.ndarray


def effects_of(spec: Sequence[Mapping[str, Any]], keys: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """One entry per effect and combination of keys present in the rows (unknown engines make none)."""
    out = []
    for s in spec:
        found = sorted(set(zip(*[keys[b] for b in s["by"]], strict=True))) if s["by"] else [()]
        out += [{"names": s["names"], "by": dict(zip(s["by"], f, strict=True)), "sigma": s["sigma"]} for f in found]
    return out


def problem(columns: Mapping[str, Sequence[Any]], family: Sequence[str], waves: Any = None) -> Problem:
    """Rows with measured_tpot_ms and measured_ttft_ms -> Problem (all rows must be usable)."""
    prepared = predict.prepare(columns, waves)
    index = prepared.parsed.index
    keys = predict.keys(prepared.parsed)
    tpot = np.array([float(columns["measured_tpot_ms"][i]) for i in index]) / 1e3
    ttft = np.array([float(columns["measured_ttft_ms"][i]) for i in index]) / 1e3
    names = [str(columns["model"][i]) for i in index]
    group = np.array(
        [f"{m}|{e}|{d}|{v}" for m, e, d, v in zip(names, keys["engine"], keys["device"], keys["version"], strict=True)]
    )
    _, where, size = np.unique(group, return_inverse=True, return_counts=True)
    return Problem(
        prepared=prepared,
        base=predict.row_constants(prepared, prior=True),
        keys=keys,
        spec=effects_of(constants.priors()["effects"], keys),
        tpot=tpot,
        ttft=ttft,
        family=np.array([family[i] for i in index], object),
        weight=size[where].astype(float) ** -CROWD,
    )


def evaluate(p: Problem, x: np.ndarray, phi: np.ndarray | None = None, iterations: int = 6) -> Any:
    """serve with effects x (in units of their sigma)."""
    effects = [{**e, "log": float(v * e["sigma"])} for e, v in zip(p.spec, x, strict=True)]
    return serve(p.prepared.table, constants.apply(p.base, effects, p.keys), p.prepared.load, iterations, phi)


def residuals(p: Problem, served: Any) -> np.ndarray:
    """log(predicted/measured) of TPOT, then of TTFT."""
    return np.concatenate([np.log(served.tpot / p.tpot), np.log(served.ttft / p.ttft)])


def jacobian(p: Problem, x: np.ndarray, step: float = 0.25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(residuals, forward differences, decode share) at x; the share of time in decode is frozen between."""
    served = evaluate(p, x)
    length = np.maximum(p.prepared.load.output, 1.0) * served.tpot
    phi = length / (length + served.ttft)
    here = residuals(p, evaluate(p, x, phi, 1))
    cols = []
    for j in range(len(x)):
        moved = x.copy()
        moved[j] += step
        cols.append((residuals(p, evaluate(p, moved, phi, 1)) - here) / step)
    return residuals(p, served), np.array(cols).T, phi


def solve(p: Problem, r: np.ndarray, j: np.ndarray, x: np.ndarray, use: np.ndarray, rounds: int = 12) -> np.ndarray:
    """Minimise the robust linearised cost over rows `use`, penalised by |x|^2; iteratively reweighted."""
    both = np.concatenate([use, use])
    scale = np.concatenate([np.full(len(use), SCALE["tpot"]), np.full(len(use), SCALE["ttft"])])
    base = np.concatenate([p.weight, p.weight * TTFT_WEIGHT])
    new = x.copy()
    for _ in range(rounds):
        now = r + j @ (new - x)
        w = both * base**2 / scale**2 / (1.0 + (now / scale) ** 2)
        a = j.T @ (w[:, None] * j) + np.eye(len(x))
        new = np.linalg.solve(a, j.T @ (w * (j @ x - r)))
    return np.clip(new, -4.0, 4.0)


def fit(p: Problem, use: np.ndarray | None = None, start: np.ndarray | None = None, steps: int = STEPS) -> np.ndarray:
    """Effects from the rows `use` (all by default), in units of sigma."""
    use = np.ones(len(p.tpot), bool) if use is None else use
    x = np.zeros(len(p.spec)) if start is None else start.copy()
    for i in range(steps):
        r, j, _ = jacobian(p, x)
        new = solve(p, r, j, x, use)
        done = np.max(np.abs(new - x)) < 0.05
        x = x + (new - x) * (0.7 if i < 2 else 1.0)
        if done:
            break
    return x


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Held-out predictions. x: effects of all rows; tpot, ttft: from a fit without the row's own family [s];
    low / high: 80% interval as log-offsets from the other families' held-out residuals."""

    x: np.ndarray
    each: Mapping[str, np.ndarray]
    tpot: np.ndarray
    ttft: np.ndarray
    spread: Mapping[str, Mapping[str, tuple[float, float]]]


def leave_out(p: Problem, x: np.ndarray | None = None) -> Folds:
    """Leave each family out in turn."""
    x = fit(p) if x is None else x
    r, j, _ = jacobian(p, x)
    tpot, ttft = np.zeros_like(p.tpot), np.zeros_like(p.ttft)
    each: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(p.family):
        out = p.family == name
        y = solve(p, r, j, x, ~out)
        for _ in range(RELINEAR - 1):
            r2, j2, _ = jacobian(p, y)
            y = solve(p, r2, j2, y, ~out)
        served = evaluate(p, y)
        tpot[out], ttft[out] = served.tpot[out], served.ttft[out]
        each[name] = y
    made = {"tpot": tpot, "ttft": ttft}
    seen = {"tpot": p.tpot, "ttft": p.ttft}
    spread: dict[str, dict[str, tuple[float, float]]] = {}
    for target, guess in made.items():
        raw = np.log(seen[target] / guess)
        spread[target] = {n: interval(raw[p.family != n], np.ones(int((p.family != n).sum()))) for n in each}
    return Folds(x=x, each=each, tpot=tpot, ttft=ttft, spread=spread)


def interval(residual: np.ndarray, weight: np.ndarray, cover: float = 0.80) -> tuple[float, float]:
    """Weighted 10th and 90th percentile of log(measured/predicted)."""
    order = np.argsort(residual)
    share = np.cumsum(weight[order])
    share = (share - 0.5 * weight[order]) / share[-1]
    tail = (1.0 - cover) / 2.0
    return float(np.interp(tail, share, residual[order])), float(np.interp(1.0 - tail, share, residual[order]))


def export(p: Problem, folds: Folds, source: str, groups: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """The shipped file: effects as logs, intervals from all held-out residuals, rows used, residuals.

    groups: labels per row ('device', ...) whose mean errors are stated beside those of the families.
    """
    every = {
        "tpot": interval(np.log(p.tpot / folds.tpot), np.ones(len(p.tpot))),
        "ttft": interval(np.log(p.ttft / folds.ttft), np.ones(len(p.ttft))),
    }
    error = np.abs(folds.tpot / p.tpot - 1.0)
    return {
        "schema_version": 1,
        "kind": "fitted",
        "source": source,
        "rows": len(p.tpot),
        "residual": {
            "held_out_tpot_mape": round(float(error.mean()), 4),
            "held_out_tpot_median": round(float(np.median(error)), 4),
            "by": {
                key: {str(n): round(float(error[np.asarray(of) == n].mean()), 4) for n in sorted(set(of))}
                for key, of in {"family": p.family.tolist(), **(groups or {})}.items()
            },
        },
        "spread": {k: [round(a, 4) for a in v] for k, v in every.items()},
        "effects": [
            {"names": e["names"], "by": e["by"], "log": round(float(v * e["sigma"]), 5), "sigmas": round(float(v), 2)}
            for e, v in zip(p.spec, folds.x, strict=True)
        ],
    }
