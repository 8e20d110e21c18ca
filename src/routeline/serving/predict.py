"""`predict`: rows of deployments -> time per output token, time to first token, throughput, with an interval.

Never stops at a bad row: it gets a reason. Where nothing was measured for an engine, device or format the
constants of the level above answer, the interval widens and `tier` and `note` say so.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TextIO

import numpy as np

from ..errors import RoutelineError
from . import constants, rows
from .classes import MEASURED_ENGINES
from .layout import BY_LAYERS, MOST, STATIC, Room, defaults, layouts, memory
from .serve import Load, Served, serve
from .shapes import shape
from .table import Table, Widths, build

OUT = (
    "tpot_ms",
    "ttft_ms",
    "output_tok_s",
    "output_tok_s_per_device",
    "fits",
    "max_concurrency",
    "tier",
    "tpot_low_ms",
    "tpot_high_ms",
    "ttft_low_ms",
    "ttft_high_ms",
    "low",
    "high",
    "reason",
    "note",
)
"""Columns added. low / high repeat the 80% interval of tpot_ms."""

OUTSIDE = 1.5
"""Factor on the log-width of intervals of rows unlike those that calibrated them: past the model's context, or more
requests than fit [-]; guess (rows that queue are excluded from the fit and miss by far more, docs/accuracy.md)."""
BURST = 0.5
"""Mean place in the queue of more requests than fit [-]; guess: tables that ask for so many send them all at once. On
classes of devices without kernel tables only: the fit of the others counted closed loops, where all wait."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Parsed rows with layouts, launches and load; what the fit and predict share."""

    parsed: rows.Parsed
    table: Table
    load: Load
    widths: Widths
    replicas: np.ndarray
    devices: np.ndarray
    room: Room
    staged: np.ndarray
    """Batches that take turns in the stages of a pipeline, each a share of the requests [-]; 1 without stages."""
    queued: np.ndarray


def prepare(table: Mapping[str, Any], waves: Any = None) -> Prepared:
    """Everything about the rows that no constant enters."""
    parsed = rows.parse(table)
    n = parsed.numbers
    layout, replicas = layouts(parsed)
    groups: dict[tuple, list[int]] = {}
    for i, (m, d) in enumerate(zip(parsed.models, parsed.devices, strict=True)):
        groups.setdefault((id(m), id(d)), []).append(i)
    index = [(np.array(ix), parsed.models[ix[0]], parsed.devices[ix[0]]) for ix in groups.values()]
    launches = build([(ix, shape(m), d) for ix, m, d in index], layout, parsed.element)
    asked_for = {r.name + str(r.exponent): r for r in parsed.routing if r is not rows.FITTED}
    named = [(np.array([x == r for x in parsed.routing]), r) for r in asked_for.values()]
    launches = replace(launches, routings=tuple((np.flatnonzero(hit), r) for hit, r in named))
    room = memory(parsed, index, layout, replicas)
    engine = np.array(parsed.engine, object)
    total = layout.tp * layout.dp * layout.pp * replicas
    asked = n["concurrency"]
    most, budget = defaults(parsed)
    most = np.where(np.isnan(asked) | (most < MOST), most, np.inf)  # who asks for more raises the larger defaults
    cap = np.where(np.isnan(n["max_batch"]), most, n["max_batch"]) * layout.dp * replicas
    limit = np.maximum(np.minimum(room.most, cap), 1.0)
    running = np.where(np.isnan(asked), limit, np.minimum(asked, limit))
    queued = np.where(np.isnan(asked), 0.0, np.maximum(asked - running, 0.0)) / running
    queued = queued * np.array([1.0 if constants.base(g) == g else BURST for g in parsed.generation])
    alone = np.maximum(running / (replicas * layout.dp), 1e-3)
    staged = np.where(np.isin(engine, BY_LAYERS), 1.0, np.clip(layout.pp, 1.0, np.maximum(alone, 1.0)))
    draft = n["draft_tokens"]
    accepted = np.where(np.isnan(n["accepted_tokens"]), 0.6 * draft, n["accepted_tokens"])
    load = Load(
        concurrency=alone / staged,
        prompt=n["input_len"],
        output=n["output_len"],
        hit=np.minimum(n["prefix_hit"], 1.0),
        verified=1.0 + draft,
        accepted=1.0 + np.minimum(accepted, draft),
        budget=budget,
        mixed=np.where(engine == "sglang", 0.0, 1.0),
        waves=np.zeros(len(total)) if waves is None else np.asarray(waves, float)[parsed.index],
        static=np.isin(engine, STATIC).astype(float),
    )
    return Prepared(
        parsed=parsed,
        table=launches,
        load=load,
        widths=layout,
        replicas=replicas,
        devices=total,
        room=room,
        staged=staged,
        queued=queued,
    )


