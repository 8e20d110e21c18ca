"""Distributions of q: closed forms against SciPy, one interface, bad input."""

import numpy as np
import pytest

from routeline.errors import RoutelineError
from routeline.quality import parse_q
from routeline.quality.distribution import Fixed, LogStudent, LogUniform, t_cdf, t_quantile
from routeline.quality.solve import bisect


@pytest.mark.parametrize("df", [2, 4, 10, 30])
def test_student_matches_scipy(df):
    from scipy.stats import t as reference

    x = np.linspace(-8, 8, 81)
    assert np.allclose(t_cdf(x, df), reference.cdf(x, df), atol=1e-14)
    p = np.array([1e-4, 0.05, 0.25, 0.5, 0.9, 0.9999])
    assert np.allclose(t_quantile(p, df), reference.ppf(p, df), atol=1e-8)


@pytest.mark.parametrize("d", [LogStudent(1.5, 0.3, 10), LogUniform(1.5, 4.0)])
def test_quantile_and_cdf_are_inverse(d):
    p = np.linspace(0.01, 0.99, 25)
    assert np.allclose(d.cdf(d.quantile(p)), p, atol=1e-9)
    assert np.allclose([d.quantile(float(v)) for v in p], d.quantile(p), rtol=1e-12)
    low, high = d.interval90
    assert low < d.interval50[0] < d.median < d.interval50[1] < high
    assert d.cdf(high) - d.cdf(low) == pytest.approx(0.9, abs=1e-9)


def test_samples_follow_the_distribution_and_the_seed():
    d = LogStudent(1.0, 0.4, 10)
    draws = d.sample(20000, seed=3)
    assert np.array_equal(draws, d.sample(20000, seed=3))
    assert not np.array_equal(draws, d.sample(20000, seed=4))
    assert np.mean(draws < d.quantile(0.25)) == pytest.approx(0.25, abs=0.015)


def test_stated_q():
    two = parse_q("2")
    assert two == Fixed(2.0)
    assert parse_q(2) == two
    assert two.median == 2.0
    assert two.interval90 == (2.0, 2.0)
    assert (two.p_below(2.0), two.p_below(2.01), two.cdf(2.0)) == (0.0, 1.0, 1.0)
    assert np.array_equal(two.sample(3), [2.0, 2.0, 2.0])
    span = parse_q("1.5..4")
    assert span.median == pytest.approx((1.5 * 4) ** 0.5)
    assert span.cdf(1.5) == 0
    assert span.cdf(4) == 1
    assert span.interval(0.5) == pytest.approx((1.5 * (4 / 1.5) ** 0.25, 1.5 * (4 / 1.5) ** 0.75))
    assert parse_q("2..2") == two


@pytest.mark.parametrize(
    "bad", ["0", "-1", "nan", "inf", "two", "", "4..1.5", "1..2..3", "..3", "0..2", "1e999", True, None]
)
def test_bad_q_is_one_sentence(bad):
    with pytest.raises(RoutelineError) as caught:
        parse_q(bad)
    assert "\n" not in str(caught.value)


def test_a_dense_model_has_q_exactly_one():
    point = LogStudent(0.0, 0.0, 10)
    assert point.median == 1.0
    assert point.p_below(1.0) == 0.0
    assert point.cdf(1.0) == 1.0


def test_bisection_finds_roots_elementwise():
    target = np.array([0.5, 3.0, 40.0])
    assert np.allclose(bisect(lambda x: x**3 - target, np.zeros(3), np.full(3, 10.0)), target ** (1 / 3), rtol=1e-12)
    assert np.allclose(
        bisect(lambda x: x**3 - target, np.full(3, 1e-6), np.full(3, 1e6), log=True), target ** (1 / 3), rtol=1e-12
    )


def test_an_interval_needs_a_mass():
    with pytest.raises(RoutelineError, match="mass"):
        parse_q("2").interval(1.5)
