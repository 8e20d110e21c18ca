"""MODEL -> Model: a catalogue name, a path to a config.json or its folder, or a Hugging Face id.

The catalogue (`data/models/*.json`) states the load-bearing keys of published configs in Hugging Face's
names, so the same parser reads both. One file per model, found by its name: loading reads one file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from . import hf
from .arch import Model
from .errors import RoutelineError, UnknownName, shorten

FOLDER = os.path.join(os.path.dirname(__file__), "data", "models")
ALIASES = "_aliases.json"
LARGEST_FILE = 5_000_000
"""Largest config.json read [B]; real ones stay below 4 MB even with per-module quantization lists."""
REMEDY = "give a catalogue name (routeline models), a path to a config.json, or a Hugging Face id"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A catalogue row: name, Hugging Face id, where the config came from, how faithful, other names."""

    name: str
    id: str
    source: str
    fidelity: str
    aliases: tuple[str, ...]
    architecture: str
    published: dict[str, Any]


def model_names() -> list[str]:
    """Catalogue names, sorted without regard to case."""
    return sorted(_files(), key=str.lower)


def catalogue() -> list[Entry]:
    """Every catalogue row with its source (reads all files)."""
    return [entry(name) for name in model_names()]


def entry(name: str) -> Entry:
    """The catalogue row of an exact name."""
    raw = _read_json(os.path.join(FOLDER, f"{name}.json"))
    config = raw["config"]
    return Entry(
        name=raw["name"],
        id=raw["id"],
        source=raw["source"],
        fidelity=raw["fidelity"],
        aliases=tuple(raw.get("aliases", ())),
        architecture=(config.get("architectures") or [config.get("model_type")])[0],
        published=dict(raw.get("published", {})),
    )


def load_model(name: str) -> Model:
    """The model that a catalogue name, path or Hugging Face id stands for.

    Raises:
        UnknownName: no such name; carries the nearest ones.
        RoutelineError: an ambiguous name, an unreadable file, a config that is refused, a failed download.
    """
    if not isinstance(name, str | os.PathLike) or not str(name).strip() or "\0" in str(name):
        raise RoutelineError(f"a model is named by text, not {shorten(name, 40)!r}; {REMEDY}")
    text = str(name).strip()
    path = os.path.expanduser(text)
    looks_like_path = text.endswith(".json") or text.startswith((".", "~", os.sep)) or os.sep in text
    if looks_like_path and _exists(path):
        return _from_path(path)
    try:
        found = resolve(text)
    except RoutelineError:
        if _exists(path):  # a folder here is meant rather than one of several short forms
            return _from_path(path)
        raise
    if found is not None:
        return _from_catalogue(found)
    if _exists(path):
        return _from_path(path)
    if text.endswith(".json") or text.startswith((".", "~", os.sep)):
        raise RoutelineError(f"no file or folder {shorten(text)!r}; {REMEDY}")
    if "/" in text:
        from .hub import fetch

        config, side, source = fetch(text, known=resolve(text.rsplit("/", 1)[-1]))
        return hf.parse(config, name=text, source=source, quant=side)
    raise UnknownName("model", text, model_names(), REMEDY)


def resolve(text: str) -> str | None:
    """The catalogue name that `text` stands for: exact, alias, or unambiguous short form; None when none.

    A short form ends at a name's separator: `Qwen3-235B` finds Qwen3-235B-A22B (and not its FP8 variant,
    of which it is the stem), `Llama-4` is refused as ambiguous.
    """
    names = {_fold(n): n for n in _files()}
    wanted = _fold(text)
    if not wanted:
        return None
    if wanted in names:
        return names[wanted]
    aliases = {_fold(a): n for a, n in _aliases().items()}
    if wanted in aliases:
        return aliases[wanted]
    begins = sorted({n for k, n in (names | aliases).items() if k.startswith(wanted + "-")}, key=str.lower)
    if len(begins) <= 1:
        return begins[0] if begins else None
    stems = [n for n in begins if all(_fold(m) == _fold(n) or _fold(m).startswith(_fold(n) + "-") for m in begins)]
    if len(stems) == 1:
        return stems[0]
    shown = ", ".join(begins[:8]) + (", ..." if len(begins) > 8 else "")
    raise RoutelineError(f"model {shorten(text)!r} is ambiguous: {shown}; give one of these")


def _fold(text: str) -> str:
    return text.strip().lower().replace("_", "-").replace(" ", "-")


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    try:
        listed = os.listdir(FOLDER)
    except OSError:
        return ()
    return tuple(f.removesuffix(".json") for f in listed if f.endswith(".json") and not f.startswith("_"))


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    return _read_json(os.path.join(FOLDER, ALIASES))


@lru_cache(maxsize=256)
def _from_catalogue(name: str) -> Model:
    raw = _read_json(os.path.join(FOLDER, f"{name}.json"))
    model = hf.parse(raw["config"], name=raw["name"], source=raw["source"], quant=raw.get("quant"))
    notes = tuple(raw.get("warnings", ()))
    return replace(model, warnings=notes + model.warnings) if notes else model


def _from_path(path: str) -> Model:
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    file = os.path.join(path, "config.json") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise RoutelineError(
            f"{shorten(path)} is a folder without a config.json; give the file or a folder that has one"
        )
    side_file = os.path.join(folder, "hf_quant_config.json")
    side = _read_json(side_file) if os.path.isfile(side_file) else None
    config = _read_json(file)
    stem = os.path.basename(os.path.dirname(os.path.abspath(file)))
    base = os.path.basename(file)
    name = stem if base == "config.json" and stem else base.removesuffix(".json")
    return hf.parse(config, name=name, source=file, quant=side)


def _read_json(path: str) -> Any:
    """A JSON object from a file of bounded size.

    Raises:
        RoutelineError: unreadable, too large, not JSON, or not an object.
    """
    shown = shorten(path)
    try:
        size = os.path.getsize(path)
        if size > LARGEST_FILE:
            raise RoutelineError(f"{shown} has {size} bytes; a config.json has at most {LARGEST_FILE}")
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except RoutelineError:
        raise
    except UnicodeDecodeError:
        raise RoutelineError(f"{shown} is not UTF-8 text, so it is no config.json") from None
    except RecursionError:
        raise RoutelineError(f"{shown} is nested too deeply to be a config.json") from None
    except ValueError as error:
        raise RoutelineError(f"{shown} is not valid JSON ({shorten(error, 60)}); download it again") from None
    except OSError as error:
        raise RoutelineError(f"cannot read {shown}: {error.strerror or error}") from None
    if not isinstance(value, dict):
        raise RoutelineError(f"{shown} holds no JSON object, so it is no config.json")
    return value
