"""The report: one file, nothing fetched, everything in it, every name inert."""

import html
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import routeline
from routeline.answer.words import parted
from routeline.errors import RoutelineError

pytest.importorskip("altair", reason="the report's charts need the extra [plots]")
pytest.importorskip("vl_convert", reason="the report's charts need the extra [plots]")

from routeline import report


@pytest.fixture(scope="module")
def answer():
    return routeline.ask(
        "DeepSeek-V3", "8xH200", context="128k", weights="fp8", q=2, input="4k", output="1k", tier="ideal"
    )


class Outside(HTMLParser):
    """Everything a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "srcset", "action", "data") and not (value or "").startswith(
                "data:image/svg+xml"
            ):
                self.found.append((tag, key, value))
            if key.startswith("on"):
                self.found.append((tag, key, value))


def test_html_is_one_file_with_everything_and_fetches_nothing(answer, tmp_path):
    text = report.write(answer, tmp_path / "a.html").read_text()
    seen = Outside()
    seen.feed(text)
    assert seen.found == []
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    assert seen.tags.count("img") == len(report.CHARTS)
    for part in ("How accurate is this?", "Assumptions", "Sources", "2603.08960", f"{answer.throughput_ratio:.2f}"):
        assert part in text
    for name in ("utilisation", "device.bandwidth", "routing"):
        assert f">{name}<" in text
    assert f"Routeline {routeline.__version__}" in text
    assert "@media print" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "a.html"]


def test_the_command_gives_the_answer_again(answer):
    words = shlex.split(report.command_of(answer))
    assert words[:4] == ["routeline", "compare", "DeepSeek-V3", "--devices"]
    flags = dict(zip(words[5::2], words[6::2], strict=True))
    again = routeline.ask(words[2], words[4], **{k[2:].replace("-", "_"): v for k, v in flags.items()})
    assert again.throughput_ratio == answer.throughput_ratio
    assert again.ratios["request"].value == answer.ratios["request"].value
    assert replace(again.scenario, q=float(again.scenario.q)) == answer.scenario


def test_a_model_of_ones_own_is_named_so_that_the_command_finds_it(tmp_path):
    import json

    from routeline.cli import run
    from routeline.models import FOLDER, _read_json

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_read_json(f"{FOLDER}/Mixtral-8x7B.json")["config"]))
    mine = routeline.ask(str(folder), "2xH100", context="8k", q=2, tier="ideal")
    assert shlex.split(report.command_of(mine))[2] == str(folder / "config.json")
    typed = [str(folder), "--devices", "2xH100", "--q", "2", "--tier", "ideal", "--charts", "memory"]
    place = tmp_path / "a.md"
    assert run(["report", *typed, "-o", str(place)]) == 0
    said = next(line for line in place.read_text().splitlines() if line.startswith("routeline report"))
    words = shlex.split(said)
    assert words[:5] == ["routeline", "report", str(folder), "--devices", "2xH100"]
    assert words[-2:] == ["--charts", "memory"]
    uploaded = replace(mine, model=replace(mine.model, source="uploaded"))
    assert report.command_of(uploaded).split()[2] == "./config.json"


@pytest.mark.parametrize(
    ("given", "winner"),
    [({"context": "1k", "weights": "fp8", "q": 4.5}, "moe"), ({"context": "128k", "q": 2}, "dense"),
     ({"context": "128k", "q": 2, "batch": 1}, "moe")],
)  # fmt: skip
def test_the_report_is_dressed_for_whoever_the_sentence_says_wins(given, winner):
    found = routeline.ask("DeepSeek-V3", "8xH200", tier="ideal", **given)
    made = report.document(found, charts=("memory",))
    assert made.standing.winner == winner
    text = report.as_html(made)
    assert f'<div class="verdict {winner}"><p><strong>' in text
    assert made.verdict.startswith({"moe": "MoE wins", "dense": "Dense wins"}[winner])
    plain = re.sub(
        "<[^>]*>",
        "",
        text.split('<div class="verdict')[1].split("</div>")[0].split(">", 1)[1].replace("</p><p", "</p> <p"),
    )
    assert plain == report.escape(made.verdict)  # the sentence is whole
    assert made.glance[0][1] == f"{made.standing.lead.ratio:#.3g}"


def test_every_rule_is_in_the_table_and_says_who_serves_more_under_it(answer):
    made = report.document(answer, charts=("memory",))
    head, rows = made.ratios
    assert "why there is none" not in head  # a column of dashes says nothing
    assert [r[2] for r in rows] == [f"{r.value:.2f}" for r in answer.ratios.values()]
    for row, ratio in zip(rows, answer.ratios.values(), strict=True):
        if abs(ratio.value - 1) <= 0.02:
            assert row[1] == "neither"
            continue
        side, factor = row[1].split(", ")
        assert side == ("dense" if ratio.value > 1 else "MoE")
        assert float(factor[:-1]) == pytest.approx(max(ratio.value, 1 / ratio.value), abs=0.006)
    free = report.document(routeline.ask("DeepSeek-V3", "8xH200", context="8k", q=2, tier="ideal"), charts=("memory",))
    assert "an example" in free.ratios[1][-1][0]
    unfit = report.document(routeline.ask("Switch-C", "8xH200", context=512, tier="ideal"), charts=("memory",))
    assert unfit.ratios[1] == []
    assert unfit.standing.winner == "moe_infeasible"
    assert "rule by rule" not in report.as_html(unfit)
    assert ("MoE", "does not fit", "needs 24 devices") in unfit.glance


def test_captions_are_text_and_the_pictures_do_not_repeat_them(answer):
    import base64

    made = report.document(answer, charts=("memory", "map"))
    text = report.as_html(made)
    for figure in made.figures:
        assert f"<h3>{report.escape(figure.title)}</h3>" in text
        assert f"<figcaption>{report.escape(figure.caption)}</figcaption>" in text
    image = base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', text)[1]).decode()
    assert "usable memory" not in image
    assert "GB per device" in image


def test_a_notebook_shows_the_answer_and_its_charts(answer):
    shown = answer._repr_html_()
    assert f"{answer.throughput_ratio:.2f}" in shown
    assert "data:image/svg+xml" in shown
    assert "<script" not in shown
    figure = answer.chart("memory")
    assert figure.name == "memory"
    assert figure._repr_mimebundle_()["image/svg+xml"].startswith("<svg")
    alone = routeline.ask("DeepSeek-V3", "1xH200", context="8k", q=2, tier="ideal")
    assert "img" not in alone._repr_html_()


def test_markdown_holds_the_same_numbers_and_its_pictures(answer, tmp_path):
    text = report.write(answer, tmp_path / "a.md", charts=("memory", "step")).read_text()
    assert "| --- |" in text
    assert "](a_figures/memory.svg)" in text
    assert (tmp_path / "a_figures" / "step.svg").read_text().startswith("<svg")
    assert report.command_of(answer, "report") in text


def test_what_cannot_be_drawn_is_named(tmp_path):
    alone = routeline.ask("DeepSeek-V3", "1xH200", context="8k", q=2, tier="ideal")
    made = report.document(alone)
    assert {"waterfall", "step", "roofline"} <= {name for name, _ in made.absent}
    assert {"memory", "cluster"} <= {f.name for f in made.figures}
    assert "Not drawn" in report.as_html(made)


def test_a_hostile_name_is_text_in_both(answer):
    bad = "<script>alert(1)</script>|`\"'&[x](javascript:alert(1))"
    hostile = replace(answer, model=replace(answer.model, name=bad), moe=replace(answer.moe, name=bad), warnings=(bad,))
    made = report.document(hostile, charts=("memory",))
    seen = Outside()
    seen.feed(report.as_html(made))
    assert "script" not in seen.tags
    assert seen.found == []
    text = report.as_markdown(made)
    body = text.split("````")[0]
    assert "<script" not in body
    assert not re.search(r"(?<!\\)\]\(javascript", body)


def test_places_that_cannot_be_written_are_refused_before_anything_is_computed(answer, tmp_path):
    with pytest.raises(RoutelineError, match=r"\.html or \.md"):
        report.write(answer, tmp_path / "a.pdf")
    with pytest.raises(RoutelineError, match="does not exist"):
        report.write(answer, tmp_path / "no" / "a.html")
    with pytest.raises(RoutelineError, match="unknown chart"):
        report.write(answer, tmp_path / "a.html", charts=("pie",))


def test_the_verdict_stands_in_three_paragraphs(answer):
    """One bold sentence, then how sure it is, then what is open: not a wall of bold text."""
    made = report.document(answer, charts=())
    page, text = report.as_html(made), report.as_markdown(made)
    lead, sure, rest = parted(made.verdict)
    assert f"<strong>{html.escape(lead)}</strong>" in page
    assert f'<p class="open">Not established: {html.escape(rest)}</p>' in page
    assert "not established" not in lead.lower() + sure.lower()
    assert text.count("**") == 2
    assert "\n\nNot established: " in text
