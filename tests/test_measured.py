"""The calibrated tier times the same launches as served predictions, and behaves like physics."""

from dataclasses import replace

import numpy as np
import pytest

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import arch, estimate, explain, kernels, layouts, tiers
from routeline.answer.payload import side_payload
from routeline.compare import compare
from routeline.counts import count
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
from routeline.ground import make_ground, prepared
from routeline.models import load_model
from routeline.scenario import IDEAL, Layout, Scenario, Workload
from routeline.serving.physics import step_seconds
from routeline.serving.shapes import shape
from routeline.serving.table import Widths, build

CLUSTER = parse_devices("8xH200")


def served(model, layout, per_rank, context):
    """Decode step by the served predictions' own walk over launches [s]."""
    one = np.ones(1)
    widths = Widths(tp=layout.tp * one, dp=layout.dp * one, ep=layout.ep * one, pp=layout.pp * one)
    table = build([(np.array([0]), shape(model), CLUSTER.device)], widths, 2.0 * one)
    tier = tiers.efficiency("calibrated", CLUSTER.device)
    k = {n: np.array([v]) for n, v in tier.kernels.items()}
    k["comm.link"] = np.array([float(CLUSTER.device.link)])
    parts = step_seconds(
        table, k, decode=per_rank * one, context=context * one, prompt=0.0, prompt_context=0.0, prompts=0.0
    )
    fixed = tier.kernels["step.fixed"] + tier.kernels["step.sequence"] * per_rank
    return {name: float(v[0]) for name, v in parts.items()} | {"scheduling": fixed}


def answered(model, layout, batch, context):
    scenario = Scenario(context=context, tier="calibrated", cache="bf16")
    ground = make_ground(CLUSTER, scenario)
    return estimate.step(prepared(model, scenario), ground.rates, layout, batch, ground.workload, ground.efficiency)


@pytest.mark.parametrize(
    "model",
    [llama_70b(), deepseek_v3(), small_moe(), arch.restore(deepseek_v3(), "fp8"), load_model("MiniMax-M2.5")],
)
@pytest.mark.parametrize("tp", [1.0, 4.0, 8.0])
@pytest.mark.parametrize("batch", [1.0, 32.0, 500.0])
def test_every_part_equals_the_served_prediction(model, tp, batch):
    layout = Layout(tp=tp, moe_tp=tp)
    step = answered(model, layout, batch, 4096.0)
    other = served(model, layout, batch, 4096.0)
    renamed = {"activations": "small", "cache": "cache", "state": "state"}
    for name, part in step.parts.items():
        if float(part.seconds):
            assert part.seconds == pytest.approx(other[renamed.get(name, name)], rel=1e-9), name
    assert step.seconds == pytest.approx(sum(other.values()), rel=1e-9)


def test_expert_parallel_ranks_agree_closely():
    """Both take the slowest rank; the answer's order statistic has a skew term that the fit leaves out."""
    layout = Layout(dp=8.0, ep=8.0)
    step = answered(arch.restore(deepseek_v3(), "fp8"), layout, 512.0, 4096.0)
    other = served(arch.restore(deepseek_v3(), "fp8"), layout, 64.0, 4096.0)
    assert step.parts["routed"].seconds == pytest.approx(other["routed"], rel=0.02)


def test_calibrated_stays_above_the_bandwidth_floor_and_sums_to_its_parts():
    model = arch.restore(deepseek_v3(), "fp8")
    scenario = Scenario(context=8192.0, tier="calibrated")
    ground = make_ground(CLUSTER, scenario)
    counted = prepared(model, scenario)
    for layout in (Layout(tp=8.0, moe_tp=8.0), Layout(dp=8.0, ep=8.0)):
        batch = np.array([1.0, 16.0, 128.0])
        step = estimate.step(counted, ground.rates, layout, batch, ground.workload, ground.efficiency)
        bare = replace(IDEAL, worst_rank=False, latency_scale=0.0, activations=False)
        routed = estimate.step(counted, ground.rates, layout, batch, ground.workload, bare).parts
        for part in ("attention", "cache", "head"):
            assert np.all(step.parts[part].seconds > routed[part].seconds)
        assert np.allclose(step.seconds, sum(p.seconds for p in step.parts.values()))
        assert np.allclose(step.seconds, sum(step.limits.values()))
        assert np.all(np.diff(step.seconds) > 0)


