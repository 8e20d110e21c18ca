"""Module-name patterns of quantization configs: exact modules, globs and `re:` expressions, per layer."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache

from ..errors import RoutelineError, shorten

LAYER = re.compile(r"^(.*?)(?:^|\.)(layers|h|blocks)\.(\d+)(?=[.*]|$)(.*)$", re.S)
OTHER_TOWER = re.compile(r"vis|audio|mm_|encoder\.|image|mtp")
ALIASES = {"attn.wq_a": "attn.fused_wqa_wkv", "attn.wkv": "attn.fused_wqa_wkv"}
NUMBERED = re.compile(r"layers\\?\.(\([0-9|\[\]-]+\)|\d+)")
"""A layer number, or a choice of them in brackets, inside a pattern."""
MAY_COUNT = re.compile(r"(layers|blocks|h)\\?\..*\d")
MOST = 200_000
LONGEST = 500


@lru_cache(maxsize=4096)
def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise RoutelineError(f"quantization pattern {shorten(text)!r} is not a valid expression: {error}") from None


@lru_cache(maxsize=4096)
def _glob(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text))


def _inside(module: str, name: str) -> bool:
    """True when `module` is a whole run of components of `name` ('mlp.gate' of 'x.mlp.gate.weight')."""
    return f".{module.strip('.')}." in f".{name}."


def _hit(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return bool(_regex(pattern[3:]).match(name))
    if "*" in pattern or "?" in pattern:
        return bool(_glob(pattern).match(name)) or bool(_glob(pattern.rstrip(".") + ".*").match(name))
    return _inside(pattern, name)


MATRICES = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
EXPERT = re.compile(r"\.experts\.\d+(?=\.|$)")
LAST = re.compile(r"\.(w[123])$")


def canonical(pattern: str) -> str:
    """One expert stands for all, and w1, w3, w2 are gate, up and down."""
    pattern = EXPERT.sub(".experts", pattern)
    return LAST.sub(lambda m: "." + MATRICES[m[1]], pattern)


class Patterns:
    """A set of patterns, those that name one layer held apart so that a look-up touches few."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.anywhere: list[str] = []
        self.by_layer: dict[int, set[str]] = {}
        self.by_prefix: list[tuple[str, str]] = []
        self.mtp: list[str] = []
        for count, given in enumerate(patterns):
            if not isinstance(given, str) or len(given) > LONGEST or count >= MOST:
                raise RoutelineError(
                    f"quantization pattern {shorten(given)!r} must be text of at most {LONGEST} characters"
                )
            p = given if given.startswith("re:") else canonical(given)
            found = None if p.startswith("re:") else LAYER.match(p)
            if found and "*" not in found[1] and "?" not in found[1]:
                if OTHER_TOWER.search(found[1]):
                    if "mtp" in found[1]:
                        self.mtp.append(p)
                elif found[4].startswith("*"):
                    self.by_prefix.append((found[3], found[4]))
                else:
                    self.by_layer.setdefault(int(found[3][:9]), set()).add(found[4])
            elif not OTHER_TOWER.match(p):
                self.anywhere.append(p)
            elif p.startswith("mtp"):
                self.mtp.append(p)

    def signature(self, layer: int) -> tuple:
        """Equal for layers that the patterns treat alike (patterns without a layer number aside)."""
        prefixed = tuple(rest for number, rest in self.by_prefix if str(layer).startswith(number))
        numbered = tuple(_reaches(p, layer) for p in self.anywhere if MAY_COUNT.search(p))
        return frozenset(self.by_layer.get(layer, ())), prefixed, numbered

    def match(self, name: str, layer: int | None, prefix: str, mtp: bool = False) -> bool:
        """Does a pattern cover weight `name` of `layer` (None: outside the layers)?"""
        if layer is None:
            return any(_hit(p, name) for p in self.anywhere)
        names = [name]
        if name in ALIASES:
            names.append(ALIASES[name])
        if ".experts." in name:
            names.append(name.replace(".experts.", ".experts.0."))
        for n in names:
            full = f"{prefix}layers.{layer}.{n}"
            if any(_hit(p, full) for p in self.anywhere):
                return True
            rests = self.by_layer.get(layer, ())
            if any(rest == "" or _local(rest, n) for rest in rests):
                return True
            if any(str(layer).startswith(d) and _local(rest, n) for d, rest in self.by_prefix):
                return True
        return mtp and any(_hit(p, f"mtp.layers.0.{n}") for p in self.mtp for n in names)


def _reaches(pattern: str, layer: int) -> object:
    """Whether an expression's layer number can be `layer`; the number itself where that cannot be told."""
    found = NUMBERED.search(pattern)
    if found is None or not pattern.startswith("re:"):
        return layer
    return bool(_regex(found[1]).fullmatch(str(layer)))


def _local(rest: str, name: str) -> bool:
    """Match what follows the layer number ('.mlp.gate', '.self_attn*', '*')."""
    if "*" in rest or "?" in rest:
        return bool(_glob(rest).match("." + name)) or bool(_glob(rest.rstrip(".") + ".*").match("." + name))
    module = rest.strip(".")
    return name == module or name.startswith(module + ".")
