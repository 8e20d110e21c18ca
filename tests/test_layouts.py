"""Layouts: the grammar, the rules between widths, what shards and what is replicated, the candidates."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b, small_moe
from routeline import counts, layouts, memory, side
from routeline.compare import compare
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
from routeline.ground import make_ground
from routeline.models import load_model
from routeline.scenario import Layout, Scenario, Workload

Ideal = partial(Scenario, tier="ideal")
"""Bounds do not move when constants are fitted anew; the calibrated tier has tests of its own."""

V3 = counts.count(deepseek_v3(), "bf16")
LLAMA = counts.count(llama_70b(), "bf16")


@pytest.mark.parametrize(
    ("text", "devices", "expected"),
    [
        ("tp8", 8, Layout(tp=8.0, moe_tp=8.0)),
        ("dp8,ep8", 8, Layout(dp=8.0, ep=8.0)),
        ("DP=8 ; EP=8", 8, Layout(dp=8.0, ep=8.0)),
        ("ep16", 16, Layout(dp=16.0, ep=16.0)),
        ("tp=4,dp=2,ep=8,moe_tp=1,pp=1,cp=1,replicas=2", 16, Layout(tp=4.0, dp=2.0, ep=8.0, replicas=2.0)),
        ("tp8,cp8", 8, Layout(tp=8.0, moe_tp=8.0, cp=8.0)),
        ("tp2,pp2", 8, Layout(tp=2.0, moe_tp=2.0, pp=2.0, replicas=2.0)),
        ("tp4+ep4", 8, Layout(tp=4.0, ep=4.0, replicas=2.0)),
        ("tp4,dp2,moe_tp2", 8, Layout(tp=4.0, dp=2.0, ep=4.0, moe_tp=2.0)),
        ("pooled", 8, Layout(tp=8.0, moe_tp=8.0, pooled=True)),
    ],
)
def test_grammar(text, devices, expected):
    assert layouts.parse(text, devices) == expected


@pytest.mark.parametrize(
    ("text", "devices", "message"),
    [
        ("tp=3,dp=2", 8, "needs a multiple of 6 devices, and 8 are given"),
        ("tp4,dp2,replicas2", 8, "needs a multiple of 16 devices"),
        ("tp2,dp2,replicas1", 8, "uses 4 devices, and 8 are given"),
        ("tp4,dp2,ep3", 8, r"moe_tp\*ep = .* must equal tp\*dp"),
        ("tp8,ep4,moe_tp4", 8, r"moe_tp\*ep = 4\*4 must equal tp\*dp = 8\*1"),
        ("tp8,tp4", 8, "gives tp twice"),
        ("tq8", 8, "unknown layout width 'tq'; close: tp"),
        ("tp", 8, "tp needs a whole number"),
        ("tp0", 8, "tp needs a whole number"),
        ("tp99999999", 8, "tp needs a whole number"),
    ],
)
def test_widths_that_contradict_are_refused_in_one_sentence(text, devices, message):
    with pytest.raises(RoutelineError, match=message):
        layouts.parse(text, devices)


@pytest.mark.parametrize(
    ("text", "devices", "model", "message"),
    [
        ("tp3", 3, "DeepSeek-V3", "tp=3 does not divide 128 heads of DeepSeek-V3; try 1, 2"),
        ("tp4,cp3", 4, "DeepSeek-V3", "cp=3 must divide tp=4"),
        ("dp48,ep48", 48, "DeepSeek-V3", "ep=48 does not divide 256 experts; try 1, 2, 4, 8, 16, 32"),
        ("pp128", 128, "DeepSeek-V3", "pp=128 stages for 61 layers"),
        ("tp1,dp3,moe_tp3", 3, "DeepSeek-V3", "moe_tp=3 does not divide experts of width 2048; try 1, 2"),
        ("dp8,ep8", 8, "Llama-3.1-70B", "has no experts"),
    ],
)
def test_layouts_that_cannot_run_a_model_are_refused(text, devices, model, message):
    counted = counts.count(load_model(model))
    with pytest.raises(RoutelineError, match=message):
        layouts.check(layouts.parse(text, devices), counted, devices)


def test_more_spare_experts_than_any_rank_can_use_are_refused():
    counted = counts.count(load_model("gpt-oss-120b"))
    layouts.check_spare(counted, 8, 896.0)  # 128 experts on each of 8 devices
    with pytest.raises(RoutelineError, match="896 spare slots already put every expert on each of 8 devices"):
        layouts.check_spare(counted, 8, 897.0)
    layouts.check_spare(counts.count(load_model("Llama-3.1-8B")), 8, 897.0)  # no experts, nothing to spare


def test_redundant_experts_fill_up_uneven_ranks():
    counted = counts.count(deepseek_v3())
    wide = layouts.parse("dp72,ep72", 72)
    with pytest.raises(RoutelineError, match="does not divide 256 experts"):
        layouts.check(wide, counted, 72)
    layouts.check(wide, counted, 72, redundant=32.0)


def test_every_candidate_obeys_the_rules():
    for counted, devices, node in ((V3, 8, 8), (V3, 16, 8), (LLAMA, 8, 8), (counts.count(small_moe()), 6, 8)):
        table = layouts.candidates(counted, devices, node)
        assert np.all(table.devices == devices)
        assert np.all(table.tp * table.dp == table.ep * table.moe_tp)
        assert np.all(table.tp % table.cp == 0)
        assert np.all(table.tp <= node)
        rows = {str(layouts.pick(table, i)) for i in range(layouts.size(table))}
        assert len(rows) == layouts.size(table)
        for i in range(layouts.size(table)):
            layouts.check(layouts.pick(table, i), counted, devices)


@settings(max_examples=80, deadline=None)
@given(
    tp=st.sampled_from([1, 2, 4, 8]), dp=st.sampled_from([1, 2, 4, 8]), pp=st.sampled_from([1, 2]),
    replicas=st.sampled_from([1, 2]), share=st.sampled_from([1, 2, 4, 8, 16, 64]),
)  # fmt: skip
def test_what_is_written_is_read_back(tp, dp, pp, replicas, share):
    ep = min(share, tp * dp)
    text = f"tp={tp},dp={dp},ep={ep},pp={pp},replicas={replicas}"
    layout = layouts.parse(text, tp * dp * pp * replicas)
    assert (
        layouts.parse(str(layout) + ("" if "replicas" in str(layout) else ",replicas=1"), int(layout.devices)) == layout
    )
    assert layout.devices == tp * dp * pp * replicas
    assert layout.moe_tp * layout.ep == tp * dp


# --- what a layout does to memory ------------------------------------------------------------------


def test_tp_replicates_the_latent_and_cp_splits_it():
    """DeepSeek-V3's latent stays whole under TP8; context parallelism over 8 ranks leaves an eighth."""
    work = Workload(context=8192.0)
    one = memory.cache_per_device(V3, Layout(), work)
    assert memory.cache_per_device(V3, Layout(tp=8.0, moe_tp=8.0), work) == one
    assert memory.cache_per_device(V3, Layout(tp=8.0, moe_tp=8.0, cp=8.0), work) == pytest.approx(one / 8)
    assert memory.cache_per_device(LLAMA, Layout(tp=8.0, moe_tp=8.0), work) == pytest.approx(
        memory.cache_per_device(LLAMA, Layout(), work) / 8
    )
    half = memory.cache_per_device(LLAMA, Layout(tp=16.0, moe_tp=16.0), work)
    assert half == pytest.approx(memory.cache_per_device(LLAMA, Layout(), work) / 8)  # 8 KV heads over 16 ranks


