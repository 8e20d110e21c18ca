"""Fit, the verdict per layout, fair headlines, saved scenarios and their differences."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b
from routeline import diff, fair, layouts, memory, plan, scenario_file
from routeline.compare import compare
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
from routeline.ground import make_ground, prepared
from routeline.models import load_model
from routeline.scenario import Scenario

Ideal = partial(Scenario, tier="ideal")
"""Bounds do not move when constants are fitted anew; the calibrated tier has tests of its own."""

MODEL = deepseek_v3()
PAPER = Ideal(
    context=131072.0,
    weights="bf16",
    cache="bf16",
    memory="marketed",
    tier="bandwidth",
    layout="pooled",
    utilisation=0.95,
)


def run(devices="8xMI300X", scenario=PAPER, q=2.0, model=MODEL, **more):
    return compare(model, parse_devices(devices), scenario, q=q, **more)


# --- fit -------------------------------------------------------------------------------------------


def test_pooled_batches_are_those_of_the_worked_table():
    found = plan.fit(MODEL, parse_devices("8xMI300X"), PAPER, contexts=(131072.0,))
    assert [r.batch[131072.0] for r in found.rows] == [12.0]
    assert found.rows[0].weights == pytest.approx(671.026404352e9 * 2 / 8, rel=1e-9)


def test_the_longest_context_is_where_the_batch_turns():
    found = plan.fit(MODEL, parse_devices("8xH200"), Ideal(weights="fp8"), batches=(1.0, 8.0, 64.0))
    counted = prepared(MODEL, Ideal(weights="fp8"))
    ground = make_ground(parse_devices("8xH200"), Ideal(weights="fp8"))
    assert len(found.rows) > 20
    for row in found.rows[:12]:
        for batch, longest in row.context.items():
            if not longest:
                continue
            for context, holds in ((longest, True), (longest + 1, False)):
                work = replace(ground.workload, context=context)
                cache = memory.cache_per_device(counted, row.layout, work)
                assert (memory.admissible(ground.capacity, row.weights, cache, row.layout) >= batch) == holds


def test_what_does_not_fit_names_the_cluster_that_does():
    found = plan.fit(MODEL, parse_devices("4xH200"), Ideal(weights="fp8"))
    assert not any(r.fits for r in found.rows)
    assert found.devices_needed == 6
    assert set(found.best_batch().values()) == {0.0}
    assert set(found.longest_context().values()) == {0.0}


def test_replicas_and_shards_sum_to_the_cluster():
    """Dense on 8 devices: R replicas of TP t admit R times what one admits on t devices."""
    llama = llama_70b()
    found = plan.fit(llama, parse_devices("8xH200"), Ideal(), contexts=(8192.0,))
    rows = {str(r.layout): r for r in found.rows}
    alone = plan.fit(llama, parse_devices("2xH200"), Ideal(layout="tp2"), contexts=(8192.0,)).rows[0]
    assert rows["tp=2,replicas=4"].batch[8192.0] == 4 * alone.batch[8192.0]


@pytest.mark.parametrize("bad", [{"contexts": ()}, {"contexts": (0.0,)}, {"batches": (0.5,)}, {"batches": (1e12,)}])
def test_fit_refuses_impossible_axes(bad):
    with pytest.raises(RoutelineError, match="fit needs at least one"):
        plan.fit(MODEL, parse_devices("8xH200"), Ideal(weights="fp8"), **bad)


# --- layouts ---------------------------------------------------------------------------------------


def test_layout_table_holds_the_models_figures():
    """docs/physics.md section 7: pooled 4.53, TP8 1.78 with the dense model in TP8 too."""
    table = plan.compare_layouts(run())
    rows = {str(r.layout): r for r in table.rows}
    assert rows["pooled"].ratio == pytest.approx(4.53, abs=0.005)
    assert rows["tp=8"].ratio == pytest.approx(1.78, abs=0.005)
    assert rows["tp=8"].moe_batch == 1
    assert not table.flips
    assert "the verdict holds in every layout that fits" in table.sentence


def test_each_row_is_the_comparison_under_that_layout():
    scenario = Ideal(context=32768.0, weights="fp8")
    table = plan.compare_layouts(run("8xH200", scenario))
    for row in [r for r in table.rows if r.ratio is not None][::6]:
        text = (
            "pooled"
            if row.layout.pooled
            else ",".join(f"{k}={v}" for k, v in layouts.widths(row.layout).items() if k != "pooled")
        )
        one = run("8xH200", replace(scenario, layout=text))
        assert one.throughput_ratio == pytest.approx(row.ratio, rel=1e-9), text
        assert one.moe.point.max_batch == row.moe_batch
        assert one.verdict == row.verdict


def test_the_layout_can_decide_the_verdict():
    table = plan.compare_layouts(run("8xH200", Ideal(context=32768.0, weights="fp8"), q=6.0))
    assert table.flips
    assert table.sentence.startswith("the layout decides the verdict: dense in")


# --- fairness --------------------------------------------------------------------------------------


def test_the_headline_names_its_weakest_ratio():
    """4.53 at largest batches, 3.69 at the MoE's latency, 0.99 per request: the last is named."""
    found = fair.headline(run())
    values = {r.name: r.value for r in found.rows}
    assert values["max_batch"] == pytest.approx(4.53, abs=0.005)
    assert values["tpot"] == pytest.approx(3.69, abs=0.005)
    assert values["request"] == pytest.approx(0.99, abs=0.005)
    assert found.weakest.name == "request"
    assert found.weakest.assumed
    assert "does not hold under every rule" in found.sentence
    assert "0.989 per request" in found.sentence


