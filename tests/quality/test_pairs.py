"""Matched pairs: the shipped rows, the rule of what enters, interpolation, users' files."""

import csv

import numpy as np
import pytest

from routeline import quality
from routeline.errors import RoutelineError
from routeline.quality import _data, ladder, pairs
from routeline.quality.ladder import read_user_text


def test_shipped_rows_carry_the_raw_facts(shared):
    """Row by row the same models, q and classes as the raw table; only the layout is ours."""
    with open(shared / "facts/quality/pairs.csv", encoding="utf-8") as file:
        raw = list(csv.DictReader(file))
    ours = quality.load_pairs()
    assert len(ours) == len(raw) == 132
    mine = sorted((p.benchmark, p.score, p.grade, round(p.active / 1e9, 3), round(p.q, 1)) for p in ours)
    theirs = sorted(
        (
            r["benchmark"],
            r["score"],
            r["class"][0],
            round(float(r["active_b"]), 3),
            float(r["matched_dense_b"]) / float(r["active_b"]),
        )
        for r in raw
    )
    for a, b in zip(mine, theirs, strict=True):
        assert a[:4] == b[:4]
        assert a[4] == pytest.approx(b[4], abs=0.051)
    by_q = sorted(p.q for p in ours)
    assert by_q == pytest.approx(sorted(float(r["q"]) for r in raw), rel=0.02)


def test_every_row_is_typed_and_sourced():
    known = _data.document("references.toml")
    for p in quality.load_pairs():
        assert p.grade in pairs.GRADES
        assert p.status in pairs.STATUSES
        assert p.checked in ("verified", "recalled")
        assert p.source in known
        assert 0 < p.active < p.total
        assert quality.subject_of(p.model) is not None
        assert p.kappa < 1 or p.qs >= 1


def test_what_enters_and_what_does_not():
    used = pairs.usable(quality.load_pairs())
    assert {p.grade for p in used} == {"A", "B"}
    assert not {p.status for p in used} & {"far-extrapolated", "lower-bound", "upper-bound", "above", "below"}
    assert len({p.model for p in used}) == 20
    assert len({p.family for p in used}) == 11
    assert pairs.usable(used) == used
    granite = [p for p in used if p.model == "Granite-4.0-H-Tiny"]
    assert len(granite) == 1  # above 3B three times, below once: bracketed, counted once
    reasons = {p.weight_reason for p in quality.load_pairs() if not p.enters}
    assert reasons == {"class C: confounded", "more than four times beyond the ladder", "a bound, not a size"}


def test_one_sided_brackets_are_bounds():
    rows = [p for p in quality.load_pairs() if p.status == "above"]
    assert rows
    assert pairs.usable(rows) == ()


def test_published_centre_and_spread():
    """Over 20 models the median kappa is .50 (sd .17); by family the mean is .57 (sd .15)."""
    own = quality.empirical()
    kappa = np.array([e.kappa for e in own])
    assert np.median(kappa) == pytest.approx(0.50, abs=0.01)
    assert kappa.std(ddof=1) == pytest.approx(0.17, abs=0.01)
    families = [np.mean([e.kappa for e in own if e.family == f]) for f in {e.family for e in own}]
    assert np.mean(families) == pytest.approx(0.57, abs=0.01)
    assert np.std(families, ddof=1) == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(
    ("model", "q", "low", "high"),
    [("Qwen3-235B-A22B", 2.6, 1.3, 5.6), ("Mixtral-8x7B", 1.8, 1.1, 5.3), ("Switch-C", 12.2, 12.2, 12.3)],
)
def test_empirical_q_with_spread(model, q, low, high):
    own = quality.empirical_q(model)
    assert (own.q, own.low, own.high) == pytest.approx((q, low, high), rel=0.05)


def test_class_c_alone_is_no_empirical_q():
    with pytest.raises(RoutelineError, match="usable pairs"):
        quality.empirical_q("DeepSeek-V3")


LADDERS = [
    (p.model, p.benchmark)
    for p in quality.load_pairs()
    if p.model.startswith(("DeepSpeed", "Switch")) and p.status in ("interpolated", "extrapolated", "far-extrapolated")
]


@pytest.mark.parametrize(("model", "task"), LADDERS)
def test_interpolation_reproduces_the_shipped_rows(model, task):
    """Straight in ln(size) between neighbours, last piece carried on: the rule behind the shipped sizes."""
    (row,) = [p for p in quality.load_pairs() if (p.model, p.benchmark) == (model, task)]
    steps = [r for r in _data.table("ladders.csv") if r["family"] == row.family and r["benchmark"] == task]
    size, status = quality.matched_size(
        [float(r["size"]) for r in steps], [float(r["score"]) for r in steps], float(row.score)
    )
    assert size == pytest.approx(row.matched, rel=5e-3)
    assert status == row.status