def test_layouts_and_batches_broadcast():
    scenario = Scenario(context=8192.0, tier="calibrated", weights="fp8")
    ground = make_ground(CLUSTER, scenario)
    counted = prepared(deepseek_v3(), scenario)
    options = layouts.candidates(counted, 8, 8)
    wide = layouts.as_column(options)
    batch = np.array([8.0, 64.0])
    whole = estimate.step(counted, ground.rates, wide, batch, ground.workload, ground.efficiency).seconds
    for i in range(layouts.size(options)):
        for j, b in enumerate(batch):
            one = estimate.step(
                counted, ground.rates, layouts.pick(options, i), float(b), ground.workload, ground.efficiency
            )
            assert whole[i, j] == pytest.approx(float(one.seconds), rel=1e-12)


def test_auto_is_calibrated_where_kernels_were_measured():
    measured, other = parse_devices("8xH200").device, parse_devices("8xMI300X").device
    assert tiers.resolve("auto", measured) == "calibrated"
    assert tiers.resolve("auto", measured, "pooled") == "ideal"
    assert tiers.resolve("auto", other) == "ideal"
    assert tiers.efficiency("calibrated", other).kernels is not None
    assert "no kernel measured" in tiers.efficiency("calibrated", other).source
    with pytest.raises(RoutelineError, match="unknown tier"):
        tiers.resolve("best", measured)
    with pytest.raises(RoutelineError, match="unknown engine"):
        tiers.efficiency("auto", measured, engine="tgi")


def test_rounded_ridge_lies_between_sum_and_maximum():
    assert kernels.joined(2.0, 3.0, 4.0) == pytest.approx(5.0)
    assert kernels.joined(50.0, 3.0, 4.0) == pytest.approx(4.0, rel=1e-3)
    assert kernels.joined(1.0, 3.0, 4.0) == pytest.approx(7.0)


def test_skewed_routers_touch_fewer_but_never_less_than_one_token():
    c = {"spread": 0.94, "skew": 0.85}
    tokens = np.array([0.5, 1.0, 8.0, 64.0])
    draws = kernels.effective_tokens(tokens, c)
    assert np.all(draws <= tokens)
    assert draws[0] == 0.5
    assert draws[1] == 1.0
    assert draws[3] == pytest.approx(0.94 * 64**0.85)


def test_a_named_routing_is_not_skewed_again():
    scenario = Scenario(context=4096.0, tier="calibrated", routing="balanced", weights="fp8")
    ground = make_ground(CLUSTER, scenario)
    counted = prepared(deepseek_v3(), scenario)
    layout = Layout(tp=8.0, moe_tp=8.0)
    step = estimate.step(
        counted, ground.rates, layout, 16.0, Workload(context=4096.0), ground.efficiency, ground.routing
    )
    assert step.touched == 128.0


def test_codes_follow_bits_and_compute_format():
    named = {name: i for i, name in enumerate(kernels.CODES)}
    assert kernels.kernel_code(16.0, "bf16", "bf16") == (named["bf16"], 2.0)
    assert kernels.kernel_code(8.0, "fp8", "fp8") == (named["fp8"], 1.0)
    assert kernels.kernel_code(8.002, "fp8", "fp8") == (named["fp8_block"], 1.0)
    assert kernels.kernel_code(4.5, "fp4", "fp4") == (named["fp4"], 0.5625)
    assert kernels.kernel_code(4.25, "fp4", "fp4") == (named["mxfp4"], 0.5625)
    assert kernels.kernel_code(4.25, "fp4", "bf16") == (named["mxfp4"], 2.0)  # gpt-oss on Hopper
    assert kernels.kernel_code(4.5, "bf16", "bf16") == (named["w4a16"], 2.0)
    assert kernels.kernel_code(4.25, "int8", "fp8") == (named["w4a16"], 2.0)
    assert kernels.kernel_code(8.0, "fp8", "bf16") == (named["w4a16"], 2.0)


REDUCE = {
    "ar_start": 3e-6, "ar_fraction": 0.6, "two_start": 1e-5, "two_fraction": 0.6, "nccl_start": 3e-5,
    "nccl_growth": 0.0, "nccl_fraction": 0.9, "nccl_ranks": 0.2, "barrier": 1e-7,
}  # fmt: skip


def test_all_reduce_takes_the_fastest_of_three_algorithms():
    link = 450e9
    assert kernels.all_reduce_seconds(1e6, 1.0, link, REDUCE) == 0.0
    small = kernels.all_reduce_seconds(8192.0, 8.0, link, REDUCE)
    assert small == pytest.approx(3e-6 + 7 * 8192 / (0.6 * link) + 6e-7)  # one-shot: every rank reads all the others
    middle = kernels.all_reduce_seconds(2.0**20, 8.0, link, REDUCE)
    assert middle == pytest.approx(1e-5 + 1.75 * 2**20 / (0.6 * link) + 6e-7)
    large = kernels.all_reduce_seconds(2.0**28, 8.0, link, REDUCE)
    assert large == pytest.approx(3e-5 + 1.75 * 2**28 / (0.9 * link) + 6e-7)
    few = kernels.all_reduce_seconds(2.0**28, 2.0, link, REDUCE)
    assert few == pytest.approx(3e-5 + 2**28 / (0.9 * 0.25**0.2 * link))  # switches help two ranks less
    sizes = 2.0 ** np.arange(8, 30)
    for ranks in (2.0, 4.0, 8.0, 16.0):
        whole = kernels.all_reduce_seconds(sizes, ranks, link, REDUCE)
        assert np.all(np.diff(whole) > 0)
        assert whole[3] == kernels.all_reduce_seconds(float(sizes[3]), ranks, link, REDUCE)


