"""The verdict over the distribution of q agrees with single comparisons at single q."""

from dataclasses import replace

import numpy as np
import pytest

from handmade import deepseek_v3
from routeline import quality
from routeline.compare import compare
from routeline.devices import parse_devices
from routeline.odds import odds, ratios_at
from routeline.resolve import ask, number, q_of, subject
from routeline.scenario import Scenario

MODEL = deepseek_v3()
CLUSTER = parse_devices("8xH200")
FAST = Scenario(context=131072.0, weights="fp8")


def answer(scenario=FAST, q=None):
    evidence = q_of(MODEL, scenario)
    chosen, source = (q, "") if q else number(evidence)
    return compare(MODEL, CLUSTER, scenario, q=chosen, q_source=source, q_evidence=evidence)


@pytest.mark.parametrize(
    "scenario", [FAST, replace(FAST, layout="pooled", tier="bandwidth"), replace(FAST, batch=32.0)]
)
def test_the_scan_equals_single_comparisons(scenario):
    base = answer(scenario)
    many = np.array([0.8, 2.0, 4.5, 9.0])
    scanned = ratios_at(base, many)
    for i, q in enumerate(many):
        one = answer(replace(scenario, tpot=base.ratios["tpot"].at), float(q))
        for name in ("max_batch", "tpot"):
            alone = one.ratios[name].value
            assert scanned[name][i] == pytest.approx(np.nan if alone is None else alone, rel=1e-12, nan_ok=True)
        if scenario.batch is not None:
            alone = one.ratios["equal_batch"].value
            assert np.isnan(scanned["equal_batch"][i]) if alone is None else True
            assert scanned["equal_batch"][i] == pytest.approx(
                np.nan if alone is None else alone, rel=1e-12, nan_ok=True
            )


def test_a_flip_is_where_the_ratio_crosses_one():
    found = odds(answer())
    flips = {f.ratio: f for f in found.flips}
    for name, flip in flips.items():
        around = ratios_at(answer(), np.array([flip.q * 0.97, flip.q * 1.03]))[name]
        assert (around[0] > 1 > around[1]) is not flip.rising


def test_probabilities_follow_the_evidence():
    base = answer()
    found = odds(base)
    flip = next(f.q for f in found.flips if f.ratio == "max_batch")
    assert found.p_above["max_batch"] == pytest.approx(float(base.q_evidence.cdf(flip)), abs=1e-9)
    assert found.p_static > 0.99
    assert 0.0 <= found.p_beyond_break_even <= 1.0


def test_break_even_in_q_is_the_worked_one():
    """Pooled FP8: q = 2 -> T* = 2.92 and q = 4.5 -> 8.32 tokens (docs/physics.md section 6), read backwards."""
    for batch, q in ((2.92, 2.0), (8.32, 4.5)):
        touched = 256 * (1 - (31 / 32) ** batch)
        fixed, routed, table = 16.19e9, 653.91e9, 0.93e9
        assert (fixed + routed * touched / 256 + table) / 37.55e9 == pytest.approx(q, rel=0.002)
    base = answer(replace(FAST, layout="pooled", batch=8.0))
    below = odds(replace(base, q_evidence=quality.evidence(subject(MODEL), q="4.30"))).p_beyond_break_even
    above = odds(replace(base, q_evidence=quality.evidence(subject(MODEL), q="4.50"))).p_beyond_break_even
    assert (below, above) == (1.0, 0.0)


def test_a_stated_q_settles_everything():
    found = odds(answer(replace(FAST, q=2.0)))
    assert set(found.p_above.values()) == {1.0}


def test_no_odds_against_a_named_model_or_without_evidence():
    assert odds(compare(MODEL, CLUSTER, FAST, opponent=MODEL)) is None
    assert odds(replace(answer(), q_evidence=None)) is None


def test_q_too_large_to_fit_is_counted_apart():
    tight = replace(FAST, layout="tp8", context=163840.0, utilisation=0.75)
    found = odds(answer(tight))
    if found is not None:
        assert found.p_unfit["max_batch"] >= 0.0
    wide = Scenario(context=8192.0, weights="fp8", q="2..60")
    found = odds(answer(wide))
    assert found.p_unfit["max_batch"] > 0.1
    assert found.p_above["max_batch"] + found.p_unfit["max_batch"] <= 1.0 + 1e-9


def test_the_subject_of_a_model_is_its_shape():
    s = subject(MODEL)
    assert (s.experts, s.top_k, s.shared, s.d_model, s.d_expert) == (256, 8, 1, 7168, 2048)
    assert s.sparsity == pytest.approx(0.05596, abs=1e-5)


@pytest.mark.parametrize(("name", "devices"), [("Mixtral-8x7B", "1xH200"), ("gpt-oss-120b", "1xH100")])
def test_an_uncertain_verdict_names_the_q_where_it_turns_or_where_no_answer_is_left(name, devices):
    from routeline import ask

    base = ask(name, devices)
    found = odds(base)
    assert any(stop is not None for stop in found.stops.values())
    for ratio, above in found.p_above.items():
        turns = [f.q for f in found.flips if f.ratio == ratio]
        stop = found.stops[ratio]
        assert turns or stop is not None or above in (0.0, 1.0)
        if stop is not None:
            around = ratios_at(base, np.array([stop * 0.995, stop * 1.005]))[ratio]
            assert np.isfinite(around).tolist() == [True, False]
            assert found.p_unfit[ratio] == pytest.approx(1.0 - float(base.q_evidence.cdf(stop)), abs=1e-9)
            if not turns:
                assert above == pytest.approx(float(base.q_evidence.cdf(stop)), abs=1e-9)


@pytest.mark.parametrize("devices", ["6xH200", "8xH200"])
def test_a_standard_match_of_many_sizes_is_laid_out_as_each_size_alone(devices):
    """Its heads change with q: 3 of 6 devices divide 48 heads and not 56. Scanning crashed there."""
    answer = ask("Qwen3-235B-A22B-FP8", devices, context="32k", dense="standard", tier="ideal")
    sizes = np.array([0.5, 1.0, 1.7, 2.0, 3.3, 5.0, 8.0])
    scanned = ratios_at(answer, sizes)
    for i, q in enumerate(sizes):
        alone = ask("Qwen3-235B-A22B-FP8", devices, context="32k", dense="standard", tier="ideal", q=float(q))
        assert scanned["max_batch"][i] == pytest.approx(alone.throughput_ratio, rel=1e-9)


def test_a_gap_without_an_answer_between_two_leads_is_a_flip_at_a_number():
    """Standard matches round their width: a q between two that fit may not fit. The flip was nan once."""
    answer = ask("Nemotron-3-Nano-30B-A3B", "4xL40S", cache="fp8", utilisation=0.5, dense="standard", q="1.5..4",
                 tier="ideal", routing="balanced")  # fmt: skip
    found = odds(answer)
    assert all(np.isfinite(f.q) for f in found.flips)
    for name, share in found.p_above.items():
        assert share is None or 0 <= share <= 1 - found.p_unfit[name] + 1e-12