def test_expert_parallelism_shards_experts_and_replicates_attention():
    """DP8+EP8: routed experts and head by 8, the rest on every device; TP8: all by 8."""
    parts = counts.stored(deepseek_v3())
    whole = sum(parts.values())
    assert memory.weights_per_device(V3, Layout(tp=8.0, moe_tp=8.0)) == pytest.approx(whole / 8, rel=1e-9)
    spread = (parts["routed"] + parts["embedding"] + parts["head"]) / 8
    kept = whole - parts["routed"] - parts["embedding"] - parts["head"]
    assert memory.weights_per_device(V3, Layout(dp=8.0, ep=8.0)) == pytest.approx(spread + kept, rel=1e-9)


def test_shards_sum_to_the_model_and_replicas_to_the_cluster():
    for layout in (Layout(tp=8.0, moe_tp=8.0), Layout(tp=4.0, moe_tp=4.0, pp=2.0), layouts.pooled(8)):
        total = memory.weights_per_device(V3, layout) * (8 if layout.pooled else layout.devices)
        assert total == pytest.approx(sum(counts.stored(deepseek_v3()).values()), rel=1e-9)
    two = Layout(tp=4.0, moe_tp=4.0, replicas=2.0)
    assert memory.weights_per_device(LLAMA, two) == memory.weights_per_device(LLAMA, replace(two, replicas=1.0))


