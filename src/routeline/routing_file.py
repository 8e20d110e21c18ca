"""`measured:FILE` -> Routing: how often each expert of each layer was really chosen. Files are read only here.

CSV (no header, one row a layer, one column an expert; or a header `layer,expert,count` or
`layer,expert,probability`) or JSON (`{"counts": [[...]]}`, `{"probabilities": [[...]]}`, one row for all
layers or one for each MoE layer). Probabilities of a row sum to top_k (chance that a token uses the expert)
or to 1 (share of token-expert pairs); whole numbers that do neither are counts.
"""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import numpy as np

from .arch import Model
from .counts import count
from .errors import RoutelineError, shorten
from .routing import Routing

LARGEST_FILE = 50_000_000
"""Largest file read [B]."""
EXACT = 2e-3
"""How far a row of probabilities may sum from 1 or top_k, relative: files are rounded."""
KINDS = ("count", "counts", "probability", "probabilities")


def read(path: str, model: Model) -> Routing:
    """The routing that a file measured for this model.

    Raises:
        RoutelineError: unreadable file, a model without experts, another number of experts or layers,
            negative or non-finite values, probabilities that do not sum, an expert chosen more than always.
    """
    name = os.path.basename(path)
    counted = count(model)
    experts, top_k, layers = int(counted.experts), float(counted.top_k), int(counted.moe_layers)
    if not layers:
        raise RoutelineError(f"{model.name} has no routed experts: measured routing has nothing to describe")
    kind, table = _table(path, name)
    if table.ndim == 1:
        table = table[None, :]
    if table.ndim != 2 or table.shape[1] != experts:
        got = "x".join(map(str, table.shape))
        raise RoutelineError(
            f"{name} holds a table of {got}, and {model.name} has {experts} experts in {layers} layers"
        )
    if table.shape[0] not in (1, layers):
        raise RoutelineError(
            f"{name} has {table.shape[0]} layers, and {model.name} has {layers} with experts; give 1 row or {layers}"
        )
    if not np.all(np.isfinite(table)) or np.any(table < 0):
        raise RoutelineError(f"{name} holds a negative or non-finite value; counts and probabilities are 0 or more")
    return Routing("measured", probabilities=_inclusion(table, kind, top_k, name))


def _inclusion(table: np.ndarray, kind: str, top_k: float, name: str) -> np.ndarray:
    """Rows of counts or probabilities as inclusion probabilities that sum to top_k."""
    sums = table.sum(axis=1)
    if np.any(sums <= 0):
        raise RoutelineError(f"{name}: layer {int(np.argmax(sums <= 0))} was never used; leave no row of zeros")
    fits = [bool(np.all(np.abs(sums / target - 1.0) <= EXACT)) for target in (1.0, top_k)]
    whole = bool(np.all(table == np.round(table)))
    if not any(fits) and not kind.startswith("count") and not (kind == "" and whole):
        worst = int(np.argmax(np.minimum(np.abs(sums - 1.0), np.abs(sums - top_k))))
        raise RoutelineError(
            f"{name}: probabilities of layer {worst} sum to {sums[worst]:.6g}, neither to top_k = {top_k:g} nor to 1"
        )
    pi = table * (top_k / sums)[:, None]
    if np.any(pi > 1.0 + EXACT):
        layer, expert = (int(i) for i in np.unravel_index(int(np.argmax(pi)), pi.shape))
        raise RoutelineError(
            f"{name}: expert {expert} of layer {layer} would serve {pi[layer, expert]:.4g} of every token, above 1; "
            f"the file was not measured with top_k = {top_k:g}"
        )
    return np.minimum(pi, 1.0)


def _table(path: str, name: str) -> tuple[str, np.ndarray]:
    """(kind, values) as the file states them; kind is '' where it names none."""
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise RoutelineError(f"{name} is larger than {LARGEST_FILE // 10**6} MB; give counts per layer and expert")
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise RoutelineError(f"cannot read the routing file {shorten(path)!r}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RoutelineError(f"{name} is not a text file; give CSV or JSON") from None
    try:
        return _json(text, name) if text.lstrip().startswith(("{", "[")) else _csv(text, name)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, RoutelineError):
            raise
        raise RoutelineError(
            f"{name} is not a table of numbers; one row a layer, one column an expert (or layer,expert,count)"
        ) from None


def _json(text: str, name: str) -> tuple[str, np.ndarray]:
    raw = json.loads(text)
    if isinstance(raw, dict):
        found = [k for k in raw if k in KINDS]
        if len(found) != 1:
            raise RoutelineError(f"{name}: give exactly one of counts or probabilities, as rows of numbers")
        return found[0], np.array(raw[found[0]], float)
    return "", np.array(raw, float)


def _csv(text: str, name: str) -> tuple[str, np.ndarray]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if not rows:
        raise RoutelineError(f"{name} is empty")
    header = [cell.strip().lower() for cell in rows[0]]
    if "expert" in header:
        return _long(rows[1:], header, name)
    if not _number(header[0]):
        rows = rows[1:]
    return "", np.array([[float(cell) for cell in row] for row in rows])


def _long(rows: list[list[str]], header: list[str], name: str) -> tuple[str, np.ndarray]:
    kind = next((h for h in header if h in KINDS), None)
    if kind is None:
        raise RoutelineError(f"{name}: name the column of values count or probability; it has {', '.join(header)}")
    at = {h: header.index(h) for h in ("expert", kind)} | (
        {"layer": header.index("layer")} if "layer" in header else {}
    )
    cells: dict[tuple[int, int], float] = {}
    for row in rows:
        where = (int(row[at["layer"]]) if "layer" in at else 0, int(row[at["expert"]]))
        if where in cells:
            raise RoutelineError(f"{name}: layer {where[0]}, expert {where[1]} is given twice")
        cells[where] = float(row[at[kind]])
    layers, experts = sorted({a for a, _ in cells}), max((b for _, b in cells), default=-1) + 1
    if not layers or not 0 < experts <= 1_000_000 or min(b for _, b in cells) < 0:
        raise RoutelineError(f"{name}: experts are numbered from 0")
    table = np.zeros((len(layers), experts))
    index = {layer: i for i, layer in enumerate(layers)}
    for (layer, expert), value in cells.items():
        table[index[layer], expert] = value
    return kind, table


def _number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
