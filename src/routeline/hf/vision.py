"""Vision towers: resident parameters that text decode never uses."""

from __future__ import annotations

from ..arch import Weight
from .reader import Reader


def towers(r: Reader, architecture: str) -> list[Weight]:
    """Weights of the towers beside the language model; a warning where the tower is not understood."""
    r.warn(f"{architecture}: the vision tower is not counted; numbers are those of the language model alone")
    return []
