"""Predictions against the measured rows, each model family left out of the fit in turn, beside AIConfigurator's.

`run` makes one plain dictionary (the --json of the command); `docs/accuracy.md` is written from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import fit, peer, predict, silicon
from .score import by, measures


def data() -> tuple[silicon.Silicon, np.ndarray]:
    """(all aggregated rows with every flag, which of them are clean)."""
    first = silicon.read()
    extra = {k: v for k, v in peer.flags(first.columns["id"]).items() if k not in first.flags}
    rows = silicon.read(extra)
    return rows, rows.clean


def take(columns: dict[str, list[Any]], use: np.ndarray) -> dict[str, list[Any]]:
    return {k: [v for v, u in zip(c, use, strict=True) if u] for k, c in columns.items()}


def labels(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns that tables are split by."""
    conc = np.array(columns["concurrency"], float)
    size = np.select([conc <= 8, conc <= 32, conc <= 128], ["1-8", "9-32", "33-128"], ">128")
    return {
        "kind": ["dense" if f in silicon.DENSE else "MoE" for f in columns["family"]],
        "family": columns["family"],
        "device": columns["device"],
        "engine": columns["engine"],
        "weights": columns["weights"],
        "concurrency": list(size),
        "version": [v or "not recorded" for v in columns["engine_version"]],
    }


def run(*, calibrated_points: bool = True) -> dict[str, Any]:
    """Everything `routeline validate` reports.

    Raises:
        RoutelineError: aiconfigurator-core is not installed.
    """
    rows, clean = data()
    columns = take(rows.columns, clean)
    problem = fit.problem(columns, columns["family"])
    folds = fit.leave_out(problem)
    theirs = peer.columns(columns["id"])
    answered = np.isfinite(theirs["tpot"])
    names = labels(columns)
    out: dict[str, Any] = {
        "schema_version": 1,
        "rows": len(clean),
        "clean_rows": int(clean.sum()),
        "peer_rows": int(answered.sum()),
        "method": "constants fitted without the row's own family; intervals from the other families' held-out rows",
    }
    result: dict[str, Any] = {}
    for target, unit in (("tpot", 1e3), ("ttft", 1e3), ("throughput", 1.0)):
        made, seen, low, high = _target(problem, folds, target)
        other = (
            theirs[target] / unit
            if target != "throughput"
            else _rate(problem, theirs["tpot"] / 1e3, theirs["ttft"] / 1e3)
        )
        block = {
            "peer_rows": measures(made[answered], seen[answered], low[answered], high[answered]),
            "all_rows": measures(made, seen, low, high),
        }
        block["by"] = by(names, made, seen, low, high)
        result[target] = block
        ours_only = {k: [v for v, a in zip(c, answered, strict=True) if a] for k, c in names.items()}
        out.setdefault("peer", {})[target] = {
            "peer_rows": measures(other[answered], seen[answered]),
            "all_rows": measures(other, seen),
            "by": by(ours_only, other[answered], seen[answered]),
        }
    out |= result
    out["in_sample"] = {"tpot": measures(fit.evaluate(problem, folds.x).tpot, problem.tpot)}
    out["traps"] = traps(rows, clean, folds, problem)
    out["protocol"] = protocol(rows, clean, columns, answered)
    out["floor"] = floor(columns, problem)
    if calibrated_points:
        out["one_point"] = one_point(columns, problem, folds, answered)
    out["rows_detail"] = {
        "id": columns["id"],
        "family": columns["family"],
        "engine": columns["engine"],
        "device": columns["device"],
        "measured_tpot_ms": list(problem.tpot * 1e3),
        "predicted_tpot_ms": list(folds.tpot * 1e3),
        "measured_ttft_ms": list(problem.ttft * 1e3),
        "predicted_ttft_ms": list(folds.ttft * 1e3),
        "peer_tpot_ms": [None if np.isnan(v) else float(v) for v in theirs["tpot"]],
    }
    return out


def _rate(problem: fit.Problem, tpot: np.ndarray, ttft: np.ndarray) -> np.ndarray:
    """Output tokens per second over all devices in a closed loop [1/s]: C * O / (TTFT + (O - 1) * TPOT)."""
    load, w = problem.prepared.load, problem.prepared.widths
    c = load.concurrency * w.dp * problem.prepared.replicas
    return c * load.output / (ttft + (load.output - 1.0) * tpot)


