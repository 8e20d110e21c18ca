"""How fast an answer comes: the whole process, one comparison, the full answer. No assertions: `make bench`."""

import subprocess
import sys

import pytest

from routeline import answer as say
from routeline import ask, cluster, model, scenario
from routeline.compare import compare

FLAGSHIP = (
    "compare DeepSeek-V3 --devices 8xMI300X --context 128k --weights bf16 --cache bf16 --utilisation 0.95 "
    "--overhead 0GB --memory marketed --layout pooled --q 2 --dense same-attention --tier bandwidth"
)
LINES = {
    "flagship": FLAGSHIP,
    "flagship-json": f"{FLAGSHIP} --json",
    "auto": "compare DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8",
    "inspect": "inspect DeepSeek-V3",
    "help": "--help",
}


@pytest.mark.parametrize("name", LINES)
def test_whole_process(benchmark, name):
    """Target for the flagship: under 0.5 s."""
    command = [sys.executable, "-m", "routeline", *LINES[name].split()]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("tier", ["bandwidth", "ideal", "calibrated"])
@pytest.mark.parametrize("layout", ["pooled", "tp8", "dp8,ep8", "auto"])
def test_one_comparison(benchmark, layout, tier):
    """After loading. Targets: under 1 ms at a fixed layout, under 50 ms with auto."""
    subject, place = model("DeepSeek-V3"), cluster("8xH200")
    asked = scenario({"context": "32k", "weights": "fp8", "layout": layout, "q": 2.0, "tier": tier})
    benchmark(lambda: compare(subject, place, asked, q=2.0))


def test_the_full_answer_with_auto(benchmark):
    """Names to Comparison, the evidence on q included."""
    benchmark(lambda: ask("DeepSeek-V3", "8xH200", context="32k", weights="fp8"))


def test_everything_compare_prints(benchmark):
    """Odds over q, break-evens, requests, alternatives and the JSON on top of a finished Comparison."""
    answer = ask("DeepSeek-V3", "8xH200", context="32k", weights="fp8")
    benchmark(lambda: say.payload(answer))
