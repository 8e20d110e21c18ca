"""Step time: hand-worked floors, conservation, limits, monotonicity, scalar = array."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import arch, comm, counts, estimate, layouts, memory
from routeline.errors import RoutelineError
from routeline.hardware import Device
from routeline.numeric import ceil, choose, floor, maximum, minimum, sqrt
from routeline.roofline import ridge, roofline
from routeline.routing import UNIFORM
from routeline.scenario import BANDWIDTH, IDEAL, Efficiency, Layout, Precision, Workload

FORMATS = ("bf16", "fp8", "fp4", "int8", "int4")
NET = comm.Network(link=450e9, nic=50e9, node=8.0, link_latency=1e-6, nic_latency=2e-6)


def rates(bandwidth: float = 4.8e12, peak: float = 1978.9e12) -> estimate.Rates:
    return estimate.Rates(bandwidth=bandwidth, peaks=dict.fromkeys(FORMATS, peak), network=NET)


FP8 = counts.count(arch.restore(deepseek_v3(), "fp8"), "fp8")
LLAMA = counts.count(llama_70b(), "bf16")
DP8 = Layout(dp=8.0, ep=8.0)
TP8 = Layout(tp=8.0, moe_tp=8.0)


def seconds(counted, layout, batch, context, tier, r=None):
    work = Workload(context=context)
    return estimate.step(counted, r or rates(), layout, batch, work, tier).seconds


@pytest.mark.parametrize(
    ("counted", "layout", "context", "published"),
    [
        (FP8, DP8, 8192.0, 18.5),
        (FP8, DP8, 131072.0, 25.7),
        (FP8, TP8, 8192.0, 19.1),
        (FP8, TP8, 131072.0, 76.6),
        (LLAMA, TP8, 8192.0, 8.1),
        (LLAMA, TP8, 131072.0, 75.2),
    ],
)
def test_floors_of_the_acceptance_case(counted, layout, context, published):
    """8xH200, batch 64, 100% bandwidth (peers.md): milliseconds to the printed digit."""
    assert seconds(counted, layout, 64.0, context, BANDWIDTH) * 1e3 == pytest.approx(published, abs=0.06)


def test_the_slowest_rank_sets_the_floor():
    """With the slowest of 8 expert-parallel ranks the floors are 19.8 and 27.0 ms (peers.md)."""
    slow = replace(BANDWIDTH, worst_rank=True)
    assert seconds(FP8, DP8, 64.0, 8192.0, slow) * 1e3 == pytest.approx(19.8, rel=0.005)
    assert seconds(FP8, DP8, 64.0, 131072.0, slow) * 1e3 == pytest.approx(27.0, rel=0.005)


def test_parts_sum_to_the_step_and_limits_too():
    work = Workload(context=8192.0)
    for layout in (DP8, TP8, layouts.pooled(8)):
        for tier in (BANDWIDTH, IDEAL):
            one = estimate.step(FP8, rates(), layout, 64.0, work, tier)
            assert one.seconds == pytest.approx(sum(p.seconds for p in one.parts.values()), rel=1e-12)
            assert one.seconds == pytest.approx(sum(one.limits.values()), rel=1e-12)


def test_pooled_reads_each_touched_byte_once():
    """Bytes by part: fixed weights once, U/E of the routed ones, every cached byte; no copies."""
    one = estimate.step(FP8, rates(), layouts.pooled(8), 64.0, Workload(context=8192.0), BANDWIDTH)
    touched = 256 * (1 - (1 - 8 / 256) ** 64)
    assert one.touched == pytest.approx(222.44, abs=0.01)
    assert one.parts["routed"].bytes == pytest.approx(653_908_770_816 * touched / 256)
    assert one.cache_bytes == pytest.approx(64 * 8192 * 35_136)
    fixed = 671_026_404_352 - 653_908_770_816 - 926_679_040
    assert fixed == pytest.approx(16.19e9, rel=1e-3)
    assert one.weight_bytes == pytest.approx(fixed + one.parts["routed"].bytes, rel=1e-12)
    assert one.seconds == pytest.approx((one.weight_bytes + one.cache_bytes) / (8 * 4.8e12))


def test_data_parallel_attention_reads_its_copies():
    """DP8+EP8 replicates attention, shared experts and dense FFN on each rank; experts and head are cut."""
    one = estimate.step(FP8, rates(), DP8, 64.0, Workload(context=8192.0), BANDWIDTH)
    pooled = estimate.step(FP8, rates(), layouts.pooled(8), 64.0, Workload(context=8192.0), BANDWIDTH)
    for part in ("attention", "shared", "dense_ffn", "router"):
        assert one.parts[part].bytes == pytest.approx(8 * pooled.parts[part].bytes)
    for part in ("routed", "head", "cache"):
        assert one.parts[part].bytes == pytest.approx(pooled.parts[part].bytes)
    for part in ("attention", "shared", "routed", "cache", "head"):
        assert one.parts[part].flop == pytest.approx(pooled.parts[part].flop)


def test_latent_cache_is_replicated_by_tensor_parallelism_and_split_by_context_parallelism():
    tp = estimate.step(FP8, rates(), TP8, 64.0, Workload(context=8192.0), BANDWIDTH)
    cp = estimate.step(FP8, rates(), replace(TP8, cp=8.0), 64.0, Workload(context=8192.0), BANDWIDTH)
    assert tp.cache_bytes == pytest.approx(8 * cp.cache_bytes)
    assert cp.cache_bytes == pytest.approx(64 * 8192 * 35_136)
    gqa = estimate.step(LLAMA, rates(), TP8, 64.0, Workload(context=8192.0), BANDWIDTH)
    assert gqa.cache_bytes == pytest.approx(64 * 8192 * 327_680)


def test_more_ranks_than_kv_heads_replicate_keys_and_values():
    counted = counts.count(small_moe())
    wide, narrow = Layout(tp=8.0, moe_tp=8.0), Layout(tp=4.0, moe_tp=4.0)
    a = estimate.step(counted, rates(), wide, 8.0, Workload(context=512.0), BANDWIDTH)
    b = estimate.step(counted, rates(), narrow, 8.0, Workload(context=512.0), BANDWIDTH)
    assert a.cache_bytes == pytest.approx(2 * b.cache_bytes)
    kv = 2 * 512 * 4 * 64 * 2 * 4
    assert a.parts["attention"].bytes - b.parts["attention"].bytes == pytest.approx(kv)


def test_ideal_is_never_below_bandwidth():
    for layout in (DP8, TP8, layouts.pooled(8)):
        for batch in (1.0, 7.0, 64.0, 1000.0):
            assert seconds(FP8, layout, batch, 8192.0, IDEAL) >= seconds(FP8, layout, batch, 8192.0, BANDWIDTH)


def test_sum_of_maxima_not_maximum_of_sums():
    one = estimate.step(FP8, rates(), layouts.pooled(8), 2048.0, Workload(context=32768.0), IDEAL)
    total_bytes = sum(p.bytes for p in one.parts.values())
    total_flop = sum(p.flop for p in one.parts.values())
    naive = max(total_bytes / (8 * 4.8e12), total_flop / (8 * 1978.9e12))
    assert one.seconds > 1.05 * naive


def test_attention_compute_of_the_first_worked_row():
    """142 sequences of 128k on 8xMI300X: 30.2 ms of attention compute under 30.8 ms of bytes (section 7)."""
    counted = counts.count(deepseek_v3(), "bf16")
    r = rates(5.3e12, 1307.4e12)
    one = estimate.step(counted, r, layouts.pooled(8), 142.0, Workload(context=131072.0), IDEAL)
    assert one.parts["cache"].flop / (8 * 1307.4e12) * 1e3 == pytest.approx(30.2, abs=0.05)
    assert one.parts["cache"].bytes / (8 * 5.3e12) * 1e3 == pytest.approx(30.8, abs=0.06)


batches = st.integers(1, 5000).map(float)
contexts = st.integers(1, 200_000).map(float)


@settings(max_examples=60, deadline=None)
@given(
    batches, contexts, st.sampled_from([DP8, TP8, layouts.pooled(8), Layout(tp=2.0, pp=2.0, replicas=2.0, moe_tp=2.0)])
)
def test_scalars_and_arrays_agree(batch, context, layout):
    other = np.array([batch, 1.0, 3.0])
    for tier in (BANDWIDTH, IDEAL):
        whole = estimate.step(FP8, rates(), layout, other, Workload(context=context), tier)
        one = seconds(FP8, layout, batch, context, tier)
        assert np.asarray(whole.seconds)[0] == pytest.approx(one, rel=1e-12)
        assert math.isfinite(one)
        assert one > 0


@settings(max_examples=60, deadline=None)
@given(batches, contexts)
def test_more_of_anything_good_is_never_slower(batch, context):
    for layout in (DP8, TP8):
        base = seconds(FP8, layout, batch, context, IDEAL)
        assert seconds(FP8, layout, batch, context, IDEAL, rates(6e12)) <= base
        assert seconds(FP8, layout, batch, context, IDEAL, rates(peak=2e15)) <= base
        assert seconds(FP8, layout, batch + 1, context, IDEAL) >= base
        assert seconds(FP8, layout, batch, context + 1000, IDEAL) >= base


def test_layout_arrays_give_what_each_layout_gives():
    options = layouts.candidates(FP8, 8, 8)
    whole = np.asarray(estimate.step(FP8, rates(), options, 64.0, Workload(context=8192.0), IDEAL).seconds)
    for i in range(layouts.size(options)):
        one = seconds(FP8, layouts.pick(options, i), 64.0, 8192.0, IDEAL)
        assert whole[i] == pytest.approx(one, rel=1e-12)


def test_sparse_reads_cap_what_attention_touches():
    weights, (stream,) = arch.mla(
        hidden=512.0, heads=8.0, kv_lora_rank=64.0, qk_nope_head_dim=32.0, qk_rope_head_dim=16.0, v_head_dim=32.0,
        read=2048.0,
    )  # fmt: skip
    base = small_moe()
    layer = replace(base.layers[0], weights=weights, streams=(stream,), experts=1.0, top_k=1.0)
    counted = counts.count(replace(base, layers=(layer,)))
    at = {
        n: estimate.step(counted, rates(), Layout(), 2.0, Workload(context=n), BANDWIDTH).cache_bytes
        for n in (1024.0, 2048.0, 65536.0)
    }
    assert at[2048.0] == 2 * at[1024.0] == at[65536.0]
    drafted = Workload(context=65536.0, tokens_per_sequence=3.0)
    assert estimate.step(counted, rates(), Layout(), 2.0, drafted, BANDWIDTH).cache_bytes == 3 * at[65536.0]


def test_constant_state_is_read_and_written():
    state = arch.State(name="ssm", bytes=1e6, flop=10.0, shards=4.0)
    base = small_moe()
    layer = replace(base.layers[0], streams=(), states=(state,))
    counted = counts.count(replace(base, layers=(layer,)))
    one = estimate.step(counted, rates(), Layout(), 3.0, Workload(context=100.0), BANDWIDTH)
    assert one.parts["state"].bytes == 4 * 3 * 2 * 1e6
    assert memory.cache_per_device(counted, Layout(), Workload(context=1e5)) == 4e6


def test_encoder_weights_are_resident_but_not_read_in_decode():
    base = small_moe()
    both = counts.count(replace(base, layers=(replace(base.layers[0], encoder=True), base.layers[0])))
    alone = counts.count(base)
    work = Workload(context=128.0)
    a = estimate.step(both, rates(), Layout(), 4.0, work, BANDWIDTH)
    b = estimate.step(alone, rates(), Layout(), 4.0, work, BANDWIDTH)
    assert a.weight_bytes == b.weight_bytes
    assert memory.weights_per_device(both, Layout()) > memory.weights_per_device(alone, Layout())


def test_cross_attention_reads_the_encoder_tokens():
    base = small_moe()
    cross = replace(base.layers[0].streams[0], name="cross", per_input=True)
    counted = counts.count(replace(base, layers=(replace(base.layers[0], streams=(cross,)),)))
    long = estimate.step(counted, rates(), Layout(), 1.0, Workload(context=10.0, inputs=1000.0), BANDWIDTH)
    short = estimate.step(counted, rates(), Layout(), 1.0, Workload(context=10.0, inputs=100.0), BANDWIDTH)
    assert long.cache_bytes == 10 * short.cache_bytes


def test_drafted_tokens_cost_flop_and_touch_experts_but_only_accepted_ones_count():
    plain = estimate.step(FP8, rates(), DP8, 8.0, Workload(context=8192.0), IDEAL)
    work = Workload(context=8192.0, tokens_per_sequence=4.0, accepted=3.4)
    drafted = estimate.step(FP8, rates(), DP8, 8.0, work, IDEAL)
    assert drafted.tokens == 32
    assert drafted.touched == pytest.approx(256 * (1 - (31 / 32) ** 32))
    assert drafted.output == pytest.approx(8 * 3.4)
    assert drafted.seconds > plain.seconds


def test_pipeline_and_replicas_take_whole_sequences():
    layout = Layout(replicas=4.0)
    one = seconds(FP8, layout, 1.0, 8192.0, BANDWIDTH)
    assert seconds(FP8, layout, 4.0, 8192.0, BANDWIDTH) == pytest.approx(one)
    assert seconds(FP8, layout, 5.0, 8192.0, BANDWIDTH) > one
    piped = Layout(pp=4.0)
    assert seconds(FP8, piped, 4.0, 8192.0, BANDWIDTH) == pytest.approx(one)


def test_efficiencies_enter_as_data():
    """Half the bandwidth doubles memory-bound time; overheads add per layer; sharpness only adds."""
    work = Workload(context=8192.0)
    base = estimate.step(FP8, rates(), layouts.pooled(8), 8.0, work, BANDWIDTH).seconds
    half = replace(BANDWIDTH, memory={"": 0.5})
    assert estimate.step(FP8, rates(), layouts.pooled(8), 8.0, work, half).seconds == pytest.approx(2 * base)
    slow_core = replace(BANDWIDTH, overhead={"attention": 1e-6})
    assert estimate.step(FP8, rates(), layouts.pooled(8), 8.0, work, slow_core).seconds == pytest.approx(base + 61e-6)
    per_expert = replace(BANDWIDTH, per_expert=1e-9)
    touched = 256 * (1 - (31 / 32) ** 8)
    more = estimate.step(FP8, rates(), layouts.pooled(8), 8.0, work, per_expert).seconds
    assert more == pytest.approx(base + 58 * touched * 1e-9)
    scheduled = replace(BANDWIDTH, step=1e-3, per_sequence=1e-5)
    late = estimate.step(FP8, rates(), layouts.pooled(8), 8.0, work, scheduled).seconds
    assert late == pytest.approx(base + 1e-3 + 8e-5)
    soft = replace(IDEAL, sharpness=3.0)
    assert estimate.step(FP8, rates(), DP8, 64.0, work, soft).seconds > seconds(FP8, DP8, 64.0, 8192.0, IDEAL)
    by_format = Efficiency(name="x", memory={"": 1.0, "fp8": 0.5, ("routed", "fp8"): 0.25, "head": 0.1})
    assert by_format.memory_fraction("gemm", "fp8") == 0.5
    assert by_format.memory_fraction("routed", "fp8") == 0.25
    assert by_format.memory_fraction("head", "bf16") == 0.1


def test_communication_by_hand():
    """DeepSeek-V3 TP8, 64 tokens: 61 + 3 + 58 all-reduces of 64*7168*2 bytes, each 7/8*2 of it over the link."""
    work = Workload(context=8192.0)
    one = estimate.step(FP8, rates(), TP8, 64.0, work, IDEAL)
    message = 64 * 7168 * 2
    assert one.parts["communication"].seconds == pytest.approx(122 * (2 * 7 / 8 * message / 450e9 + 1e-6))
    spread = estimate.step(FP8, rates(), DP8, 64.0, work, IDEAL)
    reached = 4 * (1 - (1 - 1 / 4) ** 8)
    sent = 8 * reached * 7168 * 2
    expected = 58 * (1.5 * sent * 7 / 8 / 450e9 + 2e-6)
    assert spread.parts["communication"].seconds == pytest.approx(expected)
    assert "communication" not in estimate.step(FP8, rates(), layouts.pooled(8), 64.0, work, IDEAL).parts


def test_context_parallel_attention_pays_for_its_partial_sums():
    work = Workload(context=8192.0)
    plain = estimate.step(FP8, rates(), TP8, 8.0, work, IDEAL).parts["communication"].seconds
    split = estimate.step(FP8, rates(), replace(TP8, cp=8.0), 8.0, work, IDEAL).parts["communication"].seconds
    message = 8 * 278_528 / 2
    assert split - plain == pytest.approx(61 * (2 * 7 / 8 * message / 450e9 + 2e-6))


def test_a_format_without_a_peak_is_computed_in_the_next_wider_and_named():
    device = Device(name="A100", memory_marketed=80e9, bandwidth=2e12, peaks={"bf16": 312e12, "int8": 624e12})
    resolved, _ = estimate.rates(device, NET, Precision())
    assert resolved.computed_in["fp8"] == "bf16"
    assert resolved.computed_in["int8"] == "int8"
    assert resolved.peaks["fp4"] == 312e12
    texts = estimate.format_warnings(FP8, resolved, device, Precision())
    assert len(texts) == 1
    assert "fp8" in texts[0]
    assert "bf16 (weight-only)" in texts[0]
    assert estimate.format_warnings(LLAMA, resolved, device, Precision()) == []
    assert estimate.format_warnings(FP8, resolved, device, Precision(compute="bf16")) == []
    with pytest.raises(RoutelineError, match="A100 has no fp8 peak; it has bf16, int8"):
        estimate.rates(device, NET, Precision(compute="fp8"))
    with pytest.raises(RoutelineError, match="unknown compute format"):
        estimate.rates(device, NET, Precision(compute="fp9"))


def test_admissible_batch_floors_per_rank():
    work = Workload(context=1000.0)
    layout = Layout(dp=4.0, replicas=2.0)
    assert memory.admissible(100.0, 40.0, 7.0, layout) == 8 * 8
    assert memory.admissible(100.0, 101.0, 7.0, layout) == 0
    assert memory.admissible(100.0, 30.0, 7.0, Layout()) == 10
    assert memory.weights_per_device(FP8, TP8) == pytest.approx(671_026_404_352 / 8)
    assert memory.cache_per_device(FP8, TP8, work) == pytest.approx(35_136 * 1000)


def test_tp8_of_the_acceptance_case_does_not_fit():
    """64 sequences of 128k, latent cache replicated: 379 GB a device (docs/physics.md section 4)."""
    held = memory.weights_per_device(FP8, TP8) + 64 * memory.cache_per_device(FP8, TP8, Workload(context=131072.0))
    assert held == pytest.approx(379e9, rel=0.002)


def test_redundant_experts_cost_memory():
    extra = memory.weights_per_device(FP8, DP8, 32.0) - memory.weights_per_device(FP8, DP8)
    assert extra == pytest.approx(653_908_770_816 * 32 / 256 / 8)


def test_roofline_and_ridge():
    assert roofline(1e12, 1e9, 1e15, 1e12) == 1e-3
    assert roofline(4e12, 1e9, 1e15, 1e12) == 4e-3
    assert roofline(1e12, 1e9, 1e15, 1e12, sharpness=3.0) == pytest.approx(2 ** (1 / 3) * 1e-3)
    assert ridge(1e15, 1e12) == 1000.0


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_plain_numbers_follow_numpy(a, b):
    assert maximum(a, b) == np.maximum(a, b) == maximum(np.array([a]), b)[0]
    assert minimum(a, b) == np.minimum(a, b) == minimum(np.array([a]), b)[0]
    assert ceil(a) == np.ceil(a)
    assert floor(a) == np.floor(a)
    assert sqrt(abs(a)) == np.sqrt(abs(a))
    assert choose(a > b, a, b) == np.where(a > b, a, b)
    assert ceil(math.inf) == math.inf


def test_routing_default_is_uniform():
    assert UNIFORM.name == "uniform"


def test_a_mesh_gives_small_groups_fewer_links():
    """4 of 8 MI300X use 3 of their 7 links of 64 GB/s; all 8 use all."""
    mesh = comm.Network(link=448e9, nic=50e9, node=8.0, mesh_peers=7.0)
    assert [float(mesh.inside(n)) for n in (2.0, 4.0, 8.0)] == pytest.approx([64e9, 192e9, 448e9])
    pair, _ = comm.all_reduce(64e9, 2.0, mesh)
    assert pair == pytest.approx(1.0)
    assert NET.inside(2.0) == 450e9
