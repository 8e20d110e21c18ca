"""How the commands behave: help, text output, pipes, signals, catalogues."""

import re
import shlex
import subprocess
import sys
from importlib import import_module

import click
import pytest

from routeline import cli as commands
from routeline.cli import command_names, routeline

CLI = [sys.executable, "-m", "routeline"]
FAST = "compare DeepSeek-V3 --devices 8xH200 --context 8k --q 2"


def command(name):
    return routeline.get_command(click.Context(routeline), name)


def test_the_main_commands_come_first():
    assert command_names()[:4] == ["compare", "inspect", "models", "devices"]


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_help_with_an_example_of_itself(name):
    one = command(name)
    assert one.help
    with click.Context(one, info_name=f"routeline {name}") as context:
        text = one.get_help(context)
    assert re.search(rf"Example:\n\s+routeline {name}\b", text), text


@pytest.mark.parametrize("name", ["compare", "inspect", "models", "devices"])
def test_the_example_runs(cli, name):
    example = command(name).epilog.split("Example:\n")[1].strip()
    result = cli(*shlex.split(example)[1:])
    assert (result.code, result.err) == (0, "")
    assert result.out


def test_command_modules_import_nothing_heavy():
    """Start-up: asking for help must not load NumPy's users, Rich, SciPy, Altair or pandas."""
    heavy = "{'rich', 'scipy', 'altair', 'pandas', 'xarray', 'pydantic', 'huggingface_hub', 'streamlit', 'dask'}"
    code = f"""
import sys
from routeline.cli import command_names, routeline
import click
for name in command_names():
    routeline.get_command(click.Context(routeline), name)
loaded = sorted({heavy} & set(sys.modules))
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_compare_leads_with_the_verdict_and_says_what_is_open(cli):
    line = "compare DeepSeek-V3 --devices 8xMI300X --context 128k --weights bf16 --utilisation 0.95 --memory marketed"
    out = cli(f"{line} --layout pooled --q 2 --tier bandwidth").out
    sentence = " ".join(out.split("\n\n")[0].split("\n      ")[0].split())
    assert sentence.startswith("Dense wins: the matched dense model of 75.1 B serves 4.53x the tokens/s of DeepSeek-V3")
    for part in ("batch 142 against 12", "2.15x at equal batch", "128k context", "8xMI300X", "q = 2", "layout pooled",
                 "tier bandwidth).", "The verdict turns with dense shape standard (R = 0.91)",
                 "Not established: that q is 2"):  # fmt: skip
        assert part in sentence, part
    assert "R = 4.53 = 2.15 reuse penalty x 2.10 headroom gain" in out
    for label in ("routed", "largest batches", "equal batch of 12", "Per request", "break-even", "Assumptions"):
        assert label in out, label


def test_the_winner_is_named_when_it_is_the_moe(cli):
    out = cli("compare Qwen3-30B-A3B --devices 8xH100 --context 1k --batch 2048 --q 6").out
    assert out.startswith("MoE wins at batch 2,048: Qwen3-30B-A3B serves")


def test_several_clusters_give_a_table_with_a_row_each(cli):
    out = cli("compare DeepSeek-V3 --devices 8xH200,8xMI300X,1xL4 --weights fp8 --q 2").out
    assert "8xH200 SXM" in out
    assert "8xMI300X" in out
    assert re.search(r"1xL4 +(neither fits|MoE does not fit)", out)
    data = cli("compare DeepSeek-V3 --devices 8xH200,8xMI300X --weights fp8 --q 2 --tier ideal --json").json
    one = cli("compare DeepSeek-V3 --devices 8xMI300X --weights fp8 --q 2 --tier ideal --json").json
    assert data["comparisons"][1] == one


def test_every_assumption_on_request(cli):
    short, long = cli(FAST).out, cli(f"{FAST} -v").out
    assert "device.bandwidth" not in short
    assert "device.bandwidth" in long
    assert "utilisation 0.9 (default)" in " ".join(short.split())


def test_layouts_are_tabled_and_the_flip_is_said(cli):
    line = f"{FAST.replace('8k', '128k')} --weights fp8 --tier ideal --compare-layouts"
    out, found = cli(line).out, cli(f"{line} --json").json["layouts"]
    assert "MoE layout" in out
    assert " ".join(found["sentence"].split())[1:] in " ".join(out.split())
    rows = {r["layout"]: r for r in found["rows"]}
    assert "pooled" in rows
    assert found["flips"] is ({"moe", "dense"} <= {r["verdict"] for r in rows.values()})
    one = cli(f"{FAST.replace('8k', '128k')} --weights fp8 --tier ideal --layout tp8 --json").json
    assert rows["tp=8"]["ratio"] == pytest.approx(one["throughput_ratio"], rel=1e-12)


def test_a_question_is_saved_and_asked_again(cli, tmp_path):
    path = str(tmp_path / "question.toml")
    first = cli(f"{FAST} --weights fp8 --json --save {path}").json
    again = cli(f"compare --scenario {path} --json").json
    assert again == first
    other = cli(f"compare --scenario {path} --q 4 --devices 8xMI300X --json").json
    assert (other["q"], other["devices"], other["context"]) == (4, "8xMI300X", first["context"])


def test_charts_are_drawn_beside_the_answer(cli, tmp_path):
    one, two = tmp_path / "w.svg", tmp_path / "m.json"
    result = cli(f"{FAST} --tier ideal --json --plot waterfall={one} --plot {two}")
    assert result.json["verdict"]
    assert one.read_text().startswith("<svg")
    assert "R = 1" in two.read_text()
    assert result.err.count("wrote") == 2
    refused = cli(f"compare DeepSeek-V3 --devices 8xH200,8xB200 --q 2 --plot {one}")
    assert (refused.code, refused.out) == (2, "")


def test_what_other_conventions_would_say_is_in_the_verdict(cli):
    said = cli("compare DeepSeek-V3 --devices 8xH200 --context 128k --json").json
    assert said["not_established"][0] == "a match at equal training FLOP (98% that no dense model is as good)"
    assert said["how_sure"].startswith("In these layouts dense leads at every q below")
    assert (
        "where over 99% of the evidence lies (matched pairs at equal training tokens, 90% between" in said["how_sure"]
    )
    split = cli("compare DeepSeek-V3 --devices 8xH200 --tier ideal --json").json
    assert re.match(r"q \(\d\d% of the evidence agrees\)", split["not_established"][0])
    given_q = cli("compare DeepSeek-V3 --devices 8xH200 --q 2 --json").json["not_established"][0]
    assert given_q == "that q is 2 (it was given)"


def test_warnings_are_printed(cli):
    out = cli("compare DeepSeek-V3 --devices 8xH200 --context 256k --extend-context --q 2").out
    assert re.search(r"Warning: .*past\s+the limit", out)


def test_inspect_tables_and_paths(cli, tmp_path):
    out = cli("inspect gpt-oss-120b").out
    assert "mixture of experts" in out
    assert "window of" in out
    assert "is dense" in cli("inspect Llama-3.1-8B").out
    named = cli("inspect DeepSeek-V3 --weights bf16 --mtp --json").json
    plain = cli("inspect DeepSeek-V3 --weights bf16 --json").json
    assert plain["weight_bytes"] == 2 * plain["total"]
    assert named["weight_bytes"] > plain["weight_bytes"]


def test_models_filters_and_lists(cli):
    everything = cli("models --json").json["models"]
    assert len(everything) >= 60
    dense, moe = (cli(f"models {flag} --json").json["models"] for flag in ("--dense", "--moe"))
    assert len(dense) + len(moe) == len(everything)
    assert {m["name"] for m in dense}.isdisjoint(m["name"] for m in moe)
    assert all(m["source"] for m in everything)
    assert "Qwen3-235B-A22B" in cli("models qwen3 --moe").out


def test_devices_list_one_and_cluster(cli):
    everything = cli("devices --json").json["devices"]
    assert len(everything) >= 50
    values = {v["name"]: v for v in cli("devices H200 --json").json["values"]}
    assert values["bandwidth"]["value"] == 4.8e12
    assert all(v["kind"] and v["source"] for v in values.values())
    names = {v["name"] for v in cli("devices 2x8xH100 --json").json["values"]}
    assert {"link.bandwidth", "nic.bandwidth"} <= names
    assert "link.hop" in cli("devices 2x8xH100").out
    assert "MI300X" in cli("devices").out


def test_piped_output_is_plain_and_at_most_100_columns():
    done = subprocess.run([*CLI, *FAST.split()], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_closed_pipe_is_no_error():
    line = "set -o pipefail; " + " ".join([*map(shlex.quote, CLI), "models", "|", "head", "-1"])
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_leaves_with_130(monkeypatch, cli):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("routeline.models.catalogue", interrupted)
    result = cli("models")
    assert (result.code, result.err.strip()) == (130, "")


def test_a_fault_of_ours_is_one_line_and_a_different_code(monkeypatch, cli):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("routeline.models.catalogue", broken)
    result = cli("models")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "fault in Routeline (ZeroDivisionError" in result.err
    monkeypatch.setenv("ROUTELINE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli("models")


def test_an_unwritable_file_is_one_sentence(monkeypatch, cli):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "out.json")

    monkeypatch.setattr("routeline.models.catalogue", full)
    result = cli("models")
    assert (result.code, result.err) == (2, "routeline: out.json: No space left on device\n")


def test_version_and_no_arguments(cli):
    assert re.fullmatch(r"routeline \d+\.\d+\.\d+\n", cli("--version").out)
    assert commands.run([]) == 2


def test_every_flag_is_a_scenario_field_or_the_commands_own():
    names = {p.name for p in command("compare").params}
    fields = set(import_module("routeline.scenario").Scenario.__dataclass_fields__)
    assert names - fields == {"model", "devices", "as_json", "verbose", "layouts", "source", "save", "plots"}
    assert fields <= names


def test_a_batch_or_latency_asked_for_is_what_the_sentence_answers(cli):
    asked = "compare DeepSeek-V3 --devices 16xH200 --q 4 --tier ideal"
    said = cli(f"{asked} --batch 64 --json").json
    assert said["sentence_ratio"] == "equal_batch"
    assert f"{said['ratios']['equal_batch']:.3g}x" in said["sentence"]
    fast = cli(f"{asked} --tpot 30ms --json").json
    assert fast["sentence_ratio"] == "tpot"
    assert "within 30 ms per token" in fast["sentence"]
    none = cli(f"{asked} --batch 64000 --json").json
    assert none["sentence"].startswith("No answer at batch 64,000")
    assert none["sentence_ratio"] == "max_batch"


def test_a_calibrated_answer_states_its_error_and_what_no_deployment_measured(cli):
    said = cli("compare DeepSeek-V3 --devices 8xH200 --q 4 --tier calibrated --layout tp=4,pp=2 --json").json
    rests = {a["name"]: a for a in said["assumptions"]}
    assert rests["tier"]["value"] == "calibrated"
    assert 0 < rests["tier_error"]["value"] < 1
    assert f"{rests['tier_error']['value']:.0%} mean error a side" in said["sentence"]
    assert any("no measured deployment uses" in text for text in said["not_established"])


def test_the_choice_without_cp_and_pp_is_in_the_layouts_searched(cli):
    said = cli("compare DeepSeek-V3 --devices 32xH100 --q 4 --tier ideal --json").json
    row = next(c for c in said["what_matters"] if c["name"] == "layout without cp/pp")
    assert row["ratio"] is None or row["ratio"] > 0
    assert row["flips"] == (row["verdict"] != said["verdict"])


def test_a_dense_model_is_its_own_match_and_no_q_was_given(cli):
    said = cli("compare Llama-3.1-70B --devices 8xH100 --json").json
    assert "its own match" in said["sentence"]
    assert "given" not in said["sentence"]
    assert said["ratios"]["max_batch"] == 1


def test_an_output_nobody_gave_is_an_assumption(cli):
    rests = {a["name"]: a for a in cli("compare DeepSeek-V3 -d 8xH200 --input 4k --json").json["assumptions"]}
    assert rests["output"]["value"] == 1024
    assert rests["output"]["kind"] == "guess"
