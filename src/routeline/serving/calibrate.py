"""`calibrate`: fit kernels (level 1) and serving constants (level 2), write the shipped files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import RoutelineError
from . import constants, fit, validate
from .silicon import VERSION


def serving(folder: Path | None = None) -> dict[str, Any]:
    """Fit level 2 on the clean rows and write serving.json (the shipped file by default)."""
    rows, clean = validate.data()
    columns = validate.take(rows.columns, clean)
    problem = fit.problem(columns, columns["family"])
    folds = fit.leave_out(problem)
    rows_used = f"{len(problem.tpot)} clean aggregated rows"
    source = f"silicon_sample.csv of aiconfigurator-core {VERSION}, {rows_used} (docs/accuracy.md)"
    out = fit.export(problem, folds, source, {k: columns[k] for k in ("device", "engine")})
    path = (folder or constants.FOLDER) / "serving.json"
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    constants.read.cache_clear()
    constants.fitted.cache_clear()
    return out


def run(level: str = "all", folder: Path | None = None) -> dict[str, Any]:
    """Fit the levels asked for ('kernels', 'serving' or 'all') and write their files.

    Raises:
        RoutelineError: no folder given, and the shipped constants cannot be written over.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    elif not os.access(constants.FOLDER, os.W_OK):
        raise RoutelineError(f"{constants.FOLDER} of the installed package is not writable; give --folder FOLDER")
    out: dict[str, Any] = {"schema_version": 1}
    if level in ("kernels", "all"):
        from . import kernels

        out["kernels"] = kernels.calibrate(folder or constants.FOLDER)
    if level in ("serving", "all"):
        out["serving"] = serving(folder)
    return out


def summary(done: dict[str, Any]) -> list[str]:
    """What `run` did, in sentences."""
    lines = []
    if "kernels" in done:
        k = done["kernels"]
        lines.append(
            f"{len(k['tables'])} tables fitted, {k['passed']} pass the screen; median held-out error {k['medians']}"
        )
    if "serving" in done:
        s = done["serving"]
        r = s["residual"]
        lines.append(
            f"{s['rows']} rows; held-out TPOT error {100 * r['held_out_tpot_mape']:.1f}% mean, "
            f"{100 * r['held_out_tpot_median']:.1f}% median"
        )
    return lines
