"""The measured rows: flags exactly as published, and what the shipped constants reach on them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("aiconfigurator_core", reason="needs the extra routeline[silicon]")

import accuracy_tables

from routeline.serving import fit, peer, predict, silicon, validate

pytestmark = pytest.mark.silicon


@pytest.fixture(scope="module")
def rows():
    return validate.data()


def test_flags_follow_from_the_silicon_rows_alone(rows):
    data, clean = rows
    shipped = peer.flags(data.columns["id"])
    fresh = silicon.read().flags
    assert all(np.array_equal(fresh[name], shipped[name]) for name in fresh)
    assert len(clean) == 3619
    assert clean.sum() == 2536


def test_the_peers_published_error_is_reproduced(rows):
    data, clean = rows
    theirs = peer.columns(data.columns["id"])["tpot"]
    seen = np.array(data.columns["measured_tpot_ms"])
    use = clean & np.isfinite(theirs)
    error = np.abs(theirs[use] / seen[use] - 1.0)
    assert use.sum() == 1930
    assert error.mean() == pytest.approx(0.208, abs=5e-4)
    assert np.median(error) == pytest.approx(0.145, abs=5e-4)


def test_every_clean_row_is_answered(rows):
    data, clean = rows
    answer = predict.predict(validate.take(data.columns, clean))
    assert all(v is not None and np.isfinite(v) for v in answer["tpot_ms"])


def test_no_measured_row_is_refused_for_its_layout(rows):
    answer = predict.predict(rows[0].columns)
    refused = [r for r in answer["reason"] if r and "does not fit" not in r]
    assert refused == []


@pytest.fixture(scope="module")
def folds(rows):
    data, clean = rows
    problem = fit.problem(validate.take(data.columns, clean), validate.take(data.columns, clean)["family"])
    return problem, fit.leave_out(problem)


def test_held_out_error_is_below_the_peers(folds, rows):
    problem, held = folds
    error = np.abs(held.tpot / problem.tpot - 1.0)
    assert error.mean() < 0.15
    assert np.median(error) < 0.11


def test_the_linearised_fold_agrees_with_a_fit_from_scratch(folds):
    problem, held = folds
    out = problem.family == "Kimi"
    again = fit.evaluate(problem, fit.fit(problem, ~out))
    assert np.median(np.abs(np.log(again.tpot[out] / held.tpot[out]))) < 0.03


def test_no_clean_row_beats_the_ideal_decode_step_by_much(folds, rows):
    data, clean = rows
    problem, _ = folds
    bound = validate.ideal(validate.take(data.columns, clean), problem)
    assert np.mean(problem.tpot < bound) < 0.01


def test_the_accuracy_page_states_what_validate_finds():
    assert accuracy_tables.differences(accuracy_tables.MEASURED) == []
