"""The explorer as a person uses it: a real Chromium loads it, changes things, shares, uploads, downloads."""

import json
import urllib.parse

import pytest

import routeline

from .driving import CHART, body, choose, css, headline, press, settled, severe, shot, until, upload, visit

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_it_loads_answers_and_fetches_nothing_from_elsewhere(server, browser):
    driver = browser()
    visit(driver, server)
    until(driver, lambda: css(driver, CHART), "chart")
    assert any("wins" in h or "tie" in h for h in headline(driver))
    fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert fetched
    assert not [url for url in fetched if not url.startswith((server, "data:", "blob:"))]
    assert severe(driver) == []
    shot(driver, "compare")


def test_a_change_is_followed_and_lands_in_the_address(server, browser):
    driver = browser()
    visit(driver, server)
    before = headline(driver)
    choose(driver, "devices", "MI300X")
    until(driver, lambda: "device=MI300X" in driver.current_url, "new address")
    until(driver, lambda: headline(driver) != before, "new verdict")
    settled(driver)
    expected = routeline.ask("DeepSeek-V3", "8xMI300X", context="32k").throughput_ratio
    assert f"{max(expected, 1 / expected):.3g} times" in headline(driver)[0]


def test_a_shared_address_gives_the_same_scenario(server, browser):
    expected = routeline.ask("Qwen3-235B-A22B", "4xMI300X", context=16384.0, weights="fp8", q=3.0)
    driver = browser()
    link = {"model": "Qwen3-235B-A22B", "device": "MI300X", "count": 4, "context": 16384, "weights": "fp8", "q": 3}
    visit(driver, server, **link)
    until(driver, lambda: css(driver, CHART), "chart")
    ratio = expected.throughput_ratio
    assert f"{max(ratio, 1 / ratio):.3g} times" in headline(driver)[0]
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(driver.current_url).query))
    assert query == {k: str(v) for k, v in link.items()}


def test_where_the_moe_wins_the_page_says_so_as_loudly(server, browser):
    driver = browser()
    visit(driver, server, model="DeepSeek-V3", context=1024, q=4.5, weights="fp8")
    until(driver, lambda: css(driver, CHART), "chart")
    expected = routeline.ask("DeepSeek-V3", "8xH200", context=1024.0, q=4.5, weights="fp8")
    assert expected.verdict == "moe"
    moe = next(e for e in css(driver, "h2") if "MoE wins" in e.text)
    assert f"{1 / expected.throughput_ratio:.3g} times" in moe.text
    loud = [moe.value_of_css_property(p) for p in ("font-size", "font-weight")]
    shot(driver, "moe-wins")
    visit(driver, server, model="DeepSeek-V3", context=131072, q=2)
    dense = next(e for e in css(driver, "h2") if "dense model wins" in e.text)
    assert [dense.value_of_css_property(p) for p in ("font-size", "font-weight")] == loud


def test_a_link_with_nonsense_is_explained_and_inert(server, browser):
    driver = browser()
    visit(
        driver, server, model="<img src=x onerror=document.title='hacked'>", count="-3", layout="measured:/etc/passwd"
    )
    text = body(driver)
    assert text.count("the default is used") == 3
    assert driver.title != "hacked"
    assert not css(driver, 'img[src="x"]')
    assert "root:" not in text


def test_a_good_config_is_answered_and_a_hostile_one_explained(server, browser, tmp_path):
    from routeline.models import FOLDER, _read_json

    raw = _read_json(f"{FOLDER}/Mixtral-8x7B.json")["config"]
    good = tmp_path / "my-mixtral.json"
    good.write_text(json.dumps(raw))
    driver = browser()
    visit(driver, server, device="H100 SXM", context=16384)
    upload(driver, good)
    until(driver, lambda: "my-mixtral" in body(driver), "uploaded model's name")
    settled(driver)
    assert "wins" in headline(driver)[0]
    shot(driver, "upload")

    name = "<img src=x onerror=document.title='hacked'>"
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps(raw | {"architectures": [name], "model_type": name}))
    again = browser()
    visit(again, server)
    upload(again, hostile)
    until(again, lambda: "Unknown architecture" in body(again), "refusal")
    assert "<img src=x" in body(again)
    assert not css(again, 'img[src="x"]')
    assert again.title != "hacked"
    shot(again, "hostile")

    deep = tmp_path / "deep.json"
    deep.write_text('{"a":' * 50_000 + "1" + "}" * 50_000)
    third = browser()
    visit(third, server)
    upload(third, deep)
    until(third, lambda: "nested" in body(third), "refusal of the deep config")
    assert "wins" in headline(third)[0]


def test_the_report_downloads_and_is_whole(server, browser, tmp_path):
    driver = browser()
    visit(driver, server, model="Mixtral-8x7B", device="H100 SXM", count=4)
    for label, ending in (("Report (HTML)", "html"), ("CSV", "csv"), ("JSON", "json")):
        button = press(driver, label)
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        folder = tmp_path / "downloads"
        found = until(
            driver,
            lambda folder=folder, ending=ending: [p for p in folder.glob(f"*.{ending}") if p.stat().st_size],
            f"downloaded {label}",
            60,
        )[0]
        text = found.read_text()
        if ending == "html":
            assert text.startswith("<!doctype html>")
            assert text.rstrip().endswith("</html>")
            assert "Mixtral-8x7B" in text
        if ending == "json":
            assert json.loads(text)["model"] == "Mixtral-8x7B"


@pytest.mark.parametrize(
    ("path", "title"), [("map", "which side"), ("quality", "known of q"), ("accuracy", "accurate")]
)
def test_every_view_draws(server, browser, path, title):
    driver = browser(1300, 2200)
    visit(driver, server, path)
    assert title in driver.find_element("tag name", "h1").text
    if path != "accuracy":
        until(driver, lambda: css(driver, CHART), "chart")
    assert severe(driver) == []
    shot(driver, path)


@pytest.mark.parametrize(
    "chart", ["Over context", "Memory", "Time of a step", "Roofline", "Fragmentation", "Whole requests"]
)
def test_every_chart_can_be_chosen(server, browser, chart):
    driver = browser()
    visit(driver, server)
    before = [e.text for e in css(driver, "h3")]
    press(driver, chart).click()
    until(driver, lambda: [e.text for e in css(driver, "h3")] != before, "other chart")
    settled(driver)
    until(driver, lambda: css(driver, CHART), "chart")
    shot(driver, f"chart-{chart.lower().replace(' ', '-')}")


def test_on_a_phone_nothing_runs_off_the_side(server, browser):
    driver = browser(390, 844)
    visit(driver, server)
    until(driver, lambda: css(driver, CHART), "chart")
    wide = driver.execute_script("return document.scrollingElement.scrollWidth - window.innerWidth")
    assert wide <= 1
    chart = css(driver, CHART)[0]
    assert chart.rect["width"] <= 390
    shot(driver, "phone")


def test_something_that_fits_nowhere_is_said_plainly(server, browser):
    driver = browser()
    visit(driver, server, device="L4", count=1)
    until(driver, lambda: headline(driver), "verdict")
    assert "fit" in headline(driver)[0]
    until(driver, lambda: css(driver, CHART), "chart of what would have to fit")
    shot(driver, "does-not-fit")
