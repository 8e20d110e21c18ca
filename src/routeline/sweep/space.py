"""What people write -> a Space: keywords, or a TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..errors import RoutelineError, UnknownName, shorten
from ..scenario import Scenario
from . import axes as axes_
from .axes import AXES
from .grid import BLOCK, DEFAULT_OUTPUTS, LIMIT, Space

_SECTIONS = ("axes", "fixed", "outputs", "reduce", "limit", "block")
_FIXED = tuple(f.name for f in fields(Scenario)) + tuple(n for n in AXES if n not in Scenario.__dataclass_fields__)


def make(
    axes: Mapping[str, Any],
    *,
    outputs: Sequence[str] | None = None,
    reduce: Mapping[str, Mapping[str, Any]] | None = None,
    limit: float = LIMIT,
    block: int = BLOCK,
    **fixed: Any,
) -> Space:
    """A Space from axes (name -> values) and fixed settings.

    Raises:
        RoutelineError: unknown names, empty axes, bad values, too many points.
    """
    made = tuple(axes_.make(name, given) for name, given in axes.items())
    settled: dict[str, Any] = {}
    for name, value in fixed.items():
        if value is None:
            continue
        plain = axes_.OTHER_NAMES.get(name, name)
        if plain not in _FIXED:
            raise UnknownName("setting", name, _FIXED, f"known: {', '.join(_FIXED)}")
        if plain == "memory" and value in ("usable", "marketed"):
            plain = "basis"
        if plain in settled:
            raise RoutelineError(f"{plain} is fixed twice, once as {name}; give it once")
        settled[plain] = axes_.make(plain, [value]).values[0] if plain in AXES else _setting(plain, value)
    if isinstance(outputs, str):
        raise RoutelineError(f"outputs must be a list of names, not {outputs!r}")
    wanted = tuple(dict.fromkeys(outputs)) if outputs is not None else DEFAULT_OUTPUTS
    reducers = reduce if reduce is not None else {}
    return Space(made, settled, wanted, dict(reducers) if isinstance(reducers, Mapping) else reducers, block, limit)


def _setting(name: str, value: Any) -> Any:
    """A fixed setting that is no axis, if it is of the kind its field has."""
    flag = isinstance(Scenario.__dataclass_fields__[name].default, bool)
    if flag != isinstance(value, bool) or not isinstance(value, (str, bool, int, float)):
        raise RoutelineError(f"{name} is {'true or false' if flag else 'no flag'}, not {shorten(value, 40)!r}")
    if name == "ignore_fit" and value:
        raise RoutelineError("ignore_fit has no place in a sweep: points that do not fit are masked, with their reason")
    return value


EXAMPLE = os.path.join(os.path.dirname(__file__), "example.toml")


def bundled() -> str:
    """The text of the example space."""
    with open(EXAMPLE, encoding="utf-8") as f:
        return f.read()


def read(path: str) -> Space:
    """A Space from a TOML file with [axes], [fixed], outputs, [reduce.NAME], limit, block; 'example' is bundled.

    Raises:
        RoutelineError: unreadable, not TOML, or what `make` refuses.
    """
    try:
        with open(EXAMPLE if path == "example" and not os.path.exists(path) else path, "rb") as f:
            raw = tomllib.load(f)
    except OSError as error:
        raise RoutelineError(f"cannot read {shorten(path)}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RoutelineError(f"{shorten(path)} is not valid TOML: {shorten(error)}") from None
    for key in raw:
        if key not in _SECTIONS:
            raise UnknownName(f"section of {shorten(path)}", key, _SECTIONS)
    for key in ("axes", "fixed", "reduce"):
        if not isinstance(raw.get(key, {}), dict):
            raise RoutelineError(f"{shorten(path)}: [{key}] must be a table")
    if not raw.get("axes"):
        raise RoutelineError(f"{shorten(path)} has no [axes]; give at least one, e.g. context = ['8k', '128k']")
    outputs = raw.get("outputs")
    if outputs is not None and (not isinstance(outputs, list) or not all(isinstance(o, str) for o in outputs)):
        raise RoutelineError(f"{shorten(path)}: outputs must be a list of names")
    for key in ("limit", "block"):
        if key in raw and (isinstance(raw[key], bool) or not isinstance(raw[key], (int, float))):
            raise RoutelineError(f"{shorten(path)}: {key} must be a number, not {shorten(raw[key], 40)!r}")
    if not float(raw.get("block", BLOCK)).is_integer():
        raise RoutelineError(f"{shorten(path)}: block must be a whole number, not {raw['block']}")
    clash = set(raw.get("fixed", {})) & {"axes", "outputs", "reduce", "limit", "block"}
    if clash:
        raise UnknownName("setting", clash.pop(), _FIXED)
    return make(
        raw["axes"], outputs=outputs, reduce=raw.get("reduce"), limit=float(raw.get("limit", LIMIT)),
        block=int(raw.get("block", BLOCK)), **raw.get("fixed", {}),
    )  # fmt: skip


__all__ = ["BLOCK", "LIMIT", "Space", "bundled", "make", "read"]
