"""A real server and a real Chromium for the tests marked `browser`."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "artefacts" / "screenshots"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The explorer as `routeline web` starts it; yields its address."""
    pytest.importorskip("streamlit", reason="the explorer needs the extra [web]")
    port = free_port()
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-m", "routeline", "web", "--port", str(port)],
        cwd=home, stdout=(home / "server.log").open("wb"), stderr=subprocess.STDOUT,
        env=os.environ | {"HOME": str(home)},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(150):
            if process.poll() is not None:
                pytest.fail((home / "server.log").read_text()[-2000:])
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def browser(tmp_path):
    """A Chromium driven through Debian's chromedriver, saving downloads to tmp_path; `browser(width, height)`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="browser tests need the package selenium")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("browser tests need chromium and chromedriver (Debian: chromium, chromium-driver)")
    opened = []

    def start(width=1300, height=1700):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            *FLAGS,
            f"--window-size={width},{height}",
            f"--user-data-dir={tmp_path / f'profile{len(opened)}'}",
        ):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if width < 600:
            phone = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}}
            options.add_experimental_option("mobileEmulation", phone)
        opened.append(webdriver.Chrome(options=options, service=Service(driver)))
        return opened[-1]

    yield start
    for one in opened:
        one.quit()