def test_where_every_rule_agrees_it_says_so():
    found = fair.headline(run(scenario=replace(PAPER, input=1024.0, output=8192.0), q=0.5))
    assert all(r.value > 1 for r in found.rows)
    assert "dense is ahead under every rule" in found.sentence


def test_no_ratio_has_no_weakest():
    found = fair.headline(run("1xH200", Ideal(weights="fp8")))
    assert found.weakest is None
    assert "does not fit" in found.sentence


def test_what_matters_reruns_the_question_with_one_choice_changed():
    answer = run()
    found = {(x.name, x.instead): x for x in fair.what_matters(answer)}
    assert found["memory basis", "usable"].ratio == pytest.approx(3.89, abs=0.005)
    assert found["layout", "tp=8"].ratio == pytest.approx(1.78, abs=0.005)
    assert found["memory utilisation", "0.9"].ratio == pytest.approx(5.45, abs=0.005)
    assert found["tier", "ideal"].ratio == pytest.approx(4.53, abs=0.01)
    order = [x.flips for x in fair.what_matters(answer)]
    assert order == sorted(order, reverse=True)


def test_what_is_refused_is_listed_with_its_reason():
    grok = load_model("Grok-1")
    answer = compare(grok, parse_devices("5xH200"), Ideal(context=4096.0, weights="fp8", layout="pooled"), q=2.0)
    found = [x for x in fair.what_matters(answer) if x.verdict == "refused"]
    assert any("does not divide 48 heads" in x.reason for x in found)


# --- saved scenarios -------------------------------------------------------------------------------

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "context": st.integers(1, 10**6), "utilisation": st.floats(0.1, 1.0),
        "weights": st.sampled_from(["fp8", "bf16"]),
        "q": st.floats(0.5, 8.0), "batch": st.integers(1, 1000), "layout": st.sampled_from(["auto", "pooled", "tp8"]),
        "extend_context": st.booleans(), "prefix_hit": st.floats(0.0, 1.0), "tpot": st.floats(1e-4, 1.0),
    },
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(values=FIELDS)
def test_what_is_saved_is_read_back(values):
    import tomllib

    scenario = Ideal(**values)
    again = scenario_file.read(tomllib.loads(scenario_file.dumps("DeepSeek-V3", "8xH200", scenario)))
    assert again.scenario == scenario
    assert (again.model, again.devices) == ("DeepSeek-V3", "8xH200")


