"""One test per trap of facts/models/quirks.md, each with the smallest config that springs it."""

import math

import pytest
from hf_cases import DEEPSEEK, LLAMA, MIXTRAL, QWEN_MOE, cache, names

from routeline import counts
from routeline.errors import RoutelineError
from routeline.hf import parse


def read(config, **change):
    merged = {k: v for k, v in (config | change).items() if v is not ...}
    return parse(merged, name="test", source="test")


def moe_layers(model):
    return sum(g.count for g in model.layers if g.experts > 1)


def total(model):
    return counts.total(model)


def test_01_every_spelling_of_the_expert_count_counts_the_same():
    base = {k: v for k, v in MIXTRAL.items() if k != "num_local_experts"}
    sizes = {total(read(base, **{key: 8})) for key in ("num_experts", "n_routed_experts", "num_local_experts")}
    assert len(sizes) == 1


def test_02_sampling_top_k_is_not_routing():
    assert read(MIXTRAL, top_k=50) == read(MIXTRAL)
    absent = read(MIXTRAL, num_experts_per_tok=...)
    assert absent.layers[0].top_k == 2  # the class's own default, listed
    assert dict(absent.defaults)["num_experts_per_tok"] == 2
    assert {g.top_k for g in read(SWITCH).layers if g.experts > 1} == {1.0}


def test_03_expert_width_falls_back_to_intermediate_size():
    wide = names(read(MIXTRAL))["block_sparse_moe.experts.up_proj"][0]
    assert wide == 4 * 8 * 512 * 1024
    assert names(read(QWEN_MOE))["mlp.experts.up_proj"][0] == 4 * 8 * 512 * 256


LLAMA4 = LLAMA | {
    "architectures": ["Llama4ForCausalLM"],
    "head_dim": 64,
    "intermediate_size": 256,
    "intermediate_size_mlp": 1024,
    "num_local_experts": 8,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 128,
    "max_position_embeddings": 4096,
}


def test_03_llama4_widths_and_chunks():
    model = read(LLAMA4)
    assert moe_layers(model) == 2
    parts = counts.parameters(model)
    assert parts["shared"] == 2 * 3 * 512 * 256
    assert parts["dense_ffn"] == 2 * 3 * 512 * 1024
    per_layer = 2 * 2 * 64 * 2
    assert cache(model) == (per_layer, {128.0: 3 * per_layer}, 0.0)


NEMOTRON = {
    "architectures": ["NemotronHForCausalLM"],
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "hybrid_override_pattern": "ME*-",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
    "moe_intermediate_size": 128,
    "moe_shared_expert_intermediate_size": 96,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "mamba_num_heads": 8,
    "mamba_head_dim": 32,
    "ssm_state_size": 16,
    "n_groups": 2,
    "conv_kernel": 4,
    "vocab_size": 1000,
}


def test_04_latent_experts_are_narrower_and_need_projections():
    plain = names(read(NEMOTRON))["mixer.experts.up_proj"][0]
    latent = names(read(NEMOTRON, moe_latent_size=64))
    assert plain == 8 * 256 * 128
    assert latent["mixer.experts.up_proj"][0] == 8 * 64 * 128
    assert latent["mixer.fc1_latent_proj"][0] == 256 * 64 == latent["mixer.fc2_latent_proj"][0]


def test_05_two_matrix_experts():
    found = names(read(NEMOTRON))
    assert "mixer.experts.gate_proj" not in found
    assert found["mixer.shared_experts.up_proj"][0] == 256 * 96


@pytest.mark.parametrize(
    ("change", "sparse"),
    [
        ({"first_k_dense_replace": 1}, 3),
        ({"first_k_dense_replace": 0, "moe_layer_freq": 2}, 2),
        ({"first_k_dense_replace": ..., "moe_layer_freq": [0, 1, 1, 0]}, 2),
        ({"first_k_dense_replace": ..., "mlp_layer_types": ["dense", "dense", "dense", "sparse"]}, 1),
    ],
)
def test_06_placement_of_deepseek_layers(change, sparse):
    assert moe_layers(read(DEEPSEEK, **change)) == sparse


@pytest.mark.parametrize(
    ("change", "sparse"),
    [({"decoder_sparse_step": 2}, 2), ({"decoder_sparse_step": 1, "mlp_only_layers": [0, 3]}, 2), ({}, 4)],
)
def test_06_placement_of_qwen_layers(change, sparse):
    assert moe_layers(read(QWEN_MOE, **change)) == sparse


