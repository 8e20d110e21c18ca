"""Charts through their specifications and data: every value drawn is the model's own."""

from dataclasses import replace

import numpy as np
import pytest

import routeline
from routeline import memory, requests, side
from routeline.errors import RoutelineError

alt = pytest.importorskip("altair", reason="charts need the extra [plots]")
pytest.importorskip("vl_convert", reason="charts need the extra [plots]")

from routeline import plots  # noqa: E402
from routeline.plots import data, fleet, grid, parts, reuse, roofs, theme, verdict  # noqa: E402


def ask(**kw):
    given = {"context": "128k", "weights": "fp8", "q": 2, "tier": "ideal"} | kw
    return routeline.ask(given.pop("model", "DeepSeek-V3"), given.pop("devices", "8xH200"), **given)


@pytest.fixture(scope="module")
def answer():
    return ask()


@pytest.fixture(scope="module")
def alone():
    return ask(devices="1xH200")


@pytest.mark.parametrize("name", plots.CHARTS)
def test_every_chart_is_valid_vega_lite_and_carries_its_assumptions(answer, name):
    figure = plots.chart(name, answer)
    for panel in figure.panels:
        panel.to_dict()  # Altair validates against the schema here
    spec = figure.spec()
    assert spec["title"]["orient"] == "bottom"
    caption = " ".join(spec["title"]["text"])
    if name != "evidence":
        assert "8xH200 SXM" in caption
        assert "tier ideal" in caption
    assert figure.alt
    assert figure.rows()


@pytest.mark.parametrize("name", plots.CHARTS)
def test_every_chart_can_be_drawn_in_the_calibrated_tier(name):
    figure = plots.chart(name, ask(tier="calibrated"))
    assert figure.rows()
    assert name == "evidence" or "tier calibrated" in figure.caption


@pytest.mark.parametrize("name", plots.CHARTS)
def test_every_picture_is_drawn_within_a_printable_size(answer, name, tmp_path):
    from struct import unpack

    png = plots.chart(name, answer).save(tmp_path / "a.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = unpack(">II", png[16:24])
    assert 800 < width < 2600
    assert 300 < height < 1700
    assert 10_000 < len(png) < 1_500_000
    assert len(set(png)) == 256  # a blank picture compresses to a few distinct bytes


def test_step_parts_sum_to_the_step(answer):
    rows = parts.step_parts(answer)
    for one in (answer.moe, answer.dense):
        mine = [r for r in rows if r["role"] == ("moe" if one is answer.moe else "dense")]
        assert sum(r["ms"] for r in mine) == pytest.approx(float(one.point.step.seconds) * 1e3, rel=1e-12)
        assert sum(r["us_per_token"] for r in mine) == pytest.approx(1e6 / one.point.rate, rel=1e-12)


def test_memory_stack_fills_the_device_and_its_weights_are_those_that_decide_the_batch(answer):
    rows = parts.memory_stack(answer)
    for role, _, one in data.sides(answer):
        mine = {r["part"]: r["gb"] for r in rows if r["role"] == role}
        assert sum(mine.values()) == pytest.approx(answer.cluster.device.memory("usable") / 1e9, rel=1e-12)
        weights = sum(v for k, v in mine.items() if k not in ("cache", "free", "not used (utilisation, runtime)"))
        held = memory.weights_per_device(one.counted, one.point.layout)
        assert weights == pytest.approx(float(held) / 1e9, rel=1e-12)


def test_a_side_that_does_not_fit_is_drawn_by_its_weights_and_refused_elsewhere(alone):
    rows = parts.memory_stack(alone)
    moe = [r for r in rows if r["role"] == "moe"]
    assert not moe[0]["fits"]
    assert sum(r["gb"] for r in moe if r["part"] != "free") > 600
    for name in ("step", "roofline", "waterfall"):
        with pytest.raises(RoutelineError, match="fit"):
            plots.chart(name, alone)


def test_waterfall_runs_from_the_dense_rate_to_the_moe_rate_through_both_penalties(answer):
    rows = parts.waterfall(answer)
    n = answer.cluster.count
    dense, moe = answer.ratios["max_batch"].dense, answer.ratios["max_batch"].moe
    assert rows[0]["to"] == pytest.approx(dense.rate / n, rel=1e-12)
    assert rows[3]["to"] == pytest.approx(moe.rate / n, rel=1e-12)
    assert rows[0]["to"] / rows[1]["to"] == pytest.approx(answer.headroom_gain, rel=1e-12)
    assert rows[2]["from"] / rows[2]["to"] == pytest.approx(answer.reuse_penalty, rel=1e-12)
    held = side.step_at(answer.dense.counted, answer.ground, dense.layout, moe.batch)
    assert rows[1]["to"] == pytest.approx(float(held.rate) / n, rel=1e-12)


def test_fragmentation_is_that_of_the_hand_worked_table(answer):
    rows = {(r["routing"], r["tokens"]): r for r in reuse.fragmentation(answer)}
    assert rows["uniform", 64.0]["phi"] == pytest.approx(27.8, abs=0.05)
    assert rows["uniform", 64.0]["tokens_per_expert"] == pytest.approx(2.30, abs=0.005)
    assert rows["uniform", 128.0]["phi"] == pytest.approx(31.5, abs=0.05)
    assert rows["uniform", 64.0]["phi_over_q"] == rows["uniform", 64.0]["phi"] / 2
    assert rows["zipf 1.2", 64.0]["touched"] == pytest.approx(128, abs=1)
    assert rows["balanced", 64.0]["touched"] == 256


def test_both_ridge_points_on_h100(answer):
    h100 = ask(devices="16xH100", context="8k")
    tokens, intensity, fmt = roofs.ridge_tokens(h100, h100.dense, "dense_ffn")
    assert fmt == "fp8"
    assert tokens == pytest.approx(295, abs=1)
    assert intensity == pytest.approx(2 * tokens, rel=1e-6)
    assert roofs.ridge_tokens(h100, h100.moe, "routed")[0] == pytest.approx(9450, abs=10)


def test_roofline_points_stay_under_their_roof(answer):
    peak = max(float(p) for p in answer.ground.rates.peaks.values()) / 1e12
    band = float(answer.ground.rates.bandwidth)
    for row in roofs.roofline_points(answer):
        assert row["tflops"] <= min(peak, row["intensity"] * band / 1e12) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("x", "y"), [("context", "batch"), ("q", "utilisation"), ("context", "q"), ("overhead", "context")]
)
def test_map_cells_equal_the_comparison_at_that_point(answer, x, y):
    xs, ys = verdict.axis(answer, x, 5), verdict.axis(answer, y, 4)
    cells, _ = grid.verdict_map(answer, x, xs, y, ys)
    assert len(cells) == len(xs) * len(ys)
    rule = "equal_batch" if "batch" in (x, y) else "max_batch"
    for cell in cells[::3]:
        there = ask(**{x: float(cell["x"]), y: float(cell["y"])})
        if "R" in cell:
            assert cell["R"] == pytest.approx(there.ratios[rule].value, rel=1e-9)
        else:
            assert there.ratios[rule].value is None


