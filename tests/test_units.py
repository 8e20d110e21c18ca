"""Units: a prefix has one meaning, a missing unit is refused, and round trips hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routeline.errors import RoutelineError
from routeline.units import SCALES, parse, show


def test_decimal_and_binary_bytes_differ_by_the_exact_ratio():
    assert parse("80 GB", "B") == 80e9
    assert parse("80 GiB", "B") == 80 * 2**30
    assert parse("81559 MiB", "B") == 81559 * 2**20
    assert parse("1 TiB", "B") / parse("1 TB", "B") == pytest.approx(1.099511627776, rel=1e-15)


def test_bits_are_an_eighth_of_bytes():
    assert parse("400 Gbit/s", "B/s") == parse("50 GB/s", "B/s") == 5e10
    assert parse("3.35 TB/s", "B/s") == parse("3350 GB/s", "B/s")


def test_context_is_binary_and_counts_are_decimal():
    assert parse("128k", "tokens") == parse("131072", "tokens") == parse(131072, "tokens") == 131072
    assert parse("1M", "tokens") == 2**20
    assert parse("14.8T", "count") == 1.48e13
    assert parse("4k", "count") == 4000


def test_rates_times_and_power():
    assert parse("989.4 TFLOP/s", "FLOP/s") == pytest.approx(9.894e14)
    assert parse("50 ms", "s") == pytest.approx(0.05)
    assert parse("2 us", "s") == parse("2 µs", "s") == pytest.approx(2e-6)
    assert parse("0.7kW", "W") == pytest.approx(700)


@pytest.mark.parametrize("text", ["80", 80, 80.0])
def test_a_size_without_unit_is_refused_because_it_could_be_gb_or_gib(text):
    with pytest.raises(RoutelineError, match="no unit"):
        parse(text, "B", "memory")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "GB",
        "80 gb",
        "80 GB/s",
        "eighty GB",
        "80 GB 1",
        "--8 GB",
        "1e999 GB",
        "nan GB",
        None,
        True,
        [],
        "9" * 101,
    ],
)
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(RoutelineError, match="memory"):
        parse(text, "B", "memory")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_not_finite_are_refused(number):
    with pytest.raises(RoutelineError):
        parse(number, "tokens")


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(RoutelineError, match=r"unknown unit 'Gb'.*GiB"):
        parse("80 Gb", "B")


@given(st.sampled_from(sorted(SCALES)), st.floats(1e-3, 1e6), st.data())
def test_every_unit_scales_linearly(dimension, number, data):
    unit = data.draw(st.sampled_from(sorted(SCALES[dimension])))
    assert parse(f"{number!r} {unit}", dimension) == pytest.approx(number * parse(f"1 {unit}", dimension), rel=1e-12)


@given(st.floats(1e-6, 1e18), st.sampled_from(["B", "B/s", "FLOP/s", "W"]))
def test_shown_values_read_back(value, dimension):
    assert parse(show(value, dimension, 12), dimension) == pytest.approx(value, rel=1e-9)


@given(st.text(max_size=40), st.sampled_from(sorted(SCALES)))
def test_any_text_is_a_finite_number_or_a_refusal(text, dimension):
    value, refused = 0.0, ""
    try:
        value = parse(text, dimension)
    except RoutelineError as error:
        refused = str(error)
    assert math.isfinite(value)
    assert "\n" not in refused


def test_show_picks_a_readable_unit():
    assert show(1.342e12, "B") == "1.342 TB"
    assert show(2.5e-5, "s") == "25 µs"
    assert show(131072, "tokens") == "128k"
    assert show(None, "B") == "-"
    assert show(math.inf, "s") == "unbounded"