def test_06_contradicting_placements_are_refused():
    with pytest.raises(RoutelineError, match="place the MoE layers differently"):
        read(DEEPSEEK, mlp_layer_types=["sparse"] * 4)


def test_07_shared_experts_as_a_count_and_as_a_total():
    assert counts.parameters(read(DEEPSEEK, n_shared_experts=2))["shared"] == 3 * 3 * 512 * 256
    qwen2 = QWEN_MOE | {"architectures": ["Qwen2MoeForCausalLM"], "shared_expert_intermediate_size": 640}
    assert counts.parameters(read(qwen2))["shared"] == 4 * (3 * 512 * 640 + 512)
    assert counts.parameters(read(DEEPSEEK, n_shared_experts=None))["shared"] == 0


def test_07_dense_paths_beside_the_experts():
    grok = MIXTRAL | {"architectures": ["Grok1ForCausalLM"], "moe_intermediate_size": 256, "residual_moe": True}
    assert counts.parameters(read(grok))["shared"] == 4 * 3 * 512 * 1024
    arctic = MIXTRAL | {
        "architectures": ["ArcticForCausalLM"],
        "moe_layer_frequency": 1,
        "parallel_attn_mlp_res": True,
    }
    assert counts.parameters(read(arctic))["shared"] == 4 * 3 * 512 * 512


def test_08_mtp_layers_stay_out_of_the_total():
    plain, drafted = read(DEEPSEEK), read(DEEPSEEK, num_nextn_predict_layers=1)
    assert total(plain) == total(drafted)
    assert drafted.mtp_layers == 1
    last = drafted.layers[-1]
    layer = sum(w.params for w in last.weights)
    assert counts.parameters(drafted)["mtp"] == layer + 2 * 512 * 512 + 3 * 512


def test_08_lists_may_be_as_long_as_layers_plus_mtp():
    frequencies = [0, 1, 1, 1, 1]
    model = read(DEEPSEEK, first_k_dense_replace=..., moe_layer_freq=frequencies, num_nextn_predict_layers=1)
    assert moe_layers(model) == 3


def test_09_tying_defaults_by_family_and_nesting():
    assert not read(LLAMA).tied
    gemma = LLAMA | {"architectures": ["Gemma2ForCausalLM"], "sliding_window": 64}
    assert read(gemma).tied
    assert ("tie_word_embeddings", True) in read(gemma).defaults
    assert not read(gemma, tie_word_embeddings=False).tied
    inner = {k: v for k, v in LLAMA.items() if k != "architectures"}
    nested = {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": inner, "tie_word_embeddings": True}
    assert read(nested).tied
    old = nested | {"text_config": inner | {"tie_word_embeddings": False}, "transformers_version": "4.57.1"}
    assert not read(old).tied
    assert read(old | {"transformers_version": "5.2.0"}).tied


def test_10_head_dim_is_what_is_said_and_else_hidden_over_heads():
    assert names(read(LLAMA))["self_attn.q_proj"][0] == 4 * 512 * 512
    assert names(read(LLAMA, head_dim=128))["self_attn.q_proj"][0] == 4 * 512 * 1024
    with pytest.raises(RoutelineError, match="not divisible"):
        read(LLAMA, hidden_size=500, num_attention_heads=8, num_key_value_heads=8)


def test_10_mla_ignores_head_dim_and_kv_heads():
    assert read(DEEPSEEK, head_dim=999, num_key_value_heads=3).layers == read(DEEPSEEK).layers


def test_10_mimo_has_its_own_windowed_shape():
    mimo = DEEPSEEK | {
        "architectures": ["MiMoV2FlashForCausalLM"],
        "num_key_value_heads": 2,
        "head_dim": 96,
        "v_head_dim": 64,
        "swa_num_key_value_heads": 4,
        "swa_head_dim": 96,
        "swa_v_head_dim": 64,
        "hybrid_layer_pattern": [0, 1, 1, 0],
        "sliding_window": 128,
        "n_shared_experts": None,
    }
    mimo = {k: v for k, v in mimo.items() if "lora" not in k and not k.startswith("qk_")}
    model = read(mimo)
    assert cache(model) == (2 * 2 * (96 + 64) * 2, {128.0: 2 * 4 * (96 + 64) * 2}, 0.0)
    assert names(model)["self_attn.sinks"][0] == 2 * 8


def test_10_heads_per_layer():
    laguna = QWEN_MOE | {
        "architectures": ["LagunaForCausalLM"],
        "num_attention_heads_per_layer": [8, 4, 4, 8],
        "gating": "per-head",
    }
    assert names(read(laguna))["self_attn.q_proj"][0] == 512 * 64 * (8 + 4 + 4 + 8)
    assert names(read(laguna))["self_attn.g_proj"][0] == 512 * (8 + 4 + 4 + 8)


def nas_block(group, mult, **attention):
    return {"attention": {"n_heads_in_group": group} | attention, "ffn": {"ffn_mult": mult}}


def test_10_nas_blocks_differ_and_may_be_absent():
    blocks = [nas_block(4, 2.0), nas_block(None, 1.0, no_op=True), nas_block(8, 2.0), nas_block(4, 2.0)]
    nas = LLAMA | {"architectures": ["DeciLMForCausalLM"], "block_configs": blocks}
    model = read(nas)
    assert cache(model)[0] == 2 * 64 * 2 * (2 + 1 + 2)
    wide, narrow = 768, 512  # 2/3 * mult * 512, up to a multiple of 256
    assert counts.parameters(model)["dense_ffn"] == 3 * 512 * (3 * wide + narrow)


def test_10_nas_layers_may_be_single_matrices():
    linear = {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}}
    gone = {"attention": {"no_op": True}, "ffn": {"no_op": True}}
    blocks = [nas_block(4, 2.0), linear, gone, nas_block(4, 2.0, window_length=64)]
    model = read(LLAMA | {"architectures": ["DeciLMForCausalLM"], "block_configs": blocks})
    assert names(model)["self_attn.linear_attn"][0] == 512 * 512 == names(model)["mlp.linear_mlp"][0]
    assert cache(model) == (2 * 64 * 2 * 2, {64.0: 2 * 64 * 2 * 2}, 0.0)
    with pytest.raises(RoutelineError, match="must divide"):
        read(LLAMA | {"architectures": ["DeciLMForCausalLM"], "block_configs": [nas_block(3, 2.0)] * 4})


