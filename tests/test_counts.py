"""Parameters, bytes and cache by hand-worked numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import arch, counts
from routeline.errors import RoutelineError


def test_deepseek_v3_totals_are_the_published_ones():
    model = deepseek_v3()
    active = counts.active(model)
    assert counts.total(model) == 671_026_404_352
    assert active.all == 37_552_282_624
    assert active.no_embedding == 36_625_603_584
    assert active.no_embedding_no_head == 36_625_603_584 - 926_679_040
    assert counts.sparsity(model) == pytest.approx(0.05596, abs=1e-5)


def test_parts_sum_to_the_total_and_match_the_oracle():
    parts = counts.parameters(deepseek_v3())
    assert sum(parts.values()) == 671_026_404_352
    assert parts["attention"] == 11_413_422_080
    assert parts["routed"] == 653_908_770_816
    assert parts["shared"] == 2_554_331_136
    assert parts["dense_ffn"] == 1_189_085_184
    assert parts["router"] == 106_430_464


def test_dense_model_uses_every_parameter():
    model = llama_70b()
    assert counts.total(model) == 70_553_706_496
    assert counts.active(model).all == counts.total(model)
    assert counts.sparsity(model) == 1.0


def test_tied_head_is_counted_once_but_read():
    untied, tied = small_moe(), small_moe(tied=True)
    table = 512 * 1000
    assert counts.total(untied) - counts.total(tied) == table
    assert counts.active(tied).no_embedding == counts.active(tied).all
    assert counts.active(tied).no_embedding_no_head == counts.active(untied).no_embedding_no_head
    heads = [op for op in counts.operations(tied) if op.kind == "head"]
    assert heads[0].bytes == table * 2


def test_vision_is_resident_but_not_active_and_mtp_is_neither():
    plain = small_moe()
    vision = arch.Weight(name="visual", part="vision", params=1e6)
    mtp = arch.Weight(name="mtp", part="mtp", params=2e6)
    model = replace(plain, extra=(vision, mtp))
    assert counts.total(model) == counts.total(plain) + 1e6
    assert counts.text_total(model) == counts.total(plain)
    assert counts.active(model).all == counts.active(plain).all
    resident = sum(r.bytes for r in counts.residents(model))
    assert resident == sum(r.bytes for r in counts.residents(plain)) + 2e6
    assert sum(r.bytes for r in counts.residents(model, with_mtp=True)) == resident + 4e6


def test_stored_bytes_follow_the_format():
    model = deepseek_v3()
    assert sum(counts.stored(model).values()) == 2 * 671_026_404_352
    assert sum(counts.stored(arch.restore(model, "fp8")).values()) == 671_026_404_352
    assert sum(counts.stored(arch.restore(model, "nvfp4")).values()) == 671_026_404_352 * 4.5 / 8
    with pytest.raises(RoutelineError, match="unknown weight format"):
        arch.restore(model, "fp7")


def test_latent_cache_is_70272_bytes_a_token_and_gqa_327680():
    assert counts.cache_rates(deepseek_v3(), "bf16").per_token == 70_272
    assert counts.cache_rates(deepseek_v3(), "fp8").per_token == 35_136
    assert counts.cache_rates(llama_70b(), "bf16").per_token == 327_680
    assert counts.cache_bytes(deepseek_v3(), "bf16", 131072.0) == 70_272 * 131072
    with pytest.raises(RoutelineError, match="unknown cache format"):
        counts.cache_rates(llama_70b(), "bf17")


def test_windows_strides_states_and_cross_attention_each_in_their_place():
    streams = (
        arch.Stream(name="window", elements=100.0, window=128.0),
        arch.Stream(name="compressed", elements=512.0, stride=4.0),
        arch.Stream(name="cross", elements=10.0, per_input=True),
        arch.Stream(name="index", elements=128.0, scale_bits=0.25),
    )
    layer = arch.Layers(count=3.0, weights=(), streams=streams, states=(arch.State(name="ssm", bytes=1000.0),))
    model = replace(small_moe(), layers=(layer,))
    rates = counts.cache_rates(model, "bf16")
    assert rates.windows == ((600.0, 128.0),)
    assert rates.per_token == 3 * (512 / 4 + 128) * 2
    assert rates.per_input_token == 60.0
    assert rates.state == 3000.0
    long, short = counts.cache_bytes(model, "bf16", 4096.0, 50.0), counts.cache_bytes(model, "bf16", 64.0, 0.0)
    assert long == 600 * 128 + rates.per_token * 4096 + 60 * 50 + 3000
    assert short == 600 * 64 + rates.per_token * 64 + 3000
    assert counts.cache_rates(model, "fp8").per_token == 3 * (512 / 4 + 128 * (8 + 0.25) / 8)


def test_absorbed_mla_costs_278528_flop_per_query_and_cached_token():
    cores = [op for op in counts.operations(deepseek_v3()) if op.kind == "attention"]
    assert len(cores) == 1
    assert cores[0].flop == 278_528
    assert cores[0].count == 61


def test_operations_conserve_bytes_and_flop():
    """Equal operations are merged over layers; what is read plus the embedding is what is stored."""
    for model in (deepseek_v3(), llama_70b(), small_moe(), small_moe(tied=True)):
        read = sum(op.count * op.bytes for op in counts.operations(model))
        table = 0.0 if model.tied else model.embedding.params * 2
        assert read + table == pytest.approx(sum(counts.stored(model).values()), rel=1e-15)
        flop = sum(op.count * op.flop for op in counts.operations(model) if op.stream is None)
        matmul = sum(
            n * w.params * (g.top_k / g.experts if w.part == "routed" and g else 1.0)
            for w, n, g in counts.weights(model)
            if w.matmul and w.part != "embedding"
        ) + (model.embedding.params if model.tied else 0.0)
        assert flop == pytest.approx(2 * matmul, rel=1e-12)


def test_residents_hold_every_stored_byte():
    for model in (deepseek_v3(), small_moe(tied=True)):
        assert sum(r.bytes for r in counts.residents(model)) == pytest.approx(sum(counts.stored(model).values()))


def test_count_names_the_layer_kinds():
    counted = counts.count(deepseek_v3())
    assert (counted.mixers, counted.dense_layers, counted.moe_layers) == (61, 3, 58)
    assert (counted.experts, counted.top_k, counted.expert_groups, counted.groups_kept) == (256, 8, 8, 4)
    assert counted.cache == "bf16"
    assert counts.count(replace(deepseek_v3(), cache_format="fp8")).cache == "fp8"
    assert counts.count(replace(deepseek_v3(), cache_format="fp8"), "bf16").cache == "bf16"
    with pytest.raises(RoutelineError, match="unknown cache format"):
        counts.count(deepseek_v3(), "int3")


def test_encoder_layers_do_not_count_as_decode_layers():
    base = small_moe()
    encoder = replace(base.layers[0], encoder=True)
    counted = counts.count(replace(base, layers=(encoder, base.layers[0])))
    assert (counted.mixers, counted.moe_layers) == (4, 4)


def test_synthetic_shapes_may_be_arrays():
    """One architecture per array element gives what the scalars give."""
    expert_counts = np.array([4.0, 8.0, 64.0])
    whole = counts.total(small_moe(experts_=expert_counts))  # type: ignore[arg-type]
    assert np.array_equal(whole, [counts.total(small_moe(experts_=float(e))) for e in expert_counts])


def test_equal_layers_merge_by_value():
    layer = small_moe().layers[0]
    merged = arch.merge([replace(layer, count=1.0)] * 3 + [replace(layer, count=1.0, top_k=1.0)])
    assert [g.count for g in merged] == [3.0, 1.0]


def test_a_changed_model_shows_it():
    assert small_moe().but(hidden=1.0).name == "small-moe (modified)"


def test_builders_agree_with_hand_counts():
    weights, (stream,) = arch.gqa(
        hidden=10.0, heads=4.0, kv_heads=2.0, head_dim=3.0, v_head_dim=5.0, bias=True, out_bias=True
    )
    assert sum(w.params for w in weights) == 10 * 12 + 10 * 6 + 10 * 10 + 20 * 10 + (12 + 2 * 8) + 10
    assert stream.elements == 2 * 8
    assert stream.flop == 2 * 4 * 8
    assert stream.window == math.inf
    two = arch.experts(hidden=10.0, width=7.0, count=5.0, matrices=2, router_bias=True)
    assert sum(w.params for w in two) == 2 * 350 + 50 + 5
    plain, _ = arch.mla(
        hidden=8.0, heads=2.0, kv_lora_rank=4.0, qk_nope_head_dim=3.0, qk_rope_head_dim=1.0, v_head_dim=2.0
    )
    assert {w.name.split(".")[-1] for w in plain} >= {"q_proj", "kv_b_proj"}
    assert not any("q_a" in w.name for w in plain)
