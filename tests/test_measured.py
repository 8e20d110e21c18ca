"""The calibrated tier times the same launches as served predictions, and behaves like physics."""

from dataclasses import replace

import numpy as np
import pytest

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import arch, estimate, explain, kernels, layouts, tiers
from routeline.answer.payload import side_payload
from routeline.compare import compare, make_ground, prepared
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
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


@pytest.mark.parametrize("model", [llama_70b(), deepseek_v3(), small_moe(), arch.restore(deepseek_v3(), "fp8")])
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
    assert kernels.kernel_code(16.0, "bf16") == (0, 2.0)
    assert kernels.kernel_code(8.0, "fp8") == (1, 1.0)
    assert kernels.kernel_code(4.5, "fp4") == (2, 0.5625)
    assert kernels.kernel_code(4.25, "fp8") == (3, 2.0)
    assert kernels.kernel_code(8.0, "bf16") == (3, 2.0)


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
