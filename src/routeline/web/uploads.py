"""An uploaded config.json: bounded, read as data only, refused in one sentence."""

from __future__ import annotations

import json
from typing import Any

from ..arch import Model
from ..errors import RoutelineError, shorten
from .state import UPLOAD

LARGEST = 1_000_000
"""Largest uploaded config [B]."""
DEEPEST = 40
"""Deepest nesting of an uploaded config; published ones stay below 10."""


def read_config(content: bytes, name: str = UPLOAD) -> Model:
    """An uploaded config.json as a Model, read as data only.

    Raises:
        RoutelineError: too large, not JSON, too deep, not an object, or a config that is not understood.
    """
    from .. import hf

    if len(content) > LARGEST:
        raise RoutelineError(f"the file has {len(content):,} bytes; a config.json has at most {LARGEST:,}")
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise RoutelineError("the file is not UTF-8 text, so it is no config.json") from None
    except RecursionError:
        raise RoutelineError("the file is nested too deeply to be a config.json") from None
    except ValueError as error:
        raise RoutelineError(f"the file is not valid JSON ({shorten(error, 60)})") from None
    if not isinstance(value, dict):
        raise RoutelineError("the file holds no JSON object, so it is no config.json")
    _shallow(value)
    try:
        return hf.parse(value, name=shorten(name, 60), source="uploaded")
    except RoutelineError:
        raise
    except (ArithmeticError, RecursionError, MemoryError, TypeError, ValueError, KeyError, AttributeError):
        raise RoutelineError("the config holds values that make no model; check its numbers") from None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _shallow(value: Any) -> None:
    level, here = 0, [value]
    while here:
        level += 1
        if level > DEEPEST:
            raise RoutelineError(f"the config is nested more than {DEEPEST} levels deep")
        here = [
            item
            for holder in here
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, (dict, list))
        ]
