"""The abstract's claims: the worked point, a contour that really is 4.5, marks, and what is not claimed."""

import json
import shlex

import numpy as np
import pytest

from routeline import reproduce
from routeline.errors import RoutelineError
from routeline.resolve import ask


@pytest.fixture(scope="module")
def everything():
    return reproduce.reproduce()


def claim(found, name):
    return next(c for c in found["claims"] if c["id"] == name)


def again(line):
    """Run the printed command through the library and return the comparison."""
    words = shlex.split(line)
    assert words[:2] == ["routeline", "compare"]
    flags = dict(zip(words[3::2], words[4::2], strict=False)) if "--extend-context" not in words else None
    if flags is None:
        words.remove("--extend-context")
        flags = dict(zip(words[3::2], words[4::2], strict=True)) | {"--extend-context": True}
    devices = flags.pop("--devices")
    return ask(words[2], devices, **{k[2:].replace("-", "_"): v for k, v in flags.items()})


def test_it_is_json_and_says_that_the_settings_are_unknown(everything):
    json.dumps(everything, allow_nan=False)
    assert "settings are unknown" in everything["statement"]
    assert "Routeline's own" in everything["statement"]
    assert [c["id"] for c in everything["claims"]] == ["a", "b", "c", "d"]
    for c in everything["claims"]:
        assert c["assumptions"]
        assert c["answer"]
        assert c["command"].startswith("routeline compare")


def test_the_point_and_its_command(everything):
    a = claim(everything, "a")
    assert a["ratio"] == pytest.approx(4.53, abs=0.005)
    assert again(a["command"]).throughput_ratio == a["ratio"]
    values = {r["name"]: r["ratio"] for r in a["headline"]}
    assert values["tpot"] == pytest.approx(3.69, abs=0.005)
    assert values["request"] == pytest.approx(0.99, abs=0.005)
    instead = {(w["choice"], w["instead"]): w["ratio"] for w in a["without"]}
    assert instead["layout", "tp=8"] == pytest.approx(1.78, abs=0.005)
    assert instead["memory basis", "usable"] == pytest.approx(3.89, abs=0.005)


def test_the_contour_is_solved_for_and_brackets_the_worked_rows(everything):
    """q = 2 turns 4.5 between .95 (4.53) and 1; q = 4.5 between .90 (4.62) and .95; FP8 never gets there."""
    strips = {(s["devices"], s["weights"], s["memory"], s["q"]): s for s in claim(everything, "a")["map"]}
    (two,) = strips["8xMI300X", "bf16", "marketed", 2.0]["reached_at"]
    (more,) = strips["8xMI300X", "bf16", "marketed", 4.5]["reached_at"]
    assert 0.95 < two < 0.96
    assert 0.90 < more < 0.91
    assert not any(s["reached_at"] for k, s in strips.items() if k[:2] == ("8xH200", "fp8"))
    for key, strip in list(strips.items())[::17]:
        for u in strip["reached_at"]:
            given = reproduce.IDEALISED | {"weights": key[1], "memory": key[2], "q": key[3]}
            near = [ask("DeepSeek-V3", key[0], utilisation=u + d, **given).throughput_ratio for d in (-0.002, 0.002)]
            assert near[0] > 4.5 > near[1]


def test_any_other_level_can_be_solved_for():
    (strip,) = reproduce.penalty_map(["8xMI300X"], weights=["bf16"], memory=["marketed"], q=[2.0], target=5.45)
    assert any(u == pytest.approx(0.90, abs=0.005) for u in strip.reached_at)
    assert strip.peak is not None
    assert strip.ratio.shape == reproduce.UTILISATIONS.shape
    assert np.all(np.isnan(strip.ratio[reproduce.UTILISATIONS < 0.87]))


def test_four_models_over_contexts_with_limits_marked(everything):
    rows = claim(everything, "b")["rows"]
    assert {r["model"] for r in rows} == set(reproduce.MODELS)
    assert {r["context"] for r in rows} == set(reproduce.CONTEXTS)
    marked = {(r["model"], r["context"]) for r in rows if r["past_limit"]}
    assert ("Grok-1", 16384.0) in marked
    assert ("Grok-1", 8192.0) not in marked
    assert ("Qwen3-235B-A22B", 65536.0) in marked
    assert not any(m in ("DeepSeek-V3", "Switch-C") for m, _ in marked)
    for row in rows[::7]:
        assert again(row["command"]).throughput_ratio == pytest.approx(row["ratios"]["max_batch"], rel=1e-9)


def test_switch_c_needs_more_devices_than_its_match_everywhere(everything):
    c = claim(everything, "c")
    low = {(x["device"], x["weights"], x["side"]): x["devices"] for x in c["smallest"]}
    for device in reproduce.DEVICES:
        for weights in ("bf16", "fp8"):
            assert low[device, weights, "dense"] == 1
            assert low[device, weights, "moe"] >= 8
    assert low["H200", "bf16", "moe"] == 32  # 3.14 TB over 32 x 141 GB, whole nodes
    assert not any(x["moe_fits"] and not x["dense_fits"] for x in c["cells"])
    answer = again(c["command"])
    assert answer.verdict == "moe_infeasible"


def test_distillation_states_what_is_not_computed(everything):
    d = claim(everything, "d")
    assert any("whether distillation reaches" in t for t in d["not_computed"])
    assert any("cost of training" in t for t in d["not_computed"])
    for row in d["rows"]:
        assert (row["break_even_q"] is None) == (row["none"] is not None)
        if row["break_even_q"] is not None:
            leads = row["ratio"] > 1
            assert leads == (row["break_even_parameters"] > row["dense_parameters"])


def test_unknown_claims_are_refused():
    with pytest.raises(RoutelineError, match="unknown claim 'e'"):
        reproduce.reproduce(["e"])
