"""What a class's own configuration fills in where a file leaves a key out.

The table states, per architecture, the sizes, counts and switches of transformers' configuration classes
(version in the file). A value used is listed in `Model.defaults`. Placement of MoE layers, windows by layer
and multi-token prediction are left to the families' code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

FILE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "class_defaults.json")


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Mapping[str, Any]]:
    with open(FILE, encoding="utf-8") as f:
        return json.load(f)["classes"]


def class_defaults(architecture: str) -> Mapping[str, Any]:
    """Key -> default of an architecture's configuration class; empty where the class is not known."""
    return _table().get(architecture, {})
