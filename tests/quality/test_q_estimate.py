"""The estimate: what moves it, what it promises, how it does on held-out families."""

import json
import math

import numpy as np
import pytest

from routeline import quality
from routeline.errors import RoutelineError
from routeline.quality import combine, pairs
from routeline.quality.ladder import read_user_text

PAPER = ["DeepSeek-V3", "Qwen3-235B-A22B", "Grok-1", "Switch-C", "Mixtral-8x7B"]


def subject(name):
    found = quality.subject_of(name)
    assert found is not None
    return found


def usable_but(family):
    return tuple(p for p in pairs.usable(quality.load_pairs()) if p.family != family)


@pytest.fixture(scope="module")
def table():
    return quality.backtest()


def test_shipped_constants_are_what_the_fit_gives():
    again, shipped = combine.fit(), quality.constants()
    for name in ("s0", "family", "model", "confounding", "benchmark"):
        assert getattr(shipped, name) == pytest.approx(getattr(again, name), rel=0.01), name


def test_backtest_left_out_by_family(table):
    assert len(table.models) == 20
    assert {m.grade for m in table.models} == {"A", "B"}
    assert table.rms <= 1.5
    assert 0.85 < table.scores[0].bias < 1.18
    assert 15 <= table.covered("inside90") <= 20
    assert table.covered("seen90") >= table.covered("inside90")
    score = {s.method: s for s in table.scores}
    assert all(score["estimate"].rms <= s.rms for s in table.scores)
    assert "indistinguishable" in score["ling"].verdict
    assert score["krajewski"].rms > 3
    assert score["clark-sbase"].bias < 0.7  # a lower bound
    assert "20 models" in str(table)


def test_backtest_agrees_with_the_earlier_table_of_13_models(table):
    """Same laws, other models (20 here): rms within 15% and the same order of the laws."""
    earlier = {
        "ling": 1.39,
        "sqrt": 1.60,
        "kimi-k2": 1.71,
        "ludziejewski": 1.90,
        "clark-sbase": 2.36,
        "krajewski": 3.96,
    }
    got = {s.method: s.rms for s in table.scores}
    for name, value in earlier.items():
        assert got[name] == pytest.approx(value, rel=0.15), name
    order = list(earlier)
    assert sorted(order, key=got.get) == order


def test_held_out_prediction_does_not_see_its_family(table):
    seen = next(m for m in table.models if m.model == "OLMoE-1B-7B")
    with_own = quality.estimate(subject("OLMoE-1B-7B")).median
    assert seen.predicted < with_own < seen.measured


@pytest.mark.parametrize("name", PAPER)
def test_static_form_is_nearly_certain(name):
    assert quality.estimate(subject(name)).p_static > 0.99


def test_static_form_is_nearly_certain_at_every_sparsity():
    for s in np.geomspace(5e-4, 0.95, 30):
        e = quality.estimate(quality.Subject(name="any", active=s * 1e11, total=1e11))
        assert e.p_static > 0.99
        assert e.median > 1


def test_deepseek_v3_is_near_the_simple_default():
    """The simple default says 4.5, 90% 2.0 to 10; the fit is narrower and inside it."""
    e = quality.estimate(subject("DeepSeek-V3"))
    assert e.median == pytest.approx(4.5, rel=0.15)
    low, high = e.interval90
    assert 2.0 < low < 3.5
    assert 7 < high < 10


def test_own_pairs_move_the_answer_by_their_weight_and_never_replace_it():
    for name in ("Qwen3-30B-A3B", "OLMoE-1B-7B", "Switch-C", "Mixtral-8x7B"):
        m = subject(name)
        own = quality.empirical_q(name).q
        rest = tuple(p for p in pairs.usable(quality.load_pairs()) if p.model != name)
        without = math.exp(combine.predict(m.sparsity, name, m.family or "", rest).centre)
        e = quality.estimate(m)
        assert min(own, without) < e.median < max(own, without) or abs(math.log(own / without)) < 0.1
        assert 0.1 < e.prediction.weights[name] < 0.9


def test_weights_explain_the_answer():
    e = quality.estimate(subject("Qwen3-30B-A3B"))
    weights = e.prediction.weights
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-9)
    assert next(iter(weights)) == "Qwen3-30B-A3B"
    bare = quality.estimate(quality.Subject(name="Unheard-of", active=37e9, total=671e9))
    assert sum(bare.prediction.weights.values()) == pytest.approx(1.0, abs=1e-9)
    assert max(bare.prediction.weights.values()) < 0.15


def test_class_c_rows_do_not_move_anything():
    named = quality.estimate(subject("DeepSeek-V3"))
    anonymous = quality.estimate(quality.Subject(name="Unheard-of", active=37e9, total=671e9))
    assert len(named.pairs) == 10
    assert named.median == anonymous.median
    assert any("may enter" in n for n in named.notes)
    assert not any(p.grade == "C" for p in named.used)


