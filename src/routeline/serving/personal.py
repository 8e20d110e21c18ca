"""A handful of the user's own measurements -> corrections, shrunk towards the prior by the measured spread.

Corrections are log-offsets of TPOT and TTFT per group (engine, device, weights, engine version) with its
parents (engine, device) and (everything): a normal-normal hierarchy. `calibrate --from` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RoutelineError

BETWEEN = {"tpot": (0.08, 0.08, 0.14), "ttft": (0.25, 0.25, 0.4)}
"""Standard deviation of log-offsets between: everything, (engine, device), full groups. Fitted: spread of the
held-out residuals of the measured rows (docs/accuracy.md)."""
WITHIN = {"tpot": 0.124, "ttft": 0.44}
"""Spread of log-residuals inside a group, same source."""


def group_keys(parsed: Any) -> list[tuple[str, str, str]]:
    """The three nested group names of each usable row."""
    out = []
    for e, d, w, v in zip(parsed.engine, parsed.devices, parsed.weights, parsed.version, strict=True):
        out.append(("all", f"{e}|{d.name}", f"{e}|{d.name}|{w}|{v}"))
    return out


def shrink(
    residuals: np.ndarray, groups: Sequence[Sequence[str]], between: Sequence[float], within: float
) -> dict[str, tuple[float, float]]:
    """Posterior mean and standard deviation of nested offsets: name -> (offset, sd); exact linear-Gaussian."""
    names = list(dict.fromkeys(g for row in groups for g in row))
    level = {g: i for row in groups for i, g in enumerate(row)}
    a = np.zeros((len(residuals), len(names)))
    for r, row in enumerate(groups):
        for g in row:
            a[r, names.index(g)] = 1.0
    precision = np.diag([1.0 / between[level[g]] ** 2 for g in names]) + a.T @ a / within**2
    cov = np.linalg.inv(precision)
    mean = cov @ (a.T @ residuals) / within**2
    return {g: (float(mean[i]), float(np.sqrt(cov[i, i]))) for i, g in enumerate(names)}


def learn(table: Any, fit: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Corrections from rows of the predict schema with measured_tpot_ms and/or measured_ttft_ms.

    Raises:
        RoutelineError: no measured column, or no usable row.

    `errors` of the result says by target what the corrections do to these rows; `skipped` names the cells and rows
    that could not be used.
    """
    from . import predict, rows

    source = rows.columns(table)
    if not any(f"measured_{t}_ms" in source for t in ("tpot", "ttft")):
        raise RoutelineError(
            "no measured_tpot_ms or measured_ttft_ms column; add what you measured to the predict schema"
        )
    prepared = predict.prepare(source)
    p = prepared.parsed
    good = np.array([not p.reasons[i] for i in p.index], bool)
    out: dict[str, Any] = {"schema_version": 1, "rows": 0, "offsets": {}, "errors": {}, "skipped": []}
    out["skipped"] += [r for r in p.reasons if r]
    if not good.any():
        first = next((r for r in p.reasons if r), "no rows")
        raise RoutelineError(f"no row can be used to calibrate; {first}")
    served = predict.solve(prepared, predict.row_constants(prepared, fit))
    keys = group_keys(p)
    for target, value in (("tpot", served.tpot), ("ttft", served.ttft)):
        column = source.get(f"measured_{target}_ms")
        if column is None:
            continue
        seen = np.array([_positive(column[i]) for i in p.index])
        out["skipped"] += [
            f"row {i + 1}: measured_{target}_ms {str(column[i]).strip()!r} is not a positive number: not used"
            for i, v in zip(p.index, seen, strict=True)
            if np.isnan(v) and not p.reasons[i] and str(column[i]).strip().lower() not in (*rows.BLANK, "-")
        ]
        use = good & np.isfinite(seen)
        if use.any():
            residual = np.log(seen[use] / 1e3 / value[use])
            groups = [k for k, u in zip(keys, use, strict=True) if u]
            out["offsets"][target] = shrink(residual, groups, BETWEEN[target], WITHIN[target])
            out["errors"][target] = gain(residual, groups, out["offsets"][target], BETWEEN[target], WITHIN[target])
            out["rows"] = max(out["rows"], int(use.sum()))
    if not out["offsets"]:
        first = next((f"; {s}" for s in out["skipped"]), "")
        raise RoutelineError(
            f"no row holds a positive measured value; fill measured_tpot_ms or measured_ttft_ms{first}"
        )
    return out


