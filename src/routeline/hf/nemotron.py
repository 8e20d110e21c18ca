"""Nemotron-H and Nemotron-3: one mixer a layer, named by a letter; latent two-matrix experts."""

from __future__ import annotations

from ..errors import RoutelineError
from .blocks import (
    Block,
    Draft,
    attention,
    dense,
    expert_groups,
    head_width,
    layer_count,
    matrix,
    moe,
    norms,
    tied,
    vector,
)
from .decoder import FULL, vocab
from .hybrid import LINEAR
from .linear import mamba2
from .reader import Reader


def nemotron_h(r: Reader) -> Draft:
    """Nemotron-H and Nemotron-3: one mixer a layer, M Mamba-2, * attention, - FFN, E experts (latent in some)."""
    hidden = r.integer("hidden_size")
    pattern = block_pattern(r)
    n = layer_count(r) if "num_hidden_layers" in r.config else len(pattern)
    if len(pattern) != n:
        raise r.refuse("hybrid_override_pattern", f"has {len(pattern)} letters, but there are {n} layers")
    r.skip(
        "num_hidden_layers", "intermediate_size", "expand", "chunk_size", "mamba_expand", "n_groups", "norm_topk_prob"
    )
    blocks = {letter: nemotron_block(r, hidden, letter) for letter in sorted(set(pattern))}
    heads = r.integer("num_attention_heads")
    draft = Draft(
        hidden=hidden,
        vocab=vocab(r),
        heads=heads,
        kv_heads=r.integer("num_key_value_heads", default=heads),
        layers=[(blocks[letter],) for letter in pattern],
        tied=tied(r, False),
        extra=list(norms(hidden, "norm_f")),
        prefix="backbone.",
    )
    count = r.integer("num_nextn_predict_layers", default=0, low=0, high=64)
    letters = mtp_pattern(r)
    if count and letters:
        for letter in sorted(set(letters) - set(blocks)):
            blocks[letter] = nemotron_block(r, hidden, letter)
        joint = Block(
            weights=(matrix("eh_proj", 2 * hidden, hidden), *norms(hidden, "enorm", "hnorm", "final_layernorm"))
        )
        draft.mtp = [(*(blocks[x] for x in letters), joint)] * count
    draft.mtp_layers = count
    r.skip("moe_latent_size", "moe_shared_expert_intermediate_size", "moe_intermediate_size", "sliding_window")
    r.skip("n_routed_experts", "n_shared_experts", "num_experts_per_tok", "n_group", "topk_group", "num_query_groups")
    return draft


NAMES = {"mamba": "M", LINEAR: "M", "attention": "*", FULL: "*", "mlp": "-", "moe": "E"}


def block_pattern(r: Reader) -> str:
    """Letters of hybrid_override_pattern, or those that layers_block_type's names stand for."""
    letters = r.text("hybrid_override_pattern", default=None)
    names = r.words("layers_block_type" if r.has("layers_block_type") else "layer_types", known=NAMES)
    r.skip("layers_block_type", "layer_types")
    listed = None if names is None else "".join(NAMES[x] for x in names)
    if letters is None and listed is None:
        raise RoutelineError("config has neither hybrid_override_pattern nor layers_block_type, which Nemotron-H needs")
    if letters is not None and listed is not None and letters != listed:
        raise r.refuse("hybrid_override_pattern", "contradicts layers_block_type")
    pattern = letters if letters is not None else listed or ""
    if not pattern or set(pattern) - set("M*-E") or len(pattern) > 2000:
        raise r.refuse("hybrid_override_pattern", "must be made of the letters M * - E")
    return pattern


def mtp_pattern(r: Reader) -> str:
    """Letters of the MTP layer."""
    letters = r.text("mtp_hybrid_override_pattern", default=None)
    names = r.words("mtp_layers_block_type", known=NAMES)
    found = letters if letters is not None else "".join(NAMES[x] for x in names or ())
    if set(found) - set("M*-E") or len(found) > 64:
        raise r.refuse("mtp_hybrid_override_pattern", "must be made of the letters M * - E")
    return found


def nemotron_block(r: Reader, hidden: int, letter: str) -> Block:
    """One layer of the kind a letter names, with its norm."""
    norm = norms(hidden, "norm")
    bias = r.flag("mlp_bias", default=False)
    if letter == "M":
        return mamba2(
            r,
            hidden=hidden,
            heads=r.integer("mamba_num_heads"),
            head_dim=r.integer("mamba_head_dim"),
            groups=r.integer("n_groups", default=8),
            state=r.integer("ssm_state_size"),
            kernel=r.integer("conv_kernel", default=4),
            conv_bias=r.flag("use_conv_bias", default=True),
            proj_bias=r.flag("use_bias", "mamba_proj_bias", default=False),
        ).plus(*norm)
    if letter == "*":
        heads = r.integer("num_attention_heads")
        kv = r.integer("num_key_value_heads", default=heads)
        if heads % kv:
            raise RoutelineError(
                f"num_attention_heads={heads} is not a multiple of num_key_value_heads={kv}; one is wrong"
            )
        on = r.flag("attention_bias", default=False)
        return attention(
            hidden=hidden,
            heads=heads,
            kv_heads=kv,
            head_dim=head_width(r, hidden, heads, "head_dim", "attention_head_dim"),
            bias=on,
            out_bias=on,
            prefix="mixer.",
        ).plus(*norm)
    if letter == "-":
        return dense(hidden, r.integer("intermediate_size"), matrices=2, bias=bias, prefix="mixer.").plus(*norm)
    experts, top_k = r.integer("n_routed_experts"), r.integer("num_experts_per_tok")
    latent = r.integer("moe_latent_size", default=None)
    width = r.integer("moe_intermediate_size")
    shared = r.integer("moe_shared_expert_intermediate_size", default=width)
    r.integer("n_shared_experts", default=1)
    block = moe(
        r,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        width=width,
        matrices=2,
        shared=shared,
        expert_hidden=latent,
        groups=expert_groups(r, experts, top_k),
        prefix="mixer.",
    )
    if latent is not None:
        block = block.plus(
            matrix("mixer.fc1_latent_proj", hidden, latent, part="other"),
            matrix("mixer.fc2_latent_proj", latent, hidden, part="other"),
        )
    if bias:
        extra = (vector("mixer.shared_experts.bias", shared + hidden, part="shared"),)
        outer = (vector("mixer.latent_bias", latent + hidden, part="other"),) if latent is not None else ()
        block = block.plus(*extra, *outer)
    return block.plus(*norm)
