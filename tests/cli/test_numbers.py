"""Published and hand-worked numbers through the real command line."""

import json
import subprocess
import sys

import pytest

FLAGSHIP = (
    "compare DeepSeek-V3 --devices 8xMI300X --context 128k --weights bf16 --cache bf16 --utilisation 0.95 "
    "--overhead 0GB --memory marketed --layout pooled --q 2 --dense same-attention --tier bandwidth"
)
H200 = FLAGSHIP.replace("8xMI300X", "8xH200").replace("--weights bf16", "--weights fp8").replace("0.95", "0.90")


@pytest.mark.parametrize(
    ("line", "batches", "ms", "ratio", "reuse", "headroom"),
    [
        (FLAGSHIP, (12, 142), (13.14, 34.35), 4.53, 2.15, 2.10),
        (FLAGSHIP.replace("0.95", "0.90"), (4, 133), (5.31, 32.39), 5.45, 1.22, 4.48),
        (FLAGSHIP.replace("0.95", "0.90").replace("--q 2", "--q 4.5"), (4, 113), (5.31, 32.47), 4.62, 0.60, 7.65),
        (FLAGSHIP.replace("marketed", "usable"), (24, 153), (22.43, 36.74), 3.89, 2.57, 1.51),
        (H200, (37, 102), (21.06, 26.40), 2.20, 1.95, 1.13),
    ],
)
def test_the_worked_table(cli, line, batches, ms, ratio, reuse, headroom):
    """Every row of the worked table to its printed digits."""
    data = cli(f"{line} --json").json
    assert (data["moe"]["batch"], data["dense"]["batch"]) == batches
    assert (data["moe"]["step_time_s"] * 1e3, data["dense"]["step_time_s"] * 1e3) == pytest.approx(ms, abs=0.0051)
    found = data["throughput_ratio"], data["reuse_penalty"], data["headroom_gain"]
    assert found == pytest.approx((ratio, reuse, headroom), abs=0.0051)
    assert data["verdict"] == "dense"


def test_the_first_row_at_equal_latency_under_tp8_and_in_ideal(cli):
    assert cli(f"{FLAGSHIP} --json").json["ratios"]["tpot"] == pytest.approx(3.69, abs=0.005)
    assert cli(f"{FLAGSHIP} --tpot 13.1425ms --json").json["ratios"]["tpot"] == pytest.approx(3.69, abs=0.005)
    tp8 = cli(f"{FLAGSHIP.replace('pooled', 'tp8')} --json").json
    assert tp8["throughput_ratio"] == pytest.approx(1.78, abs=0.005)
    ideal = cli(f"{H200.replace('--tier bandwidth', '--tier ideal')} --json").json
    assert ideal["throughput_ratio"] == pytest.approx(2.03, abs=0.01)


@pytest.mark.parametrize(("q", "ratio"), [(2, 0.99), (4.5, 0.71)])
def test_prefill_can_turn_the_verdict(cli, q, ratio):
    """128k in, 1k out, no prefix hits, peak compute."""
    line = FLAGSHIP.replace("--q 2", f"--q {q}") + " --input 128k --output 1k --json"
    assert cli(line).json["ratios"]["request"] == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("context", "layout", "ms", "fits"),
    [("8k", "dp8,ep8", 18.5, True), ("8k", "tp8", 19.1, True), ("128k", "dp8,ep8", 25.7, True),
     ("128k", "tp8", 76.6, False)],
)  # fmt: skip
def test_floors_of_deepseek(cli, context, layout, ms, fits):
    """Peers' acceptance case: 8xH200, batch 64, FP8 everywhere, 100% bandwidth, mean rank."""
    line = f"compare DeepSeek-V3 --devices 8xH200 --context {context} --layout {layout} --weights fp8 --cache fp8"
    moe = cli(f"{line} --batch 64 --tier bandwidth --ignore-fit --json").json["moe"]
    assert moe["step_time_s"] * 1e3 == pytest.approx(ms, rel=0.02)
    assert moe["fits"] is fits
    assert moe["experts_touched"] == pytest.approx(222.4, abs=0.05)


@pytest.mark.parametrize(("context", "ms", "fits"), [("8k", 8.1, True), ("128k", 75.2, False)])
def test_floors_of_llama(cli, context, ms, fits):
    line = f"compare DeepSeek-V3 --dense Llama-3.1-70B --devices 8xH200 --context {context} --layout tp8"
    data = cli(f"{line} --weights bf16 --cache bf16 --batch 64 --tier bandwidth --ignore-fit --json").json
    assert data["dense"]["name"] == "Llama-3.1-70B"
    assert data["dense"]["step_time_s"] * 1e3 == pytest.approx(ms, rel=0.02)
    assert data["dense"]["fits"] is fits


def test_facts_of_the_acceptance_case(cli):
    """671.03 B total, 37.55 B active, 35,136 B a token in FP8, 18.4 / 294.7 GB of cache at batch 64."""
    found = cli("inspect DeepSeek-V3 --cache fp8 --json").json
    assert found["total"] == 671_026_404_352
    assert found["active"]["all"] == 37_552_282_624
    assert found["sparsity"] == pytest.approx(0.0560, abs=5e-5)
    assert found["kv"]["per_token"] == 35_136
    assert found["kv"]["per_token"] * 64 * 8192 == pytest.approx(18.4e9, rel=0.002)
    assert found["kv"]["per_token"] * 64 * 131072 == pytest.approx(294.7e9, rel=0.001)


def test_the_real_process_gives_the_same_and_is_quiet():
    command = [sys.executable, "-m", "routeline", *FLAGSHIP.split(), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["throughput_ratio"] == pytest.approx(4.53, abs=0.005)
