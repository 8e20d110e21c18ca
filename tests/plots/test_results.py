"""Charts of sweeps, claims and validations: the rows drawn are the rows computed."""

import pytest

pytest.importorskip("altair", reason="charts need the extra [plots]")
pytest.importorskip("vl_convert", reason="charts need the extra [plots]")

from routeline import reproduce
from routeline.errors import RoutelineError
from routeline.plots import accuracy, claims, sweeps
from routeline.sweep.run import sweep


@pytest.fixture(scope="module")
def found():
    return {c["id"]: c for c in reproduce.reproduce()["claims"]}


@pytest.mark.parametrize("name", claims.FIGURES)
def test_every_claim_is_drawn_and_says_whose_numbers_they_are(found, name):
    figure = claims.claim(found[name])
    for panel in figure.panels:
        panel.to_dict()
    assert "settings are unknown" in figure.caption
    assert figure.png()[:4] == b"\x89PNG"


def test_claim_a_marks_the_contour_where_it_was_solved_for(found):
    rows = claims.claim(found["a"]).rows()
    strips = [s for s in found["a"]["map"] if s["weights"] == "bf16" and s["memory"] == "marketed"]
    drawn = {(r["devices"], r["q"], round(r["u"], 9)) for r in rows if set(r) == {"devices", "q", "u"}}
    assert drawn == {(s["devices"], f"{s['q']:g}", round(u, 9)) for s in strips for u in s["reached_at"]}
    values = {(r["devices"], r["q"], r["at"]): r["R"] for r in rows if "R" in r}
    one = strips[0]
    for u, r in zip(one["utilisation"], one["ratio"], strict=True):
        assert values.get((one["devices"], f"{one['q']:g}", u)) == r


def test_claim_c_counts_what_it_shows(found):
    figure = claims.claim(found["c"])
    cells = [c for c in found["c"]["cells"] if c["weights"] == "bf16"]
    only = sum(c["dense_fits"] and not c["moe_fits"] for c in cells)
    assert f"On {only} of {len(cells)}" in figure.note


def test_a_sweep_draws_its_reducers_and_its_grid():
    result = sweep("example", workers=1)
    assert set(sweeps.names(result)) == set(result.reduced)
    for name in sweeps.names(result):
        sweeps.chart(result, name).panels[0].to_dict()
    best = sweeps.chart(result, "best_for_dense").rows()
    drawn = sorted(r["y"] for r in best)
    table = result.reduced["best_for_dense"]
    assert drawn == sorted(float(v) for v, ok in zip(table["ratio"], table["found"], strict=True) if ok)
    with pytest.raises(RoutelineError, match="known"):
        sweeps.chart(result, "pie")


def test_a_grid_is_drawn_with_its_own_values():
    axes = {"context": ["8k", "32k"], "q": [2.0, 3.0, 4.0]}
    result = sweep(axes, model="DeepSeek-V3", devices="8xH200", outputs=["ratio"], workers=1)
    rows = sweeps.chart(result).rows()
    assert sorted(r["v"] for r in rows) == sorted(result.arrays["ratio"].ravel().tolist())


DETAIL = {
    "family": ["A", "A", "B"], "engine": ["x", "x", "y"], "measured_tpot_ms": [10.0, 20.0, 40.0],
    "predicted_tpot_ms": [11.0, None, 30.0],
}  # fmt: skip


def test_predictions_are_drawn_where_there_is_one():
    result = {"rows_detail": DETAIL, "tpot": {"all_rows": {"mape": 0.175, "median": 0.175}}}
    figure = accuracy.predicted(result, "tpot")
    figure.panels[0].to_dict()
    points = [r for r in figure.rows() if "family" in r]
    assert [(r["measured"], r["predicted"]) for r in points] == [(10.0, 11.0), (40.0, 30.0)]
    assert "17.5%" in figure.note
    with pytest.raises(RoutelineError, match="tpot or ttft"):
        accuracy.predicted({}, "tpot")
