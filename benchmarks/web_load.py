"""Fifty visitors on the explorer: latency of an update and the server's memory after they leave.

    python benchmarks/web_load.py                    # the full measurement, about nine minutes
    python benchmarks/web_load.py --visitors 10 --seconds 30 --wait 20

What a visitor is here: one WebSocket session speaking Streamlit's own protocol, as a browser tab does. It opens the
page, then again and again waits `--think` seconds on average (half to one and a half times that), changes one control
(model, devices, count, context, weights, chart) and waits for the script to finish. Not in the figures: drawing in
the browser, which happens on the visitors' machines (fifty real Chromiums would fill this machine themselves);
`--browser` measures that for one real Chromium. Server and visitors share this machine.

Memory is the server process's resident set: warmed up (after `--warm` seconds of five visitors), at its peak, and
`--wait` seconds after the last visitor left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

BOX = 'input[aria-label^="q, "]'
"""The field that the measurement in a browser types into."""
CHANGES = {"model": "selectbox", "device": "selectbox", "count": "selectbox", "context": "slider",
           "weights": "selectbox", "picked": "button_group"}  # fmt: skip


def serve() -> tuple[subprocess.Popen, int, str]:
    """A server as `routeline web` starts it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    home = tempfile.mkdtemp()
    process = subprocess.Popen(
        [sys.executable, "-m", "routeline", "web", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home, env=os.environ | {"HOME": home},
    )  # fmt: skip
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).read()
            return process, port, home
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def resident(process: subprocess.Popen) -> float:
    """Resident set of the server and its children [MB]."""
    top = psutil.Process(process.pid)
    return sum(p.memory_info().rss for p in [top, *top.children(recursive=True)]) / 1e6


def spent(process: subprocess.Popen) -> float:
    """Processor seconds of the server and its children so far."""
    top = psutil.Process(process.pid)
    return sum(t.user + t.system for t in (p.cpu_times() for p in [top, *top.children(recursive=True)]))


def machine() -> float:
    """Cores busy on the whole machine since the last call, whoever used them."""
    return psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)


class Visitor:
    """One tab: knows its widgets from what the server sent, and the state it has set."""

    def __init__(self, port: int, seed: int) -> None:
        self.port, self.dice = port, random.Random(seed)
        self.widgets: dict[str, object] = {}
        self.state: dict[str, tuple[str, str, list | str]] = {}
        self.query, self.page = "", ""
        self.times: list[float] = []
        self.failures = 0

    async def open(self):
        self.socket = await connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream", subprotocols=["streamlit"], max_size=None,
            additional_headers={"Origin": f"http://127.0.0.1:{self.port}"},
        )  # fmt: skip
        self.first = await self.run()

    async def run(self) -> float:
        """Ask for a run with the state so far; seconds until the script has finished."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        for key, kind, value in self.state.values():
            widget = message.rerun_script.widget_states.widgets.add()
            widget.id = key
            if kind == "string_value":
                widget.string_value = value
            else:
                getattr(widget, kind).data.extend(value)
        start = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            got = ForwardMsg()
            got.ParseFromString(await asyncio.wait_for(self.socket.recv(), 60))
            kind = got.WhichOneof("type")
            if kind == "delta" and got.delta.WhichOneof("type") == "new_element":
                self.learn(got.delta.new_element)
            elif kind == "page_info_changed":
                self.query = got.page_info_changed.query_string
            elif kind == "script_finished":
                if got.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                    return time.perf_counter() - start
                if got.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    self.failures += 1
                    return time.perf_counter() - start

    def learn(self, element) -> None:
        """Note a widget, and send back the value that the server set, as the page's own script does."""
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.failures += 1
        if kind not in ("selectbox", "slider", "button_group"):
            return
        one = getattr(element, kind)
        found = re.search(r"-([a-z_]+)$", one.id)
        if not found:
            return
        self.widgets[found[1]] = one
        if one.set_value:
            if kind == "selectbox":
                self.state[found[1]] = (one.id, "string_value", one.raw_value)
            elif kind == "button_group":
                self.state[found[1]] = (one.id, "string_array_value", list(one.raw_values))
            elif one.options:
                self.state[found[1]] = (one.id, "string_array_value", list(one.raw_value))
            else:
                self.state[found[1]] = (one.id, "double_array_value", list(one.value))

    def change(self) -> None:
        """Turn one control to another of its options."""
        name = self.dice.choice([n for n in CHANGES if n in self.widgets])
        one = self.widgets[name]
        if CHANGES[name] == "selectbox":
            self.state[name] = (one.id, "string_value", self.dice.choice(list(one.options)))
        elif CHANGES[name] == "slider":
            self.state[name] = (one.id, "string_array_value", [self.dice.choice(list(one.options)[:8])])
        else:
            self.state[name] = (one.id, "string_array_value", [self.dice.choice([o.content for o in one.options])])

    async def stay(self, until: float, think: float) -> None:
        await self.open()
        while True:
            await asyncio.sleep(think * self.dice.uniform(0.5, 1.5))
            if time.monotonic() > until:
                break
            self.change()
            self.times.append(await self.run())
        await self.socket.close()


