"""Text of one device file -> Device. The same reader serves the catalogue and users' own files.

Every quantity is `{value = "81559 MiB", kind = "measured", source = "..."}`; in a user's file a plain
string ("80 GB") does, with kind `given` and the file as source.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any

from .errors import RoutelineError, shorten
from .hardware import KINDS, TOPOLOGIES, WIDER, Device, Sourced, SourcedCount
from .units import parse

QUANTITIES = {
    "memory_marketed": "B", "memory_usable": "B", "bandwidth": "B/s", "link": "B/s", "nic": "B/s", "power": "W",
}  # fmt: skip
"""key -> dimension of its value."""
TEXTS = ("name", "vendor", "link_name", "link_class", "topology", "notes", "caution", "url")
OTHERS = ("memory", "domain", "peaks", "year", "footnote")
KNOWN = (*QUANTITIES, *TEXTS, *OTHERS)
OFTEN_MEANT = {
    "tdp": "power", "tdp_w": "power", "mem": "memory", "vram": "memory", "hbm": "memory", "capacity": "memory",
    "memory_bandwidth": "bandwidth", "mem_bw": "bandwidth", "nvlink": "link", "network": "nic", "flops": "[peaks]",
    "tflops": "[peaks]", "peak": "[peaks]", **{fmt: f"{fmt} under [peaks]" for fmt in WIDER},
}  # fmt: skip
EXAMPLE = 'memory = "80 GB", bandwidth = "3.35 TB/s" and, under [peaks], bf16 = "989 TFLOP/s"'


def read_device(text: str, origin: str, stem: str = "device", *, given: bool = True) -> Device:
    """The Device that a TOML text describes.

    Args:
        text: the TOML text.
        origin: what errors and default sources call it, e.g. its path.
        stem: name of a device whose file states none.
        given: a user's file: plain strings allowed, kind `given` and source `origin` by default.

    Raises:
        RoutelineError: not TOML, unknown or missing keys, a value without unit, out of range.
    """
    raw = _toml(text, origin)
    _check_keys(raw, origin)
    values: dict[str, Any] = {key: _text(raw[key], key, origin, given) for key in TEXTS if key in raw}
    values.setdefault("name", stem)
    for key, dimension in QUANTITIES.items():
        if key in raw:
            values[key] = _quantity(raw[key], dimension, key, origin, given)
    if "memory" in raw:
        _expand_memory(values, _quantity(raw["memory"], "B", "memory", origin, given), origin)
    values["peaks"] = _peaks(raw.get("peaks", {}), origin, given)
    if "domain" in raw:
        values["domain"] = _count(raw["domain"], "domain", origin, given)
    if "year" in raw:
        values["year"] = _year(raw["year"], origin)
    if "footnote" in raw:
        if not isinstance(raw["footnote"], bool):
            raise RoutelineError(f"{origin}: footnote must be true or false, not {shorten(raw['footnote'])!r}")
        values["footnote"] = raw["footnote"]
    missing = [k for k, field in (("memory", "memory_marketed"), ("bandwidth", "bandwidth")) if field not in values]
    if not values["peaks"] and not values.get("footnote"):
        missing.append("a dense rate under [peaks]")
    if missing:
        raise RoutelineError(f"{origin}: missing {', '.join(missing)}; a device needs {EXAMPLE}")
    if "link" in values:
        values.setdefault("link_class", "custom")
        if "domain" not in values and values.get("topology") != "host":
            raise RoutelineError(
                f"{origin}: link needs domain, the number of devices it joins, e.g. domain = '8 devices'"
            )
    elif values.get("domain", 1) > 1 and not values.get("footnote"):
        raise RoutelineError(f"{origin}: a domain of {values['domain']} devices needs link, e.g. link = '450 GB/s'")
    try:
        return Device(**values)
    except RoutelineError as error:
        raise RoutelineError(f"{origin}: {error}") from None


def _toml(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else shorten(error)
        raise RoutelineError(f"{origin} is not TOML: {reason}; a device needs {EXAMPLE}") from None


def _check_keys(raw: dict[str, Any], origin: str) -> None:
    for key in raw:
        if key in KNOWN:
            continue
        if "sparse" in key.lower() or "sparsity" in key.lower():
            raise RoutelineError(_sparse(key, origin))
        meant = OFTEN_MEANT.get(key.lower())
        near = [meant] if meant else difflib.get_close_matches(key, KNOWN, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(KNOWN)}"
        raise RoutelineError(f"{origin}: unknown key {shorten(key)!r}{hint}")


def _sparse(key: str, origin: str) -> str:
    return (
        f"{origin}: {shorten(key)!r} is refused because only dense rates count here; "
        "halve a 2:4 sparse headline and give it under [peaks] as e.g. bf16"
    )


def _text(value: Any, key: str, origin: str, given: bool) -> str:
    if not isinstance(value, str) or (key == "name" and not value.strip()):
        raise RoutelineError(f"{origin}: {key} must be a text, not {shorten(value)!r}")
    if key == "topology" and value not in TOPOLOGIES:
        raise RoutelineError(f"{origin}: unknown topology {shorten(value)!r}; known: {', '.join(TOPOLOGIES)}")
    return shorten(value, 2000) if given else value


def _origin_of(entry: Any, key: str, origin: str, given: bool) -> tuple[Any, str, str]:
    """(value, kind, source) of one entry, a table or (in a user's file) the bare value."""
    if not isinstance(entry, dict):
        if not given:
            raise RoutelineError(f"{origin}: {key} needs value, kind and source")
        return entry, "given", origin
    for part in entry:
        if part not in ("value", "kind", "source"):
            raise RoutelineError(f"{origin}: unknown part {shorten(part)!r} of {key}; known: value, kind, source")
    absent = [part for part in ("value", "kind", "source") if part not in entry and (part == "value" or not given)]
    if absent:
        raise RoutelineError(f"{origin}: {key} lacks {', '.join(absent)}")
    kind, source = entry.get("kind", "given"), entry.get("source", origin)
    if kind not in KINDS:
        raise RoutelineError(f"{origin}: unknown kind {shorten(kind)!r} of {key}; known: {', '.join(KINDS)}")
    if not isinstance(source, str) or not source.strip():
        raise RoutelineError(f"{origin}: the source of {key} must be a text")
    return entry["value"], kind, shorten(source, 500) if given else source


def _quantity(entry: Any, dimension: str, key: str, origin: str, given: bool) -> Sourced:
    value, kind, source = _origin_of(entry, key, origin, given)
    return Sourced(parse(value, dimension, f"{origin}: {key}"), kind, source)


def _count(entry: Any, key: str, origin: str, given: bool) -> SourcedCount:
    value, kind, source = _origin_of(entry, key, origin, given)
    match = re.fullmatch(r"\s*([0-9]{1,9})(\s+devices?)?\s*", value) if isinstance(value, str) else None
    if match is None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9):
        raise RoutelineError(
            f"{origin}: {key} {shorten(value, 40)!r} is not a number of devices; write e.g. '8 devices'"
        )
    return SourcedCount(int(match[1] if match else value), kind, source)


def _year(value: Any, origin: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1990 <= value <= 2100:
        raise RoutelineError(f"{origin}: year {shorten(value, 40)!r} is not a year; write e.g. 2024")
    return value


def _peaks(table: Any, origin: str, given: bool) -> dict[str, Sourced]:
    if not isinstance(table, dict):
        raise RoutelineError(f"{origin}: peaks must be a table, e.g. [peaks] with bf16 = '989 TFLOP/s' below")
    for fmt in table:
        if "spars" in fmt.lower():
            raise RoutelineError(_sparse(fmt, origin))
        if fmt not in WIDER:
            known = ", ".join(WIDER)
            raise RoutelineError(f"{origin}: unknown compute format {shorten(fmt)!r} under [peaks]; known: {known}")
    return {fmt: _quantity(entry, "FLOP/s", f"peaks.{fmt}", origin, given) for fmt, entry in table.items()}


def _expand_memory(values: dict[str, Any], memory: Sourced, origin: str) -> None:
    """`memory` stands for both bases: the user states one size, and it is what there is."""
    for key in ("memory_marketed", "memory_usable"):
        if key in values:
            raise RoutelineError(f"{origin}: give either memory or {key}, not both")
        values[key] = memory
