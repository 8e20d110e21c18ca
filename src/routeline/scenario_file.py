"""Saved questions: MODEL, devices and the scenario as TOML, written by --save and read by --scenario.

    model = "DeepSeek-V3"
    devices = "8xH200"

    [scenario]
    context = "128k"
    q = 2

Values are what a person would type; fields left out keep their defaults.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import RoutelineError, UnknownName, shorten
from .scenario import Scenario

LARGEST_FILE = 1_000_000
"""Largest scenario file read [B]."""
KEYS = ("model", "devices", "scenario")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A question as saved: names as typed, the scenario resolved, `given` what the file states."""

    model: str
    devices: str
    scenario: Scenario
    given: Mapping[str, Any]


def dumps(model: str, devices: str, scenario: Scenario | Mapping[str, Any]) -> str:
    """TOML text of a question; fields at their default are left out, so that a later default stays visible."""
    if isinstance(scenario, Scenario):
        values = {f.name: getattr(scenario, f.name) for f in fields(Scenario) if getattr(scenario, f.name) != f.default}
    else:
        values = {k: v for k, v in scenario.items() if v is not None}
    lines = [f"model = {_toml(model)}", f"devices = {_toml(devices)}", "", "[scenario]"]
    return "\n".join([*lines, *(f"{name} = {_toml(value)}" for name, value in values.items())]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    return json.dumps(str(value), ensure_ascii=False)


def save(path: str, model: str, devices: str, scenario: Scenario | Mapping[str, Any]) -> None:
    """Write a question to a file.

    Raises:
        RoutelineError: the file cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(dumps(model, devices, scenario))
    except OSError as error:
        raise RoutelineError(f"cannot write {shorten(path)!r}: {error.strerror or error}") from None


def load(path: str) -> Saved:
    """Read a question from a file.

    Raises:
        RoutelineError: unreadable, not TOML, a missing key or a value of the wrong type.
        UnknownName: a key that is not known, with the nearest ones.
    """
    import tomllib

    name = os.path.basename(path)
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise RoutelineError(f"{name} is larger than {LARGEST_FILE // 10**6} MB, too large for a scenario")
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise RoutelineError(f"cannot read the scenario {shorten(path)!r}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RoutelineError(f"{name} is not TOML: {shorten(error)}; write it with --save") from None
    return read(raw, name)


def read(raw: Mapping[str, Any], name: str = "scenario") -> Saved:
    """A question from parsed TOML; see load."""
    from pydantic import (
        BaseModel,
        ConfigDict,
        StrictBool,
        StrictFloat,
        StrictInt,
        StrictStr,
        ValidationError,
        create_model,
    )

    from .resolve import scenario

    known = [f.name for f in fields(Scenario)]
    for key in raw:
        if key not in KEYS:
            remedy = f"{key} belongs under [scenario]" if key in known else f"known: {', '.join(KEYS)}"
            raise UnknownName(f"key in {name}", key, KEYS, remedy)
    inner = raw.get("scenario", {})
    if isinstance(inner, Mapping):
        for key in inner:
            if key not in known:
                raise UnknownName(f"scenario key in {name}", key, known, "see `routeline compare --help`")
    value: Any = StrictBool | StrictInt | StrictFloat | StrictStr | None  # type: ignore[operator]
    cells: Any = {k: (value, None) for k in known}
    table: Any = create_model("ScenarioTable", __config__=ConfigDict(extra="forbid"), **cells)

    class Question(BaseModel):
        model_config = ConfigDict(extra="forbid")
        model: StrictStr
        devices: StrictStr
        scenario: table = table()  # type: ignore[valid-type]

    try:
        found = Question.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"] if p in KEYS or p in known)
        problem = (
            "is missing" if first["type"] == "missing" else f"has the wrong type ({shorten(first.get('input'))!r})"
        )
        raise RoutelineError(
            f"{name}: {where} {problem}; give model, devices and plain values under [scenario]"
        ) from None
    given = {k: v for k, v in dict(inner).items() if v is not None}
    return Saved(model=found.model, devices=found.devices, scenario=scenario(given), given=given)
