"""The report: one file, nothing fetched, everything in it, every name inert."""

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import routeline
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