def test_a_file_holds_what_a_person_types(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('model = "Grok-1"\ndevices = "8xMI300X"\n[scenario]\ncontext = "4k"\ntpot = "50ms"\n')
    found = scenario_file.load(str(path))
    assert (found.scenario.context, found.scenario.tpot) == (4096.0, 0.05)
    scenario_file.save(str(path), "Grok-1", "8xH200", found.scenario)
    assert scenario_file.load(str(path)).scenario == found.scenario


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "a"\ndevices = "b"\n[scenario]\ncontex = 1', "unknown scenario key .*'contex'; close: context"),
        ('modle = "a"\ndevices = "b"', "unknown key .*'modle'; close: model"),
        ('model = "a"\ndevices = "b"\ncontext = 1', r"context belongs under \[scenario\]"),
        ('model = "a"', "devices is missing"),
        ('model = 3\ndevices = "b"', "model has the wrong type"),
        ('model = "a"\ndevices = "b"\n[scenario]\nbatch = [1]', "batch has the wrong type"),
        ('model = "a"\ndevices = "b"\nscenario = 4', "scenario has the wrong type"),
        ('model = "a"\ndevices = "b"\n[scenario]\naccept = 2', "accept must be between 0 and 1"),
        ('model = "a"\ndevices = "b"\n[scenario]\noutput = 0', "output must be between 1"),
        ("not toml", "is not TOML"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RoutelineError, match=message):
        scenario_file.load(str(path))


def test_files_that_cannot_be_read_or_written():
    with pytest.raises(RoutelineError, match="cannot read the scenario"):
        scenario_file.load("/nowhere/at.toml")
    with pytest.raises(RoutelineError, match="cannot write"):
        scenario_file.save("/nowhere/at.toml", "a", "b", Ideal())


def test_a_difference_names_each_change_and_what_it_does_alone():
    first = scenario_file.read({"model": "DeepSeek-V3", "devices": "8xMI300X", "scenario": {
        "context": "128k", "weights": "bf16", "cache": "bf16", "memory": "marketed", "tier": "bandwidth",
        "layout": "pooled", "utilisation": 0.95, "q": 2}})  # fmt: skip
    second = replace(first, scenario=replace(first.scenario, utilisation=0.9, q=4.5))
    found = diff.diff(first, second)
    assert {c.name: round(c.ratio_alone, 2) for c in found.changes} == {"utilisation": 5.45, "q": 3.87}
    assert found.after.throughput_ratio == pytest.approx(4.62, abs=0.005)
    moved = {o.name: o for o in found.outcomes}
    assert (moved["moe.batch"].before, moved["moe.batch"].after) == (12.0, 4.0)
    assert moved["moe.batch"].factor == pytest.approx(1 / 3)
    assert "moe.weight_bytes" not in moved
    assert found.sentence == "the verdict stays: dense ahead (R = 4.53, q = 2) -> dense ahead (R = 4.62, q = 4.5)"
    same = diff.diff(first, first)
    assert (same.changes, same.outcomes, same.sentence) == ((), (), "the two questions are the same")


def test_a_change_that_is_refused_alone_says_why():
    first = scenario_file.read(
        {"model": "DeepSeek-V3", "devices": "8xH200", "scenario": {"q": 2, "weights": "fp8", "tier": "ideal"}}
    )
    second = replace(first, devices="16xH200", scenario=replace(first.scenario, layout="tp16"))
    found = diff.diff(first, second)
    alone = {c.name: c for c in found.changes}
    assert alone["layout"].verdict_alone == "refused"
    assert "needs a multiple of 16 devices" in alone["layout"].reason


def test_layout_arrays_are_scalars():
    assert np.ndim(plan.fit(MODEL, parse_devices("8xH200"), Ideal(weights="fp8")).rows[0].layout.tp) == 0
