"""The comparison: the worked table of the model, identities, verdicts and refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import counts, dense, layouts, memory, side
from routeline.compare import compare, verdict
from routeline.devices import make_cluster, parse_devices
from routeline.errors import RoutelineError
from routeline.ground import make_ground, options, prepared
from routeline.hardware import Device
from routeline.models import load_model
from routeline.scenario import Scenario

MODEL = deepseek_v3()
PAPER = Scenario(
    context=131072.0, weights="bf16", cache="bf16", memory="marketed", tier="bandwidth", layout="pooled",
    utilisation=0.95, overhead=0.0,
)  # fmt: skip


def run(devices, scenario, q=2.0, model=MODEL, **more):
    return compare(model, parse_devices(devices), scenario, q=q, **more)


@pytest.mark.parametrize(
    ("devices", "change", "q", "batches", "ms", "ratio", "reuse", "headroom"),
    [
        ("8xMI300X", {}, 2.0, (12, 142), (13.14, 34.35), 4.53, 2.15, 2.10),
        ("8xMI300X", {"utilisation": 0.9}, 2.0, (4, 133), (5.31, 32.39), 5.45, 1.22, 4.48),
        ("8xMI300X", {"utilisation": 0.9}, 4.5, (4, 113), (5.31, 32.47), 4.62, 0.60, 7.65),
        ("8xMI300X", {"memory": "usable"}, 2.0, (24, 153), (22.43, 36.74), 3.89, 2.57, 1.51),
        ("8xH200", {"utilisation": 0.9, "weights": "fp8"}, 2.0, (37, 102), (21.06, 26.40), 2.20, 1.95, 1.13),
    ],
)
def test_the_worked_table(devices, change, q, batches, ms, ratio, reuse, headroom):
    """docs/physics.md section 7, every row to its printed digits (last digit, rounding of halves free)."""
    answer = run(devices, replace(PAPER, **change), q)
    assert (answer.moe.point.batch, answer.dense.point.batch) == batches
    assert answer.moe.point.step.seconds * 1e3 == pytest.approx(ms[0], abs=0.0051)
    assert answer.dense.point.step.seconds * 1e3 == pytest.approx(ms[1], abs=0.0051)
    assert answer.throughput_ratio == pytest.approx(ratio, abs=0.0051)
    assert answer.reuse_penalty == pytest.approx(reuse, abs=0.0051)
    assert answer.headroom_gain == pytest.approx(headroom, abs=0.0051)
    assert answer.throughput_ratio == pytest.approx(answer.reuse_penalty * answer.headroom_gain, rel=1e-12)
    assert answer.verdict == "dense"


def test_ideal_moves_the_first_row_hardly_and_the_last_to_two():
    assert run("8xMI300X", replace(PAPER, tier="ideal")).throughput_ratio == pytest.approx(4.53, abs=0.01)
    last = replace(PAPER, tier="ideal", weights="fp8", utilisation=0.9)
    assert run("8xH200", last).throughput_ratio == pytest.approx(2.03, abs=0.01)


def test_at_the_moes_own_latency_and_under_tp8():
    answer = run("8xMI300X", PAPER)
    assert answer.ratios["tpot"].at == pytest.approx(13.14e-3, abs=5e-6)
    assert answer.ratios["tpot"].value == pytest.approx(3.69, abs=0.005)
    assert run("8xMI300X", replace(PAPER, layout="tp8")).throughput_ratio == pytest.approx(1.78, abs=0.005)


def test_a_model_against_itself_is_a_tie_of_exactly_one():
    for layout in ("pooled", "auto", "tp8"):
        scenario = Scenario(context=8192.0, weights="fp8", layout=layout)
        answer = run("8xH200", scenario, opponent=MODEL)
        assert answer.q == 1.0
        assert answer.verdict == "tie"
        assert [r.value for r in answer.ratios.values() if r.value is not None] == [1.0] * 3


def test_q_of_one_on_a_dense_model_is_the_model_itself():
    llama = llama_70b()
    twin = dense.matched(llama, 1.0)
    assert counts.total(twin) == pytest.approx(counts.total(llama), rel=1e-12)
    answer = run("8xH200", Scenario(context=8192.0), q=1.0, model=llama)
    assert answer.throughput_ratio == pytest.approx(1.0, abs=1e-9)


def test_identity_when_everything_is_read_and_nothing_floored():
    """R = (C-W_d)/(C-W_m) * cache_m/cache_d: pooled, bandwidth-bound, U = E, batches not floored (section 6)."""
    cluster = make_cluster(parse_devices("1xH200").device.but(memory_usable=1e17), 1)
    scenario = replace(PAPER, context=1024.0, memory="usable", utilisation=1.0, weights="fp8")
    answer = compare(MODEL, cluster, scenario, q=2.0)
    capacity = 1e17
    read_m, read_d = answer.moe.weight_bytes - 926_679_040, answer.dense.weight_bytes - 926_679_040
    expected = (capacity - answer.dense.weight_bytes) / (capacity - answer.moe.weight_bytes)
    assert answer.throughput_ratio == pytest.approx(expected, rel=1e-4)
    assert read_m > read_d


def test_same_attention_match_has_the_size_and_cache_asked_for():
    for q in (0.5, 2.0, 4.5):
        twin = dense.matched(MODEL, q)
        assert counts.total(twin) == pytest.approx(q * counts.active(MODEL).all, rel=1e-12)
        assert counts.cache_rates(twin, "bf16") == counts.cache_rates(MODEL, "bf16")
        assert not any(w.part in ("routed", "router", "shared") for w, _, _ in counts.weights(twin))
    low_bits = deepseek_v3()
    cheap = tuple(
        replace(g, weights=tuple(replace(w, bits=4.5, format="fp4") if w.part == "routed" else w for w in g.weights))
        for g in low_bits.layers
    )
    twin = dense.matched(replace(low_bits, layers=cheap), 2.0)
    ffn = next(w for w, _, _ in counts.weights(twin) if w.part == "dense_ffn")
    kept = next(w for w, _, _ in counts.weights(twin) if w.part == "attention")
    assert (ffn.bits, ffn.format, kept.bits) == (4.5, "fp4", 16.0)


def test_standard_match_is_llama_like_and_exact_in_size():
    twin = dense.matched(MODEL, 2.0, "standard")
    assert counts.total(twin) == pytest.approx(2 * counts.active(MODEL).all, rel=1e-9)
    assert counts.cache_rates(twin, "bf16").per_token > counts.cache_rates(MODEL, "bf16").per_token
    heads = [op for op in counts.operations(twin) if op.kind == "attention"]
    assert heads[0].stream.shards == 8


def test_matched_sizes_broadcast_over_q():
    many = np.array([1.0, 2.0, 4.5])
    for shape in dense.SHAPES:
        whole = counts.total(dense.matched(MODEL, many, shape))
        assert np.allclose(whole, [counts.total(dense.matched(MODEL, float(q), shape)) for q in many], rtol=1e-9)


@pytest.mark.parametrize(
    ("q", "shape", "message"),
    [(0.2, "same-attention", "too small for the same-attention shape"), (-1.0, "same-attention", "must be positive"),
     (0.0, "standard", "must be positive"), (2.0, "wide", "unknown dense shape"), (0.003, "standard", "too few")],
)  # fmt: skip
def test_impossible_matches_are_refused(q, shape, message):
    with pytest.raises(RoutelineError, match=message):
        dense.matched(MODEL, q, shape)


def test_what_does_not_fit_is_named_with_the_cluster_that_would_do():
    scenario = Scenario(context=8192.0, weights="fp8")
    answer = run("1xH200", scenario)
    assert answer.verdict == "moe_infeasible"
    assert answer.throughput_ratio is None
    assert "DeepSeek-V3 does not fit" in answer.ratios["max_batch"].reason
    assert answer.moe.point is None
    n = answer.moe.devices_needed
    assert n is not None
    enough = run(f"{n}xH200" if n <= 8 else f"{n // 8}x8xH200", scenario)
    assert enough.moe.fits
    assert n == 6  # 671 GB over three stages of two: 112 GB a device of the 135.7 GB; five do not divide 61 layers
    assert not run("5xH200", scenario).moe.fits
    assert run("1xH200", scenario, q=9.0).verdict == "neither_fits"
    small = small_moe()
    assert run("1xL4", Scenario(context=8192.0), q=9.0, model=small, opponent=MODEL).verdict == "dense_infeasible"


def test_ignore_fit_gives_a_marked_time():
    answer = run("8xH200", Scenario(context=8192.0, layout="tp8", weights="bf16", batch=64.0, ignore_fit=True))
    assert not answer.moe.fits
    assert answer.moe.point is not None
    assert answer.moe.point.step.seconds > 0
    assert answer.verdict == "moe_infeasible"


def test_a_batch_past_the_largest_is_forced_only_when_asked():
    scenario = Scenario(context=131072.0, weights="fp8", cache="fp8", layout="tp8", tier="bandwidth", batch=64.0)
    shown = run("8xH200", scenario)
    assert shown.moe.fits
    assert shown.moe.point.batch == 11
    assert any("batch 64 does not fit, at most 11 does" in w for w in shown.warnings)
    forced = run("8xH200", replace(scenario, ignore_fit=True))
    assert not forced.moe.fits
    assert forced.moe.point.batch == 64
    assert forced.moe.point.step.seconds == pytest.approx(76.6e-3, rel=0.02)  # peers.md


def test_a_given_batch_is_used_on_both_sides():
    answer = run("8xH200", Scenario(context=8192.0, weights="fp8", batch=64.0))
    assert answer.moe.point.batch == answer.dense.point.batch == 64
    assert answer.ratios["equal_batch"].at == 64
    assert answer.moe.point.max_batch > 64
    free = run("8xH200", Scenario(context=8192.0, weights="fp8"))
    assert answer.throughput_ratio == free.throughput_ratio != answer.ratios["equal_batch"].value
    assert answer.ratios["tpot"].at == free.ratios["tpot"].at
    too_many = run("8xH200", Scenario(context=131072.0, weights="fp8", batch=4096.0))
    assert too_many.ratios["equal_batch"].value is None
    assert "does not admit batch 4096" in too_many.ratios["equal_batch"].reason


def test_a_latency_limit_nobody_reaches_is_said():
    answer = run("8xH200", Scenario(context=8192.0, weights="fp8", tpot=1e-6))
    assert answer.ratios["tpot"].value is None
    assert "cannot reach 0.001 ms per token" in answer.ratios["tpot"].reason


def test_the_latency_search_finds_the_last_batch_within_the_limit():
    scenario = Scenario(context=8192.0, weights="fp8", layout="dp8,ep8", tpot=30e-3)
    answer = run("8xH200", scenario)
    point = answer.ratios["tpot"].moe
    ground = answer.ground
    assert point.step.seconds <= 30e-3
    beyond = side.step_at(point.counted, ground, point.layout, point.batch + 1)
    assert beyond.seconds > 30e-3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=5), st.integers(0, 10**7))
def test_largest_integer_is_the_largest(limits, edge):
    found = side.largest_integer(lambda b: b <= edge, np.array(limits, float))
    assert np.array_equal(found, np.minimum(np.array(limits, float), edge))


def test_context_past_the_models_limit_is_refused_or_warned():
    with pytest.raises(RoutelineError, match=r"past the limit of DeepSeek-V3 \(163,840 tokens\).*--extend-context"):
        run("8xH200", Scenario(context=200_000.0))
    answer = run("8xH200", Scenario(context=200_000.0, weights="fp8", extend_context=True))
    assert any("past the limit" in w for w in answer.warnings)


def test_auto_is_at_least_as_good_as_any_layout_it_knows():
    scenario = Scenario(context=8192.0, weights="fp8")
    best = run("8xH200", scenario).moe.point.rate
    counted = prepared(MODEL, scenario)
    cluster = parse_devices("8xH200")
    choices = options(counted, cluster, scenario, "moe")
    ground = make_ground(cluster, scenario)
    for i in range(layouts.size(choices)):
        point = side.at_max(counted, ground, layouts.pick(choices, i))
        assert point is None or point.rate <= best * (1 + 1e-12)


def test_a_small_dense_model_may_run_as_replicas():
    answer = run("8xH200", Scenario(context=1024.0, weights="fp8"), q=1.0)
    assert answer.dense.point.layout.replicas > 1


def test_layout_written_for_experts_becomes_replicas_for_the_dense_side():
    answer = run("8xH200", Scenario(context=8192.0, weights="fp8", layout="dp8,ep8"), q=1.0)
    assert answer.moe.point.layout.ep == 8
    assert answer.dense.point.layout.replicas == 8
    assert answer.dense.point.layout.devices == 8


def test_verdict_has_a_tie_band():
    fits = run("8xH200", Scenario(context=8192.0, weights="fp8"))
    assert [verdict(fits.moe, fits.dense, r) for r in (0.97, 0.985, 1.0, 1.015, 1.03)] == [
        "moe", "tie", "tie", "tie", "dense",
    ]  # fmt: skip


def test_static_form_and_sparsity():
    answer = run("8xH200", Scenario(context=8192.0, weights="fp8"))
    assert answer.s == pytest.approx(37_552_282_624 / 671_026_404_352)
    assert answer.qs == pytest.approx(2 * answer.s)


def test_every_scenario_field_and_device_value_is_an_assumption():
    answer = run("2x8xH100", Scenario(context=8192.0, weights="fp8"))
    names = {a.name: a for a in answer.assumptions}
    for field in Scenario.__dataclass_fields__:
        assert field in names
    assert names["utilisation"].default
    assert not names["weights"].default
    assert names["device.bandwidth"].unit == "B/s"
    for key in ("device.bandwidth", "device.memory", "device.nic", "device.link"):
        assert names[key].source, key
        assert names[key].kind, key


def test_a_device_without_the_peak_warns_and_a_forced_one_is_refused():
    answer = run("16xA100", Scenario(context=8192.0, weights="fp8"))
    assert any("no fp8 peak" in w for w in answer.warnings)
    with pytest.raises(RoutelineError, match="has no fp8 peak"):
        run("16xA100", Scenario(context=8192.0, weights="fp8", compute="fp8"))


@pytest.mark.parametrize(
    "change",
    [{"context": 0.0}, {"utilisation": 1.5}, {"utilisation": -1.0}, {"overhead": -1.0}, {"batch": 0.0}, {"q": 0.0},
     {"tpot": 0.0}, {"accept": 1.1}, {"prefix_hit": -0.1}, {"output": 0.0}, {"memory": "some"}, {"context": math.nan},
     {"batch": "many"}, {"context": True}],
)  # fmt: skip
def test_values_outside_their_range_are_refused(change):
    with pytest.raises(RoutelineError, match=next(iter(change))):
        Scenario(**change)


@pytest.mark.parametrize(
    ("layout", "message"),
    [("tp3", "needs a multiple of 3"), ("tp=4,dp=4", "needs a multiple of 16"), ("xp8", "unknown layout width"),
     ("tp8,tp8", "gives tp twice"), ("tp", "needs a whole number"), ("tp0", "from 1 to"),
     ("ep=8,moe_tp=3,tp=8", "must equal tp"), ("tp8,cp3", "must divide tp"), ("tp2,dp2,replicas=1", "uses 4 devices")],
)  # fmt: skip
def test_impossible_layouts_are_refused(layout, message):
    with pytest.raises(RoutelineError, match=message):
        run("8xH200", Scenario(context=8192.0, weights="fp8", layout=layout))


def test_layouts_that_do_not_divide_the_model_are_refused():
    with pytest.raises(RoutelineError, match="does not divide 128 heads"):
        run("3x4xH200", Scenario(context=8192.0, weights="fp8", layout="tp12"))
    with pytest.raises(RoutelineError, match="does not divide 256 experts"):
        run("3x8xH200", Scenario(context=8192.0, weights="fp8", layout="dp24,ep24"))
    with pytest.raises(RoutelineError, match="has no experts"):
        run("8xH200", Scenario(context=8192.0, layout="dp8,ep8"), model=llama_70b(), q=1.0)
    with pytest.raises(RoutelineError, match="stages for"):
        run("8x8xH200", Scenario(context=8192.0, layout="pp64"), model=small_moe(), q=2.0)


def test_unknown_tier_is_refused():
    with pytest.raises(RoutelineError, match="unknown tier"):
        run("8xH200", Scenario(context=8192.0, tier="best"))


def test_overhead_and_utilisation_take_memory():
    cluster = parse_devices("8xH200")
    whole = make_ground(cluster, Scenario(utilisation=1.0)).capacity
    assert whole == 143771 * 2**20
    assert make_ground(cluster, Scenario(utilisation=0.5, overhead=1e9)).capacity == pytest.approx(whole / 2 - 1e9)


def test_no_memory_left_means_no_cluster_will_do():
    tiny = Device(name="tiny", memory_marketed=1e9, bandwidth=1e12, peaks={"bf16": 1e14})
    ground = make_ground(make_cluster(tiny, 1), Scenario(overhead=2e9))
    assert side.devices_needed(counts.count(MODEL), ground, node=8, pooled=False) is None
    assert side.devices_needed(counts.count(MODEL), ground, node=8, pooled=True) is None
    assert memory.admissible(-1.0, 10.0, 1.0, layouts.pooled(1)) == 0


@pytest.mark.parametrize("shape", dense.SHAPES)
@pytest.mark.parametrize("name", ["DeepSeek-V3", "Mixtral-8x7B", "Switch-C", "gpt-oss-20b", "Llama-3.1-70B"])
def test_the_smallest_q_is_the_edge_of_what_can_be_built(name, shape):
    model = load_model(name)
    least = dense.smallest_q(model, shape)
    assert counts.total(dense.matched(model, least * (1 + 1e-6), shape)) > 0
    with pytest.raises(RoutelineError, match=r"too (small|few)"):
        dense.matched(model, least * (1 - 1e-6), shape)
    for q in np.geomspace(least * 1.001, 40.0, 60):  # and nothing above it is refused
        dense.matched(model, float(q), shape)
