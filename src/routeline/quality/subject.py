"""What the evidence needs to know of a mixture of experts: a few plain numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cache

from ..errors import RoutelineError, shorten
from . import _data

CONVENTIONS = ("equal-tokens", "equal-flop", "compute-optimal")
"""How the dense model is matched: same tokens, same training FLOP, or each at its own optimum."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A mixture of experts as the laws see it.

    Args:
        name: as catalogued or as printed in the tables of pairs.
        active: parameters used per token, embeddings included [-].
        total: parameters held [-].
        experts: routed experts per MoE layer [-]; None when unknown.
        top_k: routed experts a token uses [-]; None when unknown.
        shared: always-on experts, in units of one routed expert [-].
        d_model: model width [-]; None when unknown.
        d_expert: inner width of one routed expert [-]; None when unknown.
        train_tokens: (low, high) training tokens [-], equal when known; None to look them up.
        family: models with one recipe and data share it; None to look it up.
    """

    name: str
    active: float
    total: float
    experts: float | None = None
    top_k: float | None = None
    shared: float = 0.0
    d_model: float | None = None
    d_expert: float | None = None
    train_tokens: tuple[float, float] | None = None
    family: str | None = None

    def __post_init__(self) -> None:
        who = shorten(self.name)
        for label in ("active", "total"):
            value = getattr(self, label)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise RoutelineError(
                    f"{label} parameters of {who!r} are {shorten(value)}; give a number above zero such as 37e9"
                )
        if self.active > self.total:
            raise RoutelineError(
                f"s = active/total of {who!r} is {self.active / self.total:.3g}; it must lie in (0, 1]: "
                "active parameters cannot exceed the total"
            )
        for label in ("experts", "top_k", "d_model", "d_expert"):
            value = getattr(self, label)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise RoutelineError(
                    f"{label} of {who!r} is {shorten(value)}; give a number above zero or leave it out"
                )
        if self.experts and self.top_k and self.top_k > self.experts:
            raise RoutelineError(f"top_k of {who!r} is {self.top_k:g}, more than its {self.experts:g} experts")
        if self.shared < 0 or not math.isfinite(self.shared):
            raise RoutelineError(f"shared experts of {who!r} are {shorten(self.shared)}; give zero or more")
        if self.train_tokens is not None:
            low, high = self.train_tokens
            if not (0 < low <= high < math.inf):
                raise RoutelineError(f"training tokens of {who!r} are {low:g}..{high:g}; give 0 < low <= high")

    @property
    def sparsity(self) -> float:
        """s, the activated fraction [-]."""
        return self.active / self.total

    @property
    def activation(self) -> float | None:
        """A = (top_k + shared)/(experts + shared) [-], Tian et al. 2025; None when unknown."""
        if not (self.experts and self.top_k):
            return None
        return (self.top_k + self.shared) / (self.experts + self.shared)

    @property
    def granularity(self) -> float | None:
        """G = 2 d_model/d_expert [-], Tian et al. 2025; None when unknown."""
        return 2.0 * self.d_model / self.d_expert if self.d_model and self.d_expert else None


_SUFFIX = re.compile(
    r"[-_.](base|instruct|thinking|chat|it|hf|fp8|nvfp4|bf16|awq|gptq|fp8kv|fp8-kv|w8a8|int4|int8|static-pertensor"
    r"|dynamic|fp8-dynamic|v0\.1|\d{4,6})$"
)


def normal(name: str) -> str:
    """A catalogue or table name without owner, precision and tuning suffixes: lower case."""
    text = str(name).strip().lower()
    text = re.split(r"--|/", text)[-1]
    while (cut := _SUFFIX.sub("", text)) != text:
        text = cut
    return text


@cache
def _aliases() -> dict[str, str]:
    known = {}
    for row in _data.table("subjects.csv"):
        for alias in [row["model"], *filter(None, row["aliases"].split("|"))]:
            known[alias.lower()] = row["model"]
    return known


def canonical(name: str) -> str | None:
    """The name under which our pairs list a model, or None: 'Qwen/Qwen3-235B-A22B-FP8' -> 'Qwen3-235B-A22B'."""
    known = _aliases()
    return known.get(str(name).lower()) or known.get(normal(name))


@cache
def subject_of(name: str) -> Subject | None:
    """The MoE of our table of pairs with that name, or None."""
    model = canonical(name)
    for row in _data.table("subjects.csv"):
        if row["model"] == model:
            low, high = row["tokens_low"], row["tokens_high"]
            return Subject(
                name=row["model"],
                family=row["family"],
                active=float(row["active"]),
                total=float(row["total"]),
                experts=float(row["experts"]),
                top_k=float(row["top_k"]),
                shared=float(row["shared"]),
                d_model=float(row["d_model"]),
                d_expert=float(row["d_expert"]),
                train_tokens=(float(low), float(high)) if low else None,
            )
    return None


def family_of(subject: Subject) -> str:
    """The family whose pairs inform this subject: its own, the table's, else its normalised name."""
    if subject.family:
        return subject.family
    known = subject_of(subject.name)
    if known is not None and known.family:
        return known.family
    text = normal(subject.name)
    rules = _data.document("estimate.toml")["families"]
    for prefix, family in rules.items():
        if text.startswith(prefix):
            return family
    return text


def with_tokens(subject: Subject, low: float, high: float) -> Subject:
    """The subject with training tokens (low, high) stated."""
    return replace(subject, train_tokens=(low, high))


def check_convention(convention: str) -> str:
    """The convention's name, or one sentence with the known ones."""
    from ..errors import UnknownName

    if convention not in CONVENTIONS:
        raise UnknownName("matching convention", convention, CONVENTIONS, f"known: {', '.join(CONVENTIONS)}")
    return convention
