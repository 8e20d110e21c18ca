"""Stored bits and compute formats: every quantization spelling, module by module, scales included."""

import pytest
from hf_cases import DEEPSEEK, LLAMA, MIXTRAL, QWEN_MOE, names, stored

from routeline.errors import RoutelineError
from routeline.hf import parse
from routeline.hf.patterns import Patterns
from routeline.models import load_model

LINEAR = "self_attn.q_proj"
EXPERT = "mlp.experts.up_proj"


def read(config, quantization=None, side=None, **change):
    merged = config | change | ({} if quantization is None else {"quantization_config": quantization})
    return parse(merged, name="test", source="test", quant=side)


def form(model, name):
    return names(model)[name][1:]


def test_no_quantization_stores_the_dtype():
    assert form(read(LLAMA), LINEAR) == (16.0, "bf16")
    assert form(read(LLAMA, torch_dtype="float32"), LINEAR) == (32.0, "bf16")
    with pytest.raises(RoutelineError, match="float7"):
        read(LLAMA, torch_dtype="float7")


def test_fp8_blocks_carry_one_fp32_scale_and_spare_head_router_and_embedding():
    model = read(QWEN_MOE, {"quant_method": "fp8", "weight_block_size": [128, 128]})
    assert form(model, LINEAR) == (8 + 32 / 128**2, "fp8")
    assert form(model, EXPERT) == (8 + 32 / 128**2, "fp8")
    for kept in ("lm_head", "mlp.gate", "model.embed_tokens", "model.norm"):
        assert form(model, kept) == (16.0, "bf16")


def test_modules_to_not_convert_by_name_layer_and_glob():
    q = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn", "k_proj"]}
    model = read(LLAMA, q)
    weights = {w.name: w for w in model.layers[0].weights}
    later = {w.name: w for w in model.layers[1].weights}
    assert model.layers[0].count == 1
    assert weights[LINEAR].bits == 16
    assert later[LINEAR].bits == 8
    assert later["self_attn.k_proj"].bits == 16
    glob = read(LLAMA, {"quant_method": "fp8", "ignored_layers": ["*.up_proj"]})
    assert form(glob, "mlp.up_proj")[0] == 16
    assert form(glob, "mlp.gate_proj")[0] == 8


def test_gate_means_the_router_not_gate_proj():
    model = read(MIXTRAL, {"quant_method": "fp8", "modules_to_not_convert": ["gate"]})
    assert form(model, "block_sparse_moe.experts.gate_proj")[0] == 8
    assert form(model, "block_sparse_moe.gate")[0] == 16


def test_modelopt_side_file():
    side = {
        "quantization": {
            "quant_algo": "NVFP4",
            "kv_cache_quant_algo": "FP8",
            "exclude_modules": ["lm_head", "model.layers.1*", "model.layers.0.self_attn.q_proj"],
        }
    }
    model = read(LLAMA, side=side)
    first, second, third = model.layers
    assert model.cache_format == "fp8"
    assert {w.bits for w in second.weights} == {16.0}
    assert {w.name: w.bits for w in first.weights}[LINEAR] == 16
    assert {w.name: (w.bits, w.format) for w in third.weights}[LINEAR] == (4.5, "fp4")
    assert third.count == 2


def test_a_prefix_glob_reaches_all_layers_that_begin_so():
    patterns = Patterns(["model.layers.1*", "model.layers.2.*"])
    assert [patterns.match(LINEAR, i, "model.") for i in (0, 1, 2, 10, 20)] == [False, True, True, True, False]


def test_mixed_precision_names_layers():
    q = {
        "quant_method": "modelopt",
        "quant_algo": "MIXED_PRECISION",
        "quantized_layers": {
            "model.layers.0.mlp.up_proj": {"quant_algo": "W4A16_NVFP4"},
            "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
        },
    }
    first = {w.name: (w.bits, w.format) for w in read(LLAMA, q).layers[0].weights}
    assert first["mlp.up_proj"] == (4.5, "bf16")  # weights only: computes at the activations' width
    assert first[LINEAR] == (8.0, "fp8")
    assert first["mlp.down_proj"] == (16.0, "bf16")


def test_compressed_tensors_groups_targets_and_ignore():
    group = {"weights": {"num_bits": 4, "type": "int", "group_size": 32, "symmetric": True}, "targets": ["Linear"]}
    q = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": group | {"input_activations": None}},
        "ignore": ["lm_head", "re:.*self_attn.*"],
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
    }
    model = read(QWEN_MOE, q)
    assert form(model, EXPERT) == (4.5, "bf16")
    assert form(model, LINEAR) == (16.0, "bf16")
    assert model.cache_format == "fp8"