def _target(p: fit.Problem, folds: fit.Folds, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(held-out prediction, measured, interval low, high)."""
    ends = {t: np.array([folds.spread[t][f] for f in p.family]) for t in ("tpot", "ttft")}
    if target == "throughput":
        made, seen = _rate(p, folds.tpot, folds.ttft), _rate(p, p.tpot, p.ttft)
        residual = np.log(seen / made)
        q = {
            f: fit.interval(residual[p.family != f], np.ones(int((p.family != f).sum())))
            for f in dict.fromkeys(p.family)
        }
        end = np.array([q[f] for f in p.family])
        return made, seen, made * np.exp(end[:, 0]), made * np.exp(end[:, 1])
    made, seen = getattr(folds, target), getattr(p, target)
    return made, seen, made * np.exp(ends[target][:, 0]), made * np.exp(ends[target][:, 1])


def traps(rows: silicon.Silicon, clean: np.ndarray, folds: fit.Folds, problem: fit.Problem) -> list[dict[str, Any]]:
    """Each exclusion: its rule, rows, and the error of the rows it excludes and of the clean rows with them in.

    Constants of the clean rows predict the rest; conventions are mended as far as they are known.
    """
    effects = [{**e, "log": float(v * e["sigma"])} for e, v in zip(problem.spec, folds.x, strict=True)]
    answer = predict.predict(rows.columns, fit={"effects": effects})
    made = np.array([np.nan if v is None else v for v in answer["tpot_ms"]], float)
    seen = np.array(rows.columns["measured_tpot_ms"], float)
    theirs = peer.columns(rows.columns["id"])
    out = []
    for name in silicon.FLAGS:
        hit = rows.flags[name]
        out.append(
            {
                "flag": name,
                "rule": silicon.RULES[name],
                "rows": int(hit.sum()),
                "excluded_only_by_it": int(_only(rows, name).sum()),
                "tpot": measures(made[hit], seen[hit]),
                "with_them_in": measures(made[clean | hit], seen[clean | hit]),
                "peer_tpot": measures(theirs["tpot"][hit], seen[hit]),
            }
        )
    out.append(
        {
            "flag": "any",
            "rule": "all of the above",
            "rows": int((~clean).sum()),
            "excluded_only_by_it": 0,
            "tpot": measures(made[~clean], seen[~clean]),
            "with_them_in": measures(made, seen),
            "peer_tpot": measures(theirs["tpot"][~clean], seen[~clean]),
        }
    )
    return out


def inferred(rows: silicon.Silicon) -> dict[str, np.ndarray]:
    """Unrecorded protocols, by rules on measured rows only.

    waves: groups (model, engine, version, device) of at least 20 clean rows whose TTFT grows in proportion to the
    concurrency (log-log slope at equal lengths at least 0.8): all requests are sent at once. speculative: R1 rows of an
    (engine, version) in which at least a quarter of the R1 rows are flagged mtp_sus.
    """
    c, raw, clean = rows.columns, rows.raw, rows.clean
    size = len(clean)
    waves, draft = np.zeros(size), np.zeros(size)
    group = np.array(
        [
            f"{m}|{e}|{v}|{d}"
            for m, e, v, d in zip(c["model"], c["engine"], c["engine_version"], c["device"], strict=True)
        ]
    )
    conc, ttft = np.log(np.array(c["concurrency"], float)), np.log(np.array(c["measured_ttft_ms"], float))
    shape = np.array([f"{i}|{o}|{t}" for i, o, t in zip(c["input_len"], c["output_len"], c["tp"], strict=True)])
    for g in np.unique(group):
        hit = (group == g) & clean
        if hit.sum() < 20:
            continue
        x, y = conc[hit].copy(), ttft[hit].copy()
        for s in np.unique(shape[hit]):
            own = shape[hit] == s
            x[own] -= x[own].mean()
            y[own] -= y[own].mean()
        if x @ x > 1.0 and (x @ y) / (x @ x) >= 0.8:
            waves[group == g] = 1.0
    r1 = np.array(["R1" in m for m in raw["model_path"]])
    image = np.array([f"{e}|{v}" for e, v in zip(c["engine"], c["engine_version"], strict=True)])
    for name in np.unique(image[r1]):
        own = r1 & (image == name)
        if name.split("|")[1] and np.mean(rows.flags["mtp_sus"][own]) >= 0.25:
            draft[own] = 3.0
    return {"waves": waves, "draft": draft}


ACCEPTED = 1.2
"""Draft tokens kept per step where speculation is inferred; guess: 1.8 tokens a step are reported with one draft."""


def protocol(
    rows: silicon.Silicon, clean: np.ndarray, columns: dict[str, list[Any]], answered: np.ndarray
) -> dict[str, Any]:
    """The errors again with the two unrecorded protocols inferred (see `inferred`): not the headline."""
    found = inferred(rows)
    waves, draft = found["waves"][clean], found["draft"][clean]
    known = columns | {"draft_tokens": list(draft), "accepted_tokens": list(np.where(draft > 0, ACCEPTED, 0.0))}
    problem = fit.problem(known, columns["family"], waves)
    folds = fit.leave_out(problem)
    return {
        "rules": " ".join((inferred.__doc__ or "").split()),
        "waves_rows": int(waves.sum()),
        "speculative_rows": int((draft > 0).sum()),
        "tpot": {
            "peer_rows": measures(folds.tpot[answered], problem.tpot[answered]),
            "all_rows": measures(folds.tpot, problem.tpot),
        },
        "ttft": {
            "peer_rows": measures(folds.ttft[answered], problem.ttft[answered]),
            "all_rows": measures(folds.ttft, problem.ttft),
        },
    }


def _only(rows: silicon.Silicon, name: str) -> np.ndarray:
    others = [rows.flags[f] for f in silicon.FLAGS if f != name]
    return rows.flags[name] & ~np.any(others, axis=0)


def ideal(columns: dict[str, list[Any]], problem: fit.Problem) -> np.ndarray:
    """The ideal floor of a decode step per row [s]: bytes and FLOP at peak, no overhead, the fitted routing.

    Same launches, with every fraction 1, every start-up 0 and the maximum in place of the rounded roofline.
    """
    k = dict(fit.constants.apply(problem.base, [], problem.keys))
    ones = (
        "eta", "f", "prefill", "ar_fraction", "two_fraction", "nccl_fraction", "a2a_fraction", "spread", "skew",
    )  # fmt: skip
    for name, value in list(k.items()):
        last = name.split(".", 1)[1]
        if last in ones:
            k[name] = np.ones_like(value)
        elif last == "p":
            k[name] = np.full_like(value, 200.0)
        elif last != "link":
            k[name] = np.zeros_like(value)
    for name in ("moe.spread", "moe.skew"):
        k[name] = problem.base[name]
    return fit.serve(problem.prepared.table, k, problem.prepared.load).step


def floor(columns: dict[str, list[Any]], problem: fit.Problem) -> dict[str, Any]:
    """Rows measured faster than the ideal decode step, classified by what their group has in common."""
    bound = ideal(columns, problem)
    low = problem.tpot < bound
    groups: dict[str, int] = {}
    for i in np.flatnonzero(low):
        name = f"{columns['model'][i]} | {columns['engine'][i]} {columns['engine_version'][i]} | {columns['device'][i]}"
        groups[name] = groups.get(name, 0) + 1
    return {
        "rows": len(low),
        "violations": int(low.sum()),
        "worst": float(np.min(problem.tpot / bound)),
        "groups": groups,
    }


def one_point(columns: dict[str, list[Any]], p: fit.Problem, folds: fit.Folds, answered: np.ndarray) -> dict[str, Any]:
    """One measured row per (engine, device, weights, version) and model as calibration, the others scored.

    The row nearest the group's median concurrency is taken; corrections shrink as personal.shrink does.
    """
    from .personal import BETWEEN, WITHIN

    group = np.array(
        [
            f"{m}|{e}|{d}|{w}|{v}"
            for m, e, d, w, v in zip(
                columns["model"],
                columns["engine"],
                columns["device"],
                columns["weights"],
                columns["engine_version"],
                strict=True,
            )
        ],
        object,
    )
    theirs = peer.columns(columns["id"])["tpot"] / 1e3
    ours, other = folds.tpot.copy(), theirs.copy()
    scored = np.ones(len(group), bool)
    conc = np.log(np.array(columns["concurrency"], float))
    share = sum(b * b for b in BETWEEN["tpot"])
    gain = share / (share + WITHIN["tpot"] ** 2)
    for g in dict.fromkeys(group):
        ix = np.flatnonzero(group == g)
        pick = ix[np.argmin(np.abs(conc[ix] - np.median(conc[ix])))]
        ours[ix] *= np.exp(gain * np.log(p.tpot[pick] / folds.tpot[pick]))
        seen = ix[np.isfinite(theirs[ix])]
        if len(seen):
            point = seen[np.argmin(np.abs(conc[seen] - np.median(conc[seen])))]
            other[ix] *= np.exp(gain * np.log(p.tpot[point] / theirs[point]))
        scored[pick] = False
    both = scored & answered
    return {
        "groups": len(set(group)),
        "all_rows": measures(ours[scored], p.tpot[scored]),
        "peer_rows": measures(ours[both], p.tpot[both]),
        "peer": measures(other[both], p.tpot[both]),
        "before": measures(folds.tpot[both], p.tpot[both]),
    }