def test_11_kv_heads_under_falcons_flags():
    falcon = LLAMA | {"architectures": ["FalconForCausalLM"], "num_key_value_heads": ...}
    falcon["intermediate_size"] = ...
    one = read(falcon, multi_query=True, new_decoder_architecture=False)
    eight = read(falcon, multi_query=False, new_decoder_architecture=False)
    two = read(falcon, multi_query=True, new_decoder_architecture=True, num_kv_heads=2)
    assert [cache(m)[0] // (4 * 2 * 64 * 2) for m in (one, eight, two)] == [1, 8, 2]


def test_11_step3_calls_kv_heads_attention_groups():
    step = {k: v for k, v in DEEPSEEK.items() if "lora" not in k and not k.startswith(("qk_", "v_head", "n_", "first"))}
    step |= {
        "architectures": ["Step3TextForCausalLM"],
        "num_attention_groups": 1,
        "num_key_value_heads": ...,
        "num_experts_per_tok": ...,
        "head_dim": 64,
        "share_q_dim": 128,
        "share_expert_dim": 256,
        "moe_num_experts": 16,
        "moe_top_k": 4,
        "moe_layers_enum": "1,3",
    }
    model = read(step)
    assert moe_layers(model) == 2
    assert cache(model)[0] == 4 * 2 * 64 * 2


def test_12_q_lora_rank_null_is_a_plain_q_projection():
    found = names(read(DEEPSEEK, q_lora_rank=None))
    assert found["self_attn.q_proj"][0] == 4 * 512 * 8 * 48
    assert "self_attn.q_a_proj" not in found


@pytest.mark.parametrize(
    ("change", "windowed"),
    [
        ({"use_sliding_window": False, "sliding_window": 64}, False),
        ({"use_sliding_window": True, "sliding_window": 64}, True),
        ({"use_sliding_window": True, "sliding_window": None}, False),
        ({"use_sliding_window": True, "sliding_window": 4096, "max_position_embeddings": 4096}, False),
    ],
)
def test_13_when_a_window_is_live(change, windowed):
    qwen = LLAMA | {"architectures": ["Qwen2ForCausalLM"], "max_window_layers": 0}
    assert bool(cache(read(qwen, **change))[1]) is windowed


def test_13_patterns_in_code_and_in_lists():
    gemma2 = LLAMA | {"architectures": ["Gemma2ForCausalLM"], "sliding_window": 64, "head_dim": 64}
    gemma3 = gemma2 | {"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 12}
    one = 2 * 2 * 64 * 2
    assert cache(read(gemma2)) == (2 * one, {64.0: 2 * one}, 0.0)
    assert cache(read(gemma3)) == (2 * one, {64.0: 10 * one}, 0.0)
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    assert cache(read(gemma2, layer_types=kinds)) == (one, {64.0: 3 * one}, 0.0)


def test_14_attn_type_list_and_constant_state():
    mini = MIXTRAL | {
        "architectures": ["MiniMaxText01ForCausalLM"],
        "head_dim": 64,
        "attn_type_list": [0, 0, 0, 1],
    }
    assert cache(read(mini)) == (2 * 2 * 64 * 2, {}, 3 * 8 * 64 * 64 * 4)


def test_14_mamba_state_is_fp32_unless_the_config_says_otherwise():
    conv = (8 * 32 + 2 * 2 * 16) * 4 * 2
    assert cache(read(NEMOTRON))[2] == 8 * 32 * 16 * 4 + conv
    assert cache(read(NEMOTRON, mamba_ssm_cache_dtype="bfloat16"))[2] == 8 * 32 * 16 * 2 + conv


KIMI = {k: v for k, v in DEEPSEEK.items() if k not in ("n_routed_experts", "num_experts_per_tok")} | {
    "architectures": ["KimiLinearForCausalLM"],
    "num_experts": 16,
    "num_experts_per_token": 4,
    "linear_attn_config": {
        "kda_layers": [1, 2, 3],
        "full_attn_layers": [4],
        "num_heads": 8,
        "head_dim": 32,
        "short_conv_kernel_size": 4,
    },
}


def test_14_kimi_counts_layers_from_one():
    free, _, constant = cache(read(KIMI))
    assert free == 1 * (64 + 16) * 2
    assert constant == 3 * (8 * 32 * 32 * 4 + 3 * 8 * 32 * 3 * 2)
    wrong = KIMI["linear_attn_config"] | {"kda_layers": [0, 1, 2]}
    with pytest.raises(RoutelineError, match="kda_layers"):
        read(KIMI, linear_attn_config=wrong)


DSA = DEEPSEEK | {
    "architectures": ["GlmMoeDsaForCausalLM"],
    "index_n_heads": 4,
    "index_head_dim": 32,
    "index_topk": 128,
}


def test_15_indexers_cache_their_own_keys_and_cap_what_is_read():
    model = read(DSA)
    assert cache(model)[0] == 4 * (64 + 16 + 32) * 2
    latent, index = model.layers[0].streams
    assert latent.read == 128
    assert math.isinf(index.read)
    assert index.flop == 2 * 4 * 32
    assert index.scale_bits * 32 == 32  # one fp32 scale a key


@pytest.mark.parametrize(
    "change",
    [
        {"indexer_types": ["full", "shared", "shared", "full"]},
        {"index_topk_pattern": "FSSF"},
        {"index_topk_freq": 3, "index_skip_topk_offset": 1},
    ],
)
def test_15_some_layers_share_another_layers_indexer(change):
    model = read(DSA, **change)
    assert sum(g.count for g in model.layers if len(g.streams) == 2) == 2
    assert all(g.streams[0].read == 128 for g in model.layers)


V4 = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "hidden_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "q_lora_rank": 64,
    "o_lora_rank": 32,
    "o_groups": 2,
    "index_n_heads": 4,
    "index_head_dim": 16,
    "index_topk": 32,
    "sliding_window": 8,
    "compress_ratios": [0, 4, 128, 0],
    "hc_mult": 4,
    "moe_intermediate_size": 128,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "num_nextn_predict_layers": 1,
    "vocab_size": 1000,
}


def test_16_v4_compresses_and_keeps_a_raw_window():
    free, capped, _ = cache(read(V4))
    assert free == 64 * 2 / 4 + 16 * 2 / 4 + 64 * 2 / 128
    assert capped == {8.0: 3 * 64 * 2}


def test_17_cross_layer_attention_stores_every_second_cache():
    hunyuan = MIXTRAL | {
        "architectures": ["HunYuanForCausalLM"],
        "num_experts": 8,
        "num_local_experts": ...,
        "num_experts_per_tok": ...,
        "moe_topk": [2] * 4,
        "use_cla": True,
        "cla_share_factor": 2,
    }
    model = read(hunyuan)
    assert cache(model)[0] == 2 * 2 * 2 * 64 * 2
    assert names(model)["self_attn.k_proj"][0] == 2 * 512 * 128
    assert sum(g.count for g in model.layers for s in g.streams if s.flop > 0) == 4


GEMMA4 = LLAMA | {
    "architectures": ["Gemma4ForCausalLM"],
    "num_hidden_layers": 6,
    "head_dim": 32,
    "global_head_dim": 64,
    "sliding_window": 16,
    "hidden_size_per_layer_input": 0,
}


def test_17_gemma4_shares_caches_of_its_last_layers():
    kinds = ["sliding_attention", "full_attention"] * 3
    alone = read(GEMMA4, layer_types=kinds)
    shared = read(GEMMA4, layer_types=kinds, num_kv_shared_layers=2)
    small, large = 2 * 2 * 32 * 2, 2 * 2 * 64 * 2
    assert cache(alone) == (3 * large, {16.0: 3 * small}, 0.0)
    assert cache(shared) == (2 * large, {16.0: 2 * small}, 0.0)


def test_18_nested_text_configs_read_like_flat_ones():
    inner = {k: v for k, v in DEEPSEEK.items() if k != "architectures"}
    nested = {"architectures": ["KimiK25ForConditionalGeneration"], "text_config": inner}
    assert read(nested).layers == read(DEEPSEEK).layers


def test_20_model_type_may_lie_or_be_missing():
    assert read(LLAMA, model_type="git").layers == read(LLAMA).layers
    assert read(LLAMA, architectures=..., model_type="llama").layers == read(LLAMA).layers
    with pytest.raises(RoutelineError, match="neither architectures nor a known model_type"):
        read(LLAMA, architectures=...)


def test_21_biases():
    assert names(read(LLAMA, attention_bias=True))["self_attn.qkv_bias"][0] == 4 * (512 + 2 * 128)
    qwen2 = names(read(LLAMA, architectures=["Qwen2ForCausalLM"]))
    assert "self_attn.qkv_bias" in qwen2
    assert "self_attn.o_bias" not in qwen2
    phi = read(MIXTRAL, architectures=["PhiMoEForCausalLM"], lm_head_bias=True)
    assert counts.parameters(phi)["head"] == 1000 * 512 + 1000
    gpt = names(read(MIXTRAL, architectures=["GptOssForCausalLM"]))
    assert gpt["mlp.experts.bias"][0] == 4 * 8 * (2 * 1024 + 512)
    assert gpt["self_attn.sinks"][0] == 4 * 8


SWITCH = {
    "architectures": ["SwitchTransformersForConditionalGeneration"],
    "d_model": 64,
    "d_ff": 128,
    "d_kv": 16,
    "num_heads": 4,
    "num_layers": 4,
    "num_decoder_layers": 2,
    "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 1,
    "num_experts": 8,
    "vocab_size": 100,
}


def test_22_encoder_and_decoder_have_their_own_caches():
    model = read(SWITCH)
    assert moe_layers(model) == 3
    crossed = [s for g in model.layers for s in g.streams if s.per_input]
    assert cache(model)[0] == 2 * 2 * 64 * 2
    assert crossed[0].elements == 2 * 64
    assert sum(g.count for g in model.layers if g.encoder) == 4
    assert not any(g.streams for g in model.layers if g.encoder)


def test_23_filled_defaults_are_listed():
    filled = dict(read(LLAMA, num_key_value_heads=...).defaults)
    assert filled["num_key_value_heads"] == 8
    assert filled["head_dim"] == 64
    assert filled["tie_word_embeddings"] is False
    assert filled["torch_dtype"] == "bfloat16"


def test_deepseek_v3_by_hand():
    """arXiv:2412.19437: 61 layers, 3 dense, 256 experts of 2048, MLA 512+64; 671 B and 37 B."""
    v3 = DEEPSEEK | {
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "n_group": 8,
        "topk_group": 4,
        "vocab_size": 129280,
    }
    model = read(v3)
    mla = 7168 * 1536 + 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 + 512 * 128 * 256 + 128 * 128 * 7168
    layer = mla + 2 * 7168
    routed = 256 * 3 * 7168 * 2048
    rest = 7168 * 256 + 3 * 7168 * 2048
    outside = 2 * 129280 * 7168 + 7168
    hand = 61 * layer + 58 * (routed + rest) + 3 * 3 * 7168 * 18432 + outside
    assert hand == 671_026_404_352 == counts.total(model)
    assert counts.active(model).all == hand - 58 * routed * 248 / 256 == 37_552_282_624
    assert cache(model)[0] == 61 * 576 * 2 == 70_272
    assert model.layers[0].streams[0].flop == 278_528
    assert {(g.expert_groups, g.groups_kept) for g in model.layers if g.experts > 1} == {(8.0, 4.0)}
