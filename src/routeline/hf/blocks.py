"""Building blocks that families share: attention, FFN and MoE halves of a layer, and the whole model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .. import arch
from ..arch import State, Stream, Weight
from ..errors import RoutelineError
from .reader import MOST_LAYERS, Reader


@dataclass(frozen=True, kw_only=True)
class Block:
    """Half a layer (a token mixer or an FFN) with its norms. Equal layers share the same objects."""

    weights: tuple[Weight, ...] = ()
    streams: tuple[Stream, ...] = ()
    states: tuple[State, ...] = ()
    experts: float = 1.0
    top_k: float = 1.0
    groups: float = 1.0
    kept: float = 1.0
    encoder: bool = False

    def plus(self, *weights: Weight) -> Block:
        """The block with more weights."""
        return Block(
            weights=self.weights + weights,
            streams=self.streams,
            states=self.states,
            experts=self.experts,
            top_k=self.top_k,
            groups=self.groups,
            kept=self.kept,
            encoder=self.encoder,
        )


@dataclass(kw_only=True)
class Draft:
    """What a family hands back: per-layer tuples of blocks and the few weights outside the layers."""

    hidden: int
    vocab: int
    heads: int
    layers: list[tuple[Block, ...]]
    tied: bool
    kv_heads: int = 1
    extra: list[Weight] = field(default_factory=list)
    mtp: list[tuple[Block, ...]] = field(default_factory=list)
    mtp_layers: int = 0
    embedding: Weight | None = None
    head_bias: bool = False
    prefix: str = "model."
    """Module path in front of `layers.N.` in the checkpoint; quantization rules are matched against it."""


# --- small helpers ------------------------------------------------------------------------------------


def layer_count(r: Reader, *names: str) -> int:
    """Number of layers [-]."""
    return r.integer(*(names or ("num_hidden_layers", "n_layer", "num_layers", "n_layers")), high=MOST_LAYERS)


def vector(name: str, width: float, part: str = "norm") -> Weight:
    """A norm vector or bias: read, never multiplied as a matrix."""
    return Weight(name=name, part=part, params=width, matmul=False)


def matrix(name: str, rows: float, cols: float, part: str = "attention", ways: float = math.inf) -> Weight:
    """A projection."""
    return Weight(name=name, part=part, params=rows * cols, ways=ways)


def norms(hidden: int, *names: str, bias: bool = False) -> tuple[Weight, ...]:
    """One norm vector (two with a bias) per name."""
    return tuple(vector(n, hidden * (2 if bias else 1)) for n in names)


PRE = ("input_layernorm",)
POST = ("post_attention_layernorm",)
TWO = ("input_layernorm", "post_attention_layernorm")


def shape(r: Reader) -> tuple[int, int, int, int]:
    """(hidden, heads, kv_heads, head_dim) of ordinary grouped-query attention [-]."""
    hidden = r.integer("hidden_size", "n_embd", "d_model")
    heads = r.integer("num_attention_heads", "n_head", "n_heads", "num_heads")
    kv_heads = r.integer("num_key_value_heads", "multi_query_group_num", default=heads)
    return hidden, heads, groups_of(r, heads, kv_heads), head_width(r, hidden, heads)


def head_width(r: Reader, hidden: int, heads: int, *names: str) -> int:
    """Width of a head: `head_dim`, else the class's own or hidden/heads, which must then be whole [-]."""
    names = names or ("head_dim", "kv_channels", "attention_head_dim")
    if not r.has(*names) and r.filled(*names) is None and hidden % heads:
        raise RoutelineError(
            f"hidden_size={hidden} is not divisible by num_attention_heads={heads} and the config has no {names[0]}"
        )
    return r.integer(*names, default=max(1, hidden // heads))


def even_width(r: Reader, hidden: int, heads: int) -> int:
    """hidden/heads, for classes whose code knows no other head width [-]."""
    width = head_width(r, hidden, heads)
    if width * heads != hidden:
        raise r.refuse("head_dim", f"must be hidden_size/num_attention_heads={hidden / heads:g} for this architecture")
    return width


def groups_of(r: Reader, heads: int, kv_heads: int, what: str = "num_key_value_heads") -> int:
    """kv_heads, refused unless it divides heads."""
    if kv_heads > heads or heads % kv_heads:
        raise RoutelineError(f"num_attention_heads={heads} is not a multiple of {what}={kv_heads}; one is wrong")
    return kv_heads


def attention(
    *,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    v_head_dim: int | None = None,
    window: float = math.inf,
    bias: bool = False,
    out_bias: bool = False,
    qk_norm: str | None = None,
    gate: float = 0,
    sinks: bool = False,
    prefix: str = "self_attn.",
) -> Block:
    """Grouped-query attention. qk_norm: 'head' (one vector of head_dim each), 'full' (all heads).

    gate: width of an output gate projected from the hidden state (0: none).
    """
    w, s = arch.gqa(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=v_head_dim,
        window=window,
        bias=bias,
        out_bias=out_bias,
        prefix=prefix,
    )
    more = []
    if qk_norm == "head":
        more = [vector(f"{prefix}q_norm", head_dim), vector(f"{prefix}k_norm", head_dim)]
    elif qk_norm == "full":
        more = [vector(f"{prefix}q_norm", heads * head_dim), vector(f"{prefix}k_norm", kv_heads * head_dim)]
    if gate:
        more.append(matrix(f"{prefix}g_proj", hidden, gate))
    if sinks:
        more.append(vector(f"{prefix}sinks", heads, part="attention"))
    return Block(weights=w + tuple(more), streams=s)


def dense(hidden: int, width: int, *, matrices: int = 3, bias: bool = False, prefix: str = "mlp.") -> Block:
    """A dense FFN; `bias` adds one to every matrix."""
    w = arch.ffn(hidden=hidden, width=width, matrices=matrices, prefix=prefix)
    if bias:
        w += (vector(f"{prefix}bias", (matrices - 1) * width + hidden, part="dense_ffn"),)
    return Block(weights=w)


def moe(
    r: Reader,
    *,
    hidden: int,
    experts: int,
    top_k: int,
    width: int,
    matrices: int = 3,
    shared: int = 0,
    shared_gate: bool = False,
    shared_name: str = "shared_experts.",
    expert_hidden: int | None = None,
    router_bias: bool = False,
    groups: tuple[int, int] = (1, 1),
    prefix: str = "mlp.",
    router: str = "gate",
) -> Block:
    """Routed experts, their router, and `shared` width of experts that every token takes.

    expert_hidden: input width of the routed experts where it is not `hidden` (latent experts).
    router_bias counts only a bias that is a parameter; load-balancing biases are buffers, left out as
    published counts do.
    """
    if top_k > experts:
        raise RoutelineError(f"{top_k} experts per token are chosen out of only {experts}; one of the keys is wrong")
    w = arch.experts(
        hidden=hidden if expert_hidden is None else expert_hidden,
        width=width,
        count=experts,
        matrices=matrices,
        router=False,
        prefix=prefix,
    )
    w += (Weight(name=f"{prefix}{router}", part="router", params=hidden * experts),)
    if router_bias:
        w += (vector(f"{prefix}{router}_bias", experts, part="router"),)
    if shared:
        w += arch.ffn(hidden=hidden, width=shared, matrices=matrices, part="shared", prefix=f"{prefix}{shared_name}")
    if shared_gate:
        w += (Weight(name=f"{prefix}shared_expert_gate", part="shared", params=hidden),)
    return Block(weights=w, experts=experts, top_k=top_k, groups=groups[0], kept=groups[1])


def expert_groups(r: Reader, experts: int, top_k: int, *, active: bool = True) -> tuple[int, int]:
    """(groups, groups kept) of group-limited routing from n_group and topk_group [-]."""
    groups = r.integer("n_group", "num_expert_group", default=1)
    kept = r.integer("topk_group", default=1)
    if not active or groups == 1:
        return 1, 1
    if kept > groups or experts % groups or kept * (experts // groups) < top_k:
        raise RoutelineError(
            f"n_group={groups}, topk_group={kept} cannot route {top_k} of {experts} experts; "
            "groups must divide the experts and the kept groups must hold enough of them"
        )
    return groups, kept


def tied(r: Reader, default: bool, outer: Reader | None = None) -> bool:
    """tie_word_embeddings, from the text config, else the outer one, else the family's default."""
    if r.has("tie_word_embeddings") or outer is None or not outer.has("tie_word_embeddings"):
        return r.flag("tie_word_embeddings", default=default)
    r.skip("tie_word_embeddings")
    return outer.flag("tie_word_embeddings")


def pattern(layers: int, sparse: Callable[[int], bool]) -> list[bool]:
    """True for MoE layers."""
    return [sparse(i) for i in range(layers)]


def stack(mixers: Sequence[Block], ffns: Sequence[Block]) -> list[tuple[Block, ...]]:
    """Layer i = (mixer i, FFN i)."""
    return list(zip(mixers, ffns, strict=True))
