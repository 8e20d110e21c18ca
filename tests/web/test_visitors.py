"""The explorer for every visitor: on a phone, at night, with a link, with a hostile file, from outside."""

import time
import urllib.parse

import pytest

from .driving import CHART, body, css, headline, press, settled, shot, until, upload, visit

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_on_a_phone_the_settings_have_a_name_and_open(server, browser):
    driver = browser(390, 844)
    visit(driver, server)
    button = until(driver, lambda: css(driver, '[data-testid="stExpandSidebarButton"]'), "button")[0]
    named = "return getComputedStyle(arguments[0], '::after').content"
    until(driver, lambda: "Settings" in driver.execute_script(named, button), "name of the button")
    button.click()
    until(driver, lambda: any("Verdict map" in e.text for e in css(driver, '[data-testid="stSidebar"] a')), "pages")
    until(driver, lambda: css(driver, '[data-testid="stSidebar"] input[aria-label="devices"]'), "settings")
    shot(driver, "phone-settings")


@pytest.mark.parametrize("path", ["", "map", "quality"])
def test_a_visitor_who_prefers_dark_gets_a_dark_page_with_readable_charts(server, browser, path):
    driver = browser()
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    visit(driver, server, path)
    until(driver, lambda: css(driver, CHART), "chart")
    time.sleep(1)
    script = "return getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    assert max(int(v) for v in driver.execute_script(script)[4:-1].split(",")[:3]) < 60
    corner = driver.execute_script("""
      const c = document.querySelector('[data-testid=stVegaLiteChart] canvas');
      return c ? [...c.getContext('2d').getImageData(2, 2, 1, 1).data] : null""")
    assert corner is None or max(corner[:3]) < 60
    shot(driver, f"dark-{path or 'compare'}")


def test_the_link_on_the_page_is_the_address_and_opens_the_same_scenario(server, browser):
    driver = browser()
    visit(
        driver, server, model="gpt-oss-120b", device="MI300X", count=4, batch=64, utilisation=0.93, draft=2, accept=0.3
    )
    settled(driver)
    code = '[data-testid="stCode"]'
    link = until(driver, lambda: [e.text for e in css(driver, code) if e.text.startswith("http")], "link")[0]

    def asked(url):
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))

    assert asked(link) == asked(driver.current_url)
    assert "batch 64" in headline(driver)[0]
    fresh = browser()
    fresh.get(link)
    until(fresh, lambda: headline(fresh), "verdict")
    settled(fresh)
    assert headline(fresh) == headline(driver)


def test_a_large_or_binary_file_is_refused_where_the_visitor_sees_it(server, browser, tmp_path):
    large, binary = tmp_path / "large.json", tmp_path / "binary.json"
    large.write_text('{"a": "' + "x" * 5_000_000 + '"}')
    binary.write_bytes(bytes(range(256)) * 40)
    driver = browser()
    visit(driver, server)
    before = headline(driver)
    upload(driver, large)
    said = until(driver, lambda: css(driver, ".stFileChip"), "file")[0]
    until(driver, lambda: "1.0MB or smaller" in said.text, "reason")
    shown = driver.execute_script(
        "return [...arguments[0].querySelectorAll('span')].some(e => e.textContent.includes('smaller')"
        " && e.getBoundingClientRect().width > 60)", said)  # fmt: skip
    assert shown
    assert headline(driver) == before
    again = browser()
    visit(again, server)
    upload(again, binary)
    until(again, lambda: "not UTF-8" in body(again), "refusal")
    assert headline(again) == before


def test_every_setting_is_answered_without_a_fault(server, browser):
    """Through links: each value of each setting, in one visitor's tab."""
    driver = browser()
    links = (
        "dense=standard", "dense=Llama-3.1-70B", "dense=Mixtral-8x22B", "tier=bandwidth", "tier=ideal", "engine=vllm",
        "cache=fp8", "layout=pooled", "layout=dp8,ep8", "layout=tp3", "routing=zipf:1.2", "memory=marketed",
        "utilisation=0.5", "tpot=0.02", "tpot=1e-06", "batch=1000000", "q=0.02", "q=900", "input=1",
        "input=4096&output=256&prefix_hit=0.5", "draft=3&accept=0.7", "context=10000000", "count=1024",
        "weights=nvfp4", "extend_context=True&context=1048576", "model=Switch-C",
    )  # fmt: skip
    changes = [dict(urllib.parse.parse_qsl(link)) for link in links]
    for change in changes:
        visit(driver, server, **change)
        until(driver, lambda: headline(driver) or css(driver, '[data-testid="stAlert"]'), f"answer to {change}")
        text = body(driver)
        assert "hit a fault" not in text, change
        assert "Traceback" not in text
        assert " --" not in text.replace("routeline compare", "").split("The same on a command line")[0], change


def test_a_chart_downloads_as_a_picture(server, browser, tmp_path):
    driver = browser()
    visit(driver, server, "map")
    button = press(driver, "PNG")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    folder = tmp_path / "downloads"
    found = until(driver, lambda: [p for p in folder.glob("*.png") if p.stat().st_size], "picture", 60)[0]
    content = found.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert 10_000 < len(content) < 1_500_000


def test_the_server_gives_away_no_file_and_listens_here_only(server):
    import http.client
    import socket

    port = urllib.parse.urlsplit(server).port
    tried = """
        /etc/passwd /../../../../etc/passwd /static/../../../etc/passwd /app/static/x /media/../../etc/passwd
        /media/%2e%2e/%2e%2e/etc/passwd /component/x/../../etc/passwd /src/routeline/web/app.py /app.py
        //etc/passwd /_stcore/../app.py /.git/config
    """
    for path in tried.split():
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        link.request("GET", path)
        answer = link.getresponse()
        content = answer.read()
        assert b"root:" not in content
        assert b"import " not in content[:2000] or b"<!doctype html>" in content[:200].lower()
        assert b"[core]" not in content
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=2):
        pass