def keys(p: rows.Parsed) -> dict[str, list[str]]:
    """What effects may depend on, per usable row: generation (the measured class), engine, version, device."""
    return {
        "generation": [constants.base(g) for g in p.generation],
        "engine": p.engine,
        "version": p.version,
        "device": [d.name for d in p.devices],
    }


def row_constants(
    prepared: Prepared, fit: Mapping[str, Any] | None = None, *, prior: bool = False
) -> dict[str, np.ndarray]:
    """Constants of each usable row: priors times the shipped (or given) effects."""
    p = prepared.parsed
    out = constants.prior_rows(p.generation, p.engine)
    link = np.zeros(len(p.index))
    for d in {id(d): d for d in p.devices}.values():
        hit = np.array([x is d for x in p.devices])
        out["comm.nccl_start"][hit] *= constants.ring_start(d.link_class)
        for name in ("gqa.half", "mla.half"):
            out[name][hit] *= constants.in_flight(d)
        link[hit] = constants.link_rate(d, prepared.widths.tp[hit])
        for name, factor in constants.link_factors(d.link_class).items():
            if name in out:
                out[name][hit] *= factor
    out["comm.link"] = link
    for i, (engine, version, kind) in enumerate(zip(p.engine, p.version, p.generation, strict=True)):
        for name, factor in constants.older(engine, version, kind).items():
            out[name][i] *= factor
    known = fit if fit is not None else None if prior else constants.fitted()
    return constants.apply(out, known["effects"], keys(p)) if known else out


def solve(prepared: Prepared, k: Mapping[str, np.ndarray]) -> Served:
    return serve(prepared.table, k, prepared.load)


def predict(
    table: Any, *, calibration: Mapping[str, Any] | None = None, fit: Mapping[str, Any] | None = None
) -> dict[str, list[Any]]:
    """Predict every row. Returns the input columns and those of OUT, one entry per row.

    An input column with a name of OUT comes back as input_NAME.

    Args:
        table: columns by name, a list of rows, or a DataFrame; see rows.REQUIRED and rows.NUMBERS.
        calibration: corrections from the user's own measurements (personal.learn).
        fit: level-2 constants to use in place of the shipped ones.

    Raises:
        RoutelineError: no table, or a required column is missing. A bad row never raises; it gets a reason.
    """
    source = rows.columns(table)
    size = len(source["model"])
    out: dict[str, list[Any]] = {k: [None] * size for k in OUT}
    prepared = prepare(source)
    p = prepared.parsed
    if len(p.index):
        k = row_constants(prepared, fit)
        served = solve(prepared, k)
        known = fit or constants.fitted() or {}
        _fill(out, prepared, served, known, calibration)
    for i, reason in enumerate(p.reasons):
        if reason:
            for key in OUT:
                out[key][i] = None
            out["tier"][i] = "none"
            out["reason"][i] = reason
        else:
            out["reason"][i] = out["reason"][i] or ""
        out["note"][i] = "; ".join(p.notes[i])
    moved = renamed(source)
    return {moved.get(k, k): v for k, v in source.items()} | out


def renamed(table: Mapping[str, Any]) -> dict[str, str]:
    """Columns of the user that have the name of an output -> the name under which they come back."""
    out: dict[str, str] = {}
    for name in table:
        if name in OUT:
            new = f"input_{name}"
            while new in table or new in out.values():
                new = f"input_{new}"
            out[name] = new
    return out


