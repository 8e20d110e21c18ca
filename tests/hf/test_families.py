"""Caches, states and uses of recurrent, hybrid and older families, by hand; totals as published."""

import json
import math
from pathlib import Path

import pytest
from hf_cases import cache

from routeline import counts
from routeline.errors import RoutelineError
from routeline.hf import parse

CASES = {c["family"]: c["config"] for c in json.loads(Path(__file__).with_name("reference.json").read_text())}


def read(family, **change):
    return parse(CASES[family] | change, name=family, source="test")


@pytest.mark.parametrize(
    ("family", "published"),
    [
        ("bloom-176b", 176_247_271_424),
        ("bloom-560m", 559_214_592),
        ("gpt-j-6b", 6_050_882_784),
        ("starcoder-15b", 15_517_456_384),
        ("mpt-7b", 6_649_286_656),
        ("stablelm-2-1.6b", 1_644_515_328),
        ("mamba-2.8b", 2_768_345_600),
        ("falcon-mamba-7b", 7_272_665_088),
        ("codestral-mamba-7b", 7_285_403_648),
        ("bitnet-2b", 2_412_820_480),
    ],
)
def test_total_is_that_of_the_published_checkpoint_and_all_of_it_is_used(family, published):
    model = read(family)
    assert counts.total(model) == published
    assert counts.active(model).all == published


@pytest.mark.parametrize(
    ("family", "free", "capped", "constant"),
    [
        # layers * keys and values * KV heads * head width * 2 bytes
        ("bloom-176b", 70 * 2 * 112 * 128 * 2, {}, 0),
        ("starcoder-15b", 40 * 2 * 1 * 128 * 2, {}, 0),
        ("stablelm-2-12b", 40 * 2 * 8 * 160 * 2, {}, 0),
        ("minitron-4b", 32 * 2 * 8 * 128 * 2, {}, 0),
        ("gpt-neo-2.7b", 16 * 2 * 20 * 128 * 2, {256.0: 16 * 2 * 20 * 128 * 2}, 0),
        ("cwm-32b", 16 * 2 * 8 * 128 * 2, {8192.0: 48 * 2 * 8 * 128 * 2}, 0),
        ("granite-swa", 6 * 2 * 4 * 128 * 2, {128.0: 18 * 2 * 4 * 128 * 2}, 0),
        ("vaultgemma-1b", 13 * 2 * 4 * 256 * 2, {512.0: 13 * 2 * 4 * 256 * 2}, 0),
        # layers * (state in fp32 + 4 convolution columns in 16 bits)
        ("mamba-2.8b", 0, {}, 64 * (5120 * 16 * 4 + 5120 * 4 * 2)),
        ("falcon-mamba-7b", 0, {}, 64 * (8192 * 16 * 4 + 8192 * 4 * 2)),
        ("codestral-mamba-7b", 0, {}, 64 * (128 * 64 * 128 * 4 + (8192 + 2 * 8 * 128) * 4 * 2)),
        ("falcon-h1-tied", 6 * 2 * 2 * 64 * 2, {}, 6 * (24 * 64 * 128 * 4 + (1536 + 2 * 128) * 4 * 2)),
        # 13 uses of two shared blocks, each with a cache of its own; heads of 2*3584/32
        ("zamba2-7b", 13 * 2 * 32 * 224 * 2, {}, 81 * (112 * 64 * 64 * 4 + (7168 + 2 * 2 * 64) * 4 * 2)),
        # every third of 38 layers attends; the others keep a vector in fp32 and 3 columns
        ("recurrentgemma-9b", 0, {2048.0: 12 * 2 * 1 * 256 * 2}, 26 * (4096 * 4 + 4096 * 3 * 2)),
    ],
)
def test_cache_and_state_by_hand(family, free, capped, constant):
    assert cache(read(family)) == (free, capped, constant)


def test_zamba2_reads_a_shared_block_at_every_use_and_holds_it_once_a_copy():
    h, wide, width = 3584, 2 * 3584, 14336
    # q, k, v from 2h to 2h, o to h, a gated FFN of h, norms of 2h and h
    block = 3 * wide * wide + wide * h + 3 * h * width + wide + h
    model = read("zamba2-7b")
    read_in_layers = sum(g.count * sum(w.params for w in g.weights) for g in model.layers)
    held = counts.total(model) - model.embedding.params - h
    assert read_in_layers - held == (13 - 2) * block
    moved = sum(op.count * op.bytes for op in counts.operations(model))
    assert moved == 2 * (counts.total(model) + 11 * block)
    stored = sum(counts.stored(model).values())
    assert stored == 2 * counts.total(model)


