"""docs/json.md is the schema: every key printed is listed with its type, and every key listed is printed."""

import json
import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPARISONS = [
    "compare DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8 --json",
    "compare DeepSeek-V3 --devices 8xMI300X --layout pooled --tier bandwidth --q 2 --input 4k --output 1k --json",
    "compare DeepSeek-V3 --devices 1xH200 --json",
    "compare Switch-C --devices 8xH100 --json",
    "compare DeepSeek-V3 --devices 8xH200 --dense Llama-3.1-70B --tpot 1ms --json",
    "compare DeepSeek-V3 --devices 8xH200 --context 128k --layout tp8 --batch 64 --ignore-fit --json",
    "compare Qwen3-30B-A3B --devices 2x8xH100 --q 1.5..4 --draft 3 --accept 0.8 --json",
]
MODELS = ["DeepSeek-V3", "Switch-C", "gpt-oss-120b", "Llama-3.1-8B"]
TYPES = {"number": (int, float), "string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def documented(section):
    """{pattern: allowed types} of one table of docs/json.md."""
    text = (ROOT / "docs" / "json.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    out = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            keys, types = (c.strip() for c in line.split("|")[1:3])
            for key in re.findall(r"`([^`]+)`", keys):
                choices = [c.split(",") for c in re.findall(r"\{([^}]+)\}", key)]
                shape = re.sub(r"\{[^}]+\}", "{}", key)
                for filled in product(*choices):
                    out[shape.format(*filled)] = [t.strip() for t in types.split(",")]
    return out


def leaves(value, path=""):
    """(path, value) of everything inside, containers too."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")


def matches(pattern, path):
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.\[\]]+"), path) is not None


def is_type(value, name):
    return isinstance(value, TYPES[name]) and not (name == "number" and isinstance(value, bool))


def inside(pattern, path):
    """Whether `path` is a container on the way to `pattern`."""
    return any(matches(pattern[: m.start()], path) for m in re.finditer(r"\.|\[\]", pattern))


def check(data, schema):
    found = set()
    for path, value in leaves(data):
        rules = [p for p in schema if matches(p, path)]
        if not rules:
            assert any(inside(p, path) for p in schema), f"{path} is not in docs/json.md"
            assert isinstance(value, (dict, list)), f"{path} is not in docs/json.md"
            continue
        assert any(is_type(value, t) for p in rules for t in schema[p]), f"{path} = {value!r} is not {schema[rules[0]]}"
        found.update(rules)
    return found


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def seen():
    return {"compare": set(), "inspect": set()}


@pytest.mark.parametrize("line", COMPARISONS)
def test_compare_prints_what_is_documented(cli, seen, line):
    result = cli(line)
    assert result.code == 0, result.err
    seen["compare"] |= check(strict(result.out), documented("compare"))


@pytest.mark.parametrize("model", MODELS)
def test_inspect_prints_what_is_documented(cli, seen, model):
    seen["inspect"] |= check(strict(cli("inspect", model, "--json").out), documented("inspect"))


def test_nothing_documented_is_never_printed(seen):
    for section, found in seen.items():
        missing = set(documented(section)) - found - {"assumptions[].value.*", "assumptions[].value[]"}
        assert not missing


@pytest.mark.parametrize(
    "line",
    [
        "models qwen3",
        "devices 2x8xH100",
        "quality DeepSeek-V3 --devices 8xH200 --tier ideal",
        "quality Qwen3-235B-A22B",
        "quality OLMoE-1B-7B",
        "cite DeepSeek-V3 --devices 8xH200",
    ],
)
def test_other_commands_print_what_is_documented(cli, line):
    check(strict(cli(f"{line} --json").out), documented(line.split()[0]))


def test_the_keys_every_comparison_promises(cli):
    """The list of the specification; a null must have its reason."""
    data = cli(COMPARISONS[0]).json
    promised = (
        "model devices context s q qs verdict throughput_ratio ratios reuse_penalty headroom_gain moe dense "
        "assumptions warnings schema_version"
    )
    assert set(promised.split()) <= set(data)
    sides = (
        "name fits layout max_batch batch step_time_s tokens_per_s weight_bytes_resident weight_bytes_read cache_bytes "
        "experts_touched tokens_per_expert fragmentation bound parts devices_needed"
    )
    for side in ("moe", "dense"):
        assert set(sides.split()) <= set(data[side])
    assert set(data["ratios"]) == {"max_batch", "equal_batch", "tpot", "request"}
    assert set(data["ratio_reasons"]) == {k for k, v in data["ratios"].items() if v is None}
    assert data["throughput_ratio"] == data["ratios"]["max_batch"]
    assert data["throughput_ratio"] == pytest.approx(data["reuse_penalty"] * data["headroom_gain"], rel=1e-12)
    assert sum(p["seconds"] for p in data["moe"]["parts"].values()) == pytest.approx(data["moe"]["step_time_s"])
    assert {"name", "value", "unit", "source", "default"} <= set(data["assumptions"][0])


def test_a_side_that_does_not_fit_has_nulls_and_the_cluster_it_needs(cli):
    data = cli("compare DeepSeek-V3 --devices 1xH200 --json").json
    assert data["verdict"] == "neither_fits"
    for key in ("layout", "batch", "step_time_s", "tokens_per_s", "weight_bytes_read", "experts_touched", "parts"):
        assert data["moe"][key] is None, key
    assert data["moe"]["devices_needed"] == 6
    assert data["moe"]["fits"] is False
    assert data["moe"]["weight_bytes_resident"] > 6.7e11
    assert all(v is None for v in data["ratios"].values())
    assert "does not fit" in data["ratio_reasons"]["max_batch"]
