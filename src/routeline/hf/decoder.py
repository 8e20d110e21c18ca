"""Plain decoders: grouped-query attention and an FFN or experts, told apart by a few switches."""

from __future__ import annotations

import math

from ..errors import RoutelineError
from .blocks import (
    POST,
    PRE,
    Block,
    Draft,
    attention,
    dense,
    expert_groups,
    layer_count,
    moe,
    norms,
    pattern,
    shape,
    stack,
    tied,
)
from .reader import ABSENT, REQUIRED, Reader

FULL, SLIDING = "full_attention", "sliding_attention"
FULL_FIRST = 28
"""max_window_layers of Qwen's classes where a file with windows leaves it out [layers]."""


def vocab(r: Reader) -> int:
    """Rows of the embedding table [-]."""
    return r.integer("vocab_size")


def final(hidden: int, bias: bool = False) -> list:
    """The norm in front of the head."""
    return list(norms(hidden, "model.norm", bias=bias))


def windows(r: Reader, layers: int, *, default: list[bool] | None = None, active: bool = True) -> list[float]:
    """Attention window of every layer [tokens], inf where attention is full.

    A window at or beyond the context limit, null, or switched off is no window.
    """
    size = r.integer("sliding_window", "sliding_window_size", default=None if active else ABSENT, low=-1)
    size = None if size is None or size <= 0 else size
    limit = r.integer("max_position_embeddings", "n_positions", default=ABSENT, high=10**9)
    kinds = r.words("layer_types", layers, known=(FULL, SLIDING))
    if not active or size is None or (limit is not None and size >= limit):
        if kinds is not None and SLIDING in kinds and size is None:
            raise RoutelineError("layer_types names sliding_attention layers but the config has no sliding_window")
        return [math.inf] * layers
    if kinds is not None:
        return [float(size) if k == SLIDING else math.inf for k in kinds]
    slides = default if default is not None else [True] * layers
    return [float(size) if s else math.inf for s in slides]


def every(layers: int, period: int) -> list[bool]:
    """Sliding everywhere but in each `period`-th layer (Gemma-3: 6, Gemma-2: 2)."""
    return [(i + 1) % period != 0 for i in range(layers)]


def mixers(
    r: Reader,
    layers: int,
    spans: list[float],
    *,
    qk_norm: str | None = None,
    bias: bool = False,
    out_bias: bool = False,
    sinks: bool = False,
    pre: tuple = PRE,
    norm_bias: bool = False,
    gated: bool = False,
) -> tuple[int, int, int, list[Block]]:
    """(hidden, heads, kv_heads, one attention block a layer), equal windows sharing a block."""
    hidden, heads, kv_heads, head_dim = shape(r)
    kinds = {}
    for span in spans:
        if span not in kinds:
            block = attention(
                hidden=hidden,
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                window=span,
                bias=bias,
                out_bias=out_bias,
                qk_norm=qk_norm,
                sinks=sinks,
                gate=heads * head_dim if gated else 0,
            )
            kinds[span] = block.plus(*norms(hidden, *pre, bias=norm_bias))
    return hidden, heads, kv_heads, [kinds[s] for s in spans]


def plain(
    r: Reader,
    *,
    qk_norm: str | None = None,
    qkv_bias: bool = False,
    out_bias: bool | None = None,
    ffn_bias: bool | None = None,
    matrices: int = 3,
    tie: bool = False,
    window: str = "off",
    period: int = 0,
    pre: tuple = PRE,
    post: tuple = POST,
    norm_bias: bool = False,
    no_norm: bool = False,
    width: tuple[str, ...] = ("intermediate_size",),
    head_bias: bool = False,
    gated: bool = False,
) -> Draft:
    """A dense decoder. `window`: 'on' (sliding_window is active), 'off' (ignored), 'flag' (use_sliding_window)."""
    n = layer_count(r)
    spans = spans_of(r, n, window, period)
    qkv, out = biases(r, qkv_bias, out_bias)
    hidden, heads, kv, mix = mixers(
        r, n, spans, qk_norm=qk_norm, bias=qkv, out_bias=out, pre=pre, norm_bias=norm_bias, gated=gated
    )
    bias = r.flag("mlp_bias", default=False) if ffn_bias is None else ffn_bias
    ffn = dense(hidden, r.integer(*width), matrices=matrices, bias=bias)
    ffn = ffn.plus(*norms(hidden, *post, bias=norm_bias))
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, [ffn] * n),
        tied=tied(r, tie),
        extra=[] if no_norm else final(hidden, norm_bias),
        head_bias=r.flag("lm_head_bias", default=False) if head_bias else False,
    )


def spans_of(r: Reader, layers: int, window: str, period: int = 0) -> list[float]:
    """Windows under the family's convention; `past`: on in the layers after max_window_layers."""
    default = None
    if period:
        default = every(layers, r.integer("sliding_window_pattern", "_sliding_window_pattern", default=period))
    active = window in ("on", "past") or (window == "flag" and r.flag("use_sliding_window", default=False))
    if window in ("flag", "past"):
        past = r.integer("max_window_layers", default=FULL_FIRST if active else None, low=0)
        if active and default is None:
            default = [i >= past for i in range(layers)]
    return windows(r, layers, default=default, active=active)