async def crowd(port: int, visitors: int, seconds: float, think: float, seed: int) -> list[Visitor]:
    """Visitors arriving one a second, all staying until `seconds` after the last arrival."""
    until = time.monotonic() + visitors + seconds
    people = [Visitor(port, seed + i) for i in range(visitors)]

    async def arrive(i: int, one: Visitor) -> None:
        await asyncio.sleep(i)
        await one.stay(until, think)

    await asyncio.gather(*(arrive(i, one) for i, one in enumerate(people)))
    return people


def quantile(values: list[float], p: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(p * len(ordered)), len(ordered) - 1)]


async def measure(options: argparse.Namespace) -> dict:
    process, port, home = serve()
    try:
        await crowd(port, 5, options.warm, options.think / 4, 1000)
        await asyncio.sleep(2)
        warm, peak = resident(process), [0.0]

        async def watch() -> None:
            while True:
                peak[0] = max(peak[0], resident(process))
                await asyncio.sleep(1)

        watcher = asyncio.create_task(watch())
        cpu, own = spent(process), time.process_time()
        machine()
        start = time.monotonic()
        people = await crowd(port, options.visitors, options.seconds, options.think, 0)
        took = time.monotonic() - start
        cpu, own = spent(process) - cpu, time.process_time() - own
        watcher.cancel()
        left = resident(process)
        await asyncio.sleep(options.wait)
        rest = resident(process)
        times = [t for one in people for t in one.times]
        return {
            "visitors": options.visitors,
            "updates": len(times),
            "updates_per_s": round(len(times) / took, 2),
            "failures": sum(one.failures for one in people),
            "first_load_s": {"median": round(statistics.median(one.first for one in people), 3),
                             "worst": round(max(one.first for one in people), 3)},
            "update_s": {"median": round(quantile(times, 0.5), 3), "p95": round(quantile(times, 0.95), 3),
                         "p99": round(quantile(times, 0.99), 3), "worst": round(max(times), 3)},
            "cpu_s_per_update": {"server": round(cpu / len(times), 4), "visitors": round(own / len(times), 4)},
            "cores_used": {"server": round(cpu / took, 2), "visitors": round(own / took, 2),
                           "whole_machine": round(machine(), 2)},
            "resident_mb": {"warm": round(warm, 1), "peak": round(peak[0], 1), "when_they_left": round(left, 1),
                            f"{options.wait:g} s later": round(rest, 1)},
            "resident_change": round(rest / warm - 1, 3),
            "load_average": round(os.getloadavg()[0], 2),
        }  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        shutil.rmtree(home, ignore_errors=True)


def one_browser(updates: int = 12) -> dict:
    """Seconds from changing a control to the new verdict on the screen, in one real Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.keys import Keys

    process, port, home = serve()
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    for flag in [*flags.split(), "--disable-component-update", "--disable-sync", f"--user-data-dir={home}/profile"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.get(f"http://127.0.0.1:{port}/")
        driver.set_script_timeout(30)
        for _ in range(100):
            time.sleep(0.3)
            if driver.find_elements("css selector", BOX):
                break
        time.sleep(4)
        # The clock starts at the Enter that ends an input of q and stops when the verdict's sentence has changed.
        driver.execute_script("""
          const area = document.querySelector('[data-testid="stMain"]');
          const said = () => [...area.querySelectorAll('p')].map(e => e.textContent).find(t => t.includes('context,'));
          let before = '';
          const press = e => { if (e.key === 'Enter') { before = said(); window.t0 = performance.now(); } };
          addEventListener('keydown', press, true);
          new MutationObserver(() => { if (window.t0 && !window.t1 && said() && said() !== before)
            window.t1 = performance.now(); }).observe(area, {subtree: true, childList: true, characterData: true});
        """)
        times = []
        for i in range(updates):
            box = driver.find_element("css selector", BOX)
            driver.execute_script("window.t0 = window.t1 = 0")
            box.send_keys(Keys.CONTROL, "a")
            box.send_keys(f"{2 + 0.1 * i:.1f}", Keys.ENTER)
            time.sleep(2.5)
            passed = driver.execute_script("return window.t1 ? (window.t1 - window.t0) / 1e3 : null")
            if passed is not None:
                times.append(passed)
        return {"updates": len(times), "median_s": round(quantile(times, 0.5), 3), "worst_s": round(max(times), 3)}
    finally:
        driver.quit()
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--visitors", type=int, default=50)
    parse.add_argument("--seconds", type=float, default=60, help="how long all of them stay together")
    parse.add_argument("--think", type=float, default=4, help="mean seconds between two changes of a visitor")
    parse.add_argument("--warm", type=float, default=60)
    parse.add_argument("--wait", type=float, default=300, help="seconds after they leave")
    parse.add_argument("--browser", action="store_true", help="measure one real Chromium instead")
    parse.add_argument("-o", "--output", type=Path)
    options = parse.parse_args()
    found = one_browser() if options.browser else asyncio.run(measure(options))
    text = json.dumps(found, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
