"""Every law against the numbers its paper, or our worked table, prints."""

import math

import numpy as np
import pytest

from routeline import quality
from routeline.errors import RoutelineError, UnknownName
from routeline.quality import _data
from routeline.quality.laws import clark, ling, ludziejewski, simple, study

LAWS = _data.document("laws.toml")
WORKED = {  # active, total, tokens, experts held over used, Krajewski's G, Ling's A and G
    "DeepSeek-V3": (37e9, 671e9, 14.8e12, 257 / 9, 9.0, 9 / 257, 7.0),
    "Qwen3-235B": (22e9, 235e9, 36e12, 16.0, 8.0, 1 / 16, 16 / 3),
    "Grok-1": (84e9, 314e9, 6e12, 4.0, 1.0, 1 / 4, 2.0),
    "Switch-C": (1.6e9, 1571e9, 576e9, 2048.0, 1.0, 1 / 2048, 2.0),
    "Mixtral": (12.9e9, 46.7e9, 3e12, 4.0, 1.0, 1 / 4, 2.0),
}


def k(name):
    return LAWS[name]["coefficients"]


@pytest.mark.parametrize(("name", "size"), [("clark-sbase", 51.5e6), ("clark-rl", 57.0e6), ("clark-hash", 41.9e6)])
def test_clark_effective_size_of_5m_with_128_experts(name, size):
    assert clark.effective_size(5e6, 128, k(name)) == pytest.approx(size, rel=2e-3)


@pytest.mark.parametrize("name", ["clark-sbase", "clark-rl", "clark-hash"])
def test_clark_is_consistent_and_stops_at_its_cutoff(name):
    c = k(name)
    dense = clark.effective_size(1e8, 64, c)
    assert clark.loss_log10(dense, 1, c) == pytest.approx(clark.loss_log10(1e8, 64, c), rel=1e-12)
    assert clark.effective_size(c["cutoff"], 64, c) == pytest.approx(c["cutoff"], rel=1e-9)
    assert clark.q(10 * c["cutoff"], 64, c) == 1.0


@pytest.mark.parametrize(
    ("model", "sbase", "rl", "hashed"),
    [
        ("DeepSeek-V3", 1.53, 1.15, 1.11),
        ("Qwen3-235B", 1.49, 1.20, 1.14),
        ("Grok-1", 1.12, 1.00, 1.00),
        ("Switch-C", 4.8, 3.8, 3.4),
        ("Mixtral", 1.22, 1.12, 1.07),
    ],
)
def test_clark_worked(model, sbase, rl, hashed):
    active, _, _, ratio, *_ = WORKED[model]
    got = [float(clark.q(active, ratio, k(n))) for n in ("clark-sbase", "clark-rl", "clark-hash")]
    assert got == pytest.approx([sbase, rl, hashed], abs=0.0051, rel=0.012)


def test_ludziejewski_table_4():
    """Six reductions to a dense-like law, as the paper prints them (Tables 3 and 4, arXiv 2502.05172)."""
    paper = np.array(
        [
            [30.3640, -0.1817, 53.9838, -0.1965],
            [27.7982, -0.1780, 66.8401, -0.2065],
            [24.8462, -0.1731, 87.7022, -0.2192],
            [21.8330, -0.1676, 119.9126, -0.2338],
            [19.0159, -0.1617, 167.5073, -0.2494],
            [16.5424, -0.1557, 234.6726, -0.2652],
        ]
    )
    got = np.stack(ludziejewski.reduced(np.array([1.0, 2, 4, 8, 16, 32]), k("ludziejewski")), axis=1)
    assert np.max(np.abs(got / paper - 1)) < 0.005