@pytest.mark.parametrize(
    ("model", "small", "over_heads"),
    [
        ("Llama-3.1-70B", 80 * (3 + 2), 0),  # norm, rotary and cache write, quantise; norm, activation
        ("Qwen3-32B", 64 * (3 + 2 + 2), 0),  # and norms of queries and keys, head by head
        ("MiniMax-M2.5", 62 * (3 + 2 + 3), 62),  # theirs span all heads; experts: norm, top-k, combine
        (
            "DeepSeek-V3",
            61 * (3 + 2 + 1) + 3 * 2 + 58 * (3 + 2),
            0,
        ),  # latent norms, two absorbed products; shared expert
        ("gpt-oss-120b", 36 * (3 + 3), 0),
        ("Qwen3-Next-80B-A3B", 48 * (3 + 3 + 2) + 36 * (1 + 2) + 12 * 2, 0),  # delta nets: norm, convolution, gates
    ],
)
def test_small_kernels_of_a_step_by_hand(model, small, over_heads):
    counted = count(load_model(model))
    assert counted.small == small
    assert counted.wide_norms == over_heads
    assert shape(load_model(model)).small == small
    assert shape(load_model(model)).wide_norms == over_heads


def test_norms_over_all_heads_cost_a_reduction_only_under_tensor_parallelism():
    model = load_model("MiniMax-M2.5")
    plain = replace(count(model), wide_norms=0.0)

    def communication(counted, layout):
        scenario = Scenario(context=4096.0, tier="calibrated")
        ground = make_ground(CLUSTER, scenario)
        found = estimate.step(counted, ground.rates, layout, 16.0, ground.workload, ground.efficiency)
        return float(found.parts["communication"].seconds) if "communication" in found.parts else 0.0

    cut, whole = Layout(tp=8.0, moe_tp=8.0), Layout(tp=1.0, moe_tp=1.0, replicas=8.0)
    start = tiers.efficiency("calibrated", CLUSTER.device).kernels["comm.ar_start"]
    assert communication(count(model), cut) - communication(plain, cut) > 62 * start
    assert communication(count(model), whole) == communication(plain, whole) == 0.0


def test_context_parallel_attention_pays_and_is_called_extrapolated():
    plain = answered(deepseek_v3(), Layout(tp=8.0, moe_tp=8.0), 8.0, 4096.0).parts["communication"].seconds
    split = answered(deepseek_v3(), Layout(tp=8.0, moe_tp=8.0, cp=8.0), 8.0, 4096.0).parts["communication"].seconds
    assert split > plain
    scenario = Scenario(context=131072.0, tier="calibrated", weights="fp8")
    answer = compare(deepseek_v3(), CLUSTER, scenario, q=2.0)
    assert answer.dense.point.layout.cp > 1
    assert any("extrapolated" in w for w in answer.warnings)


def test_bytes_and_touched_experts_are_of_one_routing():
    """routed bytes = stored * touched/E under the fitted skew too, and an explanation gives the same number."""
    scenario = Scenario(context=32768.0, tier="calibrated", weights="fp8")
    fitted = compare(deepseek_v3(), CLUSTER, scenario, q=2.0)
    exact = compare(deepseek_v3(), CLUSTER, replace(scenario, routing="zipf:0", batch=fitted.moe.point.batch), q=2.0)
    for answer in (fitted, exact):
        point = answer.moe.point
        stored = sum(op.bytes * op.count for op in point.counted.operations if op.kind == "routed")
        copies = point.layout.replicas
        assert point.step.parts["routed"].bytes == pytest.approx(stored * copies * point.step.touched / 256, rel=1e-9)
        for key in ("experts_touched", "fragmentation", "tokens_per_expert"):
            found = explain.explain(answer, f"moe.{key}").value
            assert found == pytest.approx(side_payload(answer.moe, answer.ground)[key], rel=1e-12)
    tokens = float(exact.moe.point.step.tokens)
    assert exact.moe.point.step.touched == pytest.approx(256 * (1 - (1 - 8 / 256) ** tokens), rel=1e-12)
    assert fitted.moe.point.step.touched < exact.moe.point.step.touched
