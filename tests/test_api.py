"""The commands as Python functions: present after a plain import, whatever was imported before."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

import routeline
from routeline import RoutelineError

FORMS = ("import routeline", "import routeline.sweep.space, routeline.odds, routeline.quality.laws, routeline.cli")


@pytest.fixture(scope="module")
def answer():
    return routeline.ask("DeepSeek-V3", "8xH200", context="128k", weights="fp8", tier="ideal")


@pytest.mark.parametrize("first", FORMS)
def test_every_function_is_callable_in_a_fresh_interpreter(first):
    code = f"{first}\nimport routeline\nassert all(callable(getattr(routeline, n)) for n in routeline.FUNCTIONS)\n"
    code += "found = routeline.sweep({'q': [2, 4]}, model='DeepSeek-V3', devices='8xH200', layout='pooled')\n"
    code += "print(found.arrays['ratio'].size, routeline.quality('DeepSeek-V3', q=2).median)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "2.0"]


def test_a_plain_import_loads_no_engine():
    code = "import sys, routeline\nprint([m for m in sys.modules if m.startswith(('routeline.sweep', 'routeline.api', "
    code += "'routeline.plots', 'routeline.serving.predict', 'scipy', 'pandas', 'click'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_functions_take_names_or_an_answer(answer):
    given = {"context": "128k", "weights": "fp8", "tier": "ideal"}
    assert routeline.odds(answer) == routeline.odds("DeepSeek-V3", "8xH200", **given)
    assert routeline.explain(answer, "qs").value == pytest.approx(answer.qs)
    assert routeline.cite(answer) == routeline.cite("DeepSeek-V3", "8xH200", **given)
    assert list(routeline.break_evens(answer, which=["q"])) == ["q"]
    assert routeline.evidence("DeepSeek-V3").interval90 == answer.q_evidence.interval90
    found = routeline.fit("DeepSeek-V3", "8xH200", contexts=["8k"], batches=[1], weights="fp8")
    assert found.best_batch()[8192.0] > 0
    with pytest.raises(RoutelineError, match="ask again"):
        routeline.odds(answer, "8xB200")
    with pytest.raises(RoutelineError, match="no devices"):
        routeline.cite("DeepSeek-V3")


def test_predict_takes_columns():
    row = {"model": ["Llama-3.1-70B"], "device": ["H100"], "devices": [4], "input_len": [1024], "output_len": [128],
           "concurrency": [8]}  # fmt: skip
    found = routeline.predict(row)
    assert found["low"][0] < found["tpot_ms"][0] < found["high"][0]


def test_reproduce_one_claim_of_unknown_name():
    with pytest.raises(RoutelineError, match="known: a, b, c, d"):
        routeline.reproduce("z")


def test_an_answer_says_itself(answer):
    assert repr(answer).startswith("Comparison('DeepSeek-V3', '8xH200")
    assert repr(answer).endswith(f"verdict={answer.verdict!r}, R={answer.throughput_ratio:.4g})")
    assert "DeepSeek-V3" in answer.sentence
    assert "\n" not in answer.sentence + repr(answer)
    made = answer.to_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["throughput_ratio"] == answer.throughput_ratio
    assert answer.break_even["q"]


def test_an_answer_stays_a_frozen_dataclass(answer):
    assert replace(answer, verdict="tie").verdict == "tie"
    with pytest.raises(FrozenInstanceError):
        answer.verdict = "moe"


def test_unknown_names_are_unknown():
    with pytest.raises(AttributeError):
        routeline.nonsense  # noqa: B018


def test_experts_that_do_not_divide_a_node_name_the_spare_slots():
    narrow = routeline.ask("DeepSeek-V3", "72xGB200", tier="ideal")
    assert [w for w in narrow.warnings if "--redundant 32" in w]
    with pytest.raises(RoutelineError, match="--redundant 32"):
        routeline.ask("DeepSeek-V3", "72xGB200", layout="dp72,ep72", tier="ideal")
    wide = routeline.ask("DeepSeek-V3", "72xGB200", layout="dp72,ep72", redundant=32, tier="ideal")
    assert wide.moe.fits
    assert not [w for w in routeline.ask("DeepSeek-V3", "8xH200", tier="ideal").warnings if "--redundant" in w]


def test_auto_refuses_more_devices_than_anyone_has():
    with pytest.raises(RoutelineError, match="65,536"):
        routeline.ask("DeepSeek-V3", "1000000xH200")