@pytest.mark.parametrize("task", ["HellaSwag", "MMLU", "TriviaQA"])
def test_anchored_rows_follow_from_the_llama_2_ladder(task):
    steps = [r for r in _data.table("ladders.csv") if r["family"] == "Llama-2" and r["benchmark"] == task]
    rows = [p for p in quality.load_pairs() if p.model == "Mixtral-8x7B" and p.benchmark == task]
    plain = next(p for p in rows if p.grade == "C")
    anchored = next(p for p in rows if p.grade == "B")
    on = [float(r["size"]) for r in steps], [float(r["score"]) for r in steps]
    assert quality.matched_size(*on, float(plain.score))[0] == pytest.approx(plain.matched, rel=5e-3)
    mistral = {"HellaSwag": 81.0, "MMLU": 62.5, "TriviaQA": 62.5}[task]
    size = 7.24e9 * plain.matched / quality.matched_size(*on, mistral)[0]
    assert size == pytest.approx(anchored.matched, rel=5e-3)


def test_a_loss_ladder_falls():
    size, status = quality.matched_size([1e9, 4e9], [2.6, 2.4], 2.5)
    assert (size, status) == (pytest.approx(2e9), "interpolated")
    assert quality.matched_size([1e9, 4e9], [2.6, 2.4], 2.3) == (pytest.approx(8e9), "extrapolated")
    assert quality.matched_size([1e9, 4e9], [2.6, 2.4], 2.0)[1] == "far-extrapolated"


@pytest.mark.parametrize(
    ("sizes", "scores"), [([1e9], [50.0]), ([1e9, 1e9], [50.0, 51.0]), ([1e9, 2e9, 3e9], [50.0, 49.0, 52.0])]
)
def test_ladders_that_cannot_answer(sizes, scores):
    with pytest.raises(RoutelineError):
        quality.matched_size(sizes, scores, 50.5)


SCORES = """model,size,benchmark,score,family
D-1B,1B,MMLU,40,Fam
D-4B,4B,MMLU,50,Fam
D-16B,16B,MMLU,60,Fam
M,2B/20B,MMLU,55,Fam
M,2B/20B,GSM8K,30,Fam
M2,2B/20B,MMLU,62,Fam
"""


def test_user_scores_become_pairs_with_warnings():
    rows, warnings = read_user_text(SCORES, "mine.csv")
    assert [p.model for p in rows] == ["M", "M2"]
    assert rows[0].q == pytest.approx(4.0)
    assert (rows[0].status, rows[1].status) == ("interpolated", "extrapolated")
    assert rows[0].ladder == "D-1B, D-4B, D-16B"
    assert any("row 6" in w and "left out" in w for w in warnings)
    assert any("row 7" in w and "extrapolates" in w for w in warnings)


def test_user_pairs_and_files(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("model,active,total,q,class,status\nX,2B,20B,4.5,A,interpolated\nY,1B,8B,2,,\n", encoding="utf-8")
    rows, warnings = quality.read_user_file(path)
    assert [(p.model, p.q, p.grade, p.status) for p in rows] == [
        ("X", 4.5, "A", "interpolated"),
        ("Y", 2.0, "U", "parity"),
    ]
    assert warnings == ()
    with pytest.raises(RoutelineError, match="cannot read"):
        quality.read_user_file(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needed"),
        ("a,b\n1,2\n", "needed"),
        ("model,size,benchmark,score,family\n", "no row describes an MoE"),
        (SCORES.replace("M,2B/20B,MMLU,55,Fam", "M,2B/20B,MMLU,high,Fam"), "row 5: score 'high'"),
        (SCORES.replace("D-4B,4B", "D-4B,4"), "row 3: size '4' is 4 parameters"),
        (SCORES.replace("D-4B,4B", "D-4B,4Q"), "row 3: size '4Q' is not a number"),
        (SCORES.replace("M2,2B/20B", "M2,30B/20B"), "row 7: active 3e"),
        (SCORES.replace("M2,2B/20B", "M2,2B/20B/3"), "row 7: size"),
        (SCORES.replace("D-4B,4B,MMLU,50", "D-4B,4B,MMLU,nan"), "row 3"),
        (SCORES.replace("D-4B,4B,MMLU,50,Fam", "D-4B,4B,MMLU,50,"), "row 3: family is empty"),
        (SCORES.replace("D-4B,4B,MMLU,50,Fam", "D-4B,4B,MMLU,50,Fam,9"), "row 3: more cells"),
        ("model,active,total,q\nX,2B,20B,0\n", "row 2: q is 0"),
        ("model,active,total,q\nX,2B,20B,-3\n", "row 2: q"),
        ("model,active,total,q\nX,2B,2B,3\n", "row 2: active"),
        ("model,active,total,q\nX,2B,,3\n", "row 2: total is empty"),
        ("model,active,total,q,class\nX,2B,20B,3,D\n", "row 2: class 'D'"),
        ("model,active,total,q\n", "no rows"),
    ],
)
def test_malformed_files_name_the_row(text, says):
    with pytest.raises(RoutelineError) as caught:
        read_user_text(text, "mine.csv")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_far_extrapolation_is_shown_not_used():
    rows, warnings = read_user_text(SCORES.replace("M,2B/20B,MMLU,55", "M,2B/20B,MMLU,75"))
    assert rows[0].status == "far-extrapolated"
    assert not rows[0].enters
    assert any("shown, not used" in w for w in warnings)
    assert ladder.FAR == 4.0