def test_activations_decide_the_compute_format():
    weights = {"num_bits": 4, "type": "float", "group_size": 16}
    for activations, compute in (
        ({"num_bits": 4, "type": "float"}, "fp4"),
        ({"num_bits": 8, "type": "float"}, "fp8"),
        (None, "bf16"),
    ):
        groups = {"g": {"weights": weights, "input_activations": activations, "targets": ["Linear"]}}
        q = {"quant_method": "compressed-tensors", "config_groups": groups}
        assert form(read(LLAMA, q), LINEAR) == (4.5, compute)


def test_mxfp4_touches_only_experts():
    model = read(MIXTRAL, {"quant_method": "mxfp4"}, architectures=["GptOssForCausalLM"])
    assert form(model, EXPERT) == (4.25, "fp4")
    assert form(model, LINEAR) == (16.0, "bf16")
    assert form(model, "mlp.experts.bias") == (16.0, "bf16")


@pytest.mark.parametrize(
    ("q", "bits"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4 + 20 / 128),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, 4 + 20 / 64),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8.0),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 8.0),
    ],
)
def test_integer_methods(q, bits):
    model = read(LLAMA, q)
    assert form(model, LINEAR)[0] == pytest.approx(bits)
    assert form(model, "lm_head")[0] == 16


def test_expert_dtype_beside_fp8():
    model = read(DEEPSEEK, {"quant_method": "fp8"}, expert_dtype="fp4")
    assert form(model, EXPERT) == (4.25, "fp8")
    assert form(model, "self_attn.kv_b_proj") == (8.0, "fp8")


def test_mtp_layers_are_the_layers_after_the_last():
    q = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", "model.layers.4*"]}
    model = read(DEEPSEEK, q, num_nextn_predict_layers=1)
    assert names(model)["mtp.0.mlp.experts.up_proj"][1] == 16
    assert names(model)["mlp.experts.up_proj"][1] == 4.5


@pytest.mark.parametrize(
    ("q", "said"),
    [
        ({"quant_method": "quark"}, "quantization method 'quark' is unknown"),
        ({"quant_method": "modelopt", "quant_algo": "FP3"}, "'FP3' is unknown"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "between 1 and"),
        ({"quant_method": "fp8", "modules_to_not_convert": "lm_head"}, "must be a list"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 99}}}}, "between 2"),
        ({"quant_method": "compressed-tensors", "ignore": ["re:("]}, "not a valid expression"),
        ({"quant_method": "gptq", "bits": "four"}, "whole number"),
        ("fp8", "must be an object"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(q, said):
    with pytest.raises(RoutelineError, match="^(?s:.)*" + said.replace("(", "\\(")):
        read(LLAMA, q)


def test_a_name_that_promises_quantization_is_questioned():
    model = parse(LLAMA, name="Something-NVFP4", source="test")
    assert any("promises a quantized checkpoint" in w for w in model.warnings)


@pytest.mark.parametrize(
    ("name", "published_gb", "tolerance"),
    [
        ("gpt-oss-120b", 65.25, 0.005),  # 60.8 GiB on the model card
        ("gpt-oss-20b", 13.76, 0.005),  # 12.8 GiB
        ("DeepSeek-V3", 671 * 1.003, 0.01),  # a byte each, embedding and head two
        ("Qwen3-235B-A22B-FP8", 236.0, 0.01),
        ("Qwen3-235B-A22B-NVFP4", 134.0, 0.01),
        ("Kimi-K2.5", 594.0, 0.01),
    ],
)
def test_checkpoint_sizes_are_the_known_ones(name, published_gb, tolerance):
    assert stored(load_model(name)) / 1e9 == pytest.approx(published_gb, rel=tolerance)


def test_mtp_and_its_copies_complete_the_published_checkpoint():
    """DeepSeek-V3 holds 688.6 GB: 61 layers, the MTP layer, and its copies of embedding and head in 16 bits."""
    model = load_model("DeepSeek-V3")
    copies = 2 * 129280 * 7168 * 2
    assert (stored(model) + stored(model, mtp=True) + copies) / 1e9 == pytest.approx(688.6, rel=0.001)


BITNET = {
    "architectures": ["BitNetForCausalLM"],
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_hidden_layers": 30,
    "num_attention_heads": 20,
    "num_key_value_heads": 5,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


def test_bitnet_packs_four_ternary_weights_a_byte_and_multiplies_in_int8():
    model = read(BITNET, {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"})
    assert form(model, LINEAR) == (2.0, "int8")
    linear = 30 * (2 * 2560 * 2560 + 2 * 2560 * 640 + 3 * 2560 * 6912)
    norms = 30 * (3 * 2560 + 6912) + 2560
    assert stored(model) == linear / 4 + (norms + 128256 * 2560) * 2  # 1.18 GB on the hub
    with pytest.raises(RoutelineError, match="quantization_mode=online"):
        read(BITNET, {"quant_method": "bitnet", "quantization_mode": "online"})