def remarks(table: Mapping[str, Any]) -> list[str]:
    """What to say about the columns once: those that come back under another name, those that look misnamed."""
    out = []
    if any(rows.fold(name) == "layout" for name in table):
        out.append("a column layout is not read: give tp, pp, ep, attention_dp and replicas as columns")
    if moved := renamed(table):
        out.append(
            f"an output has the name of your column {', '.join(moved)}: yours is kept as {', '.join(moved.values())}"
        )
    return out + misnamed(table)


def misnamed(table: Mapping[str, Any]) -> list[str]:
    """Columns that are not read and look as if they should be, in a sentence."""
    told = ", ".join(f"{old!r} to {new}" for old, new in rows.near(table).items())
    return [f"columns that are not read under their names: rename {told}"] if told else []


def levels(p: rows.Parsed) -> list[tuple[str, str, np.ndarray]]:
    """(tier, what falls back, factors on the log-widths of the intervals of tpot and ttft) per usable row."""
    out = []
    data = constants.priors()
    for eng, gen, unread in zip(p.engine, p.generation, p.wide, strict=True):
        why, wide = [], np.ones(2)
        if eng not in MEASURED_ENGINES:
            known = data["engines"].get(eng, {})
            basis = "priors from published numbers" if eng and known else "mean of the measured engines"
            why.append(f"engine {eng or 'not given'}: {basis}")
            wide = wide * known.get("wide", data["wide"]["engine"])
        if gen not in ("hopper", "blackwell"):
            why.append(f"device class {gen}: no kernel tables, published fractions of peak")
            wide = wide * data["generations"].get(gen, {}).get("wide", data["wide"]["generation"])
        out.append(("fallback" if why or unread > 1.0 else "calibrated", "; ".join(why), wide))
    return out


def _fill(out: dict[str, list[Any]], pre: Prepared, served: Served, known: Mapping[str, Any], calibration: Any) -> None:
    p, n = pre.parsed, pre.parsed.numbers
    spread = known.get("spread", {})
    tpot, ttft = served.tpot.copy(), served.ttft.copy()
    width = np.ones(len(tpot))
    if calibration:
        from .personal import correct

        shift_t, shift_f, width = correct(pre, calibration)
        tpot, ttft = tpot * np.exp(shift_t), ttft * np.exp(shift_f)
    length = ttft + (n["output_len"] - 1.0).clip(0.0) * tpot
    ttft = ttft + pre.queued * length
    total = served.rate * n["output_len"] * pre.widths.dp * pre.replicas * pre.staged
    total = total * served.tpot / tpot
    low_t, high_t = spread.get("tpot", [-0.25, 0.25])
    low_f, high_f = spread.get("ttft", [-0.9, 0.9])
    for j, (i, (tier, why, wide)) in enumerate(zip(p.index, levels(p), strict=True)):
        if p.reasons[i]:
            continue
        if why:
            p.notes[i].append(why)
        out["fits"][i] = bool(pre.room.need[j] < pre.room.have[j] and pre.room.most[j] >= 1.0)
        out["max_concurrency"][i] = int(pre.room.most[j])
        out["tier"][i] = tier
        if not out["fits"][i]:
            have, need = pre.room.have[j] / 1e9, pre.room.need[j] / 1e9
            share = f"{'even ' if pre.room.raised[j] else ''}at memory_utilisation {pre.room.share[j]:g}"
            out["reason"][i] = (
                f"row {i + 1}: does not fit: weights and one sequence need more than {have:.1f} GB a device "
                f"(weights {need:.1f} GB), {share}; use more devices or a narrower format"
            )
            continue
        if pre.room.raised[j]:
            p.notes[i].append(f"memory_utilisation {pre.room.share[j]:g}: the default holds no sequence")
        limit, beyond = p.models[j].context_limit, 1.0
        if limit and n["input_len"][j] + n["output_len"][j] > limit:
            p.notes[i].append(f"past the model's limit of {limit:,.0f} tokens: extended context")
            beyond = OUTSIDE
        if pre.queued[j] > 0:
            p.notes[i].append("more requests than fit at once: they queue")
            beyond = OUTSIDE
        w, f = wide * width[j] * p.wide[j] * (beyond if tier == "calibrated" else 1.0)
        out["tpot_ms"][i], out["ttft_ms"][i] = float(tpot[j] * 1e3), float(ttft[j] * 1e3)
        out["output_tok_s"][i] = float(total[j])
        out["output_tok_s_per_device"][i] = float(total[j] / pre.devices[j])
        out["tpot_low_ms"][i] = out["low"][i] = float(tpot[j] * 1e3 * np.exp(low_t * w))
        out["tpot_high_ms"][i] = out["high"][i] = float(tpot[j] * 1e3 * np.exp(high_t * w))
        out["ttft_low_ms"][i] = float(ttft[j] * 1e3 * np.exp(low_f * f))
        out["ttft_high_ms"][i] = float(ttft[j] * 1e3 * np.exp(high_f * f))


