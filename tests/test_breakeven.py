"""Break-evens: published figures, the solver against functions with known roots, and what is said when none exists."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b
from routeline import breakeven, layouts, side
from routeline.compare import compare
from routeline.devices import make_cluster, parse_devices
from routeline.errors import RoutelineError
from routeline.scenario import Scenario

Ideal = partial(Scenario, tier="ideal")
"""Bounds do not move when constants are fitted anew; the calibrated tier has tests of its own."""

MODEL = deepseek_v3()
PAPER = Ideal(
    context=131072.0,
    weights="fp8",
    cache="bf16",
    memory="marketed",
    tier="bandwidth",
    layout="pooled",
    utilisation=0.95,
)


def run(devices="8xMI300X", scenario=PAPER, q=2.0, model=MODEL, **more):
    return compare(model, parse_devices(devices), scenario, q=q, **more)


@pytest.mark.parametrize(("q", "tokens"), [(2.0, 2.92), (4.5, 8.32)])
def test_the_break_even_batch_of_deepseek(q, tokens):
    """docs/physics.md section 6: DeepSeek-V3 FP8 pooled; the MoE reads less below, more above."""
    found = breakeven.break_evens(run(q=q), ["batch"])["batch"][0]
    assert (found.form, found.layout) == ("finite batch", "pooled")
    assert [c.above for c in found.crossings] == ["dense"]
    assert found.crossings[0].value == pytest.approx(tokens, abs=0.006)


def test_the_break_even_batch_in_closed_form():
    """W_fixed + W_routed*(1-(1-k/E)^T) = W_dense solved for T; fixed 16.19 GB, routed 653.91 GB."""
    fixed, routed, table = 16.19e9, 653.91e9, 0.92668e9
    share = (2 * 37.552e9 - table - fixed) / routed
    closed = np.log(1 - share) / np.log(1 - 8 / 256)
    found = breakeven.break_evens(run(), ["batch"])["batch"][0]
    assert found.crossings[0].value == pytest.approx(closed, rel=2e-3)


def test_end_to_end_the_turn_is_a_whole_batch_between_two_signs():
    answer = run()
    found = next(b for b in breakeven.break_evens(answer, ["batch"])["batch"] if b.form == "end to end")
    (turn,) = found.crossings
    assert turn.value == int(turn.value)
    before, after = (
        breakeven.best_rate(
            answer.dense.counted, answer.ground, answer.dense.options, answer.ground.workload, np.array([b])
        )
        / breakeven.best_rate(
            answer.moe.counted, answer.ground, answer.moe.options, answer.ground.workload, np.array([b])
        )
        for b in (turn.value - 1, turn.value)
    )
    assert before < 1 < after
    assert turn.above == "dense"


def test_static_form_turns_at_one_over_s():
    found = breakeven.break_evens(run(), ["q"])["q"]
    assert found[0].form == "static"
    assert found[0].crossings[0].value == pytest.approx(671.026404352 / 37.552282624, rel=1e-9)


@pytest.mark.parametrize("variable", ["q", "output", "prefix_hit", "context"])
@pytest.mark.parametrize(("devices", "layout"), [("8xMI300X", "pooled"), ("8xH200", "auto")])
def test_every_crossing_is_one(variable, devices, layout):
    """A fresh comparison on each side of the crossing gives the two verdicts."""
    scenario = Ideal(
        context=8192.0, weights="fp8", layout=layout, memory="marketed", input=8192.0, output=256.0, prefix_hit=0.2
    )
    answer = run(devices, scenario, q=4.5)
    found = [b for b in breakeven.break_evens(answer, [variable])[variable] if b.form == "end to end"]
    for one in found:
        for turn in one.crossings:
            for factor, side_ in ((0.97, "below"), (1.03, "above")):
                value = turn.value * factor
                if variable == "q":
                    again = run(devices, scenario, q=value)
                elif variable == "context":
                    again = run(devices, replace(scenario, context=value), q=4.5)
                else:
                    again = run(
                        devices,
                        replace(scenario, **{variable: min(value, 1.0) if variable == "prefix_hit" else value}),
                        q=4.5,
                    )
                ratio = again.ratios[one.ratio].value
                assert (ratio > 1) == ((turn.above == "dense") == (side_ == "above"))


def test_request_break_evens_frame_the_worked_request():
    """128k in: at 1k out R is 0.99 (q=2), so the turn lies just above 1k out, and just above no hits."""
    scenario = replace(PAPER, weights="bf16", input=131072.0, output=1024.0)
    found = breakeven.break_evens(run(scenario=scenario), ["output", "prefix_hit"])
    (output,), (hit,) = found["output"], found["prefix_hit"]
    assert 1024 < output.crossings[0].value < 1200
    assert output.crossings[0].above == "dense"
    assert 0.0 < hit.crossings[0].value < 0.1


def test_clusters_too_small_are_named():
    (found,) = breakeven.break_evens(run("8xH200", Ideal(context=8192.0, weights="fp8")), ["devices"])["devices"]
    assert found.feasible[0] == 6
    assert "MoE needs 6, dense 1; sizes tried: 1, 2, 4, 6, 8" in found.note


def test_no_crossing_says_who_leads_and_where_nothing_fits_says_so():
    answer = run(scenario=replace(PAPER, context=8192.0))
    found = breakeven.break_evens(answer, ["utilisation"])["utilisation"][0]
    assert found.crossings == ()
    assert found.leader == "dense"
    assert found.payload()["none"] == "none in range: dense leads throughout"
    assert found.feasible[0] > 0.3
    tiny = run("1xH200", Ideal(context=8192.0, weights="fp8"))
    for several in breakeven.break_evens(tiny).values():
        for one in several:
            if one.form == "end to end" and one.variable != "devices":
                assert one.payload()["none"] in (
                    "no value in range lets both sides fit",
                    tiny.ratios["max_batch"].reason,
                )


def test_a_model_against_itself_is_a_tie_throughout():
    answer = run("8xH200", Ideal(context=8192.0, weights="fp8"), opponent=MODEL)
    found = breakeven.break_evens(answer, ["batch", "context", "utilisation", "output", "prefix_hit"])
    for several in found.values():
        for one in several:
            assert (one.crossings, one.leader) == ((), "tie")


def test_q_implied_by_a_named_opponent_cannot_vary():
    answer = run("8xH200", Ideal(context=8192.0, weights="fp8", dense="Llama-3.1-70B"), opponent=llama_70b())
    last = breakeven.break_evens(answer, ["q"])["q"][1]
    assert "implied by Llama-3.1-70B" in last.payload()["none"]


def test_unknown_variables_are_refused():
    with pytest.raises(RoutelineError, match="unknown break-even variable 'batches'; close: batch"):
        breakeven.break_evens(run(), ["batches"])


@settings(max_examples=60, deadline=None)
@given(roots=st.lists(st.floats(1.5, 900.0), min_size=1, max_size=3, unique=True), log=st.booleans())
def test_the_solver_finds_all_separate_roots(roots, log):
    roots = sorted(roots)
    grid = np.geomspace(1.0, 1000.0, breakeven.POINTS) if log else np.linspace(1.0, 1000.0, breakeven.POINTS)
    cells = np.digitize(roots, grid)
    if len(set(cells)) != len(cells) or np.any(np.min(np.abs(np.subtract.outer(roots, grid)), axis=1) < 1e-9):
        return  # two roots inside one step of the scan may cancel: documented

    def f(x):
        return 1.0 + np.prod([np.sign(x - r) for r in roots], axis=0) * 0.5

    found, feasible, leader = breakeven.crossings(f, 1.0, 1000.0, log=log)
    assert [c.value for c in found] == pytest.approx(roots, rel=1e-3, abs=1e-2)
    assert feasible == pytest.approx((1.0, 1000.0))
    assert leader == ""


def test_the_solver_does_not_cross_a_gap():
    def f(x):
        return np.where(x < 10, 2.0, np.where(x > 20, 0.5, np.nan))

    found, feasible, leader = breakeven.crossings(f, 1.0, 100.0)
    assert (found, feasible, leader) == ((), (1.0, pytest.approx(100.0)), "")


def test_weights_read_is_what_the_step_reads():
    answer = run("8xH200", Ideal(context=8192.0, weights="fp8", tier="bandwidth"))
    m = answer.moe.counted
    for layout in (layouts.pooled(8), answer.moe.point.layout):
        step = side.step_at(m, answer.ground, layout, 64.0)
        per_device = breakeven.weights_read(m, layout, float(step.tokens), answer.ground.routing)
        assert per_device * layout.devices == pytest.approx(step.weight_bytes, rel=1e-12)


@pytest.mark.parametrize("layout", ["auto", "tp8", "pooled"])
def test_the_standard_shape_has_a_break_even_in_q_too(layout):
    """Its width and head count change with q: arrays inside the model, one crossing checked by hand."""
    scenario = Ideal(context=8192.0, weights="fp8", dense="standard", layout=layout)
    answer = run("8xH200", scenario, q=2.0)
    found = breakeven.break_evens(answer, ["q"])["q"][1]
    for turn in found.crossings:
        below, above = (run("8xH200", scenario, q=turn.value * f).throughput_ratio for f in (0.97, 1.03))
        assert (above > 1) == (turn.above == "dense")
        assert (below > 1) != (above > 1)
    if not found.crossings:
        assert found.leader == ("dense" if answer.throughput_ratio > 1 else "moe")


def test_a_model_against_itself_is_a_tie_on_every_number_of_devices():
    answer = run("8xH100", Ideal(context=8192.0), q=1.0, model=llama_70b())
    (found,) = breakeven.break_evens(answer, ["devices"])["devices"]
    assert (found.crossings, found.leader) == ((), "tie")
    assert found.why_none() == "none in range: a tie throughout"


@pytest.mark.parametrize("layout", ["auto", "pooled", "tp1"])
@pytest.mark.parametrize("devices", ["2xRTX 5090", "1xL40S", "2x2xL40S", "2x4xH100", "3x8xH100"])
def test_clusters_named_and_tried_can_be_written(devices, layout):
    """Cards without a link of their own share a server of eight: 26 of them are no cluster, 24 and 32 are."""
    answer = run(devices, Ideal(context=4096.0, layout=layout))
    for one in (answer.moe, answer.dense):
        needed = make_cluster(answer.cluster.device, one.devices_needed)
        assert needed.count == one.devices_needed
    sizes = breakeven.sizes(answer)
    assert [make_cluster(answer.cluster.device, n).count for n in sizes if n != answer.cluster.count]
    (found,) = breakeven.break_evens(answer, ["devices"])["devices"]
    assert found.high == max(sizes)
