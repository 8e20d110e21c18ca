"""Rows of the predict schema -> typed columns, with one reason per row that cannot be used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arch import Model
from ..errors import RoutelineError
from ..hardware import Device
from ..routing import Routing
from ..routing import parse as parse_routing
from . import names
from .checkpoint import checkpoint
from .device_text import count
from .labels import for_engine, from_name, read
from .model_text import ollama

REQUIRED = ("model", "device", "input_len", "output_len")
NUMBERS = {
    "devices": 0.0, "tp": 0.0, "pp": 0.0, "ep": 0.0, "attention_dp": 0.0, "replicas": 0.0, "input_len": math.nan,
    "output_len": math.nan, "concurrency": math.nan, "memory_utilisation": math.nan, "max_batch": math.nan,
    "draft_tokens": 0.0, "accepted_tokens": math.nan, "prefix_hit": 0.0,
}  # fmt: skip
"""Numeric columns and what a blank means (0 in a width: choose)."""
TEXTS = ("model", "device", "engine", "engine_version", "weights", "cache", "routing")
FITTED = Routing("fitted")
"""Touched experts of real routers, as fitted; what a blank routing means."""
ROUTINGS = {"": FITTED, "real": FITTED, "fitted": FITTED, "trained": FITTED, "measured": FITTED, "natural": FITTED,
            "random": Routing("uniform")}  # fmt: skip
MEASURED = ("measured_tpot_ms", "measured_ttft_ms")
KNOWN = frozenset((*TEXTS, *NUMBERS, *MEASURED))
"""Columns that are read; their names match without case, spaces and dashes count as underscores."""
NEAR = {
    "model": "model_name model_id llm checkpoint",
    "device": "gpu gpu_type gpu_name gpu_model accelerator hardware device_name chip",
    "devices": "gpus num_gpus n_gpus ngpus gpu_count number_of_gpus num_devices n_devices device_count",
    "engine": "framework backend runtime serving_engine inference_engine",
    "weights": "precision quantization quantisation quant weight_format dtype weight_dtype",
    "cache": "kv_cache kv_dtype kv_cache_dtype cache_dtype kv",
    "input_len": "isl input input_tokens input_length prompt_len prompt_tokens prompt_length in_len",
    "output_len": "osl output output_tokens output_length gen_len generated_tokens completion_tokens out_len",
    "concurrency": "conc batch batch_size concurrent_requests users num_users",
    "tp": "tp_size tensor_parallel tensor_parallel_size tensor_parallelism",
    "pp": "pp_size pipeline_parallel pipeline_parallel_size",
    "ep": "ep_size expert_parallel expert_parallel_size",
    "attention_dp": "attn_dp dp_attention attention_data_parallel",
    "memory_utilisation": "memory_utilization gpu_memory_utilization gpu_memory_utilisation mem_fraction_static",
}
"""Column -> names that other tools give it. They are not read: a message says what to rename."""
COUNTED = ("input_len", "output_len", "concurrency", "max_batch")
"""Columns that take 4k (k = 1024, as everywhere a number of tokens is typed)."""
WIDTHS = {"tp": "tp|tensor", "pp": "pp|pipeline", "ep": "ep|expert", "attention_dp": "attention_dp|attn_dp|dp",
          "replicas": "replicas?", "devices": "devices?|gpus?"}  # fmt: skip
"""Whole-number columns and what may stand before the number (TP8, tp=8)."""
UNKNOWN = 1.5
"""Widening of the interval for a word that was not understood (weights, cache, routing); guess."""
BLANK = ("", "auto", "none", "nan", "null", "default")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Usable rows, one array entry each. index: position in the input; reasons: per input row, '' where usable;
    notes: what was chosen for blanks or falls back."""

    index: np.ndarray
    reasons: list[str]
    notes: list[list[str]]
    models: list[Model]
    devices: list[Device]
    engine: list[str]
    version: list[str]
    weights: list[str]
    generation: list[str]
    element: np.ndarray
    numbers: dict[str, np.ndarray]
    routing: list[Routing]
    wide: np.ndarray
    """Factor on the log-width of the interval for what was not understood, one per usable row [-]."""


