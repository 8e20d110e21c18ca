"""What a model is, before any device: parameters, sparsity, cache rates, stored bytes, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import arch, counts
from .arch import PARTS, Model
from .errors import RoutelineError

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes away; new keys do not raise it."""


def inspect(model: Model, *, weights: str = "native", cache: str = "auto", with_mtp: bool = False) -> dict[str, Any]:
    """The `routeline inspect --json` of a model; docs/json.md describes every key.

    weights: 'native' (what the checkpoint stores) or one of arch.FORMATS; cache: 'auto' or a cache
    format; with_mtp: count the multi-token-prediction layers among the resident weights.

    Raises:
        RoutelineError: unknown weight or cache format.
    """
    stored = model if weights == "native" else arch.restore(model, weights)
    kept = counts.resolve_cache(model, cache)
    counted = counts.count(stored, kept)
    params, size = counts.parameters(stored), counts.stored(stored, with_mtp=with_mtp)
    used, rates = counts.active(stored), counts.cache_rates(stored, kept)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": model.name,
        "architecture": model.architecture,
        "source": model.source,
        "total": _whole(counts.total(stored)),
        "text_total": _whole(counts.text_total(stored)),
        "active": {
            "all": _whole(used.all),
            "no_embedding": _whole(used.no_embedding),
            "no_embedding_no_head": _whole(used.no_embedding_no_head),
        },
        "sparsity": float(counts.sparsity(stored)),
        "layers": _whole(sum(g.count for g in stored.layers)),
        "encoder_layers": _whole(sum(g.count for g in stored.layers if g.encoder)),
        "moe_layers": _whole(sum(g.count for g in stored.layers if any(w.part == "routed" for w in g.weights))),
        "experts": _whole(counted.experts),
        "top_k": _whole(counted.top_k),
        "hidden": _whole(model.hidden),
        "heads": _whole(model.heads),
        "kv_heads": _whole(model.kv_heads),
        "vocab": _whole(model.vocab),
        "context_limit": None if model.context_limit is None else _whole(model.context_limit),
        "tied": model.tied,
        "kv": {
            "format": kept,
            "per_token": _whole(rates.per_token),
            "windows": [{"bytes_per_token": _whole(b), "window": _whole(n)} for b, n in rates.windows],
            "state": _whole(rates.state),
            "per_input_token": _whole(rates.per_input_token),
        },
        "weight_bytes": _whole(sum(size.values())),
        "parts": {
            part: {"params": _whole(params[part]), "active": _whole(_active(stored, part)), "bytes": _whole(size[part]),
                   "bits": round(8.0 * size[part] / params[part], 4) if size[part] else None}
            for part in PARTS
            if params[part]
        },
        "assumptions": _assumptions(model, weights, cache, kept, with_mtp),
        "warnings": list(model.warnings),
    }  # fmt: skip


def _active(model: Model, part: str) -> float:
    """Parameters of one part that a token uses [-]."""
    if part in counts.INACTIVE:
        return 0.0
    alone = replace(
        model,
        embedding=_only(model.embedding, part), head=_only(model.head, part),
        extra=tuple(_only(w, part) for w in model.extra),
        layers=tuple(replace(g, weights=tuple(_only(w, part) for w in g.weights)) for g in model.layers),
    )  # fmt: skip
    return float(counts.active(alone).all)


def _only(weight: arch.Weight, part: str) -> arch.Weight:
    return weight if weight.part == part else replace(weight, params=0.0)


def _assumptions(model: Model, weights: str, cache: str, kept: str, with_mtp: bool) -> list[dict[str, Any]]:
    asked = "asked"
    rows = [
        ("weights", weights, asked if weights != "native" else "as the checkpoint stores them", weights == "native"),
        ("cache", kept, asked if cache != "auto" else "the config's, else bf16", cache == "auto"),
        ("mtp", with_mtp, "prediction layers are resident only when drafting", not with_mtp),
    ]
    filled = [(key, value, "absent from the config; the default of its architecture", True)
              for key, value in model.defaults]  # fmt: skip
    return [{"name": n, "value": _plain(v), "unit": "", "source": s, "default": d} for n, v, s, d in [*rows, *filled]]


def _plain(value: Any) -> Any:
    """A config value as JSON holds it."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else str(value)


def _whole(value: Any) -> int | float:
    """A count as a JSON integer where it is one.

    Raises:
        RoutelineError: not finite or negative; a count that is printed must be neither.
    """
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise RoutelineError(f"the config leads to a count of {number}, which no model has; check its sizes")
    return int(number) if number == int(number) else number
