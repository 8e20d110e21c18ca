"""Bad input: one sentence on stderr, exit code 2, never a traceback, NaN or silent default."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BASE = {"--devices": "8xH200", "--context": "8k", "--weights": "fp8", "--q": "2"}


def refused(result, *parts):
    assert result.code == 2, (result.code, result.out[:300], result.err)
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("routeline: ")
    assert "Traceback" not in result.err
    assert len(lines[0]) < 600, lines[0]
    for part in parts:
        assert part.lower() in result.err.lower(), result.err


@pytest.mark.parametrize(
    ("flag", "value", "part"),
    [
        ("--devices", "8xH300", "close: H800"),
        ("--devices", "0xH200", "at least 1"),
        ("--devices", "-1xH200", "at least 1"),
        ("--devices", "H200x8", "count comes first"),
        ("--devices", "9xH200", "does not fill nodes"),
        ("--devices", "8x", "no device"),
        ("--devices", "", "--devices"),
        ("--devices", "99999999999xH100", "count"),
        ("--devices", "8xH200,8xH300", "H300"),
        ("--devices", "8x./absent.toml", "absent.toml"),
        ("--context", "-1", "between 1"),
        ("--context", "0", "between 1"),
        ("--context", "many", "not a quantity"),
        ("--context", "8 GB", "unit"),
        ("--context", "1e30", "between 1"),
        ("--context", "200k", "--extend-context"),
        ("--context", "nan", "not a quantity"),
        ("--weights", "fp7", "known"),
        ("--weights", "", "format"),
        ("--cache", "fp3", "known"),
        ("--cache", "nvfp9", "known"),
        ("--utilisation", "1.5", "between"),
        ("--utilisation", "0", "between"),
        ("--utilisation", "90%", "number"),
        ("--utilisation", "nan", "between"),
        ("--overhead", "2", "no unit"),
        ("--overhead", "-1GB", "between"),
        ("--overhead", "2 GHz", "unit"),
        ("--memory", "all", "usable or marketed"),
        ("--layout", "tp3", "multiple of 3"),
        ("--layout", "tp0", "whole number"),
        ("--layout", "xp8", "layout width"),
        ("--layout", "tp8,tp8", "twice"),
        ("--layout", "ep3,dp8", "moe_tp"),
        ("--batch", "0", "between"),
        ("--batch", "-4", "between"),
        ("--batch", "many", "number"),
        ("--batch", "1.5", "whole sequences"),
        ("--tpot", "50", "no unit"),
        ("--tpot", "0ms", "between"),
        ("--tpot", "-1ms", "between"),
        ("--q", "0", "q"),
        ("--q", "-2", "q"),
        ("--q", "two", "q"),
        ("--q", "0.1", "too small"),
        ("--q", "4..2", "q"),
        ("--q", "nan", "q"),
        ("--q-law", "newton", "law"),
        ("--convention", "fair", "convention"),
        ("--train-tokens", "some", "token"),
        ("--q-pairs", "absent.csv", "q"),
        ("--dense", "same-atention", "same-attention"),
        ("--dense", "Lama-3.1-70B", "close: Llama-3.1-70B"),
        ("--routing", "random", "routing"),
        ("--routing", "zipf:-1", "zipf"),
        ("--routing", "zipf:x", "zipf"),
        ("--routing", "measured:absent.csv", "absent.csv"),
        ("--redundant", "-1", "between"),
        ("--redundant", "x", "number"),
        ("--redundant", "1.5", "whole experts"),
        ("--compute", "fp4", "peak"),
        ("--compute", "fp5", "compute format"),
        ("--tier", "best", "tier"),
        ("--engine", "tgi", "engine"),
        ("--scenario", "absent.toml", "absent.toml"),
        ("--save", "absent/here.toml", "cannot write"),
        ("--plot", "pie=a.png", "chart"),
        ("--plot", "map=a.gif", "a.gif"),
        ("--draft", "-1", "between"),
        ("--draft", "100", "between"),
        ("--accept", "1.2", "between"),
        ("--input", "0", "between"),
        ("--output", "0", "between"),
        ("--prefix-hit", "1.5", "between"),
        ("--prefix-hit", "-0.1", "between"),
        ("--input", "1M", "use a shorter --input and --output"),
    ],
)
def test_a_bad_value_of_every_flag_is_one_sentence(cli, flag, value, part):
    words = [w for pair in ({**BASE, flag: value}).items() for w in pair]
    refused(cli("compare", "DeepSeek-V3", *words), part)


def test_every_valued_flag_of_compare_is_in_the_table_above():
    from routeline.cli.compare import compare

    marks = test_a_bad_value_of_every_flag_is_one_sentence.pytestmark
    tried = {row[0] for m in marks for row in m.args[1]}
    valued = {p.opts[-1] for p in compare.params if p.param_type_name == "option" and not p.is_flag}
    assert valued == tried


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("compare", "MODEL"),
        ("compare DeepSeek-V3", "--devices"),
        ("compare DeepSeek-V3 --devices", "argument"),
        ("compare DeepSeek-V3 8xH200 --devices 8xH200", "unexpected"),
        ("compare --nope DeepSeek-V3", "--nope"),
        ("compare DeepSek-V3 --devices 8xH200", "DeepSeek-V3"),
        ("compare Llama-4 --devices 8xH200", "ambiguous"),
        ("inspect", "MODEL"),
        ("inspect NoSuchModel", "unknown model"),
        ("inspect ./absent.json", "no file"),
        ("inspect DeepSeek-V3 --weights fp3", "known"),
        ("inspect DeepSeek-V3 --cache fp3", "known"),
        ("models qwen9", "close"),
        ("models --moe --nope", "--nope"),
        ("devices H300", "close"),
        ("devices 9xH200", "nodes"),
        ("compar", "close: compare"),
        ("--nope", "--nope"),
        ("compare Llama-3.1-70B --devices 8xH200 --layout dp8,ep8", "no experts"),
    ],
)
def test_bad_command_lines(cli, line, part):
    refused(cli(line), part)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ('"text"', "object"),
        ("{}", "architecture"),
        ("\x00\xff", "JSON"),
        ('{"architectures": ["NoSuchForCausalLM"], "model_type": "nosuch"}', "NoSuch"),
        ('{"architectures": ["LlamaForCausalLM"], "hidden_size": -1}', ""),
        ('{"a":' * 2000 + "1" + "}" * 2000, ""),
    ],
)
def test_bad_config_files(cli, tmp_path, text, part):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    refused(cli("inspect", str(path)), part)
    refused(cli("compare", str(path), "--devices", "8xH200"), part)


def test_bad_device_files(cli, tmp_path):
    for name, text in {"a": "", "b": "memory = 80", "c": "[", "d": 'name = "X"\nmemory = {value = "80 GB"}'}.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        refused(cli("compare", "DeepSeek-V3", "--devices", f"8x{path}"), name)


numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(["", "1e400", "0x10", "٣", "1_000", "1,5"]),
    st.floats(1e-3, 1e6).map(lambda x: f"{x:g}"),
)
units = st.sampled_from(["", "k", "M", "GB", "ms", "s", " GiB", "%", "x"])
quantities = st.builds(lambda n, u: n + u, numbers, units)
junk = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
layouts = st.lists(
    st.builds(
        lambda w, n: f"{w}{n}",
        st.sampled_from(["tp", "dp", "ep", "pp", "cp", "moe_tp", "replicas"]),
        st.integers(0, 16),
    ),
    max_size=4,
).map(",".join)
CHOICES = {
    "--devices": st.sampled_from(
        ["8xH200", "1xL4", "2x8xH100", "72xGB200", "8xMI300X", "64xH100", "4xB200", "16xA100"]
    ),
    "--weights": st.sampled_from(["native", "bf16", "fp8", "nvfp4", "mxfp4", "int4", "int8", "fp32"]),
    "--cache": st.sampled_from(["auto", "bf16", "fp8", "fp16", "int8"]),
    "--memory": st.sampled_from(["usable", "marketed"]),
    "--tier": st.sampled_from(["bandwidth", "ideal", "calibrated", "auto"]),
    "--dense": st.sampled_from(["same-attention", "standard", "Llama-3.1-8B"]),
    "--routing": st.sampled_from(["uniform", "balanced", "zipf:1.2", "zipf:0"]),
    "--compute": st.sampled_from(["bf16", "fp8", "fp4"]),
    "--layout": st.one_of(st.sampled_from(["auto", "pooled", "tp8", "dp8,ep8"]), layouts),
    "--convention": st.sampled_from(["equal-tokens", "equal-flop", "compute-optimal"]),
}
VALUES = {
    "--context": st.sampled_from(["1", "8k", "128k", "4096"]),
    "--utilisation": st.floats(0.01, 1).map(str),
    "--overhead": st.sampled_from(["0GB", "2GB", "100GB", "300GB"]),
    "--q": st.floats(0.05, 50).map(str),
    "--batch": st.integers(1, 10**6).map(str),
    "--tpot": st.sampled_from(["1us", "10ms", "50ms", "1h"]),
    "--redundant": st.integers(0, 64).map(str),
    "--draft": st.integers(0, 8).map(str),
    "--accept": st.floats(0, 1).map(str),
    "--input": st.sampled_from(["1", "4k", "32k"]),
    "--output": st.sampled_from(["1", "1k"]),
    "--prefix-hit": st.floats(0, 1).map(str),
}


def argument(flag, reasonable):
    """Mostly values that make sense, so that the numbers get exercised; some that do not."""
    return st.one_of(reasonable, reasonable, reasonable, st.one_of(quantities, junk)).map(lambda v: (flag, v))


lines = st.lists(
    st.one_of(*(argument(flag, values) for flag, values in (CHOICES | VALUES).items())),
    max_size=6,
    unique_by=lambda p: p[0],
)
models = st.sampled_from(["DeepSeek-V3", "gpt-oss-120b", "Qwen3-30B-A3B", "Llama-3.1-8B", "Switch-C", "Mixtral-8x7B"])


def numbers_of(value, path=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_of(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_of(inner, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(models, lines, st.sets(st.sampled_from(["--ignore-fit", "--extend-context"])))
def test_any_values_give_an_answer_or_a_clear_refusal(cli, model, given_flags, switches):
    words = dict([("--devices", "8xH200"), *given_flags])
    result = cli("compare", model, *(w for p in words.items() for w in p), *sorted(switches), "--json")
    if result.code != 0:
        refused(result)
        return
    data = json.loads(result.out)
    for path, number in numbers_of(data):
        assert math.isfinite(number), path
        assert number >= 0 or path.startswith((".assumptions", ".q_evidence.scanned")), (path, number)
    assert data["verdict"] in {"dense", "moe", "tie", "moe_infeasible", "dense_infeasible", "neither_fits"}
    for side in (data["moe"], data["dense"]):
        assert side["fits"] or side["reason"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "cannot read the pair file 'pairs.csv': No such file or directory"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"model,size,benchmark,score,family\nX,,MMLU,60,F\n", "an MoE's as active/total"),
        (b"model,active,total,q\nX,37B,671B,-5\n", "above zero"),
        (b"a,b\n1,2\n", "needed: model, size"),
    ],
)
def test_a_bad_pair_file_is_one_sentence(cli, tmp_path, monkeypatch, content, part):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "pairs.csv").write_bytes(content)
    refused(cli("compare DeepSeek-V3 --devices 8xH200 --q-pairs pairs.csv"), part)


SPACE = """
outputs = ["ratio"]
[axes]
context = ["8k", "16k"]
[fixed]
model = "DeepSeek-V3"
devices = "8xH200"
weights = "fp8"
layout = "pooled"
q = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("context =", "contxt =", "unknown axis 'contxt'; close: context"),
        ('"ratio"', '"ration"', "unknown output 'ration'; close: ratio"),
        ('["ratio"]', "[]", "no outputs asked for"),
        ('["8k", "16k"]', "[]", "axis context is empty"),
        ('context = ["8k", "16k"]', "", "has no [axes]"),
        ('"16k"', '"16 GB"', "unit"),
        ("context =", 'bandwidth = ["3 TB"]\ncontext =', "unknown unit 'TB'"),
        ('["8k", "16k"]', "{from = 1, to = 1e5, n = 100000}\nmemory = {from = '80GB', to = '99GB', n = 10000000}",
         "over the limit of 1e+11"),
        ("outputs", "limit = 1\noutputs", "2 points, over the limit of 1;"),
        ("[axes]", "[axes", "not valid TOML"),
        ("weights", "weigths", "unknown setting 'weigths'; close: weights"),
    ],
)  # fmt: skip
def test_a_bad_space_is_one_sentence(cli, tmp_path, old, new, part):
    assert old in SPACE
    (tmp_path / "space.toml").write_text(SPACE.replace(old, new, 1))
    found = cli("sweep", str(tmp_path / "space.toml"), "-o", str(tmp_path / "out"))
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found.err
    assert part in found.err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(cli, tmp_path):
    (tmp_path / "space.toml").write_text(SPACE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("important")
    for more in ([], ["--resume"]):
        refused(cli("sweep", str(tmp_path / "space.toml"), "-o", str(tmp_path / "out"), *more), "holds other files")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]