def columns(rows: Any) -> dict[str, list[Any]]:
    """A mapping of columns, or a sequence of mappings, as equal-length lists.

    Raises:
        RoutelineError: no rows, missing required columns, columns of different length.
    """
    if isinstance(rows, Mapping):
        table = {str(k): list(v) for k, v in rows.items()}
    elif isinstance(rows, Sequence) and rows and all(isinstance(r, Mapping) for r in rows):
        keys = list(dict.fromkeys(k for r in rows for k in r))
        table = {str(k): [r.get(k, "") for r in rows] for k in keys}
    elif hasattr(rows, "to_dict"):
        table = {str(k): list(v) for k, v in _frame(rows).items()}
    else:
        raise RoutelineError("rows must be a table: columns by name, or a list of rows; none were given")
    table = _canonical(table)
    missing = [c for c in REQUIRED if c not in table]
    if missing:
        hints = [f"{old!r} to {new}" for old, new in near(table).items()]
        meant = f" (rename {', '.join(hints)})" if hints else ""
        plural = "s" if len(missing) > 1 else ""
        raise RoutelineError(
            f"missing column{plural} {', '.join(missing)}{meant}; a row needs at least {', '.join(REQUIRED)}"
        )
    lengths = {len(v) for v in table.values()}
    if len(lengths) > 1:
        raise RoutelineError(
            f"columns differ in length ({', '.join(map(str, sorted(lengths)))}); give one entry per row"
        )
    return table


def fold(name: str) -> str:
    """A column's name without case, with underscores for spaces and dashes."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _canonical(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns that are read, under their names; others as typed. A name typed exactly wins."""
    out: dict[str, list[Any]] = {}
    for typed, values in table.items():
        name = fold(typed)
        name = name if name in KNOWN and name not in table else typed
        if name in out:
            raise RoutelineError(f"two columns are both {name}; keep one of them")
        out[name] = values
    return out


def near(table: Mapping[str, Any]) -> dict[str, str]:
    """Columns that are not read and look like one that is absent: name as typed -> name to give it."""
    held = {fold(typed) for typed in table}
    meant = {other: name for name, others in NEAR.items() for other in others.split() if name not in held}
    found = {typed: meant[fold(typed)] for typed in table if fold(typed) in meant}
    return {typed: name for i, (typed, name) in enumerate(found.items()) if name not in list(found.values())[:i]}


def _frame(rows: Any) -> Any:
    """A DataFrame as lists by column."""
    return rows.to_dict("list")


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).strip()
    return "" if text.lower() in BLANK else text


def _number(value: Any, name: str, blank: float) -> float:
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        number = float(value)
        if math.isnan(number):
            return blank
    else:
        text = _text(value)
        if not text:
            return blank
        number = typed(text, name)
        if math.isnan(number):
            return blank
    low = 0.0 if name in ("prefix_hit", "draft_tokens", "accepted_tokens") else 1e-9
    if number == 0.0 and name in ("tp", "pp", "ep", "attention_dp", "replicas", "devices", "concurrency", "max_batch"):
        return blank
    if not low <= number < 1e9:
        raise RoutelineError(f"{name} {number:g} is outside its range; give a positive number below 1e9")
    if name in ("prefix_hit", "memory_utilisation") and number > 1.0:
        raise RoutelineError(f"{name} {number:g} is above 1; give a fraction")
    if name in WIDTHS and number != math.floor(number):
        raise RoutelineError(f"{name} {number:g} is not a whole number")
    return number


_DIGITS = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+(?![\d,])|[\d_]*)(?:\.\d*)?(?:e[+-]?\d+)?", re.I)


def typed(text: str, name: str) -> float:
    """The number in a cell: 1,024 and 90% everywhere, 4k where COUNTED, TP8 and tp=8 where WIDTHS.

    Raises:
        RoutelineError: anything else.
    """
    plain, scale = text, 1.0
    if name in WIDTHS:
        led = re.fullmatch(rf"(?:{WIDTHS[name]})\s*[=:_-]?\s*(\d+)|(\d+)\s*(?:x|gpus?|devices?)", text, re.I)
        plain = (led[1] or led[2]) if led else text
    elif name in COUNTED and (ended := re.fullmatch(r"(.*\d\.?)\s*([km])i?", text, re.I)):
        plain, scale = ended[1], 1024.0 if ended[2] in "kK" else 1024.0**2
    elif text.endswith("%"):
        plain, scale = text[:-1].rstrip(), 0.01
    try:
        if not (_DIGITS.fullmatch(plain) or plain.lower() == "nan"):
            raise ValueError
        return float(plain.replace(",", "")) * scale
    except ValueError:
        raise RoutelineError(f"{name} {text!r} is not a number") from None