MOST_LEFT_OUT = 2000
"""Most rows that are left out one by one: the cost grows with their cube."""


def gain(
    residuals: np.ndarray,
    groups: Sequence[Sequence[str]],
    offsets: Mapping[str, tuple[float, float]],
    between: Sequence[float],
    within: float,
) -> dict[str, Any]:
    """Mean absolute relative errors of the predictions: as shipped, corrected, and corrected by the other rows alone.

    `left_out` is None below 3 rows. `shrunk`: share of the groups' own mean offsets that the corrections leave [-].
    Left out exactly: of a zero-mean Gaussian with precision P, a row's residual from the others is (P r)_i / P_ii.
    """
    shift = np.array([sum(offsets[g][0] for g in row) for row in groups])
    own = [row[-1] for row in groups]
    mean = np.array([np.mean([r for r, o in zip(residuals, own, strict=True) if o == g]) for g in own])
    size = len(residuals)
    left: float | None = None
    if 3 <= size <= MOST_LEFT_OUT:
        cov = within**2 * np.eye(size)
        for level, sd in enumerate(between):
            name = np.array([row[level] for row in groups], object)
            cov += sd**2 * (name[:, None] == name[None, :])
        precision = np.linalg.inv(cov)
        left = _error((precision @ residuals) / np.diag(precision))
    power = float(mean @ mean)
    return {
        "rows": size,
        "before": _error(residuals),
        "after": _error(residuals - shift),
        "left_out": left,
        "shrunk": float(np.clip(1.0 - shift @ mean / power, 0.0, 1.0)) if power > 0 else 0.0,
    }


def _error(residuals: np.ndarray) -> float:
    """Mean of |predicted / measured - 1| from log(measured / predicted)."""
    return float(np.mean(np.abs(np.expm1(-residuals))))


def summary(learned: Mapping[str, Any]) -> list[str]:
    """What the corrections do to the rows they were learned from, in sentences."""
    out = []
    for target, e in learned["errors"].items():
        left = "" if e["left_out"] is None else f", {100 * e['left_out']:.1f}% with each row left out"
        rows = f"{e['rows']} row{'s' if e['rows'] > 1 else ''}"
        out.append(
            f"{target.upper()}: mean absolute error of {rows} {100 * e['before']:.1f}% -> "
            f"{100 * e['after']:.1f}% corrected{left}; corrections shrunk by {100 * e['shrunk']:.0f}% towards the "
            f"shipped constants"
        )
    return out


def _positive(value: Any) -> float:
    from .rows import typed

    try:
        number = typed(str(value).strip(), "measured")
    except RoutelineError:
        return float("nan")
    return number if 0 < number < float("inf") else float("nan")


def correct(prepared: Any, calibration: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log shift of TPOT, of TTFT, factor on the interval's log-width) per usable row."""
    keys = group_keys(prepared.parsed)
    shifts = []
    for target in ("tpot", "ttft"):
        offsets = calibration.get("offsets", {}).get(target, {})
        shifts.append(np.array([sum(offsets.get(g, (0.0, 0.0))[0] for g in k) for k in keys]))
    offsets = calibration.get("offsets", {}).get("tpot", {})
    between, within = BETWEEN["tpot"], WITHIN["tpot"]
    before = sum(b * b for b in between) + within**2
    width = []
    for k in keys:
        left = sum(offsets[g][1] ** 2 if g in offsets else between[i] ** 2 for i, g in enumerate(k))
        width.append(float(np.sqrt((left + within**2) / before)))
    return shifts[0], shifts[1], np.array(width)


def save(path: str, calibration: Mapping[str, Any]) -> None:
    try:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(calibration, f, indent=1)
    except OSError as error:
        raise RoutelineError(f"{path} cannot be written: {error.strerror or error}") from None


def load(path: str) -> dict[str, Any]:
    """A calibration file that `calibrate --from` wrote.

    Raises:
        RoutelineError: unreadable or not such a file.
    """
    try:
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
    except OSError as error:
        raise RoutelineError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise RoutelineError(
            f"{path} is not a calibration file; write one with `routeline calibrate --from ROWS`"
        ) from None
    if not isinstance(data, dict) or not isinstance(data.get("offsets"), dict):
        raise RoutelineError(f"{path} is not a calibration file; write one with `routeline calibrate --from ROWS`")
    return data
