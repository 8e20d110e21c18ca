"""The fit on made-up rows: it finds what was put in, and held-out rows stay held out."""

from __future__ import annotations

import numpy as np
import pytest

from routeline.serving import constants, fit, personal, score
from routeline.serving.predict import predict

MODELS = ("Llama-3.1-8B", "Qwen3-32B", "Mixtral-8x7B")


@pytest.fixture(scope="module")
def table():
    rows = [
        {
            "model": m,
            "device": d,
            "devices": 2,
            "engine": e,
            "weights": "bf16",
            "tp": 2,
            "input_len": i,
            "output_len": 512,
            "concurrency": c,
        }
        for m in MODELS
        for d in ("H200", "B200")
        for e in ("vllm", "sglang")
        for i in (256, 4096)
        for c in (2, 16, 64)
    ]
    columns = {k: [r[k] for r in rows] for k in rows[0]}
    answer = predict(columns, fit={"effects": [{"names": ["step.fixed"], "by": {"engine": "vllm"}, "log": 0.6}]})
    return columns | {"measured_tpot_ms": answer["tpot_ms"], "measured_ttft_ms": answer["ttft_ms"]}


def test_recovers_an_effect_that_was_put_in(table):
    problem = fit.problem(table, table["model"])
    before = fit.evaluate(problem, np.zeros(len(problem.spec)))
    after = fit.evaluate(problem, fit.fit(problem))

    def error(served):
        return np.mean(np.abs(np.log(served.tpot / problem.tpot)))

    assert error(before) > 0.01
    assert error(after) < 0.8 * error(before)  # pulled towards the prior, not all the way


def test_every_prior_has_a_unit_kind_and_source():
    data = constants.priors()
    assert all(c["unit"] and c["kind"] and c["source"] for c in data["constants"])
    assert all(g.get("source") for name, g in data["generations"].items() if name not in ("hopper", "blackwell"))


def test_interval_covers_what_it_says():
    draws = np.random.default_rng(1).normal(size=20_000)
    low, high = fit.interval(draws, np.ones(len(draws)))
    assert np.mean((draws > low) & (draws < high)) == pytest.approx(0.8, abs=0.002)


def test_shrinkage_is_the_normal_posterior():
    found = personal.shrink(np.array([0.3]), [("all", "a", "a1")], (0.1, 0.1, 0.1), 0.1)
    total = sum(found[g][0] for g in ("all", "a", "a1"))
    assert total == pytest.approx(0.3 * 0.03 / 0.04)


def test_measures_by_hand():
    m = score.measures(np.array([1.1, 0.9, np.nan]), np.array([1.0, 1.0, 1.0]))
    assert (m["n"], m["answered"]) == (3, 2)
    assert m["mape"] == pytest.approx(0.1)
    assert m["within20"] == 1.0
    assert score.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])) == pytest.approx(1.0)
