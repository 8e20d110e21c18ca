"""reproduce, explain, fit and diff from the command line."""

import pytest

PAPER = (
    "DeepSeek-V3 --devices 8xMI300X --context 128k --weights bf16 --cache bf16 --memory marketed --tier bandwidth "
    "--layout pooled --utilisation 0.95 --q 2"
)


def test_reproduce_says_first_that_the_settings_are_unknown(cli):
    out = cli("reproduce --claim a").out
    assert out.startswith("The paper's settings are unknown to us")
    assert "R = 4.53 here" in " ".join(out.split())
    assert "$ routeline compare DeepSeek-V3 --devices 8xMI300X" in out
    assert "0.952" in out  # the contour at q = 2


def test_reproduce_every_claim_as_json(cli):
    found = cli("reproduce --claim c --claim d --json").json
    assert [c["id"] for c in found["claims"]] == ["c", "d"]
    text = cli("reproduce --claim c --claim d").out
    assert "Which fits on how many devices" in text
    assert "not computed" in text
    assert cli("reproduce --claim e").code == 2


def test_explain_puts_the_values_into_the_formula(cli):
    out = cli(f"explain moe.max_batch {PAPER} --deep").out
    assert out.startswith("moe.max_batch = 12 sequences")
    assert "floor((capacity - weights) / cache) * ranks" in out
    assert "floor((182.4 GB - 167.8 GB) / 1.151 GB) * 1" in out
    assert "datasheet" in out
    found = cli(f"explain moe.max_batch {PAPER} --json").json
    assert found["value"] == 12
    assert found["inputs"]["capacity"]["inputs"]["memory"]["kind"] == "datasheet"


def test_explain_lists_its_keys_and_refuses_others(cli):
    assert "dense.parts.dense_ffn" in cli(f"explain - {PAPER} --keys").out.split()
    bad = cli(f"explain moe.maxbatch {PAPER}")
    assert bad.code == 2
    assert "unknown key 'moe.maxbatch'; close: moe.max_batch" in bad.err


def test_fit_tables_batches_and_contexts(cli):
    found = cli("fit DeepSeek-V3 --devices 8xMI300X --weights bf16 --cache bf16 --memory marketed --utilisation 0.95 "
                "--layout pooled --contexts 128k --batches 12,13 --json").json  # fmt: skip
    assert found["largest_batch"] == [{"context": 131072.0, "batch": 12.0}]
    twelve, thirteen = (x["context"] for x in found["longest_context"])
    assert thirteen < 131072 <= twelve
    text = cli("fit DeepSeek-V3 --devices 8xH200 --weights fp8 --contexts 8k").out
    assert "largest batch" in text
    assert "more groups with --all" in text
    tiny = cli("fit DeepSeek-V3 --devices 1xH200 --weights fp8").out
    assert "does not fit on 1xH200 SXM at any of these contexts: it needs 6 of these devices" in " ".join(tiny.split())


@pytest.mark.parametrize("bad", ["--contexts 0", "--contexts x", "--batches 0.1", "--contexts ,"])
def test_fit_refuses_bad_lists(cli, bad):
    result = cli(f"fit DeepSeek-V3 --devices 8xH200 {bad}")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1


def test_diff_of_two_saved_questions(cli, tmp_path):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    assert cli(*f"compare {PAPER} --save".split(), str(one)).code == 0
    two.write_text(one.read_text().replace("utilisation = 0.95", "utilisation = 0.9"))
    out = cli("diff", str(one), str(two)).out
    assert out.startswith("The verdict stays: dense ahead (R = 4.53, q = 2) -> dense ahead (R = 5.45, q = 2).")
    assert "x0.333" in out
    found = cli("diff", str(one), str(two), "--json").json
    assert [c["name"] for c in found["changes"]] == ["utilisation"]
    assert cli("diff", str(one), str(one)).out.strip() == "The two questions are the same."
    bad = cli("diff", str(one), str(tmp_path / "none.toml"))
    assert bad.code == 2
    assert "cannot read the scenario" in bad.err


def test_devices_are_ranked_in_one_tier(cli):
    """MI300X has no measured kernels: beside B200 both are shown as bounds, not one measured and one ideal."""
    found = cli("compare DeepSeek-V3 --devices 8xMI300X,8xB200 --json").json["comparisons"]
    assert {c["tier"] for c in found} == {"ideal"}


def test_explain_is_short_unless_asked_and_keys_need_no_key(cli):
    asked = "DeepSeek-V3 --devices 8xH200 --q 4 --tier calibrated --layout tp8"
    for key in ("moe.step_time_s", "moe.parts.cache", "moe.parts.attention", "dense.parts.dense_ffn"):
        assert len(cli(f"explain {key} {asked}").out.splitlines()) <= 40
    assert "moe.parts.routed" in cli(f"explain --keys {asked}").out.split()
    assert "moe.max_batch" in cli(f"explain max_batch {asked}").err


def test_a_calibrated_part_shows_bytes_flop_and_the_constants_that_give_it(cli):
    """The number can be computed again by hand from what is printed."""
    asked = "DeepSeek-V3 --devices 8xH200 --q 4 --tier calibrated --layout tp8"
    v = {k: x["value"] for k, x in cli(f"explain moe.parts.cache {asked} --json").json["inputs"].items()}
    reached = v["eta"] * v["bandwidth"] * v["pieces"] / (v["pieces"] + v["half"])
    busy = ((v["bytes_"] / reached) ** v["p"] + (v["flop"] / (v["f"] * v["peak"])) ** v["p"]) ** (1 / v["p"])
    by_hand = v["layers"] * (v["t0"] + v["item"] * v["items"] + busy)
    assert abs(by_hand / cli(f"explain moe.parts.cache {asked} --json").json["value"] - 1) < 1e-9
    for part in ("routed", "attention", "shared", "head"):
        inputs = cli(f"explain moe.parts.{part} {asked} --json").json["inputs"]
        one = inputs if "bytes_" in inputs else next(iter(inputs.values()))["inputs"]
        assert {"bytes_", "flop", "eta", "t0", "layers"} <= set(one)


def test_validate_kernels_leads_with_a_summary_and_fits_100_columns(cli):
    out = cli("validate kernels").out
    lines = out.splitlines()
    assert max(len(line) for line in lines) <= 100
    head = next(line for line in lines if "operation" in line)
    assert head.split() == ["operation", "tables", "passing", "plain", "%", "refined", "%", "target", "%", "met"]
    assert lines.index(head) < 5
    # no cell is folded: a line of a table starts with its device
    tables = out[out.index("\ngemm") :].splitlines()
    names = {line.split()[0] for line in tables if line.strip() and line.split()[0][0] in "hbg" and "%" not in line}
    assert names <= {"h100", "h200", "b200", "b300", "gb200", "gb300", "gemm", "gqa", "gqa_prefill"}
    found = cli("validate kernels --json").json
    assert {t["operation"] for t in found["tables"]} == set(found["medians"])
    assert found["medians"]["gqa"] <= found["targets"]["gqa"]