def parse(table: Mapping[str, Sequence[Any]]) -> Parsed:
    """Check every row; names are resolved once per distinct name."""
    size = len(table["model"])
    cache: dict[tuple[str, str], Any] = {}

    def once(kind: str, text: str, make: Any) -> Any:
        key = (kind, text)
        if key not in cache:
            try:
                cache[key] = make(text)
            except RoutelineError as error:
                cache[key] = str(error)
        if isinstance(cache[key], str) and kind in ("model", "device"):
            raise RoutelineError(cache[key])
        return cache[key]

    reasons, notes = [""] * size, [[] for _ in range(size)]
    keep: list[int] = []
    texts: dict[str, list[Any]] = {
        k: [] for k in ("models", "devices", "engine", "version", "weights", "generation", "routing")
    }
    numbers: dict[str, list[float]] = {k: [] for k in NUMBERS}
    element: list[float] = []
    wide: list[float] = []
    for i in range(size):
        try:
            row = {k: _number(table[k][i], k, blank) if k in table else blank for k, blank in NUMBERS.items()}
            text = {k: _text(table[k][i]) if k in table else "" for k in TEXTS}
            for k in ("input_len", "output_len"):
                if math.isnan(row[k]):
                    raise RoutelineError(f"{k} is blank; give the mean number of tokens")
            if not text["device"]:
                raise RoutelineError("device is blank; `routeline devices` lists those known")
            eng = names.engine(text["engine"])
            named = ollama(text["model"]) if "ollama" in text["engine"].lower() else text["model"]
            model = once("model", named, names.find)
            dev, read = once("device", text["device"], names.device_noted)
            if read:
                notes[i].append(read)
            gen = once("generation", dev.name, lambda _, d=dev: names.generation(d))
            _count_in_device(text["device"], row, notes[i])
            fmt, factor = _weights(text, model.name, eng, dev, notes[i])
            routing, more = _routing(text["routing"], notes[i])
            key = ("checkpoint", f"{named}|{fmt}|{eng}")
            if key not in cache:
                cache[key] = checkpoint(model, fmt, eng)
            held, less = _cache(text["cache"], eng, fmt if fmt != "native" else _native(model), gen, notes[i])
            element.append(held)
        except RoutelineError as error:
            reasons[i] = f"row {i + 1}: {error}"
            if len(element) > len(keep):
                element.pop()
            continue
        keep.append(i)
        wide.append(factor * more * less)
        for k, v in row.items():
            numbers[k].append(v)
        for k, v in (("models", cache[key]), ("devices", dev), ("engine", eng), ("version", text["engine_version"]),
                     ("weights", fmt), ("generation", gen), ("routing", routing)):  # fmt: skip
            texts[k].append(v)
    return Parsed(
        index=np.array(keep, int), reasons=reasons, notes=notes, element=np.array(element), wide=np.array(wide),
        numbers={k: np.array(v, float) for k, v in numbers.items()}, **texts,
    )  # fmt: skip


def _native(model: Model) -> str:
    from .checkpoint import dominant

    return "bf16" if dominant(model) == "bf16" else "quantised"


def _weights(text: Mapping[str, str], model: str, engine: str, dev: Device, notes: list[str]) -> tuple[str, float]:
    """(canonical label, widening) of the weights column; blank: the model's name, else its own."""
    asked = text["weights"]
    try:
        (found, searched), wide = read(asked), 1.0
        if searched:
            notes.append(f"weights {asked!r} are read as {found}")
    except RoutelineError:
        notes.append(f"weights {asked!r} are not known: the checkpoint's own format is used and the interval widened")
        found, wide = "native", UNKNOWN
    named = from_name(text["model"]) if found == "native" else ""
    local = re.search(r"ollama|lm[- ]?studio", text["engine"].lower())
    if named and not from_name(model):
        notes.append(f"weights {named}, from the model's name")
        found = named
    elif found == "native" and local and not from_name(model):
        notes.append(f"weights q4_k_m, which {local[0]} serves by default")
        found = "q4_k_m"
    said = (asked or text["model"]).lower()
    if found == "fp8" and "8a8" in said.replace("a8w8", "w8a8") and "fp8" not in said and "fp8" not in dev.peaks:
        notes.append(f"weights w8a8 are read as int8: {dev.name} computes no FP8")
        found = "int8"
    return for_engine(found, engine), wide


def _routing(text: str, notes: list[str]) -> tuple[Routing, float]:
    """(routing, widening): a blank is the fitted skew of real routers; what is not understood is said and widened."""
    key = text.strip().lower().replace(" ", "")
    if key in ROUTINGS:
        return ROUTINGS[key], 1.0
    try:
        return parse_routing(key), 1.0
    except RoutelineError as error:
        notes.append(f"{error}: the fitted skew of real routers is used")
        return FITTED, UNKNOWN


def _count_in_device(text: str, row: dict[str, float], notes: list[str]) -> None:
    """`8x H100` in the device column fills a blank number of devices."""
    found = count(text)
    if found and not row["devices"]:
        row["devices"] = float(found)
        notes.append(f"{found} devices, from the device's name")


def _cache(text: str, eng: str, weights: str, gen: str, notes: list[str]) -> tuple[float, float]:
    """(bytes of a cached element, widening)."""
    try:
        return names.cache_bytes(text, eng, weights, gen), 1.0
    except RoutelineError:
        notes.append(f"cache format {text!r} is not known: the engine's default is used and the interval widened")
        return names.cache_bytes("", eng, weights, gen), UNKNOWN