@pytest.mark.parametrize(
    ("family", "active"),
    [
        # outside the experts, then top_k of them and the shared ones
        (
            "aria-25b",
            2 * 100352 * 2560 + 2560 + 28 * (4 * 2560 * 2560 + 2 * 2560 + 64 * 2560 + (6 + 2) * 3 * 2560 * 1664),
        ),
        (
            "granite-moe-swa",
            49155 * 1024
            + 1024
            + 12
            * (2 * 1024 * 1024 + 2 * 1024 * 512 + 16 + 2 * 1024 + 32 * 1024 + 8 * 3 * 1024 * 512 + 3 * 1024 * 1024),
        ),
        (
            "mellum-windows",
            2 * 98304 * 1024
            + 1024
            + 8 * (2 * 1024 * 1024 + 2 * 1024 * 256 + 2 * 64 + 2 * 1024 + 32 * 1024 + 4 * 3 * 1024 * 512),
        ),
    ],
)
def test_active_by_hand(family, active):
    assert counts.active(read(family)).all == active


def test_mt5_with_a_head_of_its_own_is_that_of_the_published_checkpoint():
    assert counts.total(read("mt5-xxl", tie_word_embeddings=False)) == 12_921_057_280


def test_umt5_has_a_position_table_a_layer():
    shared = counts.total(read("umt5-base", architectures=["MT5ForConditionalGeneration"]))
    assert counts.total(read("umt5-base")) - shared == (24 - 2) * 32 * 12


def test_falcon_h1_attends_and_scans_in_every_layer():
    model = read("falcon-h1-wide")
    assert [g.count for g in model.layers] == [72]
    assert len(model.layers[0].streams) == len(model.layers[0].states) == 1


def test_a_given_inner_width_wins_over_expand_as_in_falcon_mamba():
    assert counts.total(read("falcon-mamba-7b", expand=2)) == counts.total(read("falcon-mamba-7b", expand=16))


def test_cwm_and_granite_swa_have_windows_of_their_class_where_the_file_has_none():
    given = {k: v for k, v in CASES["cwm-32b"].items() if k != "sliding_window"}
    model = parse(given, name="test", source="test")
    assert sorted({s.window for g in model.layers for s in g.streams}) == [8192.0, math.inf]
    assert any("sliding_window is not in the config" in w for w in model.warnings)


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("mpt-7b", {"no_bias": False}, "no_bias=False must be true"),
        ("mpt-7b", {"expansion_ratio": 2}, "expansion_ratio=2 must be 4"),
        ("mpt-7b", {"attn_config": {"alibi": False}}, "other MPT variants are not understood"),
        ("mpt-7b", {"attn_config": {"attn_type": "multiquery_attention"}}, "attn_type=multiquery_attention"),
        ("gpt-j-6b", {"tie_word_embeddings": True}, "must be false: GPT-J and CodeGen have a head with a bias"),
        ("gpt-neo-2.7b", {"attention_types": [[["global"], 3]]}, "does not describe each of 32 layers once"),
        ("starcoder-15b", {"num_key_value_heads": 8}, "contradicts multi_query"),
        ("bloom-560m", {"n_head": 15}, "not divisible by"),
        ("persimmon-8b", {"num_key_value_heads": 8}, "Persimmon has no grouped queries"),
        ("codestral-mamba-7b", {"num_heads": 64}, "is not expand\\*hidden_size"),
        ("falcon-h1-tied", {"mamba_d_head": 32}, "is not mamba_d_ssm=1536"),
        ("zamba2-7b", {"tie_word_embeddings": False}, "a head of its own is not understood"),
        ("zamba2-7b", {"attention_head_dim": 64}, "attention_head_dim=64 must lie between 224 and 224"),
        ("zamba2-7b", {"layers_block_type": None}, "54 layers, not 81"),
        ("recurrentgemma-9b", {"block_types": ["recurrent", "mlp"]}, "must be made of recurrent and attention"),
        ("recurrentgemma-9b", {"lru_width": 4100}, "divisible by num_attention_heads=16"),
    ],
)
def test_variants_that_are_not_understood_are_refused_by_name(family, change, said):
    with pytest.raises(RoutelineError, match=said):
        read(family, **change)


def test_deepseek_v4_with_what_its_code_does_not_know_is_refused():
    with pytest.raises(RoutelineError, match="n_shared_experts=2 must be 1"):
        read("deepseek_v4", n_shared_experts=2)
    rates = {"compressed_sparse_attention": 8, "heavily_compressed_attention": 128}
    with pytest.raises(RoutelineError, match="must give 4 to compressed_sparse_attention"):
        read("deepseek_v4", compress_rates=rates)
