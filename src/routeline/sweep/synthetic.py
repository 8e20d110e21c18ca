"""Synthetic architectures from a few numbers, through the same builders that configs use.

Numbers may be floats, arrays or traced nodes: a sweep over shapes needs one model, not one per point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import arch
from ..arch import Layers, Model, Weight
from ..errors import RoutelineError, UnknownName

DEFAULTS: dict[str, Any] = {
    "experts": 256.0, "top_k": 8.0, "expert_width": 2048.0, "granularity": 1.0, "shared_experts": 1.0, "layers": 61.0,
    "dense_layers": 0.0, "hidden": 7168.0, "attention": "mla", "heads": 128.0, "kv_heads": 8.0, "head_dim": 128.0,
    "vocab": 129280.0,
}  # fmt: skip
"""The shape of DeepSeek-V3 with every layer MoE; what a sweep does not name stays at these."""

ATTENTION = ("gqa", "mha", "mqa", "mla")
LATENT = {"kv_lora_rank": 512.0, "qk_rope_head_dim": 64.0, "q_lora_rank": 1536.0}
"""MLA ranks of DeepSeek-V3 (arXiv:2412.19437 section 4.2), kept for every synthetic MLA model."""


def build(values: Mapping[str, Any], stored: str = "bf16") -> Model:
    """A MoE model from the shape axes given, the rest from DEFAULTS.

    granularity g cuts every expert into g of width/g and takes g times as many (DeepSeekMoE,
    arXiv:2401.06066); dense_layers have one FFN of the active width, (top_k + shared) * expert_width.

    Raises:
        RoutelineError: an unknown attention kind.
    """
    v = {**DEFAULTS, **values}
    if v["attention"] not in ATTENTION:
        raise UnknownName("attention", v["attention"], ATTENTION)
    g, hidden = v["granularity"], v["hidden"]
    experts, top_k, width = v["experts"] * g, v["top_k"] * g, v["expert_width"] / g
    weights, streams = _attention(v)
    norms = (arch.norm("norms", 2.0 * hidden),)
    routed = arch.experts(hidden=hidden, width=width, count=experts)
    shared_width = v["shared_experts"] * v["expert_width"]
    has_shared = not (isinstance(shared_width, float) and shared_width == 0.0)
    shared = arch.ffn(hidden=hidden, width=shared_width, part="shared") if has_shared else ()
    moe = Layers(
        count=v["layers"] - v["dense_layers"], weights=(*weights, *norms, *routed, *shared), streams=streams,
        experts=experts, top_k=top_k,
    )  # fmt: skip
    layers: tuple[Layers, ...] = (moe,)
    if not (isinstance(v["dense_layers"], float) and v["dense_layers"] == 0.0):
        ffn = arch.ffn(hidden=hidden, width=(v["top_k"] + v["shared_experts"]) * v["expert_width"])
        layers = (Layers(count=v["dense_layers"], weights=(*weights, *norms, *ffn), streams=streams), moe)
    table = v["vocab"] * hidden
    model = Model(
        name="synthetic", architecture="synthetic", hidden=hidden, layers=layers,
        embedding=Weight(name="embedding", part="embedding", params=table, matmul=False),
        head=Weight(name="head", part="head", params=table), extra=(arch.norm("norm", hidden),),
        heads=v["heads"], kv_heads=_kv_heads(v), vocab=v["vocab"],
    )  # fmt: skip
    return arch.restore(model, stored)


def _kv_heads(v: Mapping[str, Any]) -> Any:
    return {"mqa": 1.0, "mha": v["heads"], "mla": v["heads"], "gqa": v["kv_heads"]}[v["attention"]]


def _attention(v: Mapping[str, Any]) -> tuple[tuple[Weight, ...], tuple[Any, ...]]:
    if v["attention"] == "mla":
        return arch.mla(
            hidden=v["hidden"], heads=v["heads"], kv_lora_rank=LATENT["kv_lora_rank"], qk_nope_head_dim=v["head_dim"],
            qk_rope_head_dim=LATENT["qk_rope_head_dim"], v_head_dim=v["head_dim"], q_lora_rank=LATENT["q_lora_rank"],
        )  # fmt: skip
    return arch.gqa(hidden=v["hidden"], heads=v["heads"], kv_heads=_kv_heads(v), head_dim=v["head_dim"])


def checks(v: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Conditions that must not hold, with their reason; conditions may be arrays or nodes."""
    w = {**DEFAULTS, **v}
    return [
        (w["top_k"] > w["experts"], "top_k exceeds experts"),
        (w["dense_layers"] >= w["layers"], "dense_layers leave no MoE layer"),
        (w["kv_heads"] > w["heads"], "kv_heads exceed heads"),
    ] if w["attention"] == "gqa" else [
        (w["top_k"] > w["experts"], "top_k exceeds experts"),
        (w["dense_layers"] >= w["layers"], "dense_layers leave no MoE layer"),
    ]  # fmt: skip


def require(values: Mapping[str, Any]) -> None:
    """Refuse a scalar shape that cannot be built.

    Raises:
        RoutelineError: what `checks` names.
    """
    for wrong, why in checks(values):
        if wrong is True:
            raise RoutelineError(f"synthetic model: {why}")