def test_prediction_is_the_textbook_blup():
    """Against the mixed-model equations written out with explicit effects."""
    k = quality.constants()
    rows = pairs.usable(quality.load_pairs())
    r = combine._rows(rows)
    x = combine.effective_log(r.s, k.s0)
    models, families = sorted(set(r.model)), sorted(set(r.family))
    zf = x[:, None] * (r.family[:, None] == np.array(families))
    zm = x[:, None] * (r.model[:, None] == np.array(models))
    zc = np.sqrt(r.confounding)[:, None] * (r.model[:, None] == np.array(models))
    z = np.hstack([x[:, None], zf, zm, zc])
    penalty = np.diag(
        [0.0] + [k.family**-2] * len(families) + [k.model**-2] * len(models) + [k.confounding**-2] * len(models)
    )
    w = 1 / (k.benchmark**2 * r.noise)
    solution = np.linalg.solve(z.T @ (w[:, None] * z) + penalty, z.T @ (w * r.y))
    m = subject("Qwen3-235B-A22B")
    x0 = float(combine.effective_log(m.sparsity, k.s0))
    f, i = 1 + families.index("Qwen3"), 1 + len(families) + models.index(m.name)
    by_hand = x0 * (solution[0] + solution[f] + solution[i])
    assert combine.predict(m.sparsity, m.name, "Qwen3", rows).centre == pytest.approx(by_hand, rel=1e-9)


def test_more_evidence_narrows_the_answer():
    m = quality.Subject(name="Mine", active=2e9, total=20e9, family="Mine")
    none = quality.estimate(m)
    rows, _ = read_user_text("model,active,total,q,benchmark\n" + "".join(f"Mine,2B,20B,6,b{i}\n" for i in range(6)))
    some = quality.estimate(m, user_pairs=rows)
    assert none.median < some.median < 6
    assert some.prediction.sd < none.prediction.sd
    assert some.prediction.weights["Mine"] > 0.2
    assert len(some.pairs) == 6


def test_user_file_warns_and_alone_also_works(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "model,size,benchmark,score,family\nD1,1B,MMLU,40,F\nD4,4B,MMLU,50,F\nM,2B/20B,MMLU,55,F\n", encoding="utf-8"
    )
    m = quality.Subject(name="M", active=2e9, total=20e9)
    e = quality.estimate(m, user_pairs=path)
    assert any("extrapolates" in n for n in e.notes)
    assert quality.estimate(m, user_pairs=path, shipped_pairs=False).median > 1
    with pytest.raises(RoutelineError, match="no usable pairs"):
        quality.estimate(m, shipped_pairs=False)


def test_names_of_variants_find_their_pairs():
    for name in ("Qwen/Qwen3-235B-A22B-FP8", "nvidia--Qwen3-235B-A22B-NVFP4", "Qwen3-235B-A22B-Instruct-2507"):
        e = quality.estimate(quality.Subject(name=name, active=22e9, total=235e9))
        assert e.median == quality.estimate(subject("Qwen3-235B-A22B")).median
    dense = quality.subject_of("Qwen/Qwen3-8B")
    assert dense is None


def test_dense_model_is_its_own_match():
    e = quality.estimate(quality.Subject(name="dense", active=7e9, total=7e9))
    assert e.median == 1.0
    assert e.interval90 == (1.0, 1.0)


def test_equal_flop_follows_the_dense_law():
    """Under equal FLOP a matched dense model is larger, and for over-trained MoEs it does not exist."""
    m = subject("Mixtral-8x7B")
    tokens, flop = (quality.estimate(m, convention=c, train_tokens="3T") for c in ("equal-tokens", "equal-flop"))
    assert flop.quantile(0.1) > tokens.quantile(0.1)
    assert 0 < flop.p_unreachable < 1
    assert math.isinf(flop.quantile(1 - flop.p_unreachable / 2))
    p = np.array([0.05, 0.5, 0.9]) * (1 - flop.p_unreachable)
    assert np.allclose(flop.cdf(flop.quantile(p)), p, atol=1e-6)
    v3 = quality.estimate(subject("DeepSeek-V3"), convention="equal-flop")
    assert v3.p_unreachable > 0.9
    assert math.isinf(v3.median)
    assert v3.to_dict()["q"]["median"] is None
    assert any("conventions disagree" in n for n in v3.notes)
    assert any("no dense model reaches" in n for n in v3.notes)


def test_compute_optimal_lies_between_the_square_root_and_equal_tokens():
    m = subject("DeepSeek-V3")
    tokens, best = (quality.estimate(m, convention=c).median for c in ("equal-tokens", "compute-optimal"))
    assert math.sqrt(tokens) < best < tokens


