"""config.json -> Model. One file per family of quirks; this one picks the family.

Dispatch goes by `architectures`, then `model_type` (which may lie or be missing). An unknown
architecture is refused with its name and the nearest known ones.
"""

from __future__ import annotations

from .parse import known_architectures, parse

__all__ = ["known_architectures", "parse"]