def test_wide_expert_parallelism_sees_cluster_wide_tokens():
    """EP over two nodes: T counts all sequences, weights per device shrink, the all-to-all grows."""
    scenario = Ideal(context=8192.0, weights="fp8", tier="ideal")
    model = deepseek_v3()
    answer = {}
    for devices, text in (("8xH200", "dp8,ep8"), ("2x8xH200", "dp16,ep16"), ("2x8xH200", "dp8,ep8,replicas=2")):
        cluster = parse_devices(devices)
        ground = make_ground(cluster, scenario)
        layout = layouts.parse(text, cluster.count)
        counted = compare(model, cluster, replace(scenario, layout="pooled"), q=2.0).moe.counted
        step = side.step_at(counted, ground, layout, 8.0 * cluster.count)
        answer[devices, text] = (step, float(memory.weights_per_device(counted, layout)))
    (narrow, kept), (wide, less), (twice, same) = answer.values()
    assert (narrow.tokens, wide.tokens, twice.tokens) == (64.0, 128.0, 64.0)
    assert wide.touched > narrow.touched
    assert less < kept == same
    assert wide.parts["routed"].seconds < narrow.parts["routed"].seconds
    assert wide.parts["communication"].seconds > narrow.parts["communication"].seconds
    assert twice.seconds == pytest.approx(narrow.seconds, rel=1e-9)
    assert twice.rate == pytest.approx(2 * narrow.rate, rel=1e-9)


def test_auto_is_never_slower_than_any_written_layout():
    scenario = Ideal(context=16384.0, weights="fp8")
    cluster = parse_devices("8xH200")
    best = compare(deepseek_v3(), cluster, scenario, q=2.0).moe.point.rate
    for text in ("tp8", "tp8,cp8", "tp4,dp2,ep8,cp4", "tp2,dp4,ep8", "tp8,ep8,cp8"):
        answer = compare(deepseek_v3(), cluster, replace(scenario, layout=text), q=2.0)
        if answer.moe.point is not None:
            assert answer.moe.point.rate <= best * (1 + 1e-12), text


def every_legal_layout(counted, devices, node, redundant=0.0):
    """All widths that the grammar and the rules allow, found by trying: not by the code under test."""
    divisors = [d for d in range(1, devices + 1) if devices % d == 0]
    moe = bool(counted.moe_layers)
    for tp, pp, dp in product(divisors, repeat=3):
        if tp > node or devices % (tp * pp * dp) or (dp > 1 and not moe):
            continue
        for ep, cp in product([d for d in divisors if tp * dp % d == 0], [d for d in divisors if tp % d == 0]):
            widths = {"tp": tp, "dp": dp, "ep": ep if moe else 1, "moe_tp": tp * dp // (ep if moe else 1), "pp": pp,
                      "cp": cp, "replicas": devices // (tp * pp * dp)}  # fmt: skip
            layout = Layout(**{k: float(v) for k, v in widths.items()})
            layers = sum(g.count for g in counted.model.layers)
            if -(-layers // pp) * pp > 1.05 * layers:
                continue  # stages too unlike: `auto` leaves them out on purpose
            try:
                layouts.check(layout, counted, devices, redundant)
            except RoutelineError:
                continue
            yield layout


@pytest.mark.parametrize(
    ("model", "devices", "weights", "redundant"),
    [
        (deepseek_v3, "8xH200", "fp8", 0.0),
        (deepseek_v3, "3x8xH100", "bf16", 0.0),  # three nodes are three stages: no power of two holds it
        (deepseek_v3, "6xH200", "fp8", 0.0),
        (deepseek_v3, "3x8xH200", "fp8", 32.0),
        (small_moe, "6xL40S", "bf16", 0.0),
        (llama_70b, "6xH100", "bf16", 0.0),
    ],
)
def test_auto_finds_the_best_of_all_legal_layouts(model, devices, weights, redundant):
    scenario = Ideal(context=8192.0, weights=weights, redundant=redundant)
    cluster = parse_devices(devices)
    answer = compare(model(), cluster, scenario, q=2.0 if model is not llama_70b else 1.0)
    for one in (answer.moe, answer.dense):
        spare = redundant if one.counted.moe_layers else 0.0
        legal = every_legal_layout(one.counted, cluster.count, cluster.node, spare)
        found = [p.rate for x in legal if (p := side.at_max(one.counted, answer.ground, x)) is not None]
        assert one.fits
        assert one.largest.rate == pytest.approx(max(found), rel=1e-12)


def test_auto_uses_the_spare_slots_it_was_given():
    """288 slots divide over 36 or 72 devices where 256 experts stop at 8: wide expert parallelism pays on a rack."""
    cluster, scenario = parse_devices("72xGB200"), Ideal(context=8192.0)
    narrow = compare(deepseek_v3(), cluster, scenario, q=2.0).moe.point
    spare = compare(deepseek_v3(), cluster, replace(scenario, redundant=32.0), q=2.0).moe.point
    assert narrow.layout.ep <= 8 < spare.layout.ep
    assert spare.rate > 1.1 * narrow.rate


def test_auto_cuts_layers_into_stages_nearly_alike():
    for counted, layers in ((V3, 61), (LLAMA, 80)):
        for pp in np.unique(layouts.candidates(counted, 48, 8).pp):
            assert -(-layers // pp) * pp <= 1.05 * layers