def test_ludziejewski_optimum_and_rule_of_thumb():
    c = k("ludziejewski")
    best, _ = ludziejewski.compute_optimal(1e22, 1.0, c)
    assert best == pytest.approx(18.9e9, rel=0.01)
    assert 1e22 / 6 / best == pytest.approx(88.3e9, rel=0.01)
    near = [
        ludziejewski.compute_optimal(1e22, 1.0, c)[1] <= ludziejewski.loss(best * f, 1e22 / 6 / best / f, 1.0, c)
        for f in (0.9, 1.1)
    ]
    assert all(near)


@pytest.mark.parametrize(
    ("model", "tokens", "flop", "optimal", "leverage"),
    [
        ("DeepSeek-V3", 2.33, None, 1.70, 4.0),
        ("Qwen3-235B", 1.86, 2.86, 1.55, 3.3),
        ("Grok-1", 1.64, None, 1.33, 2.0),
        ("Switch-C", 7.2, None, None, None),  # the worked 3.1 (3.4) caps E at 32
        ("Mixtral", 1.55, 3.00, 1.43, 1.8),
    ],
)
def test_ludziejewski_worked(model, tokens, flop, optimal, leverage):
    active, total, d, *_ = WORKED[model]
    c = k("ludziejewski")
    assert ludziejewski.q_equal_tokens(active, total, d, c) == pytest.approx(tokens, rel=5e-3)
    got = float(ludziejewski.q_equal_flop(active, total, d, c))
    assert math.isnan(got) if flop is None else got == pytest.approx(flop, rel=2e-3)
    if optimal:
        q, saved = ludziejewski.q_compute_optimal(active, total, d, c)
        assert q == pytest.approx(optimal, abs=0.006)
        assert saved == pytest.approx(leverage, rel=0.03)


def test_ludziejewski_switch_c_with_experts_capped():
    active, _, d, *_ = WORKED["Switch-C"]
    capped = active * (4 + 9 * 32) / 13
    assert ludziejewski.q_equal_tokens(active, capped, d, k("ludziejewski")) == pytest.approx(3.1, rel=0.02)


def test_equal_flop_solution_has_equal_loss_and_equal_flop():
    c = k("ludziejewski")
    q = float(ludziejewski.q_equal_flop(22e9, 235e9, 36e12, c))
    moe = ludziejewski.loss(22e9, 36e12, ludziejewski.experts_of(22e9, 235e9), c)
    assert ludziejewski.loss(q * 22e9, 36e12 / q, 1.0, c) == pytest.approx(moe, rel=1e-12)
    back = ludziejewski.tokens_from_flop(q, 22e9, 36e12, c)
    assert back == pytest.approx(ludziejewski.q_equal_tokens(22e9, 235e9, 36e12, c), rel=1e-9)


def test_ling_published_leverage():
    assert ling.leverage(0.031, 12.0, 1e22, k("ling")) == pytest.approx(7.24, abs=0.005)
    g = np.geomspace(2, 64, 400)
    best = g[np.argmax(ling.leverage(0.031, g, 1e20, k("ling")))]
    assert 11 < best < 12


def test_ling_mini_beta_is_matched_at_q_7_15():
    """0.855B active matched a 6.11B dense model on the same tokens; the paper's law says about 7 at its compute."""
    own = quality.empirical_q("Ling-mini-beta")
    assert own.q == pytest.approx(7.15, abs=0.005)
    law = ling.leverage(0.034, 12.0, 1e22, k("ling"))
    assert law == pytest.approx(7.15, rel=0.05)


@pytest.mark.parametrize(
    ("model", "raw", "e22", "e20"),
    [
        ("DeepSeek-V3", 11.9, 6.7, 5.1),
        ("Qwen3-235B", 8.3, 5.0, 3.9),
        ("Grok-1", 2.6, 2.1, 1.8),
        ("Switch-C", 8.5, 8.5, 6.3),
        ("Mixtral", 2.4, 2.1, 1.8),
    ],
)
def test_ling_worked(model, raw, e22, e20):
    active, _, d, _, _, a, g = WORKED[model]
    flop = 6 * active * d
    got = [float(ling.leverage(a, g, min(flop, top), k("ling"))) for top in (math.inf, 1e22, 6e20)]
    assert got == pytest.approx([raw, e22, e20], rel=0.012, abs=0.05)  # half of the last printed digit, or 1%