def biases(r: Reader, qkv: bool, out: bool | None) -> tuple[bool, bool]:
    """(bias on q, k, v; bias on the output projection): attention_bias rules both unless the family says."""
    on = r.flag("attention_bias", "use_qkv_bias", "qkv_bias", default=qkv)
    return on, (on if out is None else out)


def sparse_layers(r: Reader, n: int) -> list[bool]:
    """Which layers are MoE, from any of the placement keys: all must agree where several are present.

    first_k_dense_replace (and moe_layer_freq, period or list), decoder_sparse_step with mlp_only_layers,
    mlp_layer_types, moe_layers_enum.
    """
    first = r.integer("first_k_dense_replace", "num_dense_layers", default=ABSENT, low=0)
    kinds = r.words("mlp_layer_types", n, known=("dense", "sparse"), extra=8)
    step = r.integer("decoder_sparse_step", default=None, low=0)
    only = r.integers("mlp_only_layers")
    found: list[tuple[str, list[bool]]] = []
    freq = r.config.get("moe_layer_freq")
    if isinstance(freq, list):
        found.append(("moe_layer_freq", [bool(v) for v in r.integers("moe_layer_freq", n, high=1, extra=8) or []]))
    else:
        period = r.integer("moe_layer_freq", default=1) if "moe_layer_freq" in r.config else 1
        if first is not None:
            found.append(("first_k_dense_replace", pattern(n, lambda i: i >= first and i % period == 0)))
        elif period > 1:
            found.append(("moe_layer_freq", pattern(n, lambda i: i % period == 0)))
    if kinds is not None:
        found.append(("mlp_layer_types", [k == "sparse" for k in kinds]))
    if step is not None or only:
        every_step = 1 if step is None else step
        skip = set(only or ())
        found.append(
            (
                "decoder_sparse_step",
                pattern(n, lambda i: i not in skip and every_step > 0 and (i + 1) % every_step == 0),
            )
        )
    for name, places in found[1:]:
        if places != found[0][1]:
            raise RoutelineError(f"config keys {found[0][0]} and {name} place the MoE layers differently")
    if found:
        return found[0][1]
    first = r.integer("first_k_dense_replace", "num_dense_layers", default=0, low=0)
    return pattern(n, lambda i: i >= first)


def dense_first(r: Reader, count: int) -> None:
    """Let `count` dense layers come first where the file places no layer itself."""
    if not r.has("first_k_dense_replace", "mlp_layer_types", "moe_layer_freq", "num_dense_layers"):
        r.defaults["first_k_dense_replace"] = count
        r.config = dict(r.config) | {"first_k_dense_replace": count}


EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts")
TOP_K = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_k",
    "moe_top_k",
    "top_k_experts",
    "experts_per_token",
)


def sparse(
    r: Reader,
    *,
    qk_norm: str | None = None,
    qkv_bias: bool = False,
    out_bias: bool | None = None,
    matrices: int = 3,
    tie: bool = False,
    window: str = "off",
    shared: str = "none",
    prefix: str = "mlp.",
    norm_bias: bool = False,
    pre: tuple = PRE,
    post: tuple = POST,
    gated: bool = False,
    group_limited: bool = False,
    width: tuple[str, ...] = ("moe_intermediate_size", "intermediate_size"),
) -> Draft:
    """A decoder with routed experts in some layers. `shared`: 'none', 'count' (n_shared_experts of the
    experts' width) or 'total' (shared_expert_intermediate_size, with a sigmoid gate)."""
    n = layer_count(r)
    places = sparse_layers(r, n)
    spans = spans_of(r, n, window)
    qkv, out = biases(r, qkv_bias, out_bias)
    hidden, heads, kv, mix = mixers(
        r, n, spans, qk_norm=qk_norm, bias=qkv, out_bias=out, pre=pre, norm_bias=norm_bias, gated=gated
    )
    experts, top_k = r.integer(*EXPERTS), r.integer(*TOP_K, default=1)
    expert_width = width_of(r, width)
    block = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=expert_width,
        matrices=matrices,
        shared=shared_width(r, shared, expert_width),
        shared_gate=shared == "total",
        shared_name="shared_expert." if shared == "total" else "shared_experts.",
        groups=expert_groups(r, experts, top_k) if group_limited else (1, 1),
        prefix=prefix,
    ).plus(*norms(hidden, *post, bias=norm_bias))
    if all(places):
        r.skip("intermediate_size")
        ffns = [block] * n
    else:
        plain_ffn = dense(hidden, r.integer("intermediate_size"), matrices=matrices)
        plain_ffn = plain_ffn.plus(*norms(hidden, *post, bias=norm_bias))
        ffns = [block if s else plain_ffn for s in places]
    return Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=kv,
        layers=stack(mix, ffns),
        tied=tied(r, tie),
        extra=final(hidden, norm_bias),
    )


def width_of(r: Reader, names: tuple[str, ...]) -> int:
    """The experts' width under the first name that the file has or the class has a default for [-]."""
    name = next((n for n in names if r.has(n) or r.filled(n) is not None), names[0])
    return r.integer(name, default=REQUIRED if r.filled(name) is None else None)


def shared_width(r: Reader, how: str, expert_width: int) -> int:
    """Total width of the experts every token takes [-]."""
    if how == "none":
        return 0
    if how == "total":
        return r.integer("shared_expert_intermediate_size", default=0, low=0)
    count = r.integer(
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts", default=0, low=0
    )
    return count * expert_width
