"""Prefill: causal sums, hand-worked FLOP, and decode as the special case without a prompt."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import counts, estimate, layouts, prefill
from routeline.arch import Stream
from routeline.comm import Network
from routeline.models import load_model
from routeline.scenario import BANDWIDTH, IDEAL, Layout, Workload

NET = Network(link=450e9, nic=50e9, node=8.0, link_latency=2e-6, nic_latency=5e-6)
RATES = estimate.Rates(bandwidth=4.8e12, peaks={f: 989e12 for f in ("bf16", "fp8", "fp4")}, network=NET)
V3 = counts.count(deepseek_v3(), "bf16")
ONE = Layout()


@pytest.mark.parametrize(
    ("stream", "new", "cached"),
    [
        (Stream(name="full", elements=1.0), 100, 0),
        (Stream(name="full", elements=1.0), 37, 200),
        (Stream(name="window", elements=1.0, window=64.0), 100, 30),
        (Stream(name="window", elements=1.0, window=64.0), 20, 500),
        (Stream(name="sparse", elements=1.0, read=16.0), 40, 10),
        (Stream(name="strided", elements=1.0, stride=4.0, read=8.0), 50, 7),
    ],
)
def test_causal_pairs_match_a_loop_over_tokens(stream, new, cached):
    loop = sum(
        min(min(position, stream.window) / stream.stride, stream.read)
        for position in range(cached + 1, cached + new + 1)
    )
    assert prefill.attended(stream, float(new), float(cached)) == pytest.approx(loop, rel=1e-12)


def test_flop_of_a_deepseek_prompt_by_hand():
    """2 FLOP a matmul parameter and token, head once, causal attention 2*128*(192+128) per layer and pair."""
    n = 131072.0
    rates = replace(RATES)
    done = prefill.prefill(V3, rates, layouts.pooled(1), n, replace(BANDWIDTH, compute={"": 1.0}), chunk=n)
    size = counts.active(deepseek_v3())
    vectors = sum(c * w.params for w, c, _ in counts.weights(deepseek_v3()) if not w.matmul and w.part == "norm")
    linear = 2.0 * (size.no_embedding_no_head - vectors) * n
    head = 2.0 * 7168 * 129280
    attention = 61 * 2 * 128 * (192 + 128) * n * (n + 1) / 2
    flop = sum(p.flop for p in done.step.parts.values())
    assert done.passes == 1.0
    assert flop == pytest.approx(linear + head + attention, rel=1e-9)
    assert done.seconds == pytest.approx(flop / 989e12, rel=1e-3)  # compute-bound but for the head and norms
    assert float(done.step.limits["compute"]) > 0.999 * done.seconds


def test_every_weight_is_read_once_a_pass_and_all_experts_are_touched():
    done = prefill.prefill(V3, RATES, layouts.pooled(1), 32768.0, BANDWIDTH, chunk=8192.0)
    weights = counts.total(deepseek_v3()) * 2.0 - 7168.0 * 129280 * 2.0
    assert done.passes == 4.0
    assert done.step.touched == pytest.approx(256.0, rel=1e-12)
    assert done.step.weight_bytes == pytest.approx(weights, rel=1e-9)


LAYOUTS = [
    layouts.pooled(8), Layout(tp=8.0, moe_tp=8.0), Layout(dp=8.0, ep=8.0), Layout(tp=4.0, dp=2.0, ep=8.0, cp=4.0),
    Layout(tp=2.0, dp=4.0, ep=4.0, moe_tp=2.0, pp=2.0, replicas=2.0),
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("tier", [BANDWIDTH, IDEAL], ids=["bandwidth", "ideal"])
def test_a_mixed_step_without_prompt_is_the_decode_step(layout, tier):
    for model in (V3, counts.count(small_moe(), "bf16"), counts.count(load_model("Switch-C"), "bf16")):
        work = Workload(context=5000.0, tokens_per_sequence=3.0, accepted=2.0)
        plain = estimate.step(model, RATES, layout, 61.0, work, tier)
        both = prefill.mixed(model, RATES, layout, 61.0, work, tier)
        assert both.seconds == pytest.approx(plain.seconds, rel=1e-12)
        assert both.output == plain.output
        assert both.touched == pytest.approx(plain.touched, rel=1e-12)
        for part, time in plain.parts.items():
            assert both.parts[part].seconds == pytest.approx(time.seconds, rel=1e-12, abs=1e-15)


def test_a_mixed_step_costs_at_least_either_phase_and_at_most_both():
    work = Workload(context=8192.0)
    prompt = prefill.Prompt(tokens=2048.0, new=8192.0)
    for layout in LAYOUTS:
        both = prefill.mixed(V3, RATES, layout, 64.0, work, BANDWIDTH, prompt=prompt).seconds
        decode = prefill.mixed(V3, RATES, layout, 64.0, work, BANDWIDTH).seconds
        alone = prefill.mixed(V3, RATES, layout, 0.0, work, BANDWIDTH, prompt=prompt).seconds
        assert max(decode, alone) <= both * (1 + 1e-12) <= (decode + alone) * (1 + 1e-9)


def test_attention_is_the_same_however_the_prompt_is_cut():
    whole = prefill.prefill(V3, RATES, ONE, 16384.0, IDEAL, chunk=16384.0)
    cut = prefill.prefill(V3, RATES, ONE, 16384.0, IDEAL, chunk=2048.0)
    assert cut.passes == 8.0
    assert cut.passes * cut.step.parts["cache"].flop == pytest.approx(whole.step.parts["cache"].flop, rel=1e-12)
    assert cut.seconds > whole.seconds  # weights are read eight times


@settings(max_examples=40, deadline=None)
@given(
    new=st.floats(1.0, 1e6), cached=st.floats(0.0, 1e6), chunk=st.floats(64.0, 1e5), faster=st.floats(1.0, 10.0),
    layout=st.sampled_from(LAYOUTS),
)  # fmt: skip
def test_prefill_limits_and_monotonicity(new, cached, chunk, faster, layout):
    """More bandwidth or compute is never slower; a longer prefix is never cheaper; finite and positive."""
    base = prefill.prefill(V3, RATES, layout, new, IDEAL, cached=cached, chunk=chunk)
    assert math.isfinite(base.seconds)
    assert base.seconds > 0
    wide = replace(RATES, bandwidth=RATES.bandwidth * faster)
    quick = replace(RATES, peaks={k: v * faster for k, v in RATES.peaks.items()})
    for better in (wide, quick):
        assert (
            prefill.prefill(V3, better, layout, new, IDEAL, cached=cached, chunk=chunk).seconds
            <= base.seconds * 1.0000001
        )
    longer = prefill.prefill(V3, RATES, layout, new, IDEAL, cached=cached + 1000.0, chunk=chunk)
    assert longer.seconds >= base.seconds * 0.9999999


def test_scalar_is_array():
    new, cached = np.array([1.0, 100.0, 9000.0, 131072.0]), np.array([0.0, 5.0, 9000.0, 4.0])
    for layout in LAYOUTS:
        whole = prefill.prefill(V3, RATES, layout, new, IDEAL, cached=cached).per_request
        one = [
            prefill.prefill(V3, RATES, layout, float(a), IDEAL, cached=float(b)).per_request
            for a, b in zip(new, cached, strict=True)
        ]
        assert np.allclose(whole, one, rtol=1e-12)
    table = layouts.candidates(V3, 8, 8)
    many = prefill.prefill(V3, RATES, table, 4096.0, IDEAL).per_request
    assert np.allclose(
        many,
        [
            prefill.prefill(V3, RATES, layouts.pick(table, i), 4096.0, IDEAL).per_request
            for i in range(layouts.size(table))
        ],
    )


def test_replicas_serve_in_proportion():
    llama = counts.count(llama_70b(), "bf16")
    one = prefill.prefill(llama, RATES, Layout(tp=8.0, moe_tp=8.0), 4096.0, IDEAL)
    four = prefill.prefill(llama, RATES, Layout(tp=8.0, moe_tp=8.0, replicas=4.0), 4096.0, IDEAL)
    assert four.seconds == one.seconds
    assert four.per_request == pytest.approx(one.per_request / 4.0, rel=1e-12)


def test_an_encoder_decoder_runs_its_encoder_over_the_prompt():
    """Switch-C: encoder layers and the cross projections see the prompt, decoder layers one start token."""
    switch = load_model("Switch-C")
    counted = counts.count(switch, "bf16")
    n = 512.0
    done = prefill.prefill(counted, RATES, layouts.pooled(1), n, replace(BANDWIDTH, compute={"": 1.0}), chunk=n)
    d, inner, width = 2080.0, 1920.0, 6144.0
    encoder = 15 * (4 * d * inner + 2 * d * width + d * 2048) * 2 * n
    cross = 15 * 2 * d * inner * 2 * n
    decoder = 15 * (8 * d * inner + 2 * d * width + d * 2048) * 2
    scores = 15 * 4 * inner * n * n + 15 * 4 * inner * n
    head = 2 * 32128 * d
    assert sum(p.flop for p in done.step.parts.values()) == pytest.approx(
        encoder + cross + decoder + scores + head, rel=1e-6
    )


def calibrated():
    from routeline.devices import parse_devices
    from routeline.ground import make_ground
    from routeline.scenario import Scenario

    return make_ground(parse_devices("8xH200"), Scenario(context=8192.0, tier="calibrated"))


@pytest.mark.parametrize("name", ["DeepSeek-V3", "Llama-3.1-70B", "Qwen3-Next-80B-A3B"])
def test_measured_kernels_prefill_slower_than_the_bound_and_decode_as_the_step(name):
    ground = calibrated()
    model = counts.count(load_model(name))
    for layout in (
        Layout(tp=8.0, moe_tp=8.0),
        Layout(tp=2.0, dp=4.0, ep=8.0) if model.moe_layers else Layout(tp=2.0, moe_tp=2.0),
    ):
        plain = estimate.step(model, ground.rates, layout, 64.0, ground.workload, ground.efficiency)
        both = prefill.mixed(model, ground.rates, layout, 64.0, ground.workload, ground.efficiency)
        assert both.seconds == plain.seconds
        slow = prefill.prefill(model, ground.rates, layout, 8192.0, ground.efficiency)
        bound = prefill.prefill(model, ground.rates, layout, 8192.0, IDEAL)
        assert 1.0 < slow.seconds / bound.seconds < 6.0
        prompt = prefill.Prompt(tokens=2048.0, new=8192.0)
        joint = prefill.mixed(model, ground.rates, layout, 64.0, ground.workload, ground.efficiency, prompt=prompt)
        alone = prefill.mixed(model, ground.rates, layout, 0.0, ground.workload, ground.efficiency, prompt=prompt)
        assert max(alone.seconds, plain.seconds) <= joint.seconds <= (alone.seconds + plain.seconds) * (1 + 1e-9)
        assert sum(p.seconds for p in joint.parts.values()) == pytest.approx(joint.seconds, rel=1e-12)
        assert joint.touched >= both.touched * (1 - 1e-9)


def test_measured_prefill_scalar_is_array():
    ground = calibrated()
    table = layouts.candidates(V3, 8, 8)
    many = prefill.prefill(V3, ground.rates, table, 4096.0, ground.efficiency).per_request
    one = [
        prefill.prefill(V3, ground.rates, layouts.pick(table, i), 4096.0, ground.efficiency).per_request
        for i in range(layouts.size(table))
    ]
    assert np.allclose(many, one, rtol=1e-12)