def test_ling_clips_activation_too():
    """The worked 6.3 of Switch-C leaves A at 1/2048; inside the fitted range (A >= 0.8%) it is 5.4."""
    assert quality.law("ling", quality.subject_of("Switch-C")).q == pytest.approx(5.36, abs=0.01)


@pytest.mark.parametrize(("sparsity", "q"), [(32, 2.8), (16, 2.3), (4, 1.5), (2048, 9.9)])
def test_kimi_worked(sparsity, q):
    assert simple.kimi_leverage(sparsity, k("kimi-k2")) == pytest.approx(q, rel=0.015)


@pytest.mark.parametrize(("sparsity", "saved"), [(8, 1.69), (16, 1.39), (32, 1.15)])
def test_kimi_published_ratios(sparsity, saved):
    c = k("kimi-k2")
    assert simple.kimi_leverage(48, c) / simple.kimi_leverage(sparsity, c) == pytest.approx(saved, rel=0.025)


@pytest.mark.parametrize(
    ("model", "q"),
    [("DeepSeek-V3", 4.26), ("Qwen3-235B", 3.27), ("Grok-1", 1.94), ("Switch-C", 31.3), ("Mixtral", 1.90)],
)
def test_square_root_rule_is_the_geometric_mean(model, q):
    active, total, *_ = WORKED[model]
    assert simple.power(active / total, 0.5) == pytest.approx(q, rel=4e-3)
    assert simple.power(active / total, 0.5) * active == pytest.approx(math.sqrt(active * total))


def test_krajewski_leverage_at_1e20():
    """The paper says 20x; granularities 4 and 8 give 18.8 and 21.9, and 28..34 at 1e25 from 8 on."""
    low, high = (float(study.krajewski_leverage(1e20, g, k("krajewski"))) for g in (4.0, 8.0))
    assert (low, high) == pytest.approx((18.8, 21.9), rel=5e-3)
    assert float(study.krajewski_leverage(1e25, 8.0, k("krajewski"))) == pytest.approx(28, rel=0.02)
    assert float(study.krajewski_leverage(1e25, 64.0, k("krajewski"))) == pytest.approx(34, rel=0.01)


@pytest.mark.parametrize(
    ("model", "held", "scaled"),
    [
        ("DeepSeek-V3", 6.1, 17.9),
        ("Qwen3-235B", 2.3, 12.2),
        ("Grok-1", 0.58, 12.6),
        ("Switch-C", 485, 8.3),
        ("Mixtral", 0.47, 9.0),
    ],
)
def test_krajewski_worked(model, held, scaled):
    active, total, d, _, g, *_ = WORKED[model]
    got = [float(study.krajewski_q(active, n, d, g, k("krajewski"))) for n in (total, 43 * active)]
    assert got == pytest.approx([held, scaled], rel=0.02)


@pytest.mark.parametrize(
    ("model", "q"), [("DeepSeek-V3", 68), ("Qwen3-235B", 21), ("Grok-1", 8.3), ("Switch-C", 118), ("Mixtral", 4.3)]
)
def test_abnar_worked_shows_why_it_is_refused(model, q):
    active, total, d, *_ = WORKED[model]
    assert study.abnar_q(active, total, d, k("abnar")) == pytest.approx(q, rel=0.015)
    subject = quality.Subject(name=model, active=active, total=total, train_tokens=(d, d))
    answer = quality.law("abnar", subject)
    assert answer.q is None
    assert not answer.in_range
    assert "outside" in answer.warning


