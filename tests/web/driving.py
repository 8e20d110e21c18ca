"""What a person does in the browser, for the tests that drive one."""

import time
import urllib.parse

import pytest

from .conftest import SHOTS

CHART = '[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg'


def until(driver, question, what, seconds=30):
    """Wait for a truthy answer; elements that vanish meanwhile are asked for again."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = question()
        except StaleElementReferenceException:
            found = None
        if found:
            return found
        time.sleep(0.1)
    driver.save_screenshot(str(SHOTS / "failed.png"))
    pytest.fail(f"no {what} within {seconds} s; the page says: {body(driver)[:600]}")


def css(driver, selector):
    return driver.find_elements("css selector", selector)


def body(driver):
    return driver.find_element("tag name", "body").text


def settled(driver):
    """The script has run and nothing is being redrawn."""
    until(driver, lambda: css(driver, '[data-testid="stApp"][data-test-script-state="notRunning"]'), "settled page")


def visit(driver, server, path="", **query):
    SHOTS.mkdir(parents=True, exist_ok=True)
    driver.get(f"{server}/{path}?{urllib.parse.urlencode(query)}")
    until(driver, lambda: css(driver, "h1"), "title")
    until(driver, lambda: css(driver, "h2, [data-testid=stAlert], " + CHART), "answer")
    settled(driver)


def shot(driver, name):
    time.sleep(0.6)
    driver.save_screenshot(str(SHOTS / f"{name}.png"))


def headline(driver):
    return [e.text for e in css(driver, "h2") if e.text]


def choose(driver, label, text):
    """Pick an entry of a select box by typing it, as a person does."""
    from selenium.webdriver.common.keys import Keys

    box = until(driver, lambda: css(driver, f'input[aria-label*="{label}"]'), f"select box {label}")[0]
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text)
    until(driver, lambda: css(driver, '[role="option"]'), "options")
    box.send_keys(Keys.ENTER)


def press(driver, label):
    """The button with that label, once it is there."""
    return until(driver, lambda: [b for b in css(driver, "button") if label in b.text], f"button {label}")[0]


def severe(driver):
    """Console errors; Streamlit probes for its base path on a deep link, which answers 404 by design."""
    return [e for e in driver.get_log("browser") if e["level"] == "SEVERE" and "/_stcore/" not in e["message"]]


def upload(driver, path):
    for expander in css(driver, "summary"):
        if "Your own model" in expander.text:
            expander.click()
    field = until(driver, lambda: css(driver, 'input[type="file"]'), "file field")[0]
    field.send_keys(str(path))
