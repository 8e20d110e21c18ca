"""What a reader sees: nothing cut, nothing overprinted, and what the words of a chart say is what it draws."""

from dataclasses import replace

import numpy as np
import pytest

import routeline
from routeline import side
from routeline.errors import RoutelineError

pytest.importorskip("altair", reason="charts need the extra [plots]")
pytest.importorskip("vl_convert", reason="charts need the extra [plots]")

from routeline import plots
from routeline.plots import beliefs, contour, data, fleet, grid, parts, roofs, verdict

from . import layout

CASES = {
    "DeepSeek-V3": ("DeepSeek-V3", "8xH200", {"context": "32k"}),
    "pooled": ("DeepSeek-V3", "8xMI300X", {"context": "128k", "weights": "bf16", "layout": "pooled",
                                            "tier": "bandwidth", "utilisation": 0.95, "q": 2}),
    "MoE wins": ("DeepSeek-V3", "8xH200", {"context": "1k", "weights": "fp8", "q": 4.5, "tier": "ideal"}),
    "Mixtral": ("Mixtral-8x7B", "2xH100", {"context": "8k"}),
    "gpt-oss": ("gpt-oss-120b", "1xH200", {"context": "32k", "input": "4k", "output": "1k", "prefix_hit": 0.3}),
    "Switch": ("Switch-C", "8xH200", {"context": 512.0, "tier": "ideal"}),
    "Switch, large": ("Switch-C", "8x8xH200", {"context": 512.0, "tier": "ideal"}),
    "named": ("Qwen3-235B-A22B", "8xH200", {"context": "8k", "dense": "Llama-3.1-405B", "tier": "ideal"}),
    "batch": ("DeepSeek-V3", "8xH200", {"context": "32k", "batch": 2, "tier": "ideal"}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def answer(request):
    model, devices, given = CASES[request.param]
    return routeline.ask(model, devices, **given)


def ask(**kw):
    given = {"context": "32k", "tier": "ideal"} | kw
    return routeline.ask(given.pop("model", "DeepSeek-V3"), given.pop("devices", "8xH200"), **given)


@pytest.mark.parametrize("name", plots.CHARTS)
def test_no_word_is_cut_or_printed_over_another(answer, name):
    try:
        figure = plots.chart(name, answer)
    except RoutelineError:
        assert not (answer.moe.fits and answer.dense.fits) or answer.scenario.dense == "Llama-3.1-405B"
        return
    for dressed in (True, False):
        spec = figure.spec(dressed=dressed)
        assert layout.collisions(spec) == []
        assert layout.cut(spec) == []


def test_the_layout_check_sees_a_collision_and_a_cut():
    text = {"mark": {"type": "text", "align": "left"}, "encoding": {
        "x": {"field": "x", "type": "quantitative"}, "text": {"field": "t", "type": "nominal"}}}  # fmt: skip
    rows = [{"x": 0, "t": "one long label"}, {"x": 1, "t": "another label"}]
    spec = {"width": 60, "data": {"values": rows}, "layer": [text], "autosize": "none"}
    assert ("one long label", "another label") in layout.collisions(spec)
    assert "another label" in layout.cut(spec)


def test_each_specification_is_one_file_that_needs_nothing_else(tmp_path):
    for name in plots.CHARTS:
        spec = plots.chart(name, ask(q=2)).spec()
        text = str({k: v for k, v in spec.items() if k != "$schema"})
        assert "http" not in text
        assert "'url'" not in text


def test_throughput_splits_r_into_its_two_penalties_at_every_context():
    answer = ask(q=2)
    rows = [r for r in grid.over_context(answer) if r["role"] == "ratio"]
    assert len(rows) > 20
    for r in rows:
        assert r["reuse"] * r["headroom"] == pytest.approx(r["R"], rel=1e-12)
    here = next(r for r in rows if r["context"] == answer.scenario.context)
    assert here["reuse"] == pytest.approx(answer.reuse_penalty, rel=1e-9)
    assert here["headroom"] == pytest.approx(answer.headroom_gain, rel=1e-9)
    drawn = {(r["what"], r["context"]): r["R"] for r in plots.chart("throughput", answer).rows() if "what" in r}
    assert drawn["reuse penalty", 32768.0] == here["reuse"]
    assert drawn["headroom gain", 32768.0] == here["headroom"]
    assert drawn["R", 32768.0] == here["R"]


@pytest.mark.parametrize(
    ("given", "lead"), [({"batch": 2}, "equal_batch"), ({"tpot": 0.02}, "tpot"), ({}, "max_batch")]
)
def test_the_curve_over_q_is_the_ratio_that_the_sentence_leads_with(given, lead):
    answer = ask(**given)
    rows, found = beliefs.over_q(answer)
    here = next(r for r in rows if r["q"] == answer.q)
    assert found["ratio"] == lead
    assert here["R"] == pytest.approx(answer.ratios[lead].value, rel=1e-9)
    for flip in found["flips"]:
        near = min(rows, key=lambda r: abs(np.log(r["q"] / flip)))
        assert near["R"] == pytest.approx(1.0, abs=0.08)
    said = plots.chart("q", answer).caption
    assert {"equal_batch": "batch 2", "tpot": "limit on time", "max_batch": "largest"}[lead] in said


def test_a_batch_given_does_not_change_what_the_waterfall_says_it_shows():
    free, held = ask(q=2), ask(q=2, batch=2)
    one, two = plots.chart("waterfall", free), plots.chart("waterfall", held)
    assert one.rows() == two.rows()
    assert one.caption == two.caption
    assert str(free.moe.point.layout) in two.caption
    assert "at batch 2" in plots.chart("throughput", held).caption
    assert "largest admissible" in plots.chart("throughput", free).caption


def test_a_factor_below_one_is_written_as_the_gain_it_is():
    rows = parts.waterfall(ask(context="1k", weights="fp8", q=4.5))
    assert rows[2]["kind"] == "gain"
    assert rows[2]["text"] == f"× {rows[2]['to'] / rows[2]['from']:.3g}"
    assert rows[2]["to"] > rows[2]["from"]


def test_every_unusual_assumption_is_in_the_caption():
    given = {"q": 2, "overhead": 3e9, "compute": "bf16", "draft": 3, "accept": 0.7, "dense": "standard",
             "redundant": 32, "routing": "zipf:1.2", "memory": "marketed", "utilisation": 0.85,
             "cache": "fp8"}  # fmt: skip
    said = data.assumptions(ask(**given))
    for text in ("overhead 3 GB", "compute bf16", "draft 3", "accept 0.7", "standard shape", "redundant 32", "zipf",
                 "marketed memory × 0.85", "cache fp8", "q = 2", "32k tokens", "8xH200 SXM", "tier ideal"):  # fmt: skip
        assert text in said
    assert "overhead" not in data.assumptions(ask())


def test_an_opponent_that_is_an_moe_is_called_by_its_name():
    answer = ask(dense="Mixtral-8x22B")
    assert data.names(answer) == ("DeepSeek-V3", "Mixtral-8x22B")
    for name in ("throughput", "waterfall", "map", "request"):
        figure = plots.chart(name, answer)
        words = figure.note + " ".join(b.text for b in layout.boxes(figure.spec(dressed=False))[2])
        assert "dense" not in words.replace("Dense", "")
    assert data.names(ask(q=2)) == ("MoE", "dense")


def test_between_two_batches_the_frontier_promises_only_what_the_smaller_one_delivers():
    answer = ask(q=2)
    figure = plots.chart("interactivity", answer)
    line = next(x for x in figure.panels[0].to_dict()["layer"] if x["mark"]["type"] == "line")
    assert line["mark"]["interpolate"] == "step-before"  # y of the next, faster point holds from the last one on
    rows = sorted((r for r in fleet.frontier(answer) if r["role"] == "moe"), key=lambda r: r["user"])
    for slow, fast in zip(rows[-6:], rows[-5:], strict=False):
        user = (slow["user"] + fast["user"]) / 2
        reached = []
        for batch in range(1, int(slow["batch"]) + 1):
            point = side.at_batch(answer.moe.counted, answer.ground, answer.moe.options, float(batch))
            if point.rate / batch >= user:
                reached.append(point.rate / 8)
        assert max(reached) == pytest.approx(fast["device"], rel=1e-9)


def test_where_compute_is_free_no_mark_stands_above_the_roof():
    answer = ask(tier="bandwidth", q=2)
    peak = max(float(p) for p in answer.ground.rates.peaks.values()) / 1e12
    rows = roofs.roofline_points(answer)
    assert rows
    assert max(r["tflops"] for r in rows) <= peak * (1 + 1e-9)
    assert "leaves compute out" in plots.chart("roofline", answer).caption


def test_a_side_that_does_not_fit_has_no_free_memory_and_says_what_it_needs():
    answer = ask(devices="1xH200", context="8k", q=2)
    kinds = {r["part"] for r in parts.memory_stack(answer) if r["role"] == "moe"}
    assert not {"free", parts.UNUSED} & kinds
    heads = [r["head"] for r in plots.chart("memory", answer).rows() if "head" in r]
    assert "does not fit, needs 6 devices" in heads[0]


def test_numbers_on_bars_are_those_of_the_rows():
    answer = ask(q=2)
    rows = plots.chart("step", answer).rows()
    numbers = [r for r in rows if r.get("number")]
    assert numbers
    assert {r["number"] for r in numbers} <= {f for r in rows if "ms" in r
            for f in (parts.digits(r["ms"], 2), parts.digits(r["us_per_token"], 2))}  # fmt: skip
    heads = [r["head"] for r in rows if "head" in r]
    assert f"{answer.moe.point.step.seconds * 1e3:.3g} ms" in heads[0]
    assert f"batch {answer.dense.point.batch:,.0f}" in heads[1]


def test_bars_over_cluster_size_are_sequences_per_device():
    rows = fleet.over_devices(ask(q=2))
    assert all(r["each"] * r["devices"] == pytest.approx(r["batch"], rel=1e-12) for r in rows)
    figure = plots.chart("cluster", ask(q=2))
    bar = next(x for x in figure.panels[0].to_dict()["layer"] if x["mark"]["type"] == "bar")
    assert bar["encoding"]["y"]["field"] == "each"
    assert "scale" not in bar["encoding"]["y"]  # a bar's length means something on a linear scale from zero alone


def test_short_contexts_get_a_map_and_a_curve_too():
    answer = routeline.ask("Switch-C", "8x8xH200", context=512.0, tier="ideal")
    xs = verdict.axis(answer, "context")
    assert xs[-1] / xs[0] >= 8
    assert len(xs) > 20
    assert 512.0 in grid.context_range(answer)
    figure = plots.chart("map", answer)
    assert any(r.get("text") == "MoE serves more" for r in figure.rows())


def test_a_map_names_its_areas_hatches_what_does_not_fit_and_shows_the_scale():
    answer = ask()
    figure = plots.chart("map", answer)
    cells = {(r["x"], r["y"]): r for r in figure.rows() if "state" in r}
    for name in (r for r in figure.rows() if "text" in r and "y" in r):
        cell = cells[name["x"], name["y"]]
        if "serves more" in name["text"]:
            assert (cell["R"] > 1) == name["text"].startswith("dense")
        else:
            assert cell["state"] == name["text"]
    legend = [x["encoding"]["color"]["legend"] for x in figure.panels[0].to_dict()["layer"]
              if "legend" in x["encoding"].get("color", {})]  # fmt: skip
    assert legend[0]["type"] == "gradient"
    unfit = [c for c in cells.values() if "R" not in c]
    marks = contour.hatch(unfit, "context", "batch")
    for cell in unfit:
        rim = cell["x"] in (cell["x0"], cell["x1"]) and cell["y"] in (cell["y0"], cell["y1"])
        many = sum(within(m, cell, "x") and within(m, cell, "y") for m in marks)
        assert rim or many == (2 if cell["state"] == "neither fits" else 1)


def within(mark, cell, axis):
    """Whether a diagonal lies in a cell along one axis."""
    ends = sorted((mark[f"{axis}0"], mark[f"{axis}1"]))
    return cell[f"{axis}0"] * (1 - 1e-9) <= ends[0] < ends[1] <= cell[f"{axis}1"] * (1 + 1e-9)


def test_the_line_of_a_map_ends_at_the_rim_or_where_nothing_fits():
    xs, ys = np.geomspace(1, 64, 7), np.geomspace(1, 64, 7)
    field = np.log(xs)[:, None] - np.log(ys)[None, :] + 0.1
    field[5:, :] = np.nan
    line = contour.line(xs, ys, field, "context", "batch")
    for piece in line:
        if piece["x1"] <= xs[4]:
            assert np.log(piece["x"]) - np.log(piece["y"]) == pytest.approx(-0.1, abs=1e-9)
    ends = [p["x1"] for p in line if p["x1"] > xs[4]]
    assert ends == [pytest.approx(np.sqrt(xs[4] * xs[5]))]  # the edge of the area without a value


def test_memory_on_a_map_is_labelled_in_the_unit_of_its_title():
    figure = plots.chart("map", ask(q=2), x="overhead", y="context")
    words = [b.text for b in layout.boxes(figure.spec())[2]]
    assert "memory kept by the runtime [GB per device]" in words
    assert "20" in words
    assert not [w for w in words if w.endswith("G")]


def test_only_one_known_axis_is_a_rule_two_are_a_diamond():
    free, held = plots.chart("map", ask()), plots.chart("map", ask(batch=16))

    def has(figure, **mark):
        return any(mark.items() <= x["mark"].items() for x in figure.panels[0].to_dict()["layer"])

    assert any(r.get("text") == "asked" for r in free.rows())
    assert not has(free, shape="diamond")
    assert has(held, shape="diamond")


def test_a_hostile_label_does_not_grow_the_picture(answer):
    long = "x" * 5000
    bad = replace(answer, model=replace(answer.model, name=long), moe=replace(answer.moe, name=long))
    width, height, _ = layout.boxes(plots.chart("memory", bad).spec())
    assert width < 1000
    assert height < 600
