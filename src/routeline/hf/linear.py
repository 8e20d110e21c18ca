"""Mixers with constant state: gated delta net, Kimi delta attention, Mamba 1 and 2, lightning attention.

Convention for `State.bytes`: the recurrent state in `mamba_ssm_cache_dtype`/`mamba_ssm_dtype` (fp32
when the config names none) plus the short convolution's window in bf16 as serving engines keep it:
kernel-1 columns for delta nets, kernel columns for Mamba. FLOP per token and state element: decay 1,
rank-one update 2, readout 2; a delta rule reads the state once more (2).
"""

from __future__ import annotations

from ..arch import State
from ..errors import RoutelineError
from .blocks import Block, matrix, vector
from .reader import Reader

DELTA, PLAIN = 7.0, 5.0
WIDTHS = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "fp32": 4.0, "bf16": 2.0, "fp16": 2.0}


def state_width(r: Reader) -> float:
    """Bytes of a recurrent-state element."""
    name = r.text("mamba_ssm_cache_dtype", "mamba_ssm_dtype", default="float32").removeprefix("torch.")
    if name not in WIDTHS:
        raise RoutelineError(f"state dtype {name!r} is unknown; known: {', '.join(WIDTHS)}")
    return WIDTHS[name]


def gated_delta_net(
    r: Reader,
    *,
    hidden: int,
    key_heads: int,
    value_heads: int,
    key_dim: int,
    value_dim: int,
    kernel: int,
    split: bool,
    prefix: str = "linear_attn.",
) -> Block:
    """Gated delta net (Qwen3-Next, Qwen3.5). split: separate projections, as Qwen3.5 stores them."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    conv = 2 * keys + values
    if split:
        ins = (
            matrix(f"{prefix}in_proj_qkv", hidden, conv),
            matrix(f"{prefix}in_proj_z", hidden, values),
            matrix(f"{prefix}in_proj_b", hidden, value_heads),
            matrix(f"{prefix}in_proj_a", hidden, value_heads),
        )
    else:
        ins = (
            matrix(f"{prefix}in_proj_qkvz", hidden, conv + values),
            matrix(f"{prefix}in_proj_ba", hidden, 2 * value_heads),
        )
    elements = value_heads * key_dim * value_dim
    return Block(
        weights=(
            *ins,
            vector(f"{prefix}conv1d", conv * kernel, part="attention"),
            vector(f"{prefix}dt_bias", value_heads, part="attention"),
            vector(f"{prefix}A_log", value_heads, part="attention"),
            vector(f"{prefix}norm", value_dim),
            matrix(f"{prefix}out_proj", values, hidden),
        ),
        states=(
            State(
                name="delta",
                bytes=elements * state_width(r) + conv * (kernel - 1) * 2.0,
                flop=DELTA * elements + 2.0 * conv * kernel,
                shards=float(value_heads),
            ),
        ),
    )


def kimi_delta(
    r: Reader,
    *,
    hidden: int,
    heads: int,
    dim: int,
    kernel: int,
    forget_rank: int | None,
    gate_rank: int | None,
    scalar_a: bool = True,
    prefix: str = "self_attn.",
) -> Block:
    """Kimi delta attention: per-channel decay; forget and output gates of low rank (None: full rank)."""
    width = heads * dim

    def gate(name: str, rank: int | None) -> tuple:
        if rank is None:
            return (matrix(f"{prefix}{name}_proj", hidden, width),)
        return (matrix(f"{prefix}{name}_a_proj", hidden, rank), matrix(f"{prefix}{name}_b_proj", rank, width))

    elements = heads * dim * dim
    return Block(
        weights=(
            *(matrix(f"{prefix}{p}_proj", hidden, width) for p in "qkv"),
            vector(f"{prefix}conv1d", 3 * width * kernel, part="attention"),
            *gate("f", forget_rank),
            matrix(f"{prefix}b_proj", hidden, heads),
            *gate("g", gate_rank),
            vector(f"{prefix}A_log", heads if scalar_a else width, part="attention"),
            vector(f"{prefix}dt_bias", width, part="attention"),
            vector(f"{prefix}o_norm", dim),
            matrix(f"{prefix}o_proj", width, hidden),
        ),
        states=(
            State(
                name="delta",
                bytes=elements * state_width(r) + 3 * width * (kernel - 1) * 2.0,
                flop=DELTA * elements + 6.0 * width * kernel,
                shards=float(heads),
            ),
        ),
    )


def mamba2(
    r: Reader,
    *,
    hidden: int,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    kernel: int,
    conv_bias: bool,
    proj_bias: bool,
    out_bias: bool | None = None,
    norm: bool = True,
    prefix: str = "mixer.",
) -> Block:
    """Mamba-2 (Dao, Gu 2024): in_proj to z, x, B, C, dt; a depthwise convolution over x, B, C.

    proj_bias: on the input projection, and on the output one unless out_bias says otherwise.
    """
    inner = heads * head_dim
    conv = inner + 2 * groups * state
    into = inner + conv + heads
    elements = heads * head_dim * state
    weights = [
        matrix(f"{prefix}in_proj", hidden, into),
        vector(f"{prefix}conv1d", conv * kernel + (conv if conv_bias else 0), part="attention"),
        vector(f"{prefix}dt_bias", 3 * heads, part="attention"),
        matrix(f"{prefix}out_proj", inner, hidden),
    ]
    if norm:
        weights.append(vector(f"{prefix}norm", inner))
    both = (into if proj_bias else 0) + (hidden if (proj_bias if out_bias is None else out_bias) else 0)
    if both:
        weights.append(vector(f"{prefix}proj_bias", both, part="attention"))
    return Block(
        weights=tuple(weights),
        states=(
            State(
                name="ssm",
                bytes=elements * state_width(r) + conv * kernel * 2.0,
                flop=PLAIN * elements + 2.0 * conv * kernel,
                shards=float(heads),
            ),
        ),
    )


def mamba1(
    r: Reader,
    *,
    hidden: int,
    inner: int,
    state: int,
    kernel: int,
    rank: int,
    conv_bias: bool,
    proj_bias: bool,
    normed: bool = True,
) -> Block:
    """Mamba 1 (Gu, Dao 2023): data-dependent dt, B, C; `normed` adds Jamba's norms on each."""
    weights = [
        matrix("mamba.in_proj", hidden, 2 * inner),
        vector("mamba.conv1d", inner * (kernel + (1 if conv_bias else 0)), part="attention"),
        matrix("mamba.x_proj", inner, rank + 2 * state),
        matrix("mamba.dt_proj", rank, inner),
        vector("mamba.dt_bias", inner, part="attention"),
        vector("mamba.A_log", inner * state + inner, part="attention"),
        matrix("mamba.out_proj", inner, hidden),
    ]
    if normed:
        weights.append(vector("mamba.dt_layernorm", rank + 2 * state))
    if proj_bias:
        weights.append(vector("mamba.proj_bias", 2 * inner + hidden, part="attention"))
    return Block(
        weights=tuple(weights),
        states=(
            State(
                name="ssm",
                bytes=inner * state * state_width(r) + inner * kernel * 2.0,
                flop=PLAIN * inner * state + 2.0 * inner * kernel,
                shards=float(inner),
            ),
        ),
    )


