"""Charts of sweeps, claims and validations: the rows drawn are the rows computed."""

from dataclasses import replace

import pytest

pytest.importorskip("altair", reason="charts need the extra [plots]")
pytest.importorskip("vl_convert", reason="charts need the extra [plots]")

from routeline import reproduce
from routeline.errors import RoutelineError
from routeline.plots import accuracy, claims, sweeps
from routeline.sweep.run import sweep

from . import layout


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


def test_a_sweep_shows_itself_in_a_notebook_and_draws_by_name(tmp_path):
    axes = {"context": ["8k", "32k"], "q": [2.0, 3.0]}
    result = sweep(axes, model="DeepSeek-V3", devices="8xH200", outputs=["ratio", "moe_rate"], tier="ideal", workers=1)
    shown = result._repr_html_()
    assert "4 points" in shown
    assert "data:image/svg+xml" in shown
    assert "<script" not in shown
    assert sorted(r["R"] for r in result.chart("moe_rate").rows()) == sorted(result.arrays["moe_rate"].ravel().tolist())
    streamed = replace(result, arrays={})
    assert "img" not in streamed._repr_html_()
    assert "blocks on disk" in streamed._repr_html_()


def test_a_grid_is_drawn_with_its_own_values():
    axes = {"context": ["8k", "32k"], "q": [2.0, 3.0, 4.0]}
    result = sweep(axes, model="DeepSeek-V3", devices="8xH200", outputs=["ratio"], workers=1)
    rows = sweeps.chart(result).rows()
    assert sorted(r["R"] for r in rows) == sorted(result.arrays["ratio"].ravel().tolist())


DETAIL = {
    "family": ["A", "A", "B"], "engine": ["x", "x", "y"], "measured_tpot_ms": [10.0, 20.0, 40.0],
    "predicted_tpot_ms": [11.0, None, 30.0],
}  # fmt: skip


def test_predictions_are_drawn_where_there_is_one():
    whole = {"mape": 0.175, "median": 0.175}
    result = {
        "rows_detail": DETAIL,
        "tpot": {"all_rows": whole, "by": {"family": {"A": {"mape": 0.25}, "B": {"mape": 0.1}}}},
    }
    figure = accuracy.predicted(result, "tpot")
    for panel in figure.panels:
        panel.to_dict()
    points = [r for r in figure.rows() if "family" in r]
    assert [(r["family"], r["measured"], r["predicted"]) for r in points] == [("B", 40.0, 30.0), ("A", 10.0, 11.0)]
    assert [p.title["text"] for p in figure.panels] == ["B: 10%", "A: 25%"]
    assert "17.5%" in figure.note
    with pytest.raises(RoutelineError, match="tpot or ttft"):
        accuracy.predicted({}, "tpot")
    assert layout.collisions(figure.spec()) == []


def test_the_penalty_on_silicon_is_drawn_as_measured_and_predicted():
    point = {"batch": 64, "measured": 9.6, "predicted": 8.8}
    table = {"device": "H100 SXM", "dtype": "fp8_block", "shape": "DeepSeek-V3", "q": 2.0, "points": [point]}
    figure = accuracy.penalty({"tables": [table, table | {"q": 4.5}]})
    for panel in figure.panels:
        panel.to_dict()
    drawn = {(r["kind"], r["batch"], r["R"]) for r in figure.rows() if "kind" in r}
    assert drawn == {("measured", 64, 9.6), ("predicted", 64, 8.8)}
    with pytest.raises(RoutelineError, match="q = 3"):
        accuracy.penalty({"tables": [table]}, q=3.0)


def test_claim_a_says_what_its_map_holds_fixed_and_not_what_it_varies(found):
    figure = claims.claim(found["a"])
    assert "BF16 weights" in figure.caption
    assert "marketed memory" in figure.caption
    for varied in ("8xMI300X", "utilisation 0.95", "q = 2"):
        assert varied not in figure.caption


def test_claim_c_colours_a_cluster_by_who_serves_more_there(found):
    cells = {(c["device"], str(c["devices"])): c for c in found["c"]["cells"] if c["weights"] == "bf16"}
    for r in claims.claim(found["c"]).rows():
        if "state" in r:
            ratio = cells[r["device"], r["devices"]]["ratio"]
            if ratio is not None:
                assert r["state"].endswith(f"{'dense' if ratio >= 1 else 'Switch-C'} serves more")
                assert r["text"] == f"R {ratio:.2f}"


@pytest.mark.parametrize("name", claims.FIGURES)
def test_no_word_of_a_claim_is_cut_or_printed_over_another(found, name):
    spec = claims.claim(found[name]).spec()
    assert layout.collisions(spec) == []
    assert layout.cut(spec) == []


KINDS = {
    "front": {"kind": "pareto", "outputs": {"moe_rate": "max", "moe_tpot": "min"}, "by": ["devices"]},
    "bins": {"kind": "histogram", "output": "ratio", "low": 0.2, "high": 4, "bins": 20, "scale": "log"},
    "rates": {"kind": "histogram", "output": "moe_rate", "low": 10, "high": 1e6, "bins": 20, "scale": "log"},
    "share": {"kind": "quantiles", "output": "ratio", "over": "q", "probabilities": [0.1, 0.5, 0.9]},
    "best": {"kind": "best", "output": "ratio", "by": ["context"]},
    "spread": {"kind": "stats", "output": "ratio", "by": ["devices", "context"]},
    "names": {"kind": "stats", "output": "ratio", "by": ["devices"]},
    "who": {"kind": "verdict", "by": ["devices"]},
}


@pytest.fixture(scope="module")
def swept():
    axes = {"devices": ["8xH200", "8xMI300X"], "context": ["4k", "8k", "32k"], "q": [2.0, 4.0, 8.0]}
    outputs = ["ratio", "verdict", "moe_rate", "moe_tpot"]
    return sweep(axes, model="DeepSeek-V3", weights="fp8", tier="ideal", outputs=outputs, reduce=KINDS, workers=1)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_reducer_is_drawn_with_its_own_numbers(swept, name):
    figure, table = sweeps.chart(swept, name), swept.reduced[name]
    figure.panels[0].to_dict()
    assert layout.cut(figure.spec()) == []
    rows = figure.rows()
    if name == "front":
        drawn = {(r["x"], r["y"]) for r in rows}
        assert drawn == set(zip(table["moe_rate"].tolist(), table["moe_tpot"].tolist(), strict=True))
    if name == "bins":
        assert sum(r["count"] for r in rows) == sum(table["count"].tolist())
    if name == "rates":
        words = {b.text for b in layout.boxes(figure.spec())[2]}
        assert "moe rate [tokens/s]" in words
        assert {"10,000", "20,000", "5,000"} & words
    if name == "share":
        assert sorted(r["y"] for r in rows) == sorted(table["q0.5"].tolist())
        assert sorted(r["high"] for r in rows) == sorted(table["q0.9"].tolist())
    if name in ("spread", "names"):
        assert sorted(r["low"] for r in rows) == sorted(table["min"].tolist())
        assert sorted(r["y"] for r in rows) == sorted(table["mean"].tolist())
    if name == "best":
        assert [r["y"] for r in rows] == table["ratio"].tolist()


def test_a_sweep_axis_carries_its_unit_and_contexts_are_written_as_people_do(swept):
    words = [b.text for b in layout.boxes(sweeps.chart(swept, "best").spec())[2]]
    assert "context [tokens]" in words
    assert "8k" in words
    assert "R, dense over MoE throughput" in words
