"""Small configs that tests start from, and the sums they check."""

import math

from routeline import counts

DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "moe_intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "q_lora_rank": 96,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_experts_per_tok": 4,
    "first_k_dense_replace": 1,
    "vocab_size": 1000,
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}
MIXTRAL = LLAMA | {"architectures": ["MixtralForCausalLM"], "num_local_experts": 8, "num_experts_per_tok": 2}
QWEN_MOE = MIXTRAL | {"architectures": ["Qwen3MoeForCausalLM"], "moe_intermediate_size": 256, "head_dim": 64}


def cache(model):
    """(bytes per token without a window, {window: bytes}, constant bytes) at 16 bits, per-input streams apart."""
    free, capped, constant = 0.0, {}, 0.0
    for g in model.layers:
        for s in g.streams:
            if s.per_input:
                continue
            b = g.count * s.elements / s.stride * 2
            if math.isinf(s.window):
                free += b
            else:
                capped[s.window] = capped.get(s.window, 0.0) + b
        constant += g.count * sum(x.bytes for x in g.states)
    return free, capped, constant


def stored(model, *, mtp=False):
    """Checkpoint bytes of everything but MTP layers (or of those alone)."""
    return sum(n * w.params * w.bits / 8 for w, n, _ in counts.weights(model) if (w.part == "mtp") == mtp)


def names(model):
    """Every weight name -> (params in all layers, bits, format)."""
    out = {}
    for w, n, _ in counts.weights(model):
        old = out.get(w.name, (0.0, None, None))
        out[w.name] = (old[0] + n * w.params, w.bits, w.format)
    return out