def test_stated_and_law_q():
    m = subject("DeepSeek-V3")
    two = quality.evidence(m, q="2")
    assert (two.median, two.origin, two.p_below(1.9), two.p_below(7.9)) == (2.0, "stated", 0.0, 1.0)
    span = quality.evidence(m, q="1.5..4")
    assert span.interval90[0] > 1.5
    ling = quality.evidence(m, q_law="ling")
    assert ling.median == pytest.approx(5.09, abs=0.01)
    assert ling.origin == "law ling"
    assert any("outside" in n for n in ling.notes)
    ranged = quality.evidence(subject("Grok-1"), q_law="ludziejewski")
    assert ranged.interval90[0] < ranged.median < ranged.interval90[1]
    known = quality.evidence(subject("Grok-1"), q_law="ludziejewski", train_tokens="6T")
    assert known.median == pytest.approx(1.64, abs=0.01)
    with pytest.raises(RoutelineError, match="not both"):
        quality.evidence(m, q="2", q_law="ling")


def test_json_has_the_promised_fields():
    for name in PAPER:
        for convention in quality.CONVENTIONS:
            d = json.loads(
                json.dumps(quality.estimate(subject(name), convention=convention).to_dict(), allow_nan=False)
            )
            assert set(d["q"]) >= {"median", "interval50", "interval90", "convention"}
            assert d["q"]["convention"] == convention
            assert {"name", "q", "in_range", "source"} <= set(d["laws"][0])
            assert len(d["conventions"]) == 3
            assert all({"q", "class", "status", "source", "enters"} <= set(p) for p in d["pairs"])


def test_training_tokens_known_stated_and_unknown():
    assert quality.train_tokens("deepseek-ai/DeepSeek-V3").low == 14.8e12
    assert quality.train_tokens("Qwen/Qwen3-235B-A22B-FP8").low == 36e12
    grok = quality.train_tokens("hpcai-tech--grok-1")
    assert grok.kind == "guess"
    assert grok.low < grok.high
    assert "not published" in grok.source
    assert not quality.train_tokens("never-heard-of-it").known
    e = quality.estimate(subject("Grok-1"), train_tokens="5T..15T")
    assert e.subject.train_tokens == (5e12, 15e12)
    for bad in ("0T", "15T..5T", "many", "1T..2T..3T", "-3T"):
        with pytest.raises(RoutelineError):
            quality.estimate(subject("Grok-1"), train_tokens=bad)


def test_training_table_matches_the_raw_one(shared):
    import csv

    with open(shared / "facts/models/training.csv", encoding="utf-8") as file:
        raw = {r["model"]: r["train_tokens_t"] for r in csv.DictReader(file)}
    assert len(raw) == 94
    for name, value in raw.items():
        found = quality.train_tokens(name)
        if value in ("not published", "not found"):
            assert found.source
            continue
        assert found.low == found.high == pytest.approx(float(value) * 1e12)


@pytest.mark.parametrize(
    "bad",
    [
        {"active": 0.0},
        {"active": -1e9},
        {"active": 2e12},
        {"total": math.inf},
        {"experts": 8, "top_k": 9},
        {"d_expert": 0},
        {"shared": -1},
        {"train_tokens": (2e12, 1e12)},
    ],
)
def test_bad_subjects_are_one_sentence(bad):
    with pytest.raises(RoutelineError) as caught:
        quality.Subject(**({"name": "x", "active": 1e9, "total": 1e12} | bad))
    assert "\n" not in str(caught.value)


def test_citing_names_exactly_what_was_used():
    m = subject("DeepSeek-V3")
    e = quality.estimate(m)
    number = {r.key for r in quality.cite(e, laws=False)}
    everything = {r.key for r in quality.cite(e)}
    assert {p.source for p in e.used} - {"ling-el"} <= number | {"tian2025"}
    assert "kimi-k2" not in number
    assert "kimi-k2" in everything
    assert "abnar2025" not in everything  # gave no answer here
    assert "glam" not in everything
    law = {r.key for r in quality.cite(quality.evidence(m, q_law="kimi"), laws=False)}
    assert law == {"qs2026", "kimi-k2"}
    assert {r.key for r in quality.cite(quality.evidence(m, q="2"), laws=False)} == {"qs2026"}
    for r in quality.cite(e):
        assert r.bibtex.startswith("@")
        assert r.used_for
    assert len({r.bibtex for r in quality.cite(e)}) == len(quality.cite(e))


def test_the_documented_backtest_is_the_computed_one(table):
    """docs/quality.md quotes the command's output: method, models, bias and rms must still hold."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")
    block = text.split("```")[1].strip().splitlines()
    computed = str(table).splitlines()
    assert len(block) == len(computed)
    for said, score in zip(block[1:-1], table.scores, strict=True):
        method, models, bias, rms = said[:28].strip(), *said[28:].split()[:3]
        assert method == score.method
        assert int(models) == score.models
        assert float(bias[1:]) == pytest.approx(score.bias, abs=0.02)
        assert float(rms[1:]) == pytest.approx(score.rms, abs=0.02)
    assert block[-1] == computed[-1]
