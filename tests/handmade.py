"""Models written out by hand, so that physics tests do not depend on the config parser."""

from routeline.arch import Layers, Model, Weight, experts, ffn, gqa, mla, norm


def deepseek_v3(bits: float = 16.0, fmt: str = "bf16") -> Model:
    """DeepSeek-V3 from its published shape: 61 layers, 3 dense; 256 experts of 2048, top-8, one shared."""
    weights, streams = mla(
        hidden=7168.0, heads=128.0, kv_lora_rank=512.0, qk_nope_head_dim=128.0, qk_rope_head_dim=64.0,
        v_head_dim=128.0, q_lora_rank=1536.0,
    )  # fmt: skip
    norms = (norm("input_layernorm", 7168.0), norm("post_attention_layernorm", 7168.0))
    routed = experts(hidden=7168.0, width=2048.0, count=256.0)
    shared = ffn(hidden=7168.0, width=2048.0, part="shared")
    model = Model(
        name="DeepSeek-V3", architecture="DeepseekV3ForCausalLM", hidden=7168.0, heads=128.0, kv_heads=128.0,
        vocab=129280.0, context_limit=163840.0,
        layers=(
            Layers(count=3.0, weights=weights + norms + ffn(hidden=7168.0, width=18432.0), streams=streams),
            Layers(count=58.0, weights=weights + norms + routed + shared, streams=streams, experts=256.0, top_k=8.0,
                   expert_groups=8.0, groups_kept=4.0),
        ),
        embedding=Weight(name="embed_tokens", part="embedding", params=7168.0 * 129280, matmul=False),
        head=Weight(name="lm_head", part="head", params=7168.0 * 129280),
        extra=(norm("norm", 7168.0),),
    )  # fmt: skip
    return model


def llama_70b() -> Model:
    """Llama-3.1-70B: 80 layers, 64 heads of 128, 8 KV heads, FFN 28672."""
    weights, streams = gqa(hidden=8192.0, heads=64.0, kv_heads=8.0, head_dim=128.0)
    layer = weights + ffn(hidden=8192.0, width=28672.0) + (norm("norms", 2 * 8192.0),)
    return Model(
        name="Llama-3.1-70B", architecture="LlamaForCausalLM", hidden=8192.0, heads=64.0, kv_heads=8.0, vocab=128256.0,
        context_limit=131072.0, layers=(Layers(count=80.0, weights=layer, streams=streams),),
        embedding=Weight(name="embed_tokens", part="embedding", params=8192.0 * 128256, matmul=False),
        head=Weight(name="lm_head", part="head", params=8192.0 * 128256),
        extra=(norm("norm", 8192.0),),
    )  # fmt: skip


def small_moe(*, experts_: float = 8.0, top_k: float = 2.0, layers: float = 4.0, tied: bool = False) -> Model:
    """A small GQA MoE in every layer, with free expert count."""
    weights, streams = gqa(hidden=512.0, heads=8.0, kv_heads=4.0, head_dim=64.0)
    layer = weights + experts(hidden=512.0, width=1024.0, count=experts_) + (norm("norms", 1024.0),)
    return Model(
        name="small-moe", architecture="Test", hidden=512.0, heads=8.0, kv_heads=4.0, vocab=1000.0, tied=tied,
        layers=(Layers(count=layers, weights=layer, streams=streams, experts=experts_, top_k=top_k),),
        embedding=Weight(name="embed_tokens", part="embedding", params=512.0 * 1000, matmul=False),
        head=Weight(name="lm_head", part="head", params=0.0 if tied else 512.0 * 1000),
    )  # fmt: skip