def test_map_marks_what_does_not_fit_and_its_line_is_where_r_is_one(answer):
    xs, ys = verdict.axis(answer, "context", 12), verdict.axis(answer, "batch", 14)
    cells, line = grid.verdict_map(answer, "context", xs, "batch", ys)
    assert {c["state"] for c in cells} == {"both fit", "MoE does not fit", "neither fits"}
    assert all("R" not in c for c in cells if c["state"] != "both fit")
    assert line
    for piece in line[:: max(len(line) // 5, 1)]:
        low = ask(context=float(round(piece["x"])), batch=float(np.floor(piece["y"])))
        high = ask(context=float(round(piece["x"])), batch=float(np.ceil(piece["y"])))
        assert low.ratios["equal_batch"].value < 1.03
        assert high.ratios["equal_batch"].value > 0.97


def test_throughput_passes_through_the_answer(answer):
    rows = grid.over_context(answer)
    here = next(r for r in rows if r["role"] == "ratio" and r["context"] == answer.scenario.context)
    assert here["R"] == pytest.approx(answer.throughput_ratio, rel=1e-12)
    for role, _, one in data.sides(answer):
        mine = next(r for r in rows if r["role"] == role and r["context"] == answer.scenario.context)
        assert mine["rate"] * answer.cluster.count == pytest.approx(one.point.rate, rel=1e-12)
        assert mine["batch"] == one.point.batch


def test_q_curve_passes_through_the_answer_and_its_flip(answer):
    from routeline.plots import beliefs

    rows, found = beliefs.over_q(answer)
    here = next(r for r in rows if r["q"] == 2.0)
    assert here["R"] == pytest.approx(answer.throughput_ratio, rel=1e-12)
    assert found["interval90"][0] < found["median"] < found["interval90"][1]
    assert 0 <= found["dense"] <= 1
    for flip in found["flips"]:
        assert ask(q=flip).throughput_ratio == pytest.approx(1.0, abs=0.02)


def test_interactivity_is_a_front_that_reaches_the_largest_batch(answer):
    rows = fleet.frontier(answer)
    for role, _, one in data.sides(answer):
        mine = sorted((r for r in rows if r["role"] == role), key=lambda r: r["user"])
        rates = [r["device"] for r in mine]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] * answer.cluster.count >= one.point.rate * (1 - 1e-12)
        for row in mine[::7]:
            there = side.at_batch(one.counted, answer.ground, one.options, row["batch"])
            assert row["device"] * answer.cluster.count == pytest.approx(there.rate, rel=1e-9)
            assert row["user"] * row["batch"] == pytest.approx(there.rate, rel=1e-9)


def test_cluster_sizes_agree_with_the_smallest_cluster_named(answer):
    rows = fleet.over_devices(answer)
    for role, _, one in data.sides(answer):
        fits = [r["devices"] for r in rows if r["role"] == role and r["fits"]]
        assert min(fits) == one.devices_needed
    here = {r["role"]: r for r in rows if r["devices"] == 8}
    assert here["moe"]["batch"] == answer.moe.point.batch
    assert here["dense"]["batch"] == answer.dense.point.batch


def test_width_spreads_experts_and_nothing_else(answer):
    rows = fleet.over_width(answer)
    experts = {r["ep"]: r["gb"] for r in rows if r["part"] == "routed experts"}
    assert experts[1] == pytest.approx(653.9, abs=0.05)
    assert all(gb * width == pytest.approx(experts[1], rel=1e-9) for width, gb in experts.items())
    assert {r["ep"]: r["total_gb"] for r in rows}[8] > 671 / 8


def test_request_chart_passes_through_the_request_of_the_answer():
    from routeline.plots import request

    answer = ask(input="128k", output="1k", context="128k")
    rows, shape = request.over_output(answer)
    here = next(r for r in rows if r["output"] == 1024 and r["hits"] == "0%")
    assert here["R"] == pytest.approx(requests.requests(answer, shape).value, rel=1e-9)
    assert here["R"] == pytest.approx(answer.ratios["request"].value, rel=1e-9)


HOSTILE = '</script><img src=x onerror="alert(1)">$x$ **b** ' + "long" * 60 + "\n\x00\u202e"


@pytest.mark.parametrize("name", plots.CHARTS)
def test_a_hostile_name_stays_text(answer, name, tmp_path):
    bad = replace(answer, model=replace(answer.model, name=HOSTILE), moe=replace(answer.moe, name=HOSTILE))
    figure = plots.chart(name, bad)
    svg = figure.svg()
    assert "<img" not in svg
    assert "<script" not in svg
    assert "\x00" not in svg
    if name == "step":
        page = figure.save(tmp_path / "x.html").read_text()
        assert page.count("</script>") == 2
        assert "<img" not in page.split('type="application/json"')[1].split("</script>")[0]
        assert "http" not in page.split("</title>")[0]


def test_unknown_charts_files_and_axes_are_refused_in_one_sentence(answer, tmp_path):
    with pytest.raises(RoutelineError, match="close: roofline"):
        plots.chart("rofline", answer)
    figure = plots.chart("memory", answer)
    for path, why in (("a.gif", "png"), ("nowhere/a.png", "does not exist"), ("folder.png", "folder")):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        with pytest.raises(RoutelineError, match=why):
            figure.save(tmp_path / path)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(RoutelineError, match="axis"):
        plots.chart("map", answer, x="colour")
    with pytest.raises(RoutelineError, match="two different axes"):
        plots.chart("map", answer, x="q", y="q")
    with pytest.raises(RoutelineError, match="named dense model"):
        plots.chart("map", ask(dense="Llama-3.1-70B", q=None), x="q", y="context")


def test_importing_routeline_imports_no_chart_library():
    import subprocess
    import sys

    heavy = ("altair", "vl_convert", "scipy")
    code = f"import sys, routeline, routeline.plots; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_part_has_its_own_colour_and_readable_numbers_on_it():
    assert len(set(theme.PARTS.values())) == len(theme.PARTS)
    assert theme.MOE not in (theme.DENSE, theme.GREEN)
    assert not {theme.MOE, theme.DENSE} & set(theme.SERIES)  # blue and vermilion mean the two sides, nowhere else
    for colour in theme.PARTS.values():
        assert contrast(colour, theme.on(colour)) >= 3.0


def contrast(one, two):
    """WCAG contrast ratio."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_wrapped_whole_and_leaves_no_lonely_word():
    text = "Each mark is a batch, doubling from 1; hollow marks need more memory than there is. " * 3
    for width in (60, 80, 101, 140):
        lines = theme.wrap(text, width)
        assert " ".join(lines) == " ".join(text.split())
        assert max(map(len, lines)) <= width
        assert len(lines) == 1 or len(lines[-1]) >= 0.5 * max(map(len, lines))
    assert max(map(len, theme.wrap("x" * 500, 60))) <= 60
    assert [theme.digits(v) for v in (2.1, 1, 0.5264, 12.34, 2048.0)] == ["2.10", "1.00", "0.526", "12.3", "2,048"]