def read_rows(path: str) -> dict[str, list[str]]:
    """A CSV file as columns of text; the header tells whether commas, semicolons, tabs or bars separate.

    Raises:
        RoutelineError: unreadable, empty, or not CSV text; a column named twice; a row with more cells than columns.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            text = f.read()
        head = next((line for line in text.splitlines() if line.strip()), "")
        found = [
            r for r in csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(head)) if any(map(str.strip, r))
        ]
    except OSError as error:
        raise RoutelineError(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RoutelineError(f"{path} is not CSV text ({error}); save it as comma-separated UTF-8") from None
    header, body = found[:1], found[1:]
    if not body:
        raise RoutelineError(
            f"{path} holds no rows; the first line names the columns, each further line is a deployment"
        )
    names = [h.strip() for h in header[0]]
    if twice := [n for i, n in enumerate(names) if n and n in names[:i]]:
        raise RoutelineError(f"{path} has two columns named {twice[0]!r}; rename one")
    for i, r in enumerate(body):
        if any(c.strip() for c in r[len(names) :]):
            raise RoutelineError(
                f"row {i + 1} of {path} has {len(r)} cells for {len(names)} columns; quote a cell that holds a comma"
            )
    columns = [[r[i] if i < len(r) else "" for r in body] for i in range(len(names))]
    return {n or f"column_{i + 1}": c for i, (n, c) in enumerate(zip(names, columns, strict=True)) if n or any(c)}


def _delimiter(head: str) -> str:
    """The separator that finds the most columns of the schema in a header; a comma where none does better."""
    known = rows.KNOWN.union(*(others.split() for others in rows.NEAR.values()))
    return max(",;\t|", key=lambda d: sum(rows.fold(name.strip(' "')) in known for name in head.split(d)))


def predict_file(path: str, out: str | None = None, calibration: str | None = None) -> dict[str, list[Any]]:
    """Predict a CSV file and, with `out`, write it with the added columns. Returns the columns."""
    from .personal import load

    keep(path, out)
    answer = predict(read_rows(path), calibration=load(calibration) if calibration else None)
    if out is not None:
        write_rows(out, answer)
    return answer


def keep(path: str | None, out: str | None) -> None:
    """Refuse to write over what is read.

    Raises:
        RoutelineError: `out` is the file `path`.
    """
    if path and out and os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out):
        raise RoutelineError(f"{out} is read and would be overwritten; write to another file")


def write_rows(path: str | TextIO, table: Mapping[str, list[Any]]) -> None:
    """Write columns as CSV to a file or stream; floats with six significant digits, None as blank."""

    def cell(v: Any) -> str:
        return "" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v)

    if not isinstance(path, str):
        writer = csv.writer(path, lineterminator="\n")
        writer.writerow(table)
        writer.writerows([cell(v) for v in row] for row in zip(*table.values(), strict=True))
        return
    try:
        with open(path, "w", encoding="utf-8", newline="") as f:
            write_rows(f, table)
    except OSError as error:
        raise RoutelineError(f"{path} cannot be written: {error.strerror or error}") from None
