"""SIGKILL on the whole command at random moments, many times: the result is that of an undisturbed run."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.chaos

SPACE = """
outputs = ["ratio", "moe_batch", "reason"]
block = 1024
[axes]
layout = ["pooled", "tp8", "dp8,ep8"]
context = {from = "4k", to = "128k", n = 40, scale = "log"}
utilisation = {from = 0.75, to = 0.95, n = 20}
q = {from = 0.2, to = 12, n = 60}
[fixed]
model = "DeepSeek-V3"
devices = "8xH200"
weights = "fp8"
tier = "ideal"
"""
REDUCE = """
[reduce.best]
kind = "best"
by = ["layout", "context"]
[reduce.stats]
kind = "stats"
by = ["layout"]
"""


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "routeline", "sweep", str(folder / "space.toml"), "-o", str(folder / "out"), *more]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"
    }  # fmt: skip


def pause(chance: random.Random, run: subprocess.Popen[bytes], blocks: Path, longest: float) -> None:
    """Wait for a random moment of a run: any time up to `longest`, or just after some more blocks are there.

    The first kind falls into start-up, work and end in proportion to their length on this machine; the
    second falls into the work however fast it is.
    """
    if chance.random() < 0.4 and longest > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=chance.uniform(0.0, longest))
        return
    want = len(list(blocks.glob("*"))) + chance.randint(1, 6)
    while run.poll() is None and len(list(blocks.glob("*"))) < want:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.01))


@pytest.mark.parametrize("kind", ["rows", "reduced"])
def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path, kind):
    text = SPACE + (REDUCE if kind == "reduced" else "")
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    for folder in (calm, rough):
        folder.mkdir()
        (folder / "space.toml").write_text(text)
    began = time.monotonic()
    subprocess.run(command(calm, "-w", "1"), check=True, capture_output=True)
    whole = time.monotonic() - began
    want = content(calm / "out")
    assert "done.json" in want
    chance = random.Random(7)
    kills, amid = 0, set()
    for _ in range(60):
        resume = ["--resume"] if (rough / "out" / "run.json").exists() else []
        run = subprocess.Popen(command(rough, "-w", "2", *resume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pause(chance, run, rough / "out" / "blocks", whole if kills >= 3 else 0.0)
        if run.poll() is not None:
            assert run.returncode == 0
            break
        run.kill()
        run.wait()
        kills += 1
        found = {n: data for n, data in content(rough / "out").items() if ".tmp-" not in n}
        assert found.items() <= want.items()
        amid.add(len(found))
    else:
        subprocess.run(command(rough, "-w", "2", "--resume"), check=True, capture_output=True)
    assert kills >= 3
    assert len(amid) >= 3, "the kills did not fall into the work"
    assert {k: v for k, v in content(rough / "out").items() if ".tmp-" not in k} == want
    shutil.rmtree(rough)


def test_finished_blocks_are_not_computed_again(tmp_path):
    (tmp_path / "space.toml").write_text(SPACE)
    run = subprocess.Popen(command(tmp_path, "-w", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    blocks = tmp_path / "out" / "blocks"
    until = time.monotonic() + 60
    while time.monotonic() < until and (not blocks.exists() or len(list(blocks.glob("block-*"))) < 3):
        time.sleep(0.01)
    run.kill()
    run.wait()
    first = {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in blocks.glob("block-*")}
    assert len(first) >= 3
    subprocess.run(command(tmp_path, "-w", "2", "--resume"), check=True, capture_output=True)
    again = {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in blocks.glob("block-*")}
    assert len(again) > len(first)
    assert {k: again[k] for k in first} == first


def test_workers_end_when_the_command_is_killed(tmp_path):
    slow = SPACE.replace("n = 60", "n = 6000")
    (tmp_path / "space.toml").write_text(slow)
    run = subprocess.Popen(command(tmp_path, "-w", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list((tmp_path / "out").glob("blocks/block-*")):
        time.sleep(0.05)
    children = _children(run.pid)
    run.kill()
    run.wait()
    assert children
    until = time.monotonic() + 20
    while time.monotonic() < until and any(os.path.exists(f"/proc/{c}") for c in children):
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{c}") for c in children)


def _children(pid: int) -> list[int]:
    if not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
        pytest.skip("this system does not list child processes")
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
