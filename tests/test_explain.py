"""Traces: every key gives back the answer's number, every leaf has an origin, and nothing is shown that disagrees."""

import json
from dataclasses import replace
from functools import partial

import pytest

from handmade import deepseek_v3, llama_70b
from routeline import explain
from routeline.answer.citations import citations
from routeline.compare import compare
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
from routeline.formulas import F, Trace
from routeline.models import load_model
from routeline.routing import parse
from routeline.scenario import IDEAL, Scenario

Ideal = partial(Scenario, tier="ideal")
"""Bounds do not move when constants are fitted anew; the calibrated tier has tests of its own."""

PAPER = Ideal(
    context=131072.0, weights="bf16", cache="bf16", memory="marketed", tier="bandwidth", layout="pooled",
    utilisation=0.95,
)  # fmt: skip


def run(devices="8xMI300X", scenario=PAPER, q=2.0, model=None, **more):
    return compare(model or deepseek_v3(), parse_devices(devices), scenario, q=q, **more)


def cases():
    wide = Ideal(context=8192.0, weights="fp8", input=8192.0, output=512.0, draft=2.0, accept=0.5, batch=64.0)
    fitted = replace(
        IDEAL, name="fitted", memory={"": 0.8, "attention": 0.5}, compute={"": 0.7}, sharpness=2.0, step=1e-3,
        per_sequence=1e-6, per_expert=2e-7, overhead={"gemm": 3e-6, "routed": 5e-6},
    )  # fmt: skip
    return {
        "paper": run(),
        "wide": run("8xH200", wide, routed=parse("zipf:1.2")),
        "fitted": run("8xH200", Ideal(context=8192.0, weights="fp8", layout="dp8,ep8", batch=64.0), efficiency=fitted),
        "two nodes": run("2x8xH100", Ideal(context=4096.0), model=load_model("Grok-1")),
        "named": run("8xH200", Ideal(context=8192.0, weights="fp8"), opponent=llama_70b()),
        "hybrid": run("8xH200", Ideal(context=8192.0), model=load_model("Mixtral-8x7B")),
        "encoder": run("8xB300", Ideal(context=512.0, weights="fp8"), q=12.0, model=load_model("Switch-C")),
    }


CASES = cases()


def walk(trace):
    yield trace
    for one in trace.inputs.values():
        yield from walk(one)


@pytest.mark.parametrize("name", CASES)
def test_every_key_of_an_answer_is_explained(name):
    """explain() itself refuses a trace whose value differs from the answer's by more than 1e-9."""
    answer = CASES[name]
    for key in explain.keys(answer):
        trace = explain.explain(answer, key)
        assert isinstance(trace, Trace)
        json.dumps(trace.payload(), allow_nan=False)


@pytest.mark.parametrize("name", ["paper", "wide", "fitted"])
def test_formulas_evaluate_again_and_leaves_have_an_origin(name):
    answer = CASES[name]
    texts = {f.text: f for f in F.values()}
    for one in walk(explain.explain(answer, "throughput_ratio")):
        if one.formula in texts:
            again = texts[one.formula].compute(**{k: t.value for k, t in one.inputs.items()})
            assert again == pytest.approx(one.value, rel=1e-12)
        assert one.kind
        assert one.source, one.key
        assert "{" not in one.filled
        assert one.symbols.count("(") == one.symbols.count(")")


def test_the_paper_case_reads_as_the_model_says():
    batch = explain.explain(CASES["paper"], "moe.max_batch")
    assert batch.symbols == "floor((capacity - weights) / cache) * ranks"
    assert batch.value == 12
    memory = batch.inputs["capacity"].inputs["memory"]
    assert (memory.value, memory.unit, memory.kind) == (192e9, "B", "datasheet")
    assert memory.source
    step = explain.explain(CASES["paper"], "moe.step_time_s")
    assert step.value == pytest.approx(13.14e-3, abs=5e-6)
    assert "9.772 ms" in step.filled
    touched = explain.explain(CASES["paper"], "moe.experts_touched")
    assert touched.filled == "256 * (1 - (1 - 8/256)**12)"


def test_values_match_the_answer():
    answer = CASES["wide"]
    assert explain.explain(answer, "dense.tpot_s").value == pytest.approx(answer.dense.point.tpot, rel=1e-9)
    assert explain.explain(answer, "reuse_penalty").value == pytest.approx(answer.reuse_penalty, rel=1e-9)
    assert explain.explain(answer, "ratios.request").value == pytest.approx(answer.ratios["request"].value, rel=1e-9)


def test_a_trace_that_disagrees_is_a_fault_not_an_answer():
    answer = CASES["paper"]
    wrong = replace(answer, s=answer.s * 1.001)
    with pytest.raises(AssertionError, match="the trace of s gives"):
        explain.explain(wrong, "s")


def test_unknown_keys_and_absent_numbers_are_refused():
    with pytest.raises(RoutelineError, match=r"unknown key 'moe\.step_time'; close: moe\.step_time_s"):
        explain.explain(CASES["paper"], "moe.step_time")
    tiny = run("1xH200", Ideal(weights="fp8"))
    for key in ("moe.max_batch", "throughput_ratio", "reuse_penalty", "headroom_gain", "moe.step_time_s"):
        with pytest.raises(RoutelineError, match="does not fit"):
            explain.explain(tiny, key)
    assert explain.explain(tiny, "moe.capacity").value > 0


def test_hardware_figures_are_those_used_with_their_own_kind_and_source():
    """Start-up times of links are guesses and said so; a pool has no links; int8 is never computed in here."""
    wide = run("2x8xH200", Ideal(context=8192.0, weights="fp8", layout="tp8,dp2,ep16"))
    stated = {a.name: a for a in wide.assumptions}
    assert (stated["link.hop"].value, stated["link.hop"].unit, stated["link.hop"].kind) == (1e-6, "s", "guess")
    assert {"device.link", "device.nic", "nic.hop", "device.peak.fp8", "device.peak.bf16"} <= set(stated)
    assert "device.peak.int8" not in stated
    pooled = {a.name for a in CASES["paper"].assumptions}
    assert not pooled & {"device.link", "device.nic", "link.hop", "nic.hop", "device.peak.fp8"}
    traced = explain.explain(wide, "moe.parts.communication").inputs
    for name in ("link", "nic", "link_hop", "nic_hop"):
        plain = name.replace("_", ".") if "hop" in name else f"device.{name}"
        assert (traced[name].value, traced[name].kind, traced[name].source) == (
            stated[plain].value, stated[plain].kind, stated[plain].source,
        )  # fmt: skip
    measured = run("8xH200", Scenario(context=8192.0, weights="fp8"))
    leaves = [t for t in walk(explain.explain(measured, "moe.step_time_s")) if t.unit in ("B/s", "FLOP/s")]
    assert {t.source for t in leaves if not t.inputs} == {stated["device.bandwidth"].source}
    cited = citations(wide)
    assert [x.url for x in cited if "link.hop" in x.used_for] == [""]
    assert not [x for x in cited if "int8" in x.used_for]