def test_arrays_equal_scalars():
    active, total = np.array([1e9, 37e9, 22e9]), np.array([7e9, 671e9, 235e9])
    for f, name in (
        (lambda a, t: ludziejewski.q_equal_tokens(a, t, 1e13, k("ludziejewski")), "tokens"),
        (lambda a, t: ludziejewski.q_equal_flop(a, t, 1e13, k("ludziejewski")), "flop"),
        (lambda a, t: ludziejewski.q_compute_optimal(a, t, 1e13, k("ludziejewski"))[0], "optimal"),
        (lambda a, t: study.abnar_q(a, t, 1e13, k("abnar")), "abnar"),
        (lambda a, t: clark.q(a, t / a, k("clark-sbase")), "clark"),
    ):
        single = [float(f(a, t)) for a, t in zip(active, total, strict=True)]
        assert np.allclose(f(active, total), single, rtol=1e-10, equal_nan=True), name


def test_more_experts_never_lower_a_law():
    total = np.geomspace(40e9, 1000e9, 12)
    for f in (
        lambda t: ludziejewski.q_equal_tokens(37e9, t, 1e13, k("ludziejewski")),
        lambda t: clark.q(37e9, t / 37e9, k("clark-sbase")),
        lambda t: simple.power(37e9 / t, 0.5),
    ):
        assert np.all(np.diff(f(total)) > 0)


def test_dense_is_q_one():
    assert simple.power(1.0, 0.5) == 1.0
    assert ludziejewski.q_equal_tokens(1e9, 1e9, 2e10, k("ludziejewski")) == pytest.approx(1.0)
    assert clark.q(1e8, 1.0, k("clark-rl")) == pytest.approx(1.0)


def test_results_carry_range_source_and_warning():
    inside = quality.Subject(name="small", active=0.5e9, total=2e9, experts=8, top_k=1, train_tokens=(3e10, 3e10))
    answer = quality.law("ludziejewski", inside)
    assert answer.in_range
    assert answer.warning == ""
    assert "2502.05172" in answer.source
    far = quality.law("ludziejewski", quality.subject_of("DeepSeek-V3"))
    assert not far.in_range
    assert "outside" in far.warning
    assert far.q == pytest.approx(2.33, abs=0.01)


def test_a_law_that_says_nothing_says_so():
    subject = quality.subject_of("DeepSeek-V3")
    answer = quality.law("ling", subject, "equal-flop")
    assert answer.q is None
    assert "equal-flop" in answer.warning
    nowhere = quality.law("ludziejewski", subject, "equal-flop")
    assert nowhere.q is None
    assert "no dense model reaches" in nowhere.warning
    shapeless = quality.law("ling", quality.Subject(name="x", active=1e9, total=1e10))
    assert shapeless.q is None
    assert "d_expert" in shapeless.warning


def test_unknown_tokens_give_a_range():
    answer = quality.law("ludziejewski", quality.subject_of("Grok-1"))
    assert answer.q_range is not None
    assert min(answer.q_range) < answer.q < max(answer.q_range)


def test_every_law_has_source_equation_and_range():
    known = _data.document("references.toml")
    for name in quality.law_names():
        entry = LAWS[name]
        assert entry["reference"] in known
        assert entry["equation"]
        assert set(entry["conventions"]) <= set(quality.CONVENTIONS)
        assert entry["role"] in ("law", "study")
    assert {n for n in LAWS if LAWS[n]["role"] == "study"} == {"krajewski", "abnar"}


def test_unknown_law_is_one_sentence_with_suggestions():
    with pytest.raises(UnknownName, match="close: ling"):
        quality.law("lng", quality.subject_of("DeepSeek-V3"))
    with pytest.raises(RoutelineError, match="equal-flop"):
        quality.law("ling", quality.subject_of("DeepSeek-V3"), "flops")
    with pytest.raises(RoutelineError, match="gives no q for DeepSeek-V3"):
        quality.from_law("krajewski", quality.subject_of("DeepSeek-V3"))