def lightning(
    r: Reader,
    *,
    hidden: int,
    heads: int,
    dim: int,
    qk_norm: bool = False,
    fused: str = "qkv_proj",
    gate: str = "output_gate",
    prefix: str = "self_attn.",
) -> Block:
    """Lightning attention (MiniMax-Text-01, Ling-linear): decayed linear attention with an output gate."""
    width = heads * dim
    elements = heads * dim * dim
    more = (vector(f"{prefix}qk_norm", 2 * dim),) if qk_norm else ()
    return Block(
        weights=(
            matrix(f"{prefix}{fused}", hidden, 3 * width),
            matrix(f"{prefix}{gate}", hidden, width),
            matrix(f"{prefix}out_proj", width, hidden),
            vector(f"{prefix}norm", width),
            *more,
        ),
        states=(State(name="linear", bytes=elements * state_width(r), flop=PLAIN * elements, shards=float(heads)),),
    )


def short_conv(*, hidden: int, kernel: int, bias: bool, prefix: str = "conv.") -> Block:
    """LFM2's gated short convolution: three projections in one, a depthwise kernel, one out."""
    extra = hidden * (kernel + (5 if bias else 0))
    return Block(
        weights=(
            matrix(f"{prefix}in_proj", hidden, 3 * hidden),
            vector(f"{prefix}conv", extra, part="attention"),
            matrix(f"{prefix}out_proj", hidden, hidden),
        ),
        states=(
            State(
                name="conv",
                bytes=hidden * (kernel - 1) * 2.0,
                flop=2.0 * hidden * kernel,
                shards=float(hidden),
            ),
        ),
    )
